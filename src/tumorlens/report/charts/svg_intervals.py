"""Values with their intervals, one row each: a picture for a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from tumorlens.report.charts.svg_scale import make_scale
from tumorlens.report.charts.svg_style import COLORS, STYLE
from tumorlens.report.figure_words import figure_text

_WIDTH, _ROW = 560.0, 30.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 150.0, 150.0, 12.0, 48.0


def draw_intervals(
    title: str, x_label: str, rows: Sequence[tuple[str, Mapping[str, float]]]
) -> str:
    """Draw shares with their intervals as an SVG file.

    Parameters
    ----------
    title, x_label
        In words.
    rows
        Name, and ``value``, ``low`` and ``high``, each 0 to 1. Rows take the
        charts' colours in turn.

    Returns
    -------
    str
        An ``<svg>`` that names and describes itself and carries its style.
    """
    edges = [edge for _, found in rows for edge in (found["low"], found["high"])]
    low = min(0.5, min(edges, default=0.0))
    across = make_scale(edges, (max(0.0, low), 1.0), (_LEFT, _WIDTH - _RIGHT))
    base = _TOP + _ROW * len(rows)
    height = base + _BOTTOM
    said = "; ".join(f"{name} {figure_text(found)}" for name, found in rows)
    parts = [
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:.0f}" '
        f'viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" '
        f'aria-labelledby="title desc"><title id="title">{escape(title)}</title>'
        f'<desc id="desc">{escape(said)}.</desc><style>{STYLE}</style>'
        '<rect class="paper" width="100%" height="100%" rx="8"/>'
    ]
    for tick in across.ticks:
        x = across(tick)
        parts.append(
            f'<path class="grid" d="M{x:.1f} {_TOP}V{base}"/><text class="tick" '
            f'x="{x:.1f}" y="{base + 18}" text-anchor="middle">'
            f"{across.label(tick)}</text>"
        )
    for number, (name, found) in enumerate(rows):
        y = _TOP + _ROW * (number + 0.5)
        start, middle, end = (across(found[key]) for key in ("low", "value", "high"))
        parts.append(
            f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}'
            "</text>"
            f'<g class="s{number % COLORS}"><path class="line" d="M{start:.1f} {y}'
            f'H{end:.1f}"/><circle class="dot" cx="{middle:.1f}" cy="{y}" r="5.5"/></g>'
            f'<text x="{_WIDTH - _RIGHT + 14}" y="{y + 4}">{figure_text(found)}</text>'
        )
    parts.append(
        f'<path class="axis" d="M{_LEFT} {base}H{_WIDTH - _RIGHT}"/>'
        f'<text class="label" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{base + 38}" '
        'text-anchor="middle">'
        f"{escape(x_label)}</text></svg>\n"
    )
    return "".join(parts)
