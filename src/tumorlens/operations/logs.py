"""The log: one line of JSON an event, which says nothing about patients.

Libraries quote headers and file names, and so patients; exceptions quote what they
could not read. Only TumorLens's own lines are written, and of an exception its kind and
the lines of code that it passed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from typing import IO, Any

_LINES_KEPT = 10_000
"""Lines that wait while nobody reads the log; later ones are lost."""

_PATIENCE_SECONDS = 2.0


def log_name(job_id: str) -> str:
    """Name a job in the log, so that lines of one are known as such.

    It is no way to the job's result, as the id is.
    """
    return hashlib.sha256(b"log " + job_id.encode()).hexdigest()[:16]


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON.

    A record's ``extra={"fields": {...}}`` becomes keys of the line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger and message, then the record's own fields."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            # Its message may quote what it could not read.
            line["exception"] = type(error).__name__
            line["trace"] = [
                f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
                for frame in extract_tb(error.__traceback__)
            ]
        return json.dumps(line, ensure_ascii=False)


class PatientWriter(logging.Handler):
    """Writes lines from a thread of its own, so that a slow reader stops nobody.

    Nothing is written before `begin`.

    Parameters
    ----------
    stream
        Where the lines go.
    """

    def __init__(self, stream: IO[str]) -> None:
        super().__init__()
        self._stream = stream
        try:
            # Past the stream's buffer: its lock, held by a thread that waits for a
            # reader, would make the interpreter's end a crash.
            stream.flush()
            self._descriptor: int | None = os.dup(stream.fileno())
        except (OSError, ValueError):
            self._descriptor = None
        self._lines: queue.Queue[str | None] = queue.Queue(_LINES_KEPT)
        self._thread = threading.Thread(target=self._write_on, daemon=True)

    def begin(self) -> None:
        """Write what was logged so far, and what comes."""
        if self._thread.ident is None:
            self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written soon; it is lost where too many wait."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            pass
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, unless nobody reads it."""
        self.begin()
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            pass
        else:
            self._thread.join(_PATIENCE_SECONDS)
        if self._descriptor is not None and not self._thread.is_alive():
            os.close(self._descriptor)
            self._descriptor = None
        super().close()

    def _write_on(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line + "\n")
            except (OSError, ValueError):
                # The reader of a pipe has gone.
                continue

    def _write(self, line: str) -> None:
        if self._descriptor is None:
            self._stream.write(line)
            return
        data = line.encode()
        while data:
            data = data[os.write(self._descriptor, data) :]


@contextmanager
def json_log(stream: IO[str] | None = None) -> Iterator[PatientWriter]:
    """Log what TumorLens says as JSON, and nothing of what libraries say.

    Parameters
    ----------
    stream
        Where the lines go; by default standard output.

    Yields
    ------
    PatientWriter
        Whose `begin` is called once a command has said what it has to say first.
    """
    handler = PatientWriter(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    try:
        with only_our_log(handler):
            yield handler
    finally:
        handler.close()


@contextmanager
def only_our_log(handler: logging.Handler) -> Iterator[None]:
    """Give a handler what TumorLens says, and nobody what libraries say.

    Libraries quote headers, and so patients: in what they log, and in warnings.

    Parameters
    ----------
    handler
        A handler with its format.
    """
    ours, root = logging.getLogger("tumorlens"), logging.getLogger()
    nowhere = logging.NullHandler()
    before = (ours.level, ours.propagate)
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    # Without any handler, the worst would be shown nevertheless.
    root.addHandler(nowhere)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ours.level, ours.propagate = before
        ours.removeHandler(handler)
        root.removeHandler(nowhere)
