"""The log: a line of JSON an event, no words of libraries, and nobody waits for it."""

from __future__ import annotations

import io
import json
import logging
import os
import warnings

import pytest

from tumorlens.operations import logs
from tumorlens.operations.logs import json_log

SECRET = "DOE^JANE"


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_a_line_with_its_fields() -> None:
    stream = io.StringIO()
    with json_log(stream):
        logging.getLogger("tumorlens.web").info(
            "request", extra={"fields": {"status": 200}}
        )
    (line,) = lines(stream)
    assert line["event"] == "request"
    assert line["status"] == 200
    assert line["level"] == "info"
    assert str(line["time"]).endswith("+00:00")


def test_neither_libraries_nor_exceptions_are_quoted() -> None:
    stream = io.StringIO()
    with json_log(stream):
        logging.getLogger("pydicom").error("Bad header of %s", SECRET)
        warnings.warn(SECRET, stacklevel=1)
        try:
            raise ValueError(SECRET)
        except ValueError:
            logging.getLogger("tumorlens.x").exception("It failed.")
    (line,) = lines(stream)
    assert SECRET not in stream.getvalue()
    assert line["exception"] == "ValueError"
    assert "test_logs.py" in str(line["trace"])


def test_a_log_that_nobody_reads_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PATIENCE_SECONDS", 0.1)
    reading, writing = os.pipe()
    with open(writing, "w") as stream:  # noqa: PTH123
        with json_log(stream) as log:
            log.begin()
            for number in range(3 * logs._LINES_KEPT):
                logging.getLogger("tumorlens").info("line %d", number)
        # Now somebody reads, and the writer can end.
        os.set_blocking(reading, False)
        assert os.read(reading, 2**20).startswith(b"{")
        os.close(reading)


def test_what_a_command_says_first_comes_first() -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stream, json_log(stream) as log:  # noqa: PTH123
        logging.getLogger("tumorlens").warning("Before it serves.")
        stream.write("It serves.\n")
        stream.flush()
        log.begin()
        said = b""
        while said.count(b"\n") < 2:
            said += os.read(reading, 4096)
    os.close(reading)
    assert said.startswith(b"It serves.\n{")


def test_logging_is_as_before_afterwards() -> None:
    logger = logging.getLogger("tumorlens")
    before = (list(logger.handlers), logger.level, logger.propagate)
    with json_log(io.StringIO()):
        assert logger.handlers != before[0]
    assert (list(logger.handlers), logger.level, logger.propagate) == before
