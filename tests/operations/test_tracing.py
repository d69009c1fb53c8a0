"""Traces go to a collector where the environment names one, and say nothing of people.

Those of a server stand in `tests/web/test_traces.py`.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.samples.dicom_studies import wait_for
from tumorlens.operations import tracing
from tumorlens.operations.tracing import (
    add_span,
    is_asked,
    span,
    trace_parent,
    traced,
)

pytest.importorskip("opentelemetry.sdk", reason="extra 'otel'")

from tests.samples.collector import Collector, collecting, facts_of

PLANTED = "DOE^JANE-19700101"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        for name, value in found.variables.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({ENDPOINT: "http://a:4318"}, True),
        ({ENDPOINT: " "}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", ENDPOINT: "http://a:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": "console", ENDPOINT: "http://a:4318"}, False),
        ({"OTEL_SDK_DISABLED": "True", ENDPOINT: "http://a:4318"}, False),
        ({"OTEL_SERVICE_NAME": "lens"}, False),
    ],
)
def test_the_standard_variables_ask_for_traces(
    environment: dict[str, str], asked: bool
) -> None:
    assert is_asked(environment) is asked


def test_nothing_is_imported_or_traced_where_nobody_asks() -> None:
    code = """if 1:
        import sys
        import tumorlens.web.app, tumorlens.pacs.worker
        from tumorlens.operations.tracing import span, trace_parent, traced
        with traced("test"), span("request", parent="00-junk") as current:
            current.note(status=200)
            assert trace_parent() is None
        sys.exit(any(name.startswith("opentelemetry") for name in sys.modules))
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    subprocess.run([sys.executable, "-c", code], check=True, env=kept)


def test_spans_are_parts_of_each_other_and_arrive(collector: Collector) -> None:
    with traced("tumorlens test"):
        with span("request", route="/scans") as current:
            with span("store", files=3):
                parent = trace_parent()
            current.note(status=202, method="POST")
        with span("job", parent=parent, job="abc"):
            add_span("node.receive", time.time() - 5, images=4)
    request, store, job, receive = (
        collector.wait_for(name)[0]
        for name in ("request", "store", "job", "node.receive")
    )
    assert collector.parent(store).name == "request"
    assert collector.parent(job).name == "store"
    assert collector.parent(receive).name == "job"
    assert len({item.trace_id for item in collector.spans}) == 1
    assert facts_of(request) == {
        "http.route": "/scans",
        "http.response.status_code": 202,
        "http.request.method": "POST",
    }
    assert facts_of(store) == {"tumorlens.files": 3}
    assert receive.end_time_unix_nano - receive.start_time_unix_nano >= 4e9
    (resource,) = {item["service.name"] for item in collector.resources}
    assert resource == "tumorlens test"
    assert trace_parent() is None


def test_a_service_is_named_by_the_environment_first(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "lens of ward 3")
    with traced("tumorlens test"), span("request"):
        pass
    collector.wait_for("request")
    assert collector.resources[0]["service.name"] == "lens of ward 3"


def test_of_an_error_its_kind_alone_is_told(collector: Collector) -> None:
    with traced("test"), pytest.raises(ValueError, match="JANE"), span("job"):
        raise ValueError(PLANTED)
    (job,) = collector.wait_for("job")
    assert facts_of(job) == {"error.type": "ValueError"}
    assert job.status.code == 2
    assert not job.events
    assert not any(PLANTED.encode() in body for body in collector.bodies)


@pytest.mark.parametrize("parent", [PLANTED, "", "00-0-0-00", "x" * 10_000])
def test_a_parent_that_is_none_begins_a_trace(
    collector: Collector, parent: str
) -> None:
    with traced("test"), span("request", parent=parent):
        pass
    (request,) = collector.wait_for("request")
    assert not request.parent_span_id
    assert not any(PLANTED.encode() in body for body in collector.bodies)


def test_a_collector_that_takes_nothing_is_told_of_once_and_stops_nobody(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tumorlens")
    collector.status = 400

    def told(text: str) -> int:
        return sum(text in record.getMessage() for record in caplog.records)

    with traced("test"):
        for _ in range(2):
            with span("store"):
                pass
            wait_for(lambda: told("does not take them") == 1)
        collector.status = 200
        wait_for(lambda: _sent_again(collector))
        wait_for(lambda: told("takes them again") == 1)
    assert told("does not take them") == 1


def _sent_again(collector: Collector) -> bool:
    with span("decode"):
        pass
    time.sleep(0.05)
    return bool(collector.named("decode"))


def test_a_collector_that_is_away_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setattr(tracing, "_PATIENCE_SECONDS", 0.1)
    with traced("test"), span("request"):
        pass


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"),
        ("", "", "[otel]"),
    ],
)
def test_what_cannot_be_traced_is_said_and_served_nevertheless(
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: str,
    value: str,
    said: str,
) -> None:
    if variable:
        monkeypatch.setenv(variable, value)
    else:
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with traced("test"), span("request"):
        assert trace_parent() is None
    assert said in caplog.text
    assert not collector.bodies
