"""A page of an archive's results: counts, a histogram, and series to open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from tumorlens.report.charts import STYLE, draw_chart
from tumorlens.report.evaluation.page import NOT_CLINICAL, page_template
from tumorlens.report.evaluation.page import TEMPLATES as EVALUATION_TEMPLATES
from tumorlens.report.page_parts import Chart, Line, name_text
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.taxonomy import INFO, TumorClass, parse_class

TEMPLATES = Path(__file__).parent / "templates"

Row = Mapping[str, Any]

_TITLES = {
    "month": "By month",
    "scanner": "By scanner",
    "decision": "By decision",
    "sequence": "By sequence",
    "plane": "By plane",
    "field_strength": "By field strength, in tesla",
    "status": "By status",
}
_OTHER_COLOR = "#8a979c"
_NOT_STATED = "not stated"


@dataclass(frozen=True)
class _Bar:
    """A value of a column: how many slices it has, and of these by decision."""

    label: str
    count: int
    failed: int
    parts: tuple[tuple[str, int, str, float], ...]


def render_archive(
    totals: Mapping[str, int],
    counts: Mapping[str, Sequence[Row]],
    histogram: Sequence[int],
    series: Sequence[Row],
    left_out: Mapping[tuple[Any, ...], int],
    link: Callable[[str], str],
    subtitle: str,
) -> str:
    """Write an archive's results as one page that needs no script and no network.

    Parameters
    ----------
    totals
        ``rows``, ``slices``, ``failed`` and ``series``.
    counts
        By column, groups with its value, ``decision``, ``slices`` and ``failed``.
    histogram
        Slices by the probability of any tumour, in bins of one width from 0 to 1.
    series
        In the order of ``month``, ``scanner`` and ``decision``: see
        `tumorlens.scale.archive.query.ArchiveOverview`.
    left_out
        How many series are not listed, by month, scanner and decision.
    link
        Makes of the start of a slice's maps the address of its overlay, as seen from
        the page.
    subtitle
        Plain text at its head.

    Returns
    -------
    str
        HTML. All text is escaped.
    """
    width = 1.0 / len(histogram)
    chart = Chart(
        "Slices by the probability of any tumour",
        "Probability of any tumour",
        "Slices",
        [
            Line(
                "slices",
                [(place + 0.5) * width for place in range(len(histogram))],
                [float(count) for count in histogram],
                "bars",
            )
        ],
        x_range=(0.0, 1.0),
    )
    tables = [
        (_TITLES.get(column, f"By {column}"), column, _bars(column, groups))
        for column, groups in counts.items()
    ]
    return _template().render(
        totals=totals,
        tables=[table for table in tables if table[2]],
        chart=Markup(draw_chart(chart, "probabilities")),
        months=_tree(series, left_out),
        link=link,
        title="Results of an archive",
        subtitle=subtitle,
        research_use=RESEARCH_USE,
        not_clinical=NOT_CLINICAL,
        style=Markup(
            (EVALUATION_TEMPLATES / "evaluation.css").read_text("utf-8")
            + (TEMPLATES / "archive.css").read_text("utf-8")
            + STYLE
        ),
    )


def _bars(column: str, groups: Sequence[Row]) -> list[_Bar]:
    """Stack the decisions of each value; as long as its share of the largest."""
    values: dict[Any, list[Row]] = {}
    for group in groups:
        values.setdefault(group[column], []).append(group)
    sums = {value: sum(row["slices"] for row in rows) for value, rows in values.items()}
    largest = max(1, *sums.values()) if sums else 1
    return [
        _Bar(
            _label(value, column),
            sums[value],
            sum(row["failed"] for row in rows),
            tuple(
                (
                    _label(row["decision"], "decision"),
                    row["slices"],
                    _color(row["decision"]),
                    100.0 * row["slices"] / largest,
                )
                for row in rows
                if row["slices"]
            ),
        )
        for value, rows in values.items()
    ]


def _label(value: object, column: str) -> str:
    if value is None:
        return _NOT_STATED
    if column == "decision":
        return name_text(str(value)).replace("_", " ").replace("mri", "MRI")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _color(decision: object) -> str:
    known = parse_class(str(decision)) if isinstance(decision, str) else None
    return INFO[known].color if isinstance(known, TumorClass) else _OTHER_COLOR


def _tree(
    series: Sequence[Row], left_out: Mapping[tuple[Any, ...], int]
) -> list[dict[str, Any]]:
    """Fold series by month, scanner and decision, with the number in each."""

    def folded(rows: Sequence[Row], keys: Sequence[str], path: tuple[Any, ...]) -> Any:  # noqa: ANN401
        if not keys:
            return {"series": rows, "more": left_out.get(path, 0)}
        levels = []
        for value, group in groupby(rows, key=lambda row: row[keys[0]]):
            inside = list(group)
            here = (*path, value)
            more = sum(
                count for place, count in left_out.items() if place[: len(here)] == here
            )
            levels.append(
                {
                    "label": _label(value, keys[0]),
                    "count": len(inside) + more,
                    "inside": folded(inside, keys[1:], here),
                }
            )
        return levels

    found: list[dict[str, Any]] = folded(series, ("month", "scanner", "decision"), ())
    return found


@cache
def _template() -> Template:
    return page_template("archive.html", TEMPLATES, number=lambda value: f"{value:,}")
