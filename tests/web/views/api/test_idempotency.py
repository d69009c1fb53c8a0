"""Idempotency-Key: the same key and files, the same answer; other files are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.samples.series_uploads import finish, nifti
from tests.samples.uploads import form
from tumorlens.web.uploads.store import Store
from tumorlens.web.uploads.upload import Kind

PREDICTIONS, SCANS = "/api/v1/predictions", "/api/v1/scans"
KEY = {"Idempotency-Key": "8f2c-1"}

Post = Callable[..., Any]


@pytest.fixture
def post(client: FlaskClient) -> Post:
    def send(path: str, *files: tuple[str, bytes], **fields: str) -> Any:
        return client.post(path, headers=KEY, **form(*files, **fields))

    return send


def test_pictures_sent_again_are_not_judged_again(
    client: FlaskClient, post: Post, store: Store, lesion_png: bytes
) -> None:
    files = (("a.png", lesion_png), ("b.png", b"no picture"))
    first, again = post(PREDICTIONS, *files), post(PREDICTIONS, *files)
    assert first.status_code == again.status_code == 200
    assert first.json == again.json
    assert len(first.json["failures"]) == 1
    assert len(store.owned("", Kind.PICTURE)) == 1
    # Without the key it is another request.
    other = client.post(PREDICTIONS, **form(*files))
    assert other.json is not None
    assert other.json["predictions"][0]["id"] != first.json["predictions"][0]["id"]


@pytest.mark.parametrize(
    "files", [[("a.png", b"x")], [("b.png", None)], [("a.png", None), ("c.png", None)]]
)
def test_a_used_key_with_another_body_is_refused(
    post: Post, lesion_png: bytes, files: list[tuple[str, bytes | None]]
) -> None:
    post(PREDICTIONS, ("a.png", lesion_png))
    others = [(name, lesion_png if data is None else data) for name, data in files]
    refused = post(PREDICTIONS, *others)
    assert refused.status_code == 422
    assert refused.json["error"]["code"] == "idempotency_key"
    point = post(PREDICTIONS, ("a.png", lesion_png), operating_point="balanced")
    assert point.status_code == 422


def test_scans_sent_again_keep_their_address(
    client: FlaskClient, post: Post, store: Store
) -> None:
    scan = nifti()
    first = post(SCANS, ("a.nii.gz", scan))
    assert first.status_code == 202
    finish(client, first.headers["Location"])
    again = post(SCANS, ("a.nii.gz", scan))
    assert again.status_code == 202
    assert again.headers["Location"] == first.headers["Location"]
    assert len(store.owned("", Kind.SCAN)) == 1
    assert post(SCANS, ("b.nii.gz", scan)).status_code == 422
    # The key of a scan is none of a picture.
    assert post(PREDICTIONS, ("b.png", b"x")).json["failures"]


def test_two_at_the_same_time_get_one_answer(
    app: Flask, store: Store, lesion_png: bytes
) -> None:
    answers: list[Any] = []

    def send() -> None:
        sent = form(("a.png", lesion_png))
        answers.append(app.test_client().post(PREDICTIONS, headers=KEY, **sent).json)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert all(answer == answers[0] for answer in answers)
    assert len(store.owned("", Kind.PICTURE)) == 1


def test_a_result_that_was_removed_stays_removed(
    client: FlaskClient, post: Post, lesion_png: bytes
) -> None:
    first = post(PREDICTIONS, ("a.png", lesion_png))
    client.delete(first.json["predictions"][0]["links"]["self"])
    assert post(PREDICTIONS, ("a.png", lesion_png)).status_code == 404


@pytest.mark.parametrize("key", ["", " ", "k" * 256])
def test_a_key_that_is_none_is_refused(
    client: FlaskClient, lesion_png: bytes, key: str
) -> None:
    sent = form(("a.png", lesion_png))
    refused = client.post(PREDICTIONS, headers={"Idempotency-Key": key}, **sent)
    assert refused.status_code == 422


def test_neither_key_nor_name_lies_in_the_database(
    post: Post, store: Store, lesion_png: bytes
) -> None:
    post(PREDICTIONS, ("a.png", lesion_png))
    data = (store.folder / "jobs.sqlite").read_bytes()
    data += (store.folder / "jobs.sqlite-wal").read_bytes()
    assert KEY["Idempotency-Key"].encode() not in data


def test_a_key_is_free_again_after_its_time(
    post: Post, store: Store, lesion_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = post(PREDICTIONS, ("a.png", lesion_png))
    monkeypatch.setattr(store, "retention_seconds", -1.0)
    again = post(PREDICTIONS, ("b.png", lesion_png))
    assert again.status_code == 200
    assert again.json["predictions"][0]["id"] != first.json["predictions"][0]["id"]
