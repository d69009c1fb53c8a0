"""Liveness and readiness, as a supervisor asks for them."""

from __future__ import annotations

import shutil

from flask.testing import FlaskClient

from tumorlens.web.uploads.store import Store


def test_alive_and_ready(client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json == {"status": "ready", "model": "tiny", "model_version": "0.0.1"}


def test_alive_but_not_ready_without_a_store(client: FlaskClient, store: Store) -> None:
    shutil.rmtree(store.folder)
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json is not None
    assert "store" in ready.json["status"]
