"""Administrators see drift; programs scrape it; neither names anybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import build_tiny_bundle
from tests.samples.series_uploads import dicom, judged
from tests.samples.uploads import form, text_of
from tumorlens import load_series_classifier
from tumorlens.jobs.monitored_rates import RateMonitor, RateState
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.app_state import state_of
from tumorlens.web.uploads.store import Store

PLANTED = "DOE-JANE"


FIGURES = {
    "patients": 1000,
    "refused_as_foreign": {"value": 0.001, "low": 0.0, "high": 0.01},
    "inconclusive": {"value": 0.1, "low": 0.0, "high": 0.2},
    # Nobody was called a glioma.
    "confusion": [[0, 0, 0, 0], [0, 40, 0, 0], [0, 0, 50, 0], [0, 0, 0, 910]],
}


@pytest.fixture
def watched(tmp_path: Path, store: Store, settings: Settings) -> Flask:
    """An app whose bundle states rates."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    build_tiny_bundle(folder, metrics={"cross_validation": FIGURES})
    return create_app(load_series_classifier(folder, threads=1), store, settings)


def test_what_is_judged_is_counted_once_an_upload(
    watched: Flask, lesion_png: bytes
) -> None:
    client = watched.test_client()
    for upload in range(4):
        # What was sent before is no new observation.
        files = [
            (f"{PLANTED}-{number}.png", lesion_png + bytes(4 * upload + number))
            for number in range(4)
        ]
        for _ in range(2):
            client.post("/api/v1/predictions", **form(*files))
    client.post("/api/v1/predictions", **form(("text.png", b"no picture")))
    client.post("/examples/glioma")
    judged(client, *dicom(EchoTime=100, RepetitionTime=4000, ScanningSequence="SE"))
    text = text_of(client.get("/drift").text)
    assert "100.0 % (4 of 4)" in text
    assert "Alarm since" in text
    metrics = client.get("/metrics").text
    assert 'tumorlens_drift_observations{rate="predicted_glioma"} 4.0' in metrics
    assert 'tumorlens_drift_alarm{rate="predicted_glioma"} 1.0' in metrics
    assert 'tumorlens_drift_alarm{rate="refused"} 0.0' in metrics
    assert 'tumorlens_drift_share{rate="predicted_pituitary"} 0.0' in metrics
    # The series is T2, which this model does not know, and counts by that.
    assert 'tumorlens_drift_share{rate="other_sequence"} 1.0' in metrics
    assert 'tumorlens_drift_observations{rate="other_sequence"} 1.0' in metrics
    assert 'tumorlens_drift_stated_high{rate="refused"} 0.01' in metrics
    assert "tumorlens_domain_score_bucket" in metrics
    assert PLANTED not in text + metrics + json.dumps(
        [str(item) for item in state_of(watched).drift.states()]
    )


def test_a_scrape_reads_the_database_once_for_all_of_drift(
    watched: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    states = RateMonitor.states

    def counted(monitor: RateMonitor) -> list[RateState]:
        reads.append(monitor)
        return states(monitor)

    monkeypatch.setattr(RateMonitor, "states", counted)
    assert "tumorlens_drift_stated_high" in watched.test_client().get("/metrics").text
    assert len(reads) == 1


def test_only_an_administrator_sees_the_page(client: FlaskClient, store: Store) -> None:
    assert client.get("/drift").status_code == 200
    assert "For administrators" in client.get("/").text

    def header(*scopes: str) -> dict[str, str]:
        _, text = store.tokens.add("anna", scopes, 1)
        return {"Authorization": f"Bearer {text}"}

    reader, admin = header("read", "write"), header("admin")
    assert client.get("/drift").status_code == 303
    assert client.get("/drift", headers=reader).status_code == 403
    assert "For administrators" not in client.get("/", headers=reader).text
    assert client.get("/drift", headers=admin).status_code == 200
    assert "For administrators" in client.get("/", headers=admin).text
