"""The same file from the same sender is computed once; nothing tells of another's."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from tests.samples.series_uploads import dicom, finish, nifti, packed
from tests.samples.uploads import form
from tumorlens import SeriesClassifier
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.app_state import state_of
from tumorlens.web.uploads.reuse import Computations, copied_document
from tumorlens.web.uploads.store import Store

PREDICTIONS, SCANS = "/api/v1/predictions", "/api/v1/scans"

Header = dict[str, str]


def header(store: Store, user: str) -> Header:
    _, text = store.tokens.add(user, {"read", "write"}, 1)
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def anna(store: Store) -> Header:
    return header(store, "anna")


def metrics(client: FlaskClient) -> str:
    return state_of(client.application).metrics.text().decode()


def judged(client: FlaskClient, kind: str = "picture") -> int:
    """Count how often the network was run for uploads of a kind."""
    name = f'tumorlens_stage_duration_seconds_count{{kind="{kind}",stage="judge"}}'
    found = re.search(re.escape(name) + r" (\S+)", metrics(client))
    return 0 if found is None else int(float(found[1]))


def send(client: FlaskClient, who: Header, *files: Any, **fields: str) -> list[Any]:
    answer: Any = client.post(
        PREDICTIONS, headers=who, **form(*files, **fields)
    ).get_json()
    assert answer["failures"] == []
    found: list[Any] = answer["predictions"]
    return found


def computed(document: dict[str, Any]) -> dict[str, Any]:
    own = ("id", "links", "pages_of")
    return {key: value for key, value in document.items() if key not in own}


def tiff(*pages: bytes) -> bytes:
    first, *others = (Image.open(io.BytesIO(page)) for page in pages)
    file = io.BytesIO()
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def test_a_picture_sent_again_is_copied_and_not_judged(
    client: FlaskClient, anna: Header, store: Store, lesion_png: bytes
) -> None:
    (first,) = send(client, anna, ("a.png", lesion_png))
    mark = f"{first['links']['self']}/feedback"
    assert client.put(mark, json={"correct": True}, headers=anna).status_code == 200
    assert judged(client) == 1
    (again,) = send(client, anna, ("a.png", lesion_png))
    assert judged(client) == 1
    assert again["id"] != first["id"]
    # What a reader has said of one result is nothing that was computed.
    assert again["feedback"] is None
    assert computed(again) == computed(first)
    for name in ("evidence", "overlay", "report"):
        answer = client.get(again["links"][name], headers=anna)
        assert answer.status_code == 200
        if name != "report":
            older = client.get(first["links"][name], headers=anna)
            assert answer.data == older.data
    # Each goes by itself.
    assert client.delete(first["links"]["self"], headers=anna).status_code == 204
    assert client.get(again["links"]["evidence"], headers=anna).status_code == 200
    send(client, anna, ("a.png", lesion_png))
    assert judged(client) == 1
    assert 'tumorlens_reused_total{kind="picture"} 2.0' in metrics(client)
    digests = {item.read_bytes() for item in (store.folder / "files").iterdir()}
    assert len(digests) == 1


def test_a_picture_may_have_another_name(
    client: FlaskClient, anna: Header, lesion_png: bytes
) -> None:
    (first,) = send(client, anna, ("a.png", lesion_png))
    (again,) = send(client, anna, ("b.png", lesion_png))
    assert judged(client) == 1
    assert (first["file"], again["file"]) == ("a.png", "b.png")


def test_what_another_sent_is_judged_as_if_nobody_had(
    client: FlaskClient, anna: Header, store: Store, lesion_png: bytes
) -> None:
    ben = header(store, "ben")
    send(client, anna, ("a.png", lesion_png))
    send(client, ben, ("a.png", lesion_png))
    assert judged(client) == 2


def test_browsers_without_a_log_in_share_nothing(app: Flask, lesion_png: bytes) -> None:
    one, other = app.test_client(), app.test_client()
    pages = []
    for browser in (one, one, other):
        pages.append(browser.post("/analyses", **form(("a.png", lesion_png))).location)
    assert len(set(pages)) == 3
    assert judged(one) == 2


@pytest.mark.parametrize("change", ["point", "name", "byte"])
def test_other_settings_names_and_bytes_are_judged_anew(
    client: FlaskClient, anna: Header, lesion_png: bytes, change: str
) -> None:
    (first,) = send(client, anna, ("a.png", lesion_png))
    name, data, fields = "a.png", lesion_png, {}
    if change == "point":
        other = {"screening", "balanced"} - {first["operating_point"]}
        fields = {"operating_point": other.pop()}
    elif change == "name":
        # It may tell the sequence.
        name = "a_t2.png"
    else:
        data += b"\0"
    send(client, anna, (name, data), **fields)
    assert judged(client) == 2


def test_what_was_deleted_or_is_over_is_judged_again(
    client: FlaskClient, anna: Header, lesion_png: bytes, store: Store
) -> None:
    (first,) = send(client, anna, ("a.png", lesion_png))
    client.delete(first["links"]["self"], headers=anna)
    send(client, anna, ("a.png", lesion_png))
    assert judged(client) == 2
    # Hidden, and not yet removed: it can be brought back.
    store.delete_all("user anna")
    send(client, anna, ("a.png", lesion_png))
    assert judged(client) == 3


def test_a_result_whose_file_is_damaged_is_judged_again(
    client: FlaskClient, anna: Header, lesion_png: bytes, store: Store
) -> None:
    send(client, anna, ("a.png", lesion_png))
    for file in (store.folder / "files").iterdir():
        file.unlink()
    (again,) = send(client, anna, ("a.png", lesion_png))
    assert judged(client) == 2
    assert client.get(again["links"]["evidence"], headers=anna).status_code == 200


def test_pages_of_a_file_are_copied_together_or_not_at_all(
    client: FlaskClient, anna: Header, lesion_png: bytes, store: Store
) -> None:
    dark = cv2.imdecode(np.frombuffer(lesion_png, np.uint8), cv2.IMREAD_GRAYSCALE) // 2
    file = tiff(lesion_png, cv2.imencode(".png", dark)[1].tobytes(), lesion_png)
    first = send(client, anna, ("a.tif", file))
    turns = judged(client)
    again = send(client, anna, ("a.tif", file))
    assert judged(client) == turns
    assert [item["slice"] for item in again] == [0, 1, 2]
    assert list(map(computed, again)) == list(map(computed, first))
    assert {item["pages_of"] for item in again[1:]} == {again[0]["id"]}
    client.delete(again[1]["links"]["self"], headers=anna)
    third = send(client, anna, ("a.tif", file))
    assert judged(client) > turns
    assert len({item["id"] for item in [*first, *again, *third]}) == 9


def test_pages_that_are_copied_count_as_pages(
    classifier: SeriesClassifier, store: Store, lesion_png: bytes
) -> None:
    app = create_app(classifier, store, Settings(pages_per_upload=3))
    client, anna = app.test_client(), header(store, "anna")
    file = tiff(lesion_png, lesion_png)
    send(client, anna, ("a.tif", file))
    answer: Any = client.post(
        PREDICTIONS, headers=anna, **form(("a.tif", file), ("a.tif", file))
    ).json
    assert [item["slice"] for item in answer["predictions"]] == [0, 1]
    assert [item["status"] for item in answer["failures"]] == ["too_large"]


def test_another_model_judges_anew(
    classifier: SeriesClassifier, tiny_bundle: Path
) -> None:
    one = Computations(classifier)
    asked = ("anna", "balanced", "a.png", b"bytes")
    assert one.name_picture(*asked) == Computations(classifier).name_picture(*asked)
    assert one.name_picture(*asked) != one.name_picture("ben", *asked[1:])
    facts = tiny_bundle / "bundle.json"
    before = facts.read_bytes()
    try:
        facts.write_bytes(before + b"\n")
        assert one.name_picture(*asked) != Computations(classifier).name_picture(*asked)
    finally:
        facts.write_bytes(before)


@pytest.mark.parametrize("kind", ["volume", "pictures"])
def test_a_scan_sent_again_is_copied_and_not_judged(
    client: FlaskClient, anna: Header, store: Store, kind: str, lesion_png: bytes
) -> None:
    file = ("a.nii.gz", nifti())
    if kind == "pictures":
        file = ("a.zip", packed(("x.png", lesion_png), ("y.png", lesion_png)))

    def judge(who: Header) -> Any:
        sent = client.post(SCANS, headers=who, **form(file))
        assert sent.status_code == 202
        client.environ_base["HTTP_AUTHORIZATION"] = who["Authorization"]
        return finish(client, sent.headers["Location"])

    first, again = judge(anna), judge(anna)
    assert judged(client, "series") == 1
    assert again["id"] != first["id"]
    assert again["state"] == "done"
    assert len(again["predictions"]) == len(first["predictions"])
    assert not set(again["predictions"]) & set(first["predictions"])
    assert [facts["decision"] for facts in again["series"]] == [
        facts["decision"] for facts in first["series"]
    ]
    client.delete(first["links"]["self"])
    for place in again["predictions"]:
        assert client.get(place).status_code == 200
    for facts in again["series"]:
        assert client.get(facts["links"]["finding"]).status_code == 200
        assert client.get(facts["links"]["evidence"]).status_code == 200
        assert client.get(again["links"]["report"]).status_code == 200
    judge(header(store, "ben"))
    assert judged(client, "series") == 2
    assert 'tumorlens_reused_total{kind="series"} 1.0' in metrics(client)


def test_files_of_a_study_in_another_number_are_another_study(
    client: FlaskClient, anna: Header
) -> None:
    client.environ_base["HTTP_AUTHORIZATION"] = anna["Authorization"]
    files = dicom()
    for some in (files, files[:-1], files):
        sent = client.post(SCANS, **form(*some))
        finish(client, sent.headers["Location"])
    assert judged(client, "series") == 2


def test_what_belongs_to_one_request_is_not_copied() -> None:
    document = {
        "decision": "glioma",
        "feedback": {"correct": True},
        "pages_of": "x",
        "example": "glioma",
        "series": [{"index": 0, "feedback": {"correct": False}}],
    }
    assert copied_document(document, {"example": "other"}) == {
        "decision": "glioma",
        "series": [{"index": 0}],
        "example": "other",
    }
