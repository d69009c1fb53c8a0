"""Liveness and readiness, as a supervisor asks for them."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from tests.samples.postgres import Postgres
from tumorlens import SeriesClassifier
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.app_state import state_of
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


def test_alive_but_not_ready_while_the_database_is_away(
    classifier: SeriesClassifier, tmp_path: Path, postgres: Postgres
) -> None:
    url = postgres.database()
    with closing(Store(tmp_path / "s", 3600, 2**30, url=url)) as store:
        client = create_app(classifier, store, Settings()).test_client()
        assert client.get("/readyz").status_code == 200
        postgres.stop()
        try:
            assert client.get("/healthz").status_code == 200
            unready = client.get("/readyz")
            assert unready.status_code == 503
            assert unready.json is not None
            assert "cannot be used" in unready.json["status"]
            # Who cannot be asked is not let in.
            assert client.get("/api/v1/openapi.json").status_code >= 500
        finally:
            postgres.start()
        assert client.get("/readyz").status_code == 200


def test_not_ready_once_it_is_told_to_stop(app: Flask) -> None:
    state_of(app).stop()
    unready = app.test_client().get("/readyz")
    assert unready.status_code == 503
    assert unready.json is not None
    assert "stopping" in unready.json["status"]


def test_metrics_are_off_where_others_can_connect_without_a_login(
    classifier: SeriesClassifier, store: Store, client: FlaskClient
) -> None:
    assert b"tumorlens_queue_depth 0.0" in client.get("/metrics").data
    others = Settings(host="0.0.0.0", insecure_no_login=True)
    assert (
        create_app(classifier, store, others).test_client().get("/metrics").status_code
        == 404
    )
    wanted = Settings(host="0.0.0.0", insecure_no_login=True, metrics=True)
    assert (
        create_app(classifier, store, wanted).test_client().get("/metrics").status_code
        == 200
    )
