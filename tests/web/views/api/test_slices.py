"""The API keeps its promises to programs."""

from __future__ import annotations

import io
import threading
from typing import Any

import cv2
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pypdf import PdfReader

from tests.samples.uploads import form
from tumorlens import Prediction, SeriesClassifier
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.overlay import grey_png
from tumorlens.web.uploads.store import Store

URL = "/api/v1/predictions"


def picture_of(data: bytes) -> np.ndarray[Any, Any]:
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read is not None
    return read


def test_one_file_gives_what_the_classifier_gives(
    client: FlaskClient, lesion_png: bytes, classifier: SeriesClassifier
) -> None:
    response = client.post(URL, **form(("head.png", lesion_png)))
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["failures"] == []
    (found,) = response.json["predictions"]
    direct = classifier.slice_classifier().predict(lesion_png, name="head.png")
    assert isinstance(direct, Prediction)
    assert found["file"] == "head.png"
    assert found["decision"] == "glioma"
    assert found["probabilities"] == direct.decision.probabilities
    assert found["research_use_only"] == RESEARCH_USE
    assert found["box"] is not None
    assert found["ms"] > 0


def test_the_links_lead_to_maps_overlay_and_report(
    client: FlaskClient, lesion_png: bytes, classifier: SeriesClassifier
) -> None:
    (found,) = client.post(URL, **form(("h.png", lesion_png))).json["predictions"]  # type: ignore[index]
    links = found["links"]
    direct = classifier.slice_classifier().predict(lesion_png)
    assert isinstance(direct, Prediction)
    for name in ("evidence", "gradcam"):
        response = client.get(links[name])
        assert response.mimetype == "image/png"
        expected = grey_png(getattr(direct.explanation, name))
        assert np.array_equal(picture_of(response.data), picture_of(expected))
    for kind in ("evidence", "gradcam", "outline"):
        overlay = picture_of(client.get(f"{links['overlay']}?kind={kind}").data)
        assert overlay.shape == (256, 256, 3)
    report = client.get(links["report"])
    assert report.mimetype == "application/pdf"
    assert len(PdfReader(io.BytesIO(report.data)).pages) == 1
    assert client.get(links["self"]).json == found


def test_files_that_fail_do_not_cost_the_others_their_results(
    client: FlaskClient, lesion_png: bytes
) -> None:
    response = client.post(
        URL,
        **form(
            ("text.jpg", b"hello, this is text"),
            ("head.png", lesion_png),
            ("empty.png", b""),
            ("cut.png", lesion_png[:3000]),
        ),
    )
    assert response.status_code == 200
    assert response.json is not None
    assert [item["file"] for item in response.json["predictions"]] == ["head.png"]
    failed = {item["file"]: item for item in response.json["failures"]}
    assert failed["text.jpg"]["status"] == "unknown_format"
    assert failed["empty.png"]["status"] == "empty_file"
    assert failed["cut.png"]["status"] == "damaged_file"
    for name, item in failed.items():
        assert name in item["message"]
        assert item["mend"]


def test_a_small_file_of_huge_dimensions_is_refused(
    client: FlaskClient, bomb_png: bytes
) -> None:
    assert len(bomb_png) < 200_000
    response = client.post(URL, **form(("bomb.png", bomb_png)))
    assert response.status_code == 422
    assert response.json is not None
    (failure,) = response.json["failures"]
    assert failure["status"] == "too_large"
    assert "20000 x 20000" in failure["message"]


def test_an_operating_point_is_used_or_refused(
    client: FlaskClient, lesion_png: bytes
) -> None:
    chosen = form(("h.png", lesion_png), operating_point="balanced")
    (found,) = client.post(URL, **chosen).json["predictions"]  # type: ignore[index]
    assert found["operating_point"] == "balanced"
    wrong = form(("h.png", lesion_png), operating_point="best")
    response = client.post(URL, **wrong)
    assert response.status_code == 400
    assert response.json is not None
    assert "'best'" in response.json["error"]["message"]
    assert "screening, balanced" in response.json["error"]["mend"]


def test_no_file_says_how_to_send_one(client: FlaskClient) -> None:
    for arguments in ({}, {"json": {"file": "x"}}, form()):
        response = client.post(URL, **arguments)
        assert response.status_code == 422
        assert response.json is not None
        assert "'file'" in response.json["error"]["mend"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (
            {
                "data": b"x" * (3 * 2**20),
                "content_type": "multipart/form-data; boundary=x",
            },
            "2 MB",
        ),
        (form(*[("small.png", b"x")] * 6), "6 files"),
    ],
)
def test_too_much_at_once_is_refused_with_the_limit(
    client: FlaskClient, sent: dict[str, Any], said: str
) -> None:
    response = client.post(URL, **sent)
    assert response.status_code == 413
    assert response.json is not None
    assert said in response.json["error"]["message"]
    assert response.json["error"]["mend"]


def test_delete_removes_everything_at_once(
    client: FlaskClient, lesion_png: bytes, store: Store
) -> None:
    (found,) = client.post(URL, **form(("h.png", lesion_png))).json["predictions"]  # type: ignore[index]
    assert client.delete(found["links"]["self"]).status_code == 204
    assert not list((store.folder / "files").iterdir())
    for link in found["links"].values():
        response = client.get(link)
        assert response.status_code == 404
        assert response.json is not None
        assert response.json["error"]["mend"]
    assert client.delete(found["links"]["self"]).status_code == 404


def test_a_page_s_analysis_is_not_the_api_s(
    client: FlaskClient, app: Flask, lesion_png: bytes
) -> None:
    location = client.post("/analyses", **form(("h.png", lesion_png))).location
    analysis_id = location.rsplit("/", 1)[1]
    assert client.get(f"{URL}/{analysis_id}").status_code == 404
    assert app.test_client().get(f"{URL}/{analysis_id}/evidence.png").status_code == 404


@pytest.mark.parametrize("path", ["x", "../index.sqlite", "..%2fkey", "%00", "a" * 999])
def test_an_id_that_is_none_leads_nowhere(client: FlaskClient, path: str) -> None:
    for end in ("", "/evidence.png", "/report.pdf"):
        assert client.get(f"{URL}/{path}{end}").status_code == 404


def test_errors_of_routing_are_json_too(client: FlaskClient) -> None:
    missing = client.get("/api/v1/nothing")
    assert missing.status_code == 404
    assert missing.json is not None
    assert missing.json["error"]["code"] == "not_found"
    wrong = client.get(URL)
    assert wrong.status_code == 405
    assert "POST" in wrong.headers["Allow"]
    assert client.get(f"{URL}/x/overlay.png?kind=rainbow").status_code == 422


def test_a_fault_inside_is_one_file_s_failure_and_the_next_is_served(
    client: FlaskClient,
    lesion_png: bytes,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    with monkeypatch.context() as patch:
        patch.setattr(store, "add", fail)
        response = client.post(URL, **form(("h.png", lesion_png)))
    assert response.status_code == 500
    assert response.json is not None
    (failure,) = response.json["failures"]
    assert failure["status"] == "internal_error"
    assert "secret" not in response.text
    assert "secret detail" in caplog.text
    assert client.post(URL, **form(("h.png", lesion_png))).status_code == 200


def test_eight_clients_at_a_time_get_their_own_answers(
    app: Flask, lesion_png: bytes, color_png: bytes
) -> None:
    wrong: list[str] = []

    def work(name: str, data: bytes, decision: str) -> None:
        client = app.test_client()
        for _ in range(3):
            response = client.post(URL, **form((name, data)))
            (found,) = response.json["predictions"]  # type: ignore[index]
            if (found["file"], found["decision"]) != (name, decision):
                wrong.append(name)

    kinds = [(lesion_png, "glioma"), (color_png, "not_brain_mri")]
    threads = [
        threading.Thread(target=work, args=(f"{n}.png", *kinds[n % 2]))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
