"""The marks of a chart's series: lines with bands, points and bars with whiskers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from tumorlens.report.charts.svg_scale import Scale
from tumorlens.report.charts.svg_style import COLORS
from tumorlens.report.page_parts import Chart, Line

DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4")


def bar_room(chart: Chart) -> float:
    """Width for all bars of one x, in the chart's numbers."""
    xs = sorted({x for line in chart.lines if line.style == "bars" for x in line.x})
    gaps = [after - before for before, after in itertools.pairwise(xs)]
    return 0.8 * min(gaps, default=1.0)


class BarPlace:
    """Where a series' bars stand beside those of the others.

    Parameters
    ----------
    chart
        With all its series.
    index
        Of this one.
    """

    def __init__(self, chart: Chart, index: int) -> None:
        bars = [row for row, line in enumerate(chart.lines) if line.style == "bars"]
        self.width = bar_room(chart) / max(1, len(bars))
        order = bars.index(index) if index in bars else 0
        self.shift = (order - (len(bars) - 1) / 2) * self.width


def draw_series(
    line: Line, index: int, place: BarPlace, across: Scale, up: Scale
) -> str:
    """Draw one series of a chart, without what is not finite.

    Parameters
    ----------
    line
        The series.
    index
        Its place in the chart: chooses its colour, dashes and shape.
    place
        Where its bars stand, if it has any.
    across, up
        The axes.
    """
    found = f'<g class="s{index % COLORS}">'
    if line.style == "bars":
        return found + _bars(line, place, across, up) + "</g>"
    if line.style == "points":
        spread = _whiskers(line, 0.0, across, up)
        dots = "".join(
            _marker(index, across(x), up(y))
            for x, y in zip(line.x, line.y, strict=True)
            if math.isfinite(x) and math.isfinite(y)
        )
        return found + spread + dots + "</g>"
    dash = DASHES[index % len(DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    path = "".join(_polyline(run, across, up) for run in _runs(line.x, line.y))
    return (
        f'{found}{_band(line, across, up)}<path class="line"{dashed} d="{path}"/></g>'
    )


def _bars(line: Line, place: BarPlace, across: Scale, up: Scale) -> str:
    parts = []
    base = up(min(max(0.0, up.low), up.high))
    for x, y in zip(line.x, line.y, strict=True):
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        left = across(x + place.shift - place.width / 2)
        wide = across(x + place.shift + place.width / 2) - left
        top = min(base, up(y))
        parts.append(
            f'<rect class="bar" x="{left + wide * 0.04:.1f}" y="{top:.1f}" '
            f'width="{wide * 0.92:.1f}" height="{abs(base - up(y)):.1f}"/>'
        )
    return "".join(parts) + _whiskers(line, place.shift, across, up)


def _whiskers(line: Line, shift: float, across: Scale, up: Scale) -> str:
    parts = []
    for x, low, high in zip(line.x, line.low, line.high, strict=False):
        if math.isfinite(low) and math.isfinite(high):
            at = across(x + shift)
            parts.append(
                f'<path class="whisker" d="M{at - 3.5:.1f} {up(low):.1f}h7m-3.5 0'
                f'V{up(high):.1f}m-3.5 0h7"/>'
            )
    return "".join(parts)


def _band(line: Line, across: Scale, up: Scale) -> str:
    if not line.low or not line.high:
        return ""
    parts = []
    for run in _runs(line.x, line.low, line.high):
        lower = [(x, low) for x, low, _ in run]
        upper = [(x, high) for x, _, high in reversed(run)]
        corners = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in lower + upper)
        parts.append(f'<polygon class="band" points="{corners}"/>')
    return "".join(parts)


def _runs(*columns: Sequence[float]) -> Iterator[list[tuple[float, ...]]]:
    """Yield stretches of rows in which every number is finite."""
    run: list[tuple[float, ...]] = []
    for row in zip(*columns, strict=True):
        if all(math.isfinite(value) for value in row):
            run.append(row)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _polyline(run: Sequence[tuple[float, ...]], across: Scale, up: Scale) -> str:
    corners = [f"{across(x):.1f} {up(y):.1f}" for x, y in run]
    # Steps finer than a tenth of a pixel fall together: a curve of thousands stays
    # small.
    kept = [here for n, here in enumerate(corners) if n == 0 or here != corners[n - 1]]
    if len(kept) == 1:
        return f"M{kept[0]}m-3 0h6"  # a value without neighbours
    return "M" + "L".join(kept)


def _marker(index: int, x: float, y: float) -> str:
    shapes = (
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
        f'<rect class="dot" x="{x - 3.6:.1f}" y="{y - 3.6:.1f}" width="7.2" '
        'height="7.2"/>',
        f'<path class="dot" d="M{x:.1f} {y - 4.8:.1f}l4.6 8h-9.2z"/>',
        f'<path class="dot" d="M{x:.1f} {y - 5:.1f}l5 5-5 5-5-5z"/>',
    )
    return shapes[index % len(shapes)]


def draw_key(line: Line, index: int, x: float, y: float) -> str:
    """Draw a series' sign for the legend, left end at x, middle at y."""
    if line.style == "points":
        return _marker(index, x + 11, y)
    if line.style == "bars":
        return f'<rect class="bar" x="{x + 4}" y="{y - 6}" width="13" height="12"/>'
    dash = DASHES[index % len(DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="line"{dashed} d="M{x} {y}h22"/>'
