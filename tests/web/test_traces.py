"""A request is traced with what it leads to, also in the process that judges later."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.samples.dicom_studies import wait_for
from tests.samples.series_uploads import dicom, finish, nifti
from tests.samples.uploads import form
from tests.web.test_overload import PATIENCE_SECONDS, PREDICTIONS, site
from tumorlens import SeriesClassifier
from tumorlens.operations.metrics import Metrics
from tumorlens.operations.tracing import traced
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.uploads.series_jobs import SeriesJobs
from tumorlens.web.uploads.store import Store

pytest.importorskip("opentelemetry.sdk", reason="extra 'otel'")

from tests.samples.collector import collecting, facts_of

SCANS = "/api/v1/scans"
PLANTED = "DOE-JANE-19700101"


def test_a_server_traces_requests_and_says_nothing_of_patients(
    tiny_bundle: Path, lesion_png: bytes
) -> None:
    outer = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    patient = {"PatientName": PLANTED, "PatientID": PLANTED}
    with collecting() as collector, site(tiny_bundle, **collector.variables) as server:
        judged = server.post(
            PREDICTIONS,
            (f"{PLANTED}.png", lesion_png),
            (f"{PLANTED}.png", b"no picture"),
            headers={
                "traceparent": outer,
                "tracestate": f"a={PLANTED}",
                "baggage": f"patient={PLANTED}",
                "User-Agent": PLANTED,
            },
        )
        assert judged.status == 200
        sent = server.post(SCANS, *dicom(**patient))
        assert sent.status == 202
        place = sent.json["links"]["self"]
        wait_for(lambda: server.get(place).json["state"] == "done")
        broken = server.post(SCANS, (f"{PLANTED}.nii", b"no scan"))
        wait_for(
            lambda: server.get(broken.json["links"]["self"]).json["state"] == "failed"
        )
        server.get(f"/api/v1/predictions/{PLANTED}?patient={PLANTED}", Cookie=PLANTED)
        server.get("/healthz")
        server.process.send_signal(signal.SIGTERM)
        out, _ = server.process.communicate(timeout=PATIENCE_SECONDS)
        # The last ones came as it stopped.
        jobs = {facts_of(item)["tumorlens.outcome"]: item for item in _jobs(collector)}
    assert server.process.returncode == 0
    by_request = {
        facts_of(item)["tumorlens.request_id"]: item
        for item in collector.named("request")
    }
    one = by_request[judged.headers["X-Request-ID"]]
    assert one.trace_id.hex() == outer.split("-")[1]
    assert one.parent_span_id.hex() == outer.split("-")[2]
    assert facts_of(one)["http.route"] == PREDICTIONS
    assert facts_of(one)["http.response.status_code"] == 200
    parts = [x.name for x in collector.spans if x.parent_span_id == one.span_id]
    assert sorted(parts) == ["decode", "decode", "network", "store"]
    # A job belongs to the request that sent it, whoever works on it.
    two = by_request[sent.headers["X-Request-ID"]]
    done = jobs["done"]
    assert done.trace_id == two.trace_id
    assert collector.parent(done).span_id == two.span_id
    of_job = {x.name for x in collector.spans if x.parent_span_id == done.span_id}
    assert of_job == {"decode", "network"}
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    names = {line["job"] for line in lines if line["event"] == "series"}
    assert {facts_of(item)["tumorlens.job"] for item in jobs.values()} == names
    assert jobs["failed"].trace_id != done.trace_id
    told = b"".join(collector.bodies)
    assert PLANTED.encode() not in told
    for answer in (sent, broken):
        assert answer.json["id"].encode() not in told
    routes = {facts_of(item)["http.route"] for item in collector.named("request")}
    assert "/healthz" not in routes


def _jobs(collector: Any) -> list[Any]:
    found: list[Any] = collector.wait_for("job", 2)
    return found


def test_a_job_is_traced_on_where_another_process_takes_it(
    classifier: SeriesClassifier,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        for name, value in collector.variables.items():
            monkeypatch.setenv(name, value)
        settings = Settings(no_worker=True)
        with traced("server"):
            client: FlaskClient = create_app(classifier, store, settings).test_client()
            sent = client.post(SCANS, **form(("a.nii.gz", nifti())))
        with traced("worker"):
            jobs = SeriesJobs(classifier, store, Settings(), Metrics())
            jobs.start()
            finish(client, sent.headers["Location"])
            jobs.close()
        (job,) = collector.wait_for("job")
        sends = [
            item
            for item in collector.named("request")
            if facts_of(item)["http.request.method"] == "POST"
        ]
        (request,) = sends
        assert collector.parent(job) == request
        services = {item["service.name"] for item in collector.resources}
        assert services == {"server", "worker"}
        # The trace's name is nobody's business but the collector's.
        status: Any = client.get(sent.headers["Location"]).json
        assert "traceparent" not in json.dumps(status)
