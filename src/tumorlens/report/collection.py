"""Several reports as one PDF: a list of what they say, then each of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pypdf import PdfReader, PdfWriter
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import SimpleDocTemplate, Spacer, Table

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report import words
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.pdf import (
    CAUTION,
    HEADLINE,
    RULED,
    SMALL,
    paragraph,
    plain,
)

_MARGIN = 18 * mm
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
    parts = [PdfReader(io.BytesIO(item.pdf)) for item in reports]
    # The length of the list does not depend on the numbers in it.
    first = len(_listing(reports, [0] * len(reports), bundle, made).pages) + 1
    starts = [first + sum(len(x.pages) for x in parts[:i]) for i in range(len(parts))]
    writer = PdfWriter()
    writer.append(_listing(reports, starts, bundle, made), "List", import_outline=False)
    for report, part in zip(reports, parts, strict=True):
        writer.append(part, report.name, import_outline=False)
    writer.add_metadata({"/Title": "TumorLens reports", "/Author": "TumorLens"})
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def _listing(
    reports: Sequence[Report], starts: Sequence[int], bundle: Bundle, made: datetime
) -> PdfReader:
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
    return PdfReader(buffer)
