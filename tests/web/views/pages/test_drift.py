"""Administrators see drift; programs scrape it; neither names anybody."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.samples.series_uploads import judged, nifti
from tests.samples.uploads import form, text_of
from tumorlens.operations.drift import ReferenceRate
from tumorlens.web.app_state import state_of
from tumorlens.web.uploads.store import Store

PLANTED = "DOE-JANE"


@pytest.fixture
def watched(app: Flask) -> Flask:
    """The app, with rates that the tiny bundle does not state."""
    references = {
        name: ReferenceRate(name, low, high, name.capitalize())
        for name, low, high in (
            ("predicted_glioma", 0.0, 0.01),
            ("refused", 0.0, 0.01),
            ("other_sequence", 0.0, 0.1),
        )
    }
    state_of(app).drift.__init__(  # type: ignore[misc]
        state_of(app).store.database, "tiny", references
    )
    return app


def test_what_is_judged_is_counted_once_an_upload(
    watched: Flask, lesion_png: bytes
) -> None:
    client = watched.test_client()
    names = [(f"{PLANTED}-{number}.png", lesion_png) for number in range(4)]
    for _ in range(4):
        client.post("/api/v1/predictions", **form(*names))
    client.post("/api/v1/predictions", **form(("text.png", b"no picture")))
    client.post("/examples/glioma")
    judged(client, (f"{PLANTED}.nii.gz", nifti()))
    text = text_of(client.get("/drift").text)
    assert "100.0 % (4 of 4)" in text
    assert "Alarm since" in text
    metrics = client.get("/metrics").text
    assert 'tumorlens_drift_observations{rate="predicted_glioma"} 4.0' in metrics
    assert 'tumorlens_drift_alarm{rate="predicted_glioma"} 1.0' in metrics
    assert 'tumorlens_drift_alarm{rate="other_sequence"} 0.0' in metrics
    assert 'tumorlens_drift_share{rate="other_sequence"} NaN' in metrics
    assert 'tumorlens_drift_stated_high{rate="refused"} 0.01' in metrics
    assert "tumorlens_domain_score_bucket" in metrics
    assert PLANTED not in text + metrics + json.dumps(
        [str(item) for item in state_of(watched).drift.states()]
    )


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
