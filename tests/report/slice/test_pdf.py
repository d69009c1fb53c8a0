"""The PDF is one page that says what matters, whatever it is given."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader
from reportlab.pdfgen.canvas import Canvas

from tumorlens import load_classifier
from tumorlens.inference.bundle.bundle import Bundle, load_bundle
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.pdf import Report, render_collection, render_pdf
from tumorlens.taxonomy import Answer

MADE = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


def text_of(data: bytes) -> str:
    reader = PdfReader(io.BytesIO(data))
    assert len(reader.pages) == 1
    assert reader.pages[0].mediabox.width == pytest.approx(595.28, abs=0.1)
    return " ".join(reader.pages[0].extract_text().split())


def test_the_page_says_all_that_matters(prediction: Prediction, bundle: Bundle) -> None:
    text = text_of(render_pdf(prediction, bundle, MADE))
    for said in (
        "scan 1.png",
        "2026-03-04 05:06 UTC",
        RESEARCH_USE,
        "Glioma",
        "75.0 %",
        "93.8 %",
        "One reason.",
        "Only the first frame was used.",
        "“screening”",
        "sensitivity 90.0 % (95 % interval 80.0 to 100.0 %)",
        "about 10 by 5 mm",
        "version 1.2.3",
    ):
        assert said in text


def test_the_page_has_the_picture_and_the_overlay(
    prediction: Prediction, bundle: Bundle
) -> None:
    reader = PdfReader(io.BytesIO(render_pdf(prediction, bundle, MADE)))
    sizes = [image.image.size for image in reader.pages[0].images if image.image]
    assert sizes == [(80, 60), (80, 60)]


def test_the_same_report_is_the_same_file(
    prediction: Prediction, bundle: Bundle
) -> None:
    assert render_pdf(prediction, bundle, MADE) == render_pdf(prediction, bundle, MADE)


def test_a_refusal_says_so(prediction: Prediction, bundle: Bundle) -> None:
    refused = replace(
        prediction,
        decision=replace(prediction.decision, finding=Answer.NOT_BRAIN_MRI, kinds=()),
    )
    text = text_of(render_pdf(refused, bundle, MADE))
    assert "Not judged: this does not look like a brain MRI" in text
    assert "gives no answer" in text
    assert "No probability is shown" in text
    assert "%" not in text
    for word in ("glioma", "meningioma", "pituitary", "any tumour"):
        assert word not in text.lower()


@pytest.mark.parametrize(
    "name", ["<b>&amp;.png", "脳.png", "a" * 3000, "long name " * 300, "\udce9.png"]
)
def test_any_name_fits_on_the_page(
    prediction: Prediction, bundle: Bundle, name: str
) -> None:
    named = replace(prediction, source=name)
    assert "Glioma" in text_of(render_pdf(named, bundle, MADE))


def test_an_operating_point_that_the_model_lacks(
    prediction: Prediction, bundle: Bundle
) -> None:
    other = replace(
        prediction, decision=replace(prediction.decision, operating_point="old")
    )
    assert "this model lacks" in text_of(render_pdf(other, bundle, MADE))


@pytest.mark.parametrize("shape", [(32, 256), (256, 32), (1, 1)])
def test_a_picture_of_any_shape_fits(
    prediction: Prediction, bundle: Bundle, shape: tuple[int, int]
) -> None:
    blank = np.zeros(shape, np.float32)
    shaped = replace(
        prediction,
        height=shape[0],
        width=shape[1],
        pixels=blank,
        explanation=replace(
            prediction.explanation, evidence=blank, gradcam=blank, outline=(), box=None
        ),
    )
    assert "No spot is outlined" in text_of(render_pdf(shaped, bundle, MADE))


def pdf(*pages: str) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for text in pages:
        canvas.drawString(100, 700, text)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def test_the_list_names_the_page_on_which_each_report_begins(
    tiny_bundle: Path,
) -> None:
    bundle = load_classifier(tiny_bundle, threads=1).bundle
    reports = [
        Report(f"picture {n}.png", "Glioma", "99.0 %", pdf(f"one {n}", f"two {n}"))
        for n in range(70)
    ]
    data = render_collection(reports, bundle, datetime(2026, 1, 2, tzinfo=UTC))
    reader = PdfReader(io.BytesIO(data))
    pages = [page.extract_text() for page in reader.pages]
    first = next(n for n, text in enumerate(pages) if text.startswith("one 0"))
    assert first > 1, "a long list takes more than one page"
    assert len(pages) == first + 140
    assert "70 results" in pages[0]
    listed = " ".join(" ".join(pages[:first]).split())
    assert f"{first + 1} picture 0.png Glioma 99.0 %" in listed
    assert f"{first + 139} picture 69.png" in listed
    assert pages[first + 138].startswith("one 69")
    titles = [item["/Title"] for item in reader.outline]
    assert titles == ["List", *(f"picture {n}.png" for n in range(70))]


def test_a_name_in_any_script_is_listed(tiny_bundle: Path) -> None:
    bundle = load_classifier(tiny_bundle, threads=1).bundle
    reports = [Report("脳 <b>é</b>.png", "No tumour", "", pdf("x"))]
    data = render_collection(reports, bundle, datetime(2026, 1, 2, tzinfo=UTC))
    reader = PdfReader(io.BytesIO(data))
    assert "1 result" in reader.pages[0].extract_text()
    assert "<b>é</b>.png" in reader.pages[0].extract_text()
