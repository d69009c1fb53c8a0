"""The findings of a study's scans as a PDF."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import datetime

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, SimpleDocTemplate, Spacer, Table

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.slice.results import Failure
from tumorlens.report.series import words as scan_words
from tumorlens.report.series.pdf_series import (
    WIDTH,
    ScanEntry,
    series_section,
    short_name,
)
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.pdf_parts import (
    HEADING,
    HEADLINE,
    INK,
    LINE,
    QUIET,
    RULED,
    SMALL,
    WARNING,
    paragraph,
    plain,
)
from tumorlens.taxonomy import decision_title

_SIDE = (A4[0] - WIDTH) / 2
_TOP = A4[1] - 14 * mm
_FOOT = 15 * mm
_PADDING = 6
"""Points that the document's frame leaves free on each side by itself."""

NOTICE = "RESEARCH USE ONLY – NOT FOR CLINICAL USE"


def render_scan_pdf(
    entries: Sequence[ScanEntry],
    bundle: Bundle,
    made: datetime,
    notes: Sequence[str] = (),
    failures: Sequence[Failure] = (),
) -> bytes:
    """Write a study's findings as A4 pages, each series from a new page on.

    Parameters
    ----------
    entries
        One for each series that was judged.
    bundle
        The model, for its operating points.
    made
        When the study was judged, with its time zone; stands on each page.
    notes
        Full sentences on how the files were read.
    failures
        Files that could not be read.

    Returns
    -------
    bytes
        The file; the same for the same arguments. It holds the files' names,
        and nothing else that could name the patient.
    """
    # The number of pages stands on each page, and is known after a first pass.
    pages = 0
    for _ in range(2):
        buffer = io.BytesIO()
        document = SimpleDocTemplate(
            buffer,
            pagesize=A4,
            leftMargin=_SIDE - _PADDING,
            rightMargin=_SIDE - _PADDING,
            topMargin=A4[1] - _TOP + 13 * mm,
            bottomMargin=_FOOT + 6 * mm,
            title="TumorLens scan report",
            author="TumorLens",
            subject=RESEARCH_USE,
            lang="en-GB",
            invariant=1,
        )
        frame = _page_frame(bundle, made, pages)
        story = _story(entries, bundle, notes, failures)
        document.build(story, onFirstPage=frame, onLaterPages=frame)
        pages = document.page
    return buffer.getvalue()


def _page_frame(
    bundle: Bundle, made: datetime, pages: int
) -> Callable[[Canvas, object], None]:
    """Head and foot of each page."""
    date = made.strftime("%Y-%m-%d %H:%M %Z").strip()
    model = plain(f"Model {bundle.name}, version {bundle.version}")[:100]
    right = A4[0] - _SIDE

    def draw(canvas: Canvas, _: object) -> None:
        def put(text: str, y: float, size: float, end: bool = False) -> None:
            canvas.setFontSize(size)
            (canvas.drawRightString if end else canvas.drawString)(
                right if end else _SIDE, y, text
            )

        canvas.saveState()
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica-Bold", 12)
        put("TumorLens scan report", _TOP - 9, 12)
        canvas.setFillColor(WARNING)
        put(NOTICE, _TOP - 22, 8.5)
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(QUIET)
        put(date, _TOP - 9, 8, end=True)
        put(RESEARCH_USE, _FOOT, 7)
        put(model, _FOOT - 9, 7)
        put(f"Page {canvas.getPageNumber()} of {pages}", _FOOT - 9, 7, end=True)
        canvas.setStrokeColor(LINE)
        for y in (_TOP - 28, _FOOT + 4 * mm):
            canvas.line(_SIDE, y, right, y)
        canvas.restoreState()

    return draw


def _story(
    entries: Sequence[ScanEntry],
    bundle: Bundle,
    notes: Sequence[str],
    failures: Sequence[Failure],
) -> list[Flowable]:
    alone = len(entries) == 1 and not failures and not notes
    if alone:
        return series_section(entries[0], bundle, "Series")
    story = _summary(entries, notes, failures)
    for number, entry in enumerate(entries, 1):
        label = f"Series {number} of {len(entries)}"
        story += [PageBreak(), *series_section(entry, bundle, label)]
    return story


def _summary(
    entries: Sequence[ScanEntry], notes: Sequence[str], failures: Sequence[Failure]
) -> list[Flowable]:
    heads = ("", "Series", "Sequence", "Plane", "Slices", "Decision", "Any tumour")
    rows = [[paragraph(head, SMALL) for head in heads]]
    for number, entry in enumerate(entries, 1):
        finding = entry.finding
        cells = (
            str(number),
            short_name(finding.source),
            finding.sequence or "not stated",
            finding.plane or "not stated",
            str(finding.slices),
            decision_title(finding.decision),
            scan_words.tumor_percent(finding.decision, finding.p_tumor),
        )
        rows.append([paragraph(cell) for cell in cells])
    widths = [x * mm for x in (7, 57, 26, 20, 13, 35, 20)]
    unread = [
        f"{short_name(item.source)}: {item.message} {item.hint}".strip()
        for item in failures
    ]
    count = f"Series judged: {len(entries)}. Inputs not read: {len(unread)}."
    return [
        paragraph("Study", HEADLINE),
        paragraph(count),
        Spacer(1, 4 * mm),
        Table(rows, colWidths=widths, style=RULED, repeatRows=1, hAlign="LEFT"),
        *_listed("Not read", unread),
        *_listed("How the files were read", notes),
    ]


def _listed(title: str, texts: Sequence[str]) -> list[Flowable]:
    if not texts:
        return []
    lines = (paragraph(text) for text in dict.fromkeys(texts))
    return [Spacer(1, 4 * mm), paragraph(title, HEADING), *lines]
