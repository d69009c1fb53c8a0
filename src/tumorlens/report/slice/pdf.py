"""A prediction as one A4 page."""

from __future__ import annotations

import io
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    Frame,
    Image,
    KeepInFrame,
    Spacer,
    Table,
)

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.slice.results import Prediction
from tumorlens.report.slice import words
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.overlay import encode_png, render_overlay, window_picture
from tumorlens.report.slice.pdf_parts import (
    CAUTION,
    HEADLINE,
    SMALL,
    TITLE,
    paragraph,
    plain,
    probability_rows,
)
from tumorlens.taxonomy import INFO

_MARGIN = 18 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_PICTURE = 82 * mm
_BAR = 70 * mm


def render_pdf(prediction: Prediction, bundle: Bundle, made: datetime) -> bytes:
    """Write a prediction as a PDF of one A4 page.

    Parameters
    ----------
    prediction
        Of one slice.
    bundle
        The model, for its operating points with their measured sensitivity
        and specificity.
    made
        When the slice was judged, with its time zone; stands on the page.

    Returns
    -------
    bytes
        The file; the same for the same arguments.
    """
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=True, lang="en-GB")
    canvas.setTitle(f"TumorLens report: {plain(prediction.source)}")
    canvas.setAuthor("TumorLens")
    canvas.setSubject(RESEARCH_USE)
    story = [
        *_head(prediction, made),
        _pictures(prediction),
        Spacer(1, 4 * mm),
        *_decision(prediction, bundle),
        probability_rows(prediction.decision.probabilities, 38 * mm, _BAR),
        Spacer(1, 3 * mm),
        *_meaning(prediction, bundle),
    ]
    height = A4[1] - 2 * _MARGIN
    frame = Frame(_MARGIN, _MARGIN, _WIDTH, height, 0, 0, 0, 0)
    # A very long file name or many notes make the text smaller, never two pages.
    frame.addFromList([KeepInFrame(_WIDTH, height, story, mode="shrink")], canvas)
    canvas.save()
    return buffer.getvalue()


def _head(prediction: Prediction, made: datetime) -> list[Flowable]:
    date = made.strftime("%Y-%m-%d %H:%M %Z").strip()
    name = f"{prediction.source}, slice {prediction.index + 1}"
    return [
        paragraph(f"TumorLens report, {date}", SMALL),
        paragraph(name, TITLE),
        Spacer(1, 1.5 * mm),
        paragraph(RESEARCH_USE, CAUTION),
        Spacer(1, 4 * mm),
    ]


def _picture(pixels: NDArray[np.uint8]) -> Image:
    height, width = pixels.shape[:2]
    scale = min(_PICTURE / width, _PICTURE / height)
    data = io.BytesIO(encode_png(pixels))
    return Image(data, width * scale, height * scale)


def _pictures(prediction: Prediction) -> Table:
    explained = INFO[prediction.explanation.explained].title.lower()
    overlay = render_overlay(prediction.pixels, prediction.explanation, "evidence")
    return Table(
        [
            [_picture(window_picture(prediction.pixels)), _picture(overlay)],
            [
                paragraph("The slice", SMALL),
                paragraph(f"Evidence for {explained}, by spot", SMALL),
            ],
        ],
        colWidths=[_WIDTH / 2] * 2,
        style=[
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("VALIGN", (0, 0), (-1, 0), "MIDDLE"),
        ],
    )


def _decision(prediction: Prediction, bundle: Bundle) -> list[Flowable]:
    cautions = [*words.warnings(prediction, bundle)]
    if words.is_refused(prediction):
        cautions.append(words.REFUSED_NUMBERS)
    return [
        paragraph(words.headline(prediction), HEADLINE),
        paragraph(words.sentence(prediction)),
        *(paragraph(text, CAUTION) for text in cautions),
        Spacer(1, 3 * mm),
    ]


def _meaning(prediction: Prediction, bundle: Bundle) -> list[Flowable]:
    decision = prediction.decision
    texts = [
        words.location_sentence(prediction),
        words.prediction_set_sentence(decision.prediction_set, bundle.prediction_sets),
        *_operating_point(decision.operating_point, bundle),
        words.domain_sentence(decision.domain_score),
    ]
    facts = (
        f"{prediction.width} x {prediction.height} pixels. "
        f"Model {bundle.name}, version {prediction.model_version}. "
        f"Judged in {prediction.milliseconds:.0f} ms."
    )
    flow: list[Flowable] = []
    for text in texts:
        flow += [paragraph(text), Spacer(1, 1.5 * mm)]
    return [*flow, paragraph(facts, SMALL)]


def _operating_point(name: str, bundle: Bundle) -> tuple[str, ...]:
    point = bundle.operating_points.get(name)
    if point is None:
        return (f"The operating point was “{name}”, which this model lacks.",)
    return (words.operating_point_sentence(name, point), words.measured_sentence(point))
