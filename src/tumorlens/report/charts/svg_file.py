"""A model card's pictures as SVG files: intervals, and line drawings of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tumorlens.report.charts.chart import make_scale
from tumorlens.report.charts.style import COLORS, STYLE
from tumorlens.report.figure_words import figure_text, name_text

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
