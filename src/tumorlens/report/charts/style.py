"""One style of charts for the pages they stand in and for SVG files.

Tested in `tests/report/charts/test_chart.py`.
"""

from __future__ import annotations

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
