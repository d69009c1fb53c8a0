"""A prediction as one A4 page."""

from __future__ import annotations

import io
from datetime import datetime
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from reportlab.graphics.shapes import Drawing, Rect
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    Frame,
    Image,
    KeepInFrame,
    Paragraph,
    Spacer,
    Table,
)

from tumorlens.engine.bundle import Bundle
from tumorlens.engine.results import Prediction
from tumorlens.report import words
from tumorlens.report.overlay import encode_png, render_overlay, window_picture
from tumorlens.report.report import RESEARCH_USE
from tumorlens.taxonomy import CLASSES, INFO

_MARGIN = 18 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_PICTURE = 82 * mm
_BAR = 70 * mm
_INK = HexColor("#16242b")
_QUIET = HexColor("#52646d")
_LINE = HexColor("#cfd8dc")
_WARNING = HexColor("#8a3b00")

_BODY = ParagraphStyle("body", fontSize=9, leading=12.5, textColor=_INK)
_SMALL = ParagraphStyle("small", parent=_BODY, fontSize=8, leading=11, textColor=_QUIET)
_TITLE = ParagraphStyle("title", parent=_BODY, fontSize=11, leading=14)
_HEADLINE = ParagraphStyle(
    "headline", parent=_BODY, fontName="Helvetica-Bold", fontSize=19, leading=24
)
_CAUTION = ParagraphStyle(
    "caution", parent=_BODY, textColor=_WARNING, fontName="Helvetica-Bold"
)


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
    canvas.setTitle(f"TumorLens report: {_plain(prediction.source)}")
    canvas.setAuthor("TumorLens")
    canvas.setSubject(RESEARCH_USE)
    story = [
        *_head(prediction, made),
        _pictures(prediction),
        Spacer(1, 4 * mm),
        *_decision(prediction, bundle),
        _probabilities(prediction),
        Spacer(1, 3 * mm),
        *_meaning(prediction, bundle),
    ]
    height = A4[1] - 2 * _MARGIN
    frame = Frame(_MARGIN, _MARGIN, _WIDTH, height, 0, 0, 0, 0)
    # A very long file name or many notes make the text smaller, never two pages.
    frame.addFromList([KeepInFrame(_WIDTH, height, story, mode="shrink")], canvas)
    canvas.save()
    return buffer.getvalue()


def _plain(text: str) -> str:
    """Keep what the PDF's built-in fonts can show."""
    return text.encode("cp1252", "replace").decode("cp1252")


def _paragraph(text: str, style: ParagraphStyle = _BODY) -> Paragraph:
    return Paragraph(escape(_plain(text)), style)


def _head(prediction: Prediction, made: datetime) -> list[Flowable]:
    date = made.strftime("%Y-%m-%d %H:%M %Z").strip()
    name = f"{prediction.source}, slice {prediction.index + 1}"
    return [
        _paragraph(f"TumorLens report, {date}", _SMALL),
        _paragraph(name, _TITLE),
        Spacer(1, 1.5 * mm),
        _paragraph(RESEARCH_USE, _CAUTION),
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
                _paragraph("The slice", _SMALL),
                _paragraph(f"Evidence for {explained}, by spot", _SMALL),
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
        _paragraph(words.headline(prediction), _HEADLINE),
        _paragraph(words.sentence(prediction)),
        *(_paragraph(text, _CAUTION) for text in cautions),
        Spacer(1, 3 * mm),
    ]


def _bar(share: float, color: str) -> Drawing:
    drawing = Drawing(_BAR, 7)
    for length, fill in ((_BAR, _LINE), (_BAR * share, HexColor(color))):
        bar = Rect(0, 0, length, 7)
        bar.fillColor, bar.strokeColor = fill, None
        drawing.add(bar)
    return drawing


def _probabilities(prediction: Prediction) -> Table:
    values = prediction.decision.probabilities
    rows: list[list[Flowable]] = [
        [
            _paragraph(INFO[name].title),
            _bar(values[name], INFO[name].color),
            _paragraph(words.percent(values[name])),
        ]
        for name in CLASSES
    ]
    rows.append(
        [
            _paragraph("Any tumour"),
            _bar(prediction.decision.p_tumor, "#16242b"),
            _paragraph(words.percent(prediction.decision.p_tumor)),
        ]
    )
    return Table(
        rows,
        colWidths=[38 * mm, _BAR + 6 * mm, None],
        style=[
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 1),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("LINEABOVE", (0, -1), (-1, -1), 0.5, _LINE),
        ],
    )


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
        flow += [_paragraph(text), Spacer(1, 1.5 * mm)]
    return [*flow, _paragraph(facts, _SMALL)]


def _operating_point(name: str, bundle: Bundle) -> tuple[str, ...]:
    point = bundle.operating_points.get(name)
    if point is None:
        return (f"The operating point was “{name}”, which this model lacks.",)
    return (words.operating_point_sentence(name, point), words.measured_sentence(point))
