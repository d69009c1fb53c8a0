"""Charts as SVG: axes, lines, points, bars, intervals, a legend; no library.

Colours come from classes, so that the page's style (`STYLE`) can suit them to a dark
screen. No series is told by its colour alone: lines differ in their dashes, points in
their shape. A model card's pictures, which are files, are drawn in the same style.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tumorlens.report.page_parts import Chart, Line, figure_text, name_text
from tumorlens.taxonomy import CLASSES, INFO

# The classes' colours first, so that series in the taxonomy's order wear them; then
# two more of Okabe and Ito (2008), and grey. Beside each, the same for dark screens.
_COLORS = (
    *zip(
        (INFO[name].color for name in CLASSES),
        ("#FF8A3D", "#56B4E9", "#E6A8CC", "#3CCFA3"),
        strict=True,
    ),
    ("#B07A00", "#F0B429"),
    ("#5B5F97", "#B3B6F0"),
    ("#5F6B70", "#AEBBC0"),
)
COLORS = len(_COLORS)
"""How many series there are before colours repeat."""

_RULES = """
.chart .paper{fill:var(--chart-page)}
.chart text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",
"Noto Sans","Liberation Sans",Arial,sans-serif;font-size:12px;fill:var(--chart-ink);
font-variant-numeric:tabular-nums}
.chart .label{font-size:12.5px;font-weight:600}
.chart .tick{fill:var(--chart-quiet)}
.chart .grid{stroke:var(--chart-grid);stroke-width:1;fill:none}
.chart .axis{stroke:var(--chart-axis);stroke-width:1.2;fill:none}
.chart .diagonal{stroke:var(--chart-axis);stroke-width:1.2;stroke-dasharray:3 4;
fill:none}
.chart .line{fill:none;stroke:var(--s);stroke-width:2.2;stroke-linejoin:round}
.chart .band{fill:var(--s);opacity:.16}
.chart .bar{fill:var(--s);opacity:.85}
.chart .dot{fill:var(--s);stroke:var(--chart-page);stroke-width:1}
.chart .whisker{fill:none;stroke:var(--chart-ink);stroke-width:1.4;opacity:.75}
"""


def _palette(dark: int) -> str:
    return "".join(
        f".s{number}{{--s:{pair[dark]}}}" for number, pair in enumerate(_COLORS)
    )


_LIGHT = (
    ".chart{--chart-ink:#10242b;--chart-quiet:#4d626b;--chart-grid:#d5dfe1;"
    "--chart-axis:#7b8f96;--chart-page:#fff}" + _palette(0)
)
_DARK = (
    ".chart{--chart-ink:#e8f0f2;--chart-quiet:#a3b6bc;--chart-grid:#263940;"
    "--chart-axis:#6f868e;--chart-page:#122025}" + _palette(1)
)
# Paper is white, whatever the screen is: hence "screen".
STYLE = f"{_LIGHT}@media screen and (prefers-color-scheme:dark){{{_DARK}}}{_RULES}"
"""CSS of a chart, light and dark; nothing in it needs escaping in SVG or HTML."""


def text_width(text: str) -> float:
    """Estimate the pixels that a text takes at the charts' size of 12."""
    return 6.4 * len(text)


WIDTH = 460.0
HEIGHT = 300.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 12.0, 50.0
ROW = 19.0
"""Height of a row of the legend."""

DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4")

TICKS = 6
"""About how many ticks an axis gets."""


def draw_chart(chart: Chart, name: str) -> str:
    """Draw a chart.

    Parameters
    ----------
    chart
        Numbers that are not finite are left out; a line breaks there.
    name
        Name of the drawing within its page: letters, digits and hyphens.

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


def bar_room(chart: Chart) -> float:
    """Give the width for all bars of one x, in the chart's numbers."""
    xs = sorted({x for line in chart.lines if line.style == "bars" for x in line.x})
    gaps = [after - before for before, after in itertools.pairwise(xs)]
    return 0.8 * min(gaps, default=1.0)


class BarPlace:
    """The place of a series' bars beside those of the others.

    Parameters
    ----------
    chart
        The chart with all its series.
    index
        Number of this series.
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
        Number of the series, which chooses its colour, dashes and shape.
    place
        Place of its bars, if it has any.
    across, up
        The axes.
    """
    opening = f'<g class="s{index % COLORS}">'
    if line.style == "bars":
        return opening + _bars(line, place, across, up) + "</g>"
    if line.style == "points":
        spread = _whiskers(line, 0.0, across, up)
        dots = "".join(
            _marker(index, across(x), up(y))
            for x, y in zip(line.x, line.y, strict=True)
            if math.isfinite(x) and math.isfinite(y)
        )
        return opening + spread + dots + "</g>"
    dash = DASHES[index % len(DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    path = "".join(_polyline(run, across, up) for run in _runs(line.x, line.y))
    return (
        f'{opening}{_band(line, across, up)}<path class="line"{dashed} d="{path}"/></g>'
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


@dataclass(frozen=True)
class Scale:
    """A line of numbers laid over a line of pixels.

    Parameters
    ----------
    low, high
        Numbers at the ends; `low` is less than `high`.
    start, end
        Pixels at the ends; `start` may be the larger, as on an upright axis.
    ticks
        Numbers that are marked, rising.
    step
        Distance between ticks.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    step: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a number."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def label(self, tick: float) -> str:
        """Write a tick with as many decimals as the step needs."""
        if self.step >= 1e5 or self.step < 1e-4:
            return f"{tick:.3g}"
        decimals = max(0, -math.floor(math.log10(self.step) + 1e-9))
        if round(self.step * 10**decimals, 9) % 1:
            decimals += 1  # a step of 0.25 has one decimal more than its size says
        text = f"{tick:,.{decimals}f}"
        return text.replace("-", "−") if float(tick) else text.lstrip("-")


def make_scale(
    values: Iterable[float],
    ends: tuple[float, float] | None,
    pixels: tuple[float, float],
) -> Scale:
    """Choose the ends and the ticks of an axis.

    Parameters
    ----------
    values
        All numbers shown on it; those that are not finite are left out.
    ends
        Fixed ends, or None for the data's, widened to whole ticks.
    pixels
        Pixels of the two ends.

    Returns
    -------
    Scale
        A scale; of length 1 where there is nothing to show.
    """
    if ends is not None and ends[0] < ends[1]:
        low, high = ends
    else:
        low, high = _reach([value for value in values if math.isfinite(value)])
    step = nice_step(high - low)
    if ends is None:
        low = math.floor(low / step + 1e-9) * step
        high = math.ceil(high / step - 1e-9) * step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    ticks = tuple(count * step for count in range(first, last + 1))
    return Scale(low, high, pixels[0], pixels[1], ticks, step)


def nice_step(length: float) -> float:
    """Return a step of 1, 2, 2.5 or 5 times a power of ten.

    Parameters
    ----------
    length
        Length of the axis, above 0; it gets about `TICKS` ticks.
    """
    rough = length / (TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 2.5, 5.0):
        if factor * power >= rough * 0.999:
            return factor * power
    return 10.0 * power


def _reach(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    # Ends so close that no step between them can be told apart are one value.
    if high - low <= 1e-9 * max(abs(low), abs(high)) or high == low:
        room = abs(low) * 0.1 or 0.5
        return low - room, high + room
    return low, high


_WIDTH, _ROW = 560.0, 30.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 150.0, 150.0, 12.0, 48.0
_CELL, _GAP, _WORDS = 160, 28, 60

_COLUMNS = 3

_LINES = (
    ".head{fill:none;stroke:var(--chart-axis);stroke-width:1.2}"
    ".drawn{fill:none;stroke:var(--chart-ink);stroke-width:1.6;stroke-dasharray:4 3}"
    ".marked{fill:none;stroke:var(--s);stroke-width:2}"
)

_KEY = "dashed: as radiologists drew the tumour; orange: as the model marks it"


def draw_intervals(
    title: str, x_label: str, rows: Sequence[tuple[str, Mapping[str, float]]]
) -> str:
    """Draw shares with their intervals as an SVG file.

    Parameters
    ----------
    title, x_label
        Title in words.
    rows
        Name, and ``value``, ``low`` and ``high``, each 0 to 1. Rows take the
        charts' colours in turn.

    Returns
    -------
    str
        An ``<svg>`` that names and describes itself and carries its style.
    """
    edges = [edge for _, figure in rows for edge in (figure["low"], figure["high"])]
    low = min(0.5, min(edges, default=0.0))
    across = make_scale(edges, (max(0.0, low), 1.0), (_LEFT, _WIDTH - _RIGHT))
    base = _TOP + _ROW * len(rows)
    height = base + _BOTTOM
    description = "; ".join(f"{name} {figure_text(figure)}" for name, figure in rows)
    parts = [_opening(title, description, _WIDTH, height)]
    for tick in across.ticks:
        x = across(tick)
        parts.append(
            f'<path class="grid" d="M{x:.1f} {_TOP}V{base}"/><text class="tick" '
            f'x="{x:.1f}" y="{base + 18}" text-anchor="middle">'
            f"{across.label(tick)}</text>"
        )
    for number, (name, figure) in enumerate(rows):
        y = _TOP + _ROW * (number + 0.5)
        start, middle, end = (across(figure[key]) for key in ("low", "value", "high"))
        parts.append(
            f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}'
            "</text>"
            f'<g class="s{number % COLORS}"><path class="line" d="M{start:.1f} {y}'
            f'H{end:.1f}"/><circle class="dot" cx="{middle:.1f}" cy="{y}" r="5.5"/></g>'
            f'<text x="{_WIDTH - _RIGHT + 14}" y="{y + 4}">{figure_text(figure)}</text>'
        )
    parts.append(
        f'<path class="axis" d="M{_LEFT} {base}H{_WIDTH - _RIGHT}"/>'
        f'<text class="label" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{base + 38}" '
        'text-anchor="middle">'
        f"{escape(x_label)}</text></svg>\n"
    )
    return "".join(parts)


def draw_sketches(title: str, sketches: Sequence[Mapping[str, Any]]) -> str:
    """Draw errors side by side as an SVG file.

    Parameters
    ----------
    title
        Title in words.
    sketches
        Drawings from `tumorlens.experiments.evaluation.sketch_errors`; at
        least one.

    Returns
    -------
    str
        An ``<svg>`` that names and describes itself and carries its style.
    """
    columns = min(_COLUMNS, len(sketches))
    rows = -(-len(sketches) // columns)
    width = max(columns * (_CELL + _GAP) + _GAP, 460)
    height = rows * (_CELL + _WORDS + _GAP) + _GAP + 20
    description = "; ".join("; ".join(_words(item)) for item in sketches)
    parts = [_opening(title, description, width, height, _LINES)]
    for number, item in enumerate(sketches):
        x = _GAP + (number % columns) * (_CELL + _GAP)
        y = _GAP + (number // columns) * (_CELL + _WORDS + _GAP)
        parts.append(_sketch(item, x, y))
    parts.append(
        f'<text class="tick" x="{_GAP}" y="{height - 16}">{escape(_KEY)}</text></svg>\n'
    )
    return "".join(parts)


def _opening(
    title: str, description: str, width: float, height: float, style: str = ""
) -> str:
    """Begin a file that names and describes itself, and carries its style."""
    return (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-labelledby="title desc"><title id="title">{escape(title)}</title>'
        f'<desc id="desc">{escape(description)}.</desc><style>{STYLE}{style}</style>'
        '<rect class="paper" width="100%" height="100%" rx="8"/>'
    )


def _sketch(item: Mapping[str, Any], x: int, y: int) -> str:
    scale = _CELL / max(item["width"], item["height"])
    lines = [
        f'<path class="{kind}" d="{_path(item[kind], scale)}"/>'
        for kind in ("head", "drawn", "marked")
        if item[kind]
    ]
    words = [
        f'<text x="0" y="{_CELL + 18 + 16 * row}">{escape(line)}</text>'
        for row, line in enumerate(_words(item))
    ]
    return f'<g class="s0" transform="translate({x} {y})">{"".join(lines + words)}</g>'


def _path(polygons: Sequence[Sequence[Sequence[float]]], scale: float) -> str:
    return "".join(
        "M" + "L".join(f"{x * scale:.1f} {y * scale:.1f}" for x, y in polygon) + "Z"
        for polygon in polygons
    )


def _words(item: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"Truth {name_text(item['true'])}",
        f"said {name_text(item['said'])}, {item['sure']:.2f}",
        f"{item['slices']} slices are so",
    )
