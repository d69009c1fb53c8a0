"""A chart as SVG: axes, lines, points, bars, intervals, a legend; no library.

Colours come from classes, so that the page's style (`svg_style.STYLE`) can suit them
to a dark screen. No series is told by its colour alone: lines differ in
their dashes, points in their shape.
"""

from __future__ import annotations

import math
from html import escape

from tumorlens.report.charts.svg_marks import BarPlace, bar_room, draw_key, draw_series
from tumorlens.report.charts.svg_scale import Scale, make_scale
from tumorlens.report.charts.svg_style import COLORS, text_width
from tumorlens.report.page_parts import Chart, Line

WIDTH = 460.0
HEIGHT = 300.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 12.0, 50.0
ROW = 19.0
"""Height of a row of the legend."""


def draw_chart(chart: Chart, name: str) -> str:
    """Draw a chart.

    Parameters
    ----------
    chart
        Numbers that are not finite are left out; a line breaks there.
    name
        Of the drawing within its page: letters, digits and hyphens.

    Returns
    -------
    str
        An ``<svg>`` element for a page; it names and describes itself.
    """
    across, up = _scales(chart)
    rows = _legend_rows(chart)
    height = HEIGHT + ROW * len(rows)
    shown = [index for index, line in enumerate(chart.lines) if _has_values(line)]
    marks = "".join(
        draw_series(line, index, BarPlace(chart, index), across, up)
        for index, line in enumerate(chart.lines)
        if index in shown
    )
    empty = "" if shown else _text(WIDTH / 2, HEIGHT / 2, "No values", "middle")
    # A little wider than the axes, so that a mark at the very end stays whole.
    frame = (
        f'x="{LEFT - 6}" y="{TOP - 6}" width="{WIDTH - LEFT - RIGHT + 12}" '
        f'height="{HEIGHT - TOP - BOTTOM + 12}"'
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(chart.title)}</title>'
        f'<desc id="{name}-desc">{escape(describe(chart))}</desc>'
        f'<clipPath id="{name}-clip"><rect {frame}/></clipPath>'
        + _axes(chart, across, up)
        + f'<g clip-path="url(#{name}-clip)">'
        + (_diagonal(across, up) if chart.diagonal else "")
        + f"{marks}</g>{empty}{_legend(chart, rows)}</svg>"
    )


def describe(chart: Chart) -> str:
    """Say in words what a chart shows, for those who do not see it."""
    said = [f"{chart.y_label} against {chart.x_label}."]
    for line in chart.lines:
        values = [value for value in line.y if math.isfinite(value)]
        if not values:
            said.append(f"{line.name}: no values.")
            continue
        count = f"{len(values)} value" + ("s" if len(values) > 1 else "")
        said.append(
            f"{line.name}: {count}, from {values[0]:.3g} to {values[-1]:.3g}, "
            f"lowest {min(values):.3g}, highest {max(values):.3g}."
        )
    return " ".join(said)


def _scales(chart: Chart) -> tuple[Scale, Scale]:
    xs = [x for line in chart.lines for x in line.x]
    ys = [y for line in chart.lines for y in (*line.y, *line.low, *line.high)]
    if any(line.style == "bars" for line in chart.lines):
        ys.append(0.0)
        room = bar_room(chart) / 2
        xs += [x - room for x in xs] + [x + room for x in xs]
    return (
        make_scale(xs, chart.x_range, (LEFT, WIDTH - RIGHT)),
        make_scale(ys, chart.y_range, (HEIGHT - BOTTOM, TOP)),
    )


def _has_values(line: Line) -> bool:
    return any(math.isfinite(value) for value in line.y)


def _axes(chart: Chart, across: Scale, up: Scale) -> str:
    parts = ['<g class="axes">']
    for tick in up.ticks:
        y = up(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 7, y + 4, up.label(tick), "end"))
    base = HEIGHT - BOTTOM
    for tick in across.ticks:
        x = across(tick)
        parts.append(f'<path class="axis" d="M{x:.1f} {base}v5"/>')
        parts.append(_text(x, base + 18, across.label(tick), "middle"))
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}"/>')
    middle = (TOP + base) / 2
    parts.append(
        _text((LEFT + WIDTH - RIGHT) / 2, base + 38, chart.x_label, "middle", "label")
    )
    parts.append(
        f'<text class="label" text-anchor="middle" transform="translate(13 {middle}) '
        f'rotate(-90)">{escape(chart.y_label)}</text></g>'
    )
    return "".join(parts)


def _diagonal(across: Scale, up: Scale) -> str:
    low, high = max(across.low, up.low), min(across.high, up.high)
    if low >= high:
        return ""
    return (
        f'<path class="diagonal" d="M{across(low):.1f} {up(low):.1f}'
        f'L{across(high):.1f} {up(high):.1f}"/>'
    )


def _legend_rows(chart: Chart) -> list[list[tuple[int, float]]]:
    """Put the names side by side as far as they fit: (series, pixels wide)."""
    if len(chart.lines) == 1 and not chart.diagonal:
        return []  # the title and the axis say it already
    rows: list[list[tuple[int, float]]] = [[]]
    used = 0.0
    for index, line in enumerate(chart.lines):
        wide = 40.0 + text_width(_short(line.name))
        if rows[-1] and used + wide > WIDTH - LEFT - RIGHT:
            rows.append([])
            used = 0.0
        rows[-1].append((index, wide))
        used += wide
    return rows


def _legend(chart: Chart, rows: list[list[tuple[int, float]]]) -> str:
    parts = []
    for number, row in enumerate(rows):
        x, y = LEFT, HEIGHT + ROW * number + 6
        for index, wide in row:
            line = chart.lines[index]
            parts.append(
                f'<g class="s{index % COLORS}">{draw_key(line, index, x, y)}</g>'
            )
            parts.append(_text(x + 27, y + 4, _short(line.name), "start"))
            x += wide
    return "".join(parts)


def _short(name: str) -> str:
    """Cut a name that would leave the picture; `describe` keeps it whole."""
    longest = 54
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def _text(x: float, y: float, text: str, anchor: str, name: str = "tick") -> str:
    return (
        f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
