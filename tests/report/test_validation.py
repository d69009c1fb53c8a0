"""A page of figures becomes a PDF that can be read and searched."""

from __future__ import annotations

import datetime
import io
import math

import numpy as np
from pypdf import PdfReader
from reportlab.graphics.shapes import Circle, PolyLine, Rect, String

from tumorlens.report.page_parts import Chart, Line, Picture, Section, Table
from tumorlens.report.slice.overlay import encode_png
from tumorlens.report.validation import ModelName, draw_chart, render_sections_pdf

MADE = datetime.datetime(2026, 11, 30, 12, 0, tzinfo=datetime.UTC)
WIDE = Table(
    "Wide",
    ("Group", *(f"Figure {number}" for number in range(9))),
    [(f"row {row}", *["0.912 [0.884, 0.940]"] * 9) for row in range(80)],
)
CHART = Chart(
    "Sensitivity by subgroup",
    "Number",
    "Sensitivity",
    [
        Line("sensitivity", [1, 2], [0.5, 0.9], "points", [0.3, 0.8], [0.7, 1.0]),
        Line("margin", [0, 1, 2, 3], [0.6, math.nan, 0.6, 0.6]),
        Line("counts", [1, 2], [0.2, -0.4], "bars"),
    ],
    diagonal=True,
)


def render(sections):
    return render_sections_pdf(
        "A study", "Of whom", sections, ModelName("tiny", "1"), MADE
    )


def text_of(data):
    pages = PdfReader(io.BytesIO(data)).pages
    return [" ".join(page.extract_text().split()) for page in pages]


def test_everything_stands_in_it_on_as_many_pages_as_it_takes():
    picture = Picture(encode_png(np.zeros((20, 30), np.uint8)), "A black slice.")
    section = Section(
        "one", "First part", ("Words & more.",), [WIDE], [CHART], [picture]
    )
    empty = Section("two", "Second part", tables=[Table("None", ("A",), [])])
    pages = text_of(render([section, empty]))
    assert len(pages) > 2
    text = " ".join(pages)
    for words in ("A study", "First part", "Words & more.", "row 79", "A black slice."):
        assert words in text
    assert text.count("0.912") == 80 * 9
    assert "Second part" in text
    assert f"Page {len(pages)} of {len(pages)}" in pages[-1]
    assert all("Group" in page for page in pages[:2]), "heads are repeated"
    assert "tiny, version 1" in pages[0]


def test_the_same_figures_make_the_same_bytes():
    section = Section("one", "First part", (), [WIDE], [CHART])
    assert render([section]) == render([section])


def test_a_chart_has_a_mark_for_each_number_and_a_legend():
    drawing = draw_chart(CHART)
    kinds = [type(item) for item in drawing.contents]
    assert kinds.count(Circle) == 2
    # Two bars, and three names in the legend.
    assert kinds.count(Rect) == 5
    words = {item.text for item in drawing.contents if isinstance(item, String)}
    assert {"sensitivity", "margin", "counts", "Number", "-0.5"} <= words
    lines = [item for item in drawing.contents if isinstance(item, PolyLine)]
    # The line breaks where it has no number: a run of one, and a run of two.
    assert {2, 4} <= {len(item.points) for item in lines}
    inside = [x for item in lines for x in item.points[::2]]
    assert min(inside) >= 0
    assert max(inside) <= drawing.width
