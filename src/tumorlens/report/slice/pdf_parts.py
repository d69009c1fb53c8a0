"""What every PDF is made of: its colours, type, and rows of probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from reportlab.graphics.shapes import Drawing, Rect
from reportlab.lib.colors import HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, Table

from tumorlens.report.slice import words
from tumorlens.taxonomy import CLASSES, INFO, NO_TUMOR_INDEX, TumorClass

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
    probabilities: Mapping[TumorClass, float], label: float, width: float
) -> Table:
    """Set the classes' probabilities and that of any tumour below one another.

    Parameters
    ----------
    probabilities
        By class, 0 to 1, summing to 1.
    label, width
        Of the names' column and of a full bar, in points.
    """
    rows: list[list[Flowable]] = [
        [
            paragraph(INFO[name].title),
            bar(probabilities[name], INFO[name].color, width),
            paragraph(words.percent(probabilities[name])),
        ]
        for name in CLASSES
    ]
    tumor = 1.0 - probabilities[CLASSES[NO_TUMOR_INDEX]]
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
