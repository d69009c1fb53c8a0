"""Typical errors as line drawings: a picture for a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tumorlens.report.charts.svg_style import STYLE
from tumorlens.report.figure_words import name_text

_CELL, _GAP, _WORDS = 160, 28, 60
_COLUMNS = 3
_LINES = (
    ".head{fill:none;stroke:var(--chart-axis);stroke-width:1.2}"
    ".drawn{fill:none;stroke:var(--chart-ink);stroke-width:1.6;stroke-dasharray:4 3}"
    ".marked{fill:none;stroke:var(--s);stroke-width:2}"
)
_KEY = "dashed: as radiologists drew the tumour; orange: as the model marks it"


def draw_sketches(title: str, sketches: Sequence[Mapping[str, Any]]) -> str:
    """Draw errors side by side as an SVG file.

    Parameters
    ----------
    title
        In words.
    sketches
        As `tumorlens.evaluation.scoring.error_sketches.sketch_errors` gives them; at
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
    said = "; ".join("; ".join(_words(item)) for item in sketches)
    parts = [
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc">'
        f'<title id="title">{escape(title)}</title>'
        f'<desc id="desc">{escape(said)}.</desc><style>{STYLE}{_LINES}</style>'
        '<rect class="paper" width="100%" height="100%" rx="8"/>'
    ]
    for number, item in enumerate(sketches):
        x = _GAP + (number % columns) * (_CELL + _GAP)
        y = _GAP + (number // columns) * (_CELL + _WORDS + _GAP)
        parts.append(_cell(item, x, y))
    parts.append(
        f'<text class="tick" x="{_GAP}" y="{height - 16}">{escape(_KEY)}</text></svg>\n'
    )
    return "".join(parts)


def _cell(item: Mapping[str, Any], x: int, y: int) -> str:
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
