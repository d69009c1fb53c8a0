"""Sections of a page of figures as a PDF: words, tables and charts on A4 pages."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from reportlab.graphics import shapes
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Image, KeepTogether, Spacer
from reportlab.platypus import Table as Grid

from tumorlens.report.charts import Scale, make_scale
from tumorlens.report.page import numeric_columns
from tumorlens.report.page_parts import Chart, Line, Picture, Section, Table
from tumorlens.report.series.pdf import WIDTH, render_pages
from tumorlens.report.slice.pdf import (
    BODY,
    HEADING,
    HEADLINE,
    INK,
    LINE,
    QUIET,
    RULED,
    SMALL,
    paragraph,
    plain,
)

_SECTION = ParagraphStyle("section", parent=HEADING, fontSize=13, leading=18)
_CELL = ParagraphStyle("cell", parent=BODY, fontSize=7.5, leading=9.5)
_HEAD = ParagraphStyle("head", parent=SMALL, fontSize=7.5, leading=9.5)
_RIGHT = ParagraphStyle("right", parent=_CELL, alignment=2)
_HEAD_RIGHT = ParagraphStyle("head-right", parent=_HEAD, alignment=2)

_COLORS = tuple(
    HexColor(code)
    for code in ("#0b5c66", "#d55e00", "#7a5195", "#009e73", "#b07a00", "#5f6b70")
)
_CHART_WIDTH, _CHART_HEIGHT = 118 * mm, 62 * mm
_LEFT, _BOTTOM, _TOP, _RIGHT_ROOM = 38.0, 30.0, 6.0, 8.0
_FONT, _FONT_SIZE = "Helvetica", 7.5
_LEGEND_ROW = 10.0
_LETTER, _GAP = 4.3, 8.0
"""Width of a letter in a table, and the room between columns, in points."""
_LONGEST_WORD = 30
"""Letters of a word that is not broken."""


class ModelName(NamedTuple):
    """Which model was measured; stands on each page."""

    name: str
    version: str


def render_sections_pdf(
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    model: ModelName,
    made: datetime,
) -> bytes:
    """Write a page of figures as a PDF.

    Parameters
    ----------
    title, subtitle
        Plain text on the first page; the title stands on each.
    sections
        Sections in order, each with everything that the HTML page shows folded.
    model
        The model that was measured.
    made
        When the figures were made, with its time zone; stands on each page.

    Returns
    -------
    bytes
        The file; the same for the same arguments.
    """

    def story() -> list[Flowable]:
        parts: list[Flowable] = [
            paragraph(title, HEADLINE),
            paragraph(subtitle),
            Spacer(1, 4 * mm),
        ]
        for section in sections:
            parts += _section(section)
        return parts

    return render_pages(story, plain(title)[:70], model, made)


def _section(section: Section) -> list[Flowable]:
    heading: list[Flowable] = [
        Spacer(1, 5 * mm),
        paragraph(section.title, _SECTION),
        *(paragraph(text) for text in section.paragraphs[:1]),
    ]
    parts: list[Flowable] = [KeepTogether(heading)]
    parts += [paragraph(text) for text in section.paragraphs[1:]]
    for table in section.tables:
        parts += _table(table)
    for chart in section.charts:
        drawn: list[Flowable] = [
            Spacer(1, 3 * mm),
            paragraph(chart.title, HEADING),
            draw_chart(chart),
        ]
        parts.append(KeepTogether(drawn))
    parts += [_picture(picture) for picture in section.pictures]
    return parts


def _picture(picture: Picture) -> Flowable:
    image = Image(io.BytesIO(picture.png))
    scale = min(1.0, 90 * mm / image.imageWidth)
    image.drawWidth, image.drawHeight = (
        image.imageWidth * scale,
        image.imageHeight * scale,
    )
    image.hAlign = "LEFT"
    return KeepTogether([image, paragraph(picture.caption, SMALL), Spacer(1, 2 * mm)])


def _table(table: Table) -> list[Flowable]:
    if not table.rows:
        return []
    numeric = numeric_columns(table)
    rows = [
        [
            paragraph(cell, _HEAD_RIGHT if right else _HEAD)
            for cell, right in zip(table.columns, numeric, strict=True)
        ]
    ]
    rows += [
        [
            paragraph(cell, _RIGHT if right else _CELL)
            for cell, right in zip(row, numeric, strict=True)
        ]
        for row in table.rows
    ]
    grid = Grid(
        rows,
        colWidths=_column_widths(table),
        style=[*RULED, ("RIGHTPADDING", (0, 0), (-1, -1), 5)],
        repeatRows=1,
        hAlign="LEFT",
    )
    title = [paragraph(table.title, HEADING)] if table.title else []
    return [Spacer(1, 3 * mm), *title, grid]


def _column_widths(table: Table) -> list[float]:
    """Give each column its longest word at least, and share out what is left."""
    columns = list(zip(table.columns, *table.rows, strict=True))
    words = [
        _LETTER * max(len(word) for cell in column for word in cell.split() or [""])
        + _GAP
        for column in columns
    ]
    least = [min(width, _LETTER * _LONGEST_WORD) for width in words]
    cells = [
        _LETTER * max(len(cell) for cell in column[1:]) + _GAP for column in columns
    ]
    wished = [max(low, full) for low, full in zip(least, cells, strict=True)]
    if sum(wished) <= WIDTH:
        return wished
    if sum(least) >= WIDTH:
        return [WIDTH * width / sum(least) for width in least]
    share = (WIDTH - sum(least)) / (sum(wished) - sum(least))
    return [low + share * (full - low) for low, full in zip(least, wished, strict=True)]


def draw_chart(chart: Chart) -> shapes.Drawing:
    """Draw a chart; numbers that are not finite are left out, and a line breaks there.

    Parameters
    ----------
    chart
        At least one series.

    Returns
    -------
    Drawing
        As wide as two thirds of a page, with its legend below.
    """
    legend = len(chart.lines) if len(chart.lines) > 1 else 0
    room = _LEGEND_ROW * legend
    drawing = shapes.Drawing(_CHART_WIDTH, _CHART_HEIGHT + room)
    across = make_scale(
        [x for line in chart.lines for x in line.x],
        chart.x_range,
        (_LEFT, _CHART_WIDTH - _RIGHT_ROOM),
    )
    values = [y for line in chart.lines for y in (*line.y, *line.low, *line.high)]
    if any(line.style == "bars" for line in chart.lines):
        values.append(0.0)
    up = make_scale(
        values, chart.y_range, (room + _BOTTOM, room + _CHART_HEIGHT - _TOP)
    )
    _axes(drawing, chart, across, up, room)
    if chart.diagonal:
        ends = max(across.low, up.low), min(across.high, up.high)
        _stroke(drawing, [(across(at), up(at)) for at in ends], QUIET, 0.5)
    for number, line in enumerate(chart.lines):
        color = _COLORS[number % len(_COLORS)]
        _series(drawing, line, color, across, up)
        if legend:
            y = room - _LEGEND_ROW * (number + 1) + 2
            drawing.add(shapes.Rect(_LEFT, y, 8, 5, fillColor=color, strokeColor=None))
            _text(drawing, line.name, _LEFT + 12, y, "start")
    return drawing


def _axes(
    drawing: shapes.Drawing, chart: Chart, across: Scale, up: Scale, room: float
) -> None:
    base, right = room + _BOTTOM, _CHART_WIDTH - _RIGHT_ROOM
    for tick in up.ticks:
        y = up(tick)
        _stroke(drawing, [(_LEFT, y), (right, y)], LINE, 0.5)
        _text(drawing, up.label(tick), _LEFT - 4, y - 2.5, "end")
    for tick in across.ticks:
        x = across(tick)
        _stroke(drawing, [(x, base), (x, base - 3)], INK, 0.5)
        _text(drawing, across.label(tick), x, base - 11, "middle")
    corner = [(_LEFT, room + _CHART_HEIGHT - _TOP), (_LEFT, base), (right, base)]
    _stroke(drawing, corner, INK, 0.7)
    _text(drawing, chart.x_label, (_LEFT + right) / 2, base - 24, "middle")
    label = shapes.Group(transform=(0, 1, -1, 0, 9, base + 4))
    label.add(_string(chart.y_label, 0, 0, "start"))
    drawing.add(label)


def _series(
    drawing: shapes.Drawing, line: Line, color: Color, across: Scale, up: Scale
) -> None:
    points = [
        (across(x), up(y)) if math.isfinite(x) and math.isfinite(y) else None
        for x, y in zip(line.x, line.y, strict=True)
    ]
    whole = [point for point in points if point is not None]
    if line.style == "line":
        run: list[tuple[float, float]] = []
        for point in [*points, None]:
            if point is not None:
                run.append(point)
            elif run:
                _stroke(drawing, run, color, 1.2)
                run = []
        return
    for x, low, high in zip(line.x, line.low, line.high, strict=False):
        if math.isfinite(low) and math.isfinite(high):
            _stroke(drawing, [(across(x), up(low)), (across(x), up(high))], QUIET, 0.8)
    if line.style == "points":
        for x, y in whole:
            drawing.add(shapes.Circle(x, y, 2.2, fillColor=color, strokeColor=None))
        return
    half = 0.4 * (_CHART_WIDTH - _LEFT - _RIGHT_ROOM) / max(1, len(whole))
    base = up(max(0.0, up.low))
    for x, y in whole:
        drawing.add(
            shapes.Rect(
                x - half, base, 2 * half, y - base, fillColor=color, strokeColor=None
            )
        )


def _stroke(
    drawing: shapes.Drawing,
    points: Sequence[tuple[float, float]],
    color: Color,
    width: float,
) -> None:
    flat = [number for point in points for number in point]
    drawing.add(shapes.PolyLine(flat, strokeColor=color, strokeWidth=width))


def _text(drawing: shapes.Drawing, text: str, x: float, y: float, anchor: str) -> None:
    drawing.add(_string(text, x, y, anchor))


def _string(text: str, x: float, y: float, anchor: str) -> shapes.String:
    return shapes.String(
        x,
        y,
        # The built-in fonts have no minus sign.
        plain(text.replace("−", "-")),
        fontName=_FONT,
        fontSize=_FONT_SIZE,
        fillColor=INK,
        textAnchor=anchor,
    )
