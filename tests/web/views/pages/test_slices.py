"""The pages say what was found, as HTML that also works without a script."""

from __future__ import annotations

import io
import json
import re

import cv2
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from pypdf import PdfReader

from tests.samples.uploads import form, text_of
from tumorlens.web.uploads.store import Store


@pytest.fixture
def page(client: FlaskClient, lesion_png: bytes) -> str:
    """The address of a result."""
    response = client.post("/analyses", **form(("my head.png", lesion_png)))
    assert response.status_code == 303
    return str(response.location)


def test_a_result_says_all_that_matters(client: FlaskClient, page: str) -> None:
    text = text_of(client.get(page).text)
    for said in (
        "my head.png",
        "Tumour: glioma",
        "Meningioma",
        "The operating point is “screening”",
        "sensitivity 90.0 %",
        "Kind: glioma.",
        "256 × 256 pixels",
        " ms",
        "tiny 0.0.1",
    ):
        assert said in text


def test_the_picture_s_text_states_the_finding(client: FlaskClient, page: str) -> None:
    assert re.search(
        r'alt="[^"]*Finding: Tumour: glioma\. Signs of glioma are outlined',
        client.get(page).text,
    )


def test_a_refusal_says_why_and_shows_no_class_bar_or_overlay(
    client: FlaskClient, color_png: bytes
) -> None:
    html = client.post(
        "/analyses", **form(("photo.png", color_png)), follow_redirects=True
    ).text
    assert "Why it was not judged" in html
    text = text_of(html)
    for hidden in ("Any tumour", "Glioma", "probabilities", "Grad-CAM", "Overlay PNG"):
        assert hidden not in text
    assert 'class="bars"' not in html


def test_the_answer_comes_before_notes_and_details(
    client: FlaskClient, page: str
) -> None:
    html = client.get(page).text
    places = [
        html.index(text)
        for text in (
            '<h1 id="decision">',
            "How sure the model is",
            'class="stage"',
            "Calibrated probabilities</h2>",
        )
    ]
    assert places == sorted(places)


FRAME = {"x0": "40", "y0": "30", "x1": "240", "y1": "250"}


def test_a_frame_is_judged_by_itself_and_shown_beside_the_picture(
    client: FlaskClient, page: str
) -> None:
    response = client.post(f"{page}/frame", data=FRAME)
    assert response.status_code == 303
    assert response.location != page
    text = text_of(client.get(response.location).text)
    assert "Only the part inside the frame" in text
    assert "You drew this frame" in text
    document = json.loads(client.get(f"{response.location}/report.json").data)
    assert document["view"] == {
        "corners": [[40, 30], [240, 30], [240, 250], [40, 250]],
        "height": 220,
        "width": 200,
        "inverted": False,
    }
    assert (document["width"], document["height"]) == (256, 256)
    data = np.frombuffer(client.get(f"{response.location}/judged.png").data, np.uint8)
    judged = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert judged is not None
    assert judged.shape == (220, 200)
    assert client.get(f"{page}/judged.png").status_code == 404


def test_a_frame_on_a_picture_of_oblong_pixels_is_judged_with_square_ones(
    client: FlaskClient, lesion_png: bytes
) -> None:
    upright = Image.open(io.BytesIO(lesion_png)).convert("L")
    squeezed, file = upright.resize((128, 256)), io.BytesIO()
    squeezed.save(file, "PNG", dpi=(100, 200))
    page = client.post("/analyses", **form(("n.png", file.getvalue()))).location
    whole = json.loads(client.get(f"{page}/report.json").data)
    assert "square pixels" in " ".join(whole["notes"])
    frame = {"x0": "0", "y0": "0", "x1": "128", "y1": "256"}
    for _ in range(2):
        page = client.post(f"{page}/frame", data=frame).location
        document = json.loads(client.get(f"{page}/report.json").data)
        assert document["p_tumor"] == pytest.approx(whole["p_tumor"], abs=2e-5)


def test_a_frame_can_turn_the_greys_round(
    client: FlaskClient, lesion_png: bytes
) -> None:
    slice_ = cv2.imdecode(np.frombuffer(lesion_png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert slice_ is not None
    # A thin dark edge, so that nobody sees by the corners that the air is white.
    negative = cv2.copyMakeBorder(255 - slice_[20:-20, 20:-20], 20, 20, 20, 20, 0)
    ok, data = cv2.imencode(".png", negative)
    assert ok
    page = client.post("/analyses", **form(("n.png", data.tobytes()))).location
    frame = {"x0": "20", "y0": "20", "x1": "236", "y1": "236", "inverted": "yes"}
    turned = client.post(f"{page}/frame", data=frame).location
    document = json.loads(client.get(f"{turned}/report.json").data)
    assert document["view"]["inverted"]
    assert document["decision"] == "glioma"
    assert "Its greys were turned round" in client.get(turned).text


@pytest.mark.parametrize(
    "edges",
    [
        {},
        {**FRAME, "x1": "60"},
        {**FRAME, "x1": "257"},
        {**FRAME, "y0": "-1"},
        {**FRAME, "x0": "abc"},
        {**FRAME, "x0": "240", "x1": "40"},
    ],
)
def test_a_frame_outside_the_picture_or_too_small_is_refused(
    client: FlaskClient, page: str, edges: dict[str, str]
) -> None:
    response = client.post(f"{page}/frame", data=edges)
    assert response.status_code == 422
    assert "Draw it around one head" in response.text


def test_what_was_cropped_from_a_page_is_shown(
    client: FlaskClient, lesion_png: bytes
) -> None:
    slice_ = cv2.imdecode(np.frombuffer(lesion_png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert slice_ is not None
    white = cv2.copyMakeBorder(slice_, 60, 90, 120, 80, cv2.BORDER_CONSTANT, value=250)
    ok, data = cv2.imencode(".png", white)
    assert ok
    page = client.post("/analyses", **form(("page.png", data.tobytes()))).location
    html = client.get(page).text
    assert "What was judged" in html
    assert 'points="120,60 376,60 376,316 120,316"' in html
    judged = cv2.imdecode(
        np.frombuffer(client.get(f"{page}/judged.png").data, np.uint8),
        cv2.IMREAD_UNCHANGED,
    )
    assert judged is not None
    assert judged.shape == (256, 256)


def test_pictures_and_layers_are_as_large_as_the_upload(
    client: FlaskClient, page: str
) -> None:
    for name, channels in (
        ("picture", 0),
        ("layer-evidence", 4),
        ("layer-gradcam", 4),
        ("layer-outline", 4),
    ):
        data = np.frombuffer(client.get(f"{page}/{name}.png").data, np.uint8)
        read = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        assert read is not None
        assert read.shape == ((256, 256, channels) if channels else (256, 256))
    assert client.get(f"{page}/layer-rainbow.png").status_code == 404


def test_downloads_are_files_named_after_the_upload(
    client: FlaskClient, page: str
) -> None:
    overlay = client.get(f"{page}/overlay.png?kind=gradcam")
    assert '"my head.tumorlens.gradcam.png"' in overlay.headers["Content-Disposition"]
    document = json.loads(client.get(f"{page}/report.json").data)
    assert document["decision"] == "glioma"
    report = client.get(f"{page}/report.pdf")
    assert '"my head.tumorlens.pdf"' in report.headers["Content-Disposition"]
    assert len(PdfReader(io.BytesIO(report.data)).pages) == 1


def test_several_files_without_a_script_give_a_list(
    client: FlaskClient, lesion_png: bytes, color_png: bytes
) -> None:
    response = client.post(
        "/analyses",
        **form(("a.png", lesion_png), ("b.png", color_png), ("c.jpg", b"text")),
    )
    assert response.status_code == 200
    text = text_of(response.text)
    assert "2 read, 1 not" in text
    assert "a.png Tumour: glioma" in text
    assert "b.png Not judged: this looks like a photograph" in text
    assert "c.jpg is text, no picture" in text


def test_a_script_gets_the_same_as_json(client: FlaskClient, lesion_png: bytes) -> None:
    response = client.post(
        "/analyses",
        headers={"Accept": "application/json"},
        **form(("a.png", lesion_png), ("c.jpg", b"text")),
    )
    assert response.json is not None
    assert response.json["analyses"][0]["decision"] == "glioma"
    assert client.get(response.json["analyses"][0]["url"]).status_code == 200
    assert response.json["failures"][0]["mend"]


@pytest.mark.parametrize(
    ("name", "data", "status", "said"),
    [
        ("notes.jpg", b"just text", 422, "notes.jpg is text, no picture"),
        ("none.png", b"", 422, "none.png is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_page_with_the_mend(
    client: FlaskClient, name: str, data: bytes, status: int, said: str
) -> None:
    response = client.post("/analyses", **form((name, data)))
    assert response.status_code == status
    assert said in text_of(response.text)
    assert "Back to the start page" in response.text


def test_no_file_chosen_says_so(client: FlaskClient) -> None:
    response = client.post("/analyses", **form(("", b"")))
    assert response.status_code == 422
    assert "No picture was chosen" in response.text


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>.png", "脳 é.png", "x" * 900]
)
def test_any_name_is_shown_as_text(
    client: FlaskClient, name: str, lesion_png: bytes
) -> None:
    page = client.post("/analyses", **form((name, lesion_png))).location
    html = client.get(page).text
    assert "<script>alert" not in html
    assert client.get(f"{page}/report.pdf").status_code == 200
    assert client.get(f"{page}/report.json").status_code == 200


def test_what_is_gone_says_why_and_what_to_do(client: FlaskClient) -> None:
    response = client.get("/analyses/gone")
    assert response.status_code == 404
    assert "Analyse the picture again" in response.text


def test_a_fault_is_a_page_without_details_and_the_next_is_served(
    client: FlaskClient,
    app: Flask,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    app.config["PROPAGATE_EXCEPTIONS"] = False
    with monkeypatch.context() as patch:
        patch.setattr(store, "owned", fail)
        response = client.get("/")
    assert response.status_code == 500
    assert "TumorLens made a mistake" in response.text
    assert "secret" not in response.text
    assert "secret detail" in caplog.text
    assert client.get("/").status_code == 200


def test_every_slice_of_a_file_has_its_page(
    client: FlaskClient, lesion_png: bytes
) -> None:
    slice_ = cv2.imdecode(np.frombuffer(lesion_png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert slice_ is not None
    ok, data = cv2.imencodemulti(".tiff", [slice_, 255 - slice_])
    assert ok
    text = text_of(client.post("/analyses", **form(("s.tiff", data.tobytes()))).text)
    assert "2 read" in text
    assert "s.tiff, slice 2" in text
