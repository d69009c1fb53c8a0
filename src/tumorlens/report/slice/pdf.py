"""A prediction as one A4 page, the parts of every PDF, and several reports as one."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    SimpleDocTemplate,
    Spacer,
    Table,
)

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.report import words
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.overlay import encode_png, render_overlay, window_picture
from tumorlens.taxonomy import ClassName, info_of, is_no_lesion

_INK = "#16242b"
INK = HexColor(_INK)
QUIET = HexColor("#52646d")
LINE = HexColor("#cfd8dc")
WARNING = HexColor("#8a3b00")
CAUTION_FILL = HexColor("#fdf3ea")
CURVE = HexColor("#1f6f8b")
SHADE = HexColor("#e1edf2")

BODY = ParagraphStyle("body", fontSize=9, leading=12.5, textColor=INK)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=8, leading=11, textColor=QUIET)
TITLE = ParagraphStyle("title", parent=BODY, fontSize=11, leading=14)
HEADLINE = ParagraphStyle(
    "headline", parent=BODY, fontName="Helvetica-Bold", fontSize=19, leading=24
)
HEADING = ParagraphStyle(
    "heading", parent=BODY, fontName="Helvetica-Bold", fontSize=10, leading=15
)
CAUTION = ParagraphStyle(
    "caution", parent=BODY, textColor=WARNING, fontName="Helvetica-Bold"
)

RULED = (
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ("LINEBELOW", (0, 0), (-1, -1), 0.5, LINE),
)
"""Style of a table with a line below each row."""


def plain(text: str) -> str:
    """Keep what the PDF's built-in fonts can show."""
    return text.encode("cp1252", "replace").decode("cp1252")


def paragraph(text: str, style: ParagraphStyle = BODY) -> Paragraph:
    """Set plain text; nothing in it is markup."""
    return Paragraph(escape(plain(text)), style)


def bar(share: float, color: str, width: float) -> Drawing:
    """Draw a share, 0 to 1, as a bar; `width` is that of a full one, in points."""
    drawing = Drawing(width, 7)
    for length, fill in ((width, LINE), (width * share, HexColor(color))):
        rectangle = Rect(0, 0, length, 7)
        rectangle.fillColor, rectangle.strokeColor = fill, None
        drawing.add(rectangle)
    return drawing


def probability_rows(
    probabilities: Mapping[ClassName, float], label: float, width: float
) -> Table:
    """Set the classes' probabilities and that of any tumour below one another.

    Parameters
    ----------
    probabilities
        Probability by class in order, 0 to 1, summing to 1.
    label, width
        Widths of the names' column and of a full bar, in points.
    """
    rows: list[list[Flowable]] = [
        [
            paragraph(info_of(name).title),
            bar(share, info_of(name).color, width),
            paragraph(words.percent(share)),
        ]
        for name, share in probabilities.items()
    ]
    tumor = 1.0 - sum(x for name, x in probabilities.items() if is_no_lesion(name))
    rows.append(
        [
            paragraph("Any tumour"),
            bar(tumor, _INK, width),
            paragraph(words.percent(tumor)),
        ]
    )
    return Table(
        rows,
        colWidths=[label, width + 6 * mm, None],
        style=[
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 1),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("LINEABOVE", (0, -1), (-1, -1), 0.5, LINE),
        ],
    )


_MARGIN = 18 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_PICTURE = 82 * mm
_BAR = 70 * mm


def render_pdf(prediction: Prediction, bundle: Bundle, made: datetime) -> bytes:
    """Write a prediction as a PDF of one A4 page.

    Parameters
    ----------
    prediction
        Prediction for one slice.
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
        *_probabilities(prediction),
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
    pictures = [_picture(window_picture(prediction.pixels))]
    titles = [paragraph("The picture", SMALL)]
    if not prediction.decision.is_refused:
        explained = info_of(prediction.explanation.explained).title.lower()
        overlay = render_overlay(prediction.pixels, prediction.explanation, "evidence")
        pictures.append(_picture(overlay))
        titles.append(paragraph(f"Evidence for {explained}, by spot", SMALL))
    return Table(
        [pictures, titles],
        colWidths=[_WIDTH / 2] * len(pictures),
        hAlign="LEFT",
        style=[
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("VALIGN", (0, 0), (-1, 0), "MIDDLE"),
        ],
    )


def _probabilities(prediction: Prediction) -> list[Flowable]:
    values = prediction.decision.probabilities
    if values is None:
        return []
    return [probability_rows(values, 38 * mm, _BAR), Spacer(1, 3 * mm)]


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
    texts = [words.domain_sentence(decision.domain_score)]
    if not decision.is_refused:
        texts = [
            words.location_sentence(prediction),
            *words.kinds_sentences(decision, bundle.prediction_sets),
            *_operating_point(decision.operating_point, bundle),
            *texts,
        ]
    facts = (
        f"{prediction.width} x {prediction.height} pixels. "
        f"Model {bundle.name}, version {prediction.model_version}, "
        f"{prediction.model_precision}. "
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


_COLUMNS = [x * mm for x in (11, 91, 50, 22)]


@dataclass(frozen=True)
class Report:
    """One of the reports.

    Parameters
    ----------
    name
        Name of the picture or scan, as its user knows it.
    answer
        What was found, in a few words.
    p_tumor
        Probability of any tumour, in words; empty where there is none.
    pdf
        The report itself.
    """

    name: str
    answer: str
    p_tumor: str
    pdf: bytes


def render_collection(
    reports: Sequence[Report], bundle: Bundle, made: datetime
) -> bytes:
    """Write several reports as one file, with a bookmark for each.

    Parameters
    ----------
    reports
        At least one, in the order in which they are to stand.
    bundle
        The model.
    made
        The time of writing, with its time zone; stands on the first page.

    Returns
    -------
    bytes
        The file: the list, with the page on which each report begins, and then the
        reports.
    """
    from pypdf import PdfReader, PdfWriter

    def listing(starts: Sequence[int]) -> PdfReader:
        return PdfReader(io.BytesIO(_listing(reports, starts, bundle, made)))

    parts = [PdfReader(io.BytesIO(item.pdf)) for item in reports]
    # The length of the list does not depend on the numbers in it.
    first = len(listing([0] * len(reports)).pages) + 1
    starts = [first + sum(len(x.pages) for x in parts[:i]) for i in range(len(parts))]
    writer = PdfWriter()
    writer.append(listing(starts), "List", import_outline=False)
    for report, part in zip(reports, parts, strict=True):
        writer.append(part, report.name, import_outline=False)
    writer.add_metadata({"/Title": "TumorLens reports", "/Author": "TumorLens"})
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def _listing(
    reports: Sequence[Report], starts: Sequence[int], bundle: Bundle, made: datetime
) -> bytes:
    heads = ("Page", "Picture or series", "Answer", "Any tumour")
    rows = [[paragraph(head, SMALL) for head in heads]]
    for report, start in zip(reports, starts, strict=True):
        cells = (f"{start:5d}", report.name, report.answer, report.p_tumor)
        rows.append([paragraph(cell) for cell in cells])
    date = made.strftime("%Y-%m-%d %H:%M %Z").strip()
    buffer = io.BytesIO()
    SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title="TumorLens reports",
        author="TumorLens",
        subject=RESEARCH_USE,
        lang="en-GB",
        invariant=1,
    ).build(
        [
            paragraph(f"TumorLens, {date}", SMALL),
            paragraph(words.counted(len(reports), "result"), HEADLINE),
            paragraph(plain(f"Model {bundle.name}, version {bundle.version}."), SMALL),
            Spacer(1, 2 * mm),
            paragraph(RESEARCH_USE, CAUTION),
            Spacer(1, 5 * mm),
            Table(rows, colWidths=_COLUMNS, style=RULED, repeatRows=1, hAlign="LEFT"),
        ]
    )
    return buffer.getvalue()
