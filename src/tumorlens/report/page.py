"""Pages that are one HTML file each, without a network or a script.

One shows figures, as of an evaluation; one an archive's results: counts, a histogram,
and series to open.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from tumorlens.report.charts import STYLE, draw_chart
from tumorlens.report.page_parts import Chart, Line, Picture, Section, Table, name_text
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.taxonomy import INFO, TumorClass, parse_class

TEMPLATES = Path(__file__).parent / "templates"
OPEN_SECTIONS = 4
"""Sections that are read first; those that follow are folded."""

NOT_CLINICAL = "Research use only, not for clinical use"

# A number, with its unit, interval or comparison, or a sign that there is none.
_FIGURE = re.compile(r"[<>≤≥≈±+−–-]*\s*\d[^A-Za-z]*(ms|mm|s|h|MB|points?)?|[–—-]?|NaN")


def render_evaluation(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Write an evaluation as one self-contained page.

    Parameters
    ----------
    title, subtitle
        Plain text at its head.
    sections
        Sections in order; every `id` once.

    Returns
    -------
    str
        HTML. All text is escaped; the page forbids itself any request.

    Raises
    ------
    ValueError
        Two sections have one id, or a row is not as long as its headings.
    """
    ids = [section.id for section in sections]
    if len(set(ids)) < len(ids):
        raise ValueError(f"Section ids have to differ; got {ids}.")
    for section in sections:
        for table in section.tables:
            _check(table)
    return _template().render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        open_sections=OPEN_SECTIONS,
        research_use=RESEARCH_USE,
        not_clinical=NOT_CLINICAL,
        style=Markup((TEMPLATES / "evaluation.css").read_text("utf-8") + STYLE),
    )


def numeric_columns(table: Table) -> list[bool]:
    """Say for each column whether it holds figures, and so is set to the right.

    The first column names its row and never is.
    """
    numeric = [False]
    for column in range(1, len(table.columns)):
        cells = [row[column].strip() for row in table.rows]
        numeric.append(any(cells) and all(_FIGURE.fullmatch(cell) for cell in cells))
    return numeric


def _check(table: Table) -> None:
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(
                f"A row of the table '{table.title}' has {len(row)} cells for "
                f"{len(table.columns)} columns: {list(row)}."
            )
    shape = [len(table.columns) - 1] * len(table.rows)
    if table.heat and [len(row) for row in table.heat] != shape:
        raise ValueError(f"The shades of the table '{table.title}' do not fit it.")


@cache
def _template() -> Template:
    return page_template(
        "evaluation.html",
        breakable=_breakable,
        drawn=_drawn,
        inline=_inline,
        numeric=numeric_columns,
    )


def page_template(name: str, **filters: Callable[..., object]) -> Template:
    """Load the template of a page that is a file by itself.

    Parameters
    ----------
    name
        File of the template, which extends `page.html`.
    filters
        Filters of the template, by name.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(name)


def _breakable(cell: str) -> Markup:
    """Let a wide table set an interval below its value, but tear neither."""
    value, bracket, interval = cell.partition(" [")
    if not bracket:
        return escape(cell)
    return Markup(
        '<span class="whole">{}</span> <span class="whole">[{}</span>'
    ).format(value, interval)


def _drawn(chart: Chart, name: str) -> Markup:
    return Markup(draw_chart(chart, name))


def _inline(picture: Picture) -> str:
    return "data:image/png;base64," + b64encode(picture.png).decode("ascii")


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
_DECISIONS = {
    "tumor": ("tumour, kind open", "#b3446c"),
    "other": ("tumour of another kind", "#e69f00"),
    "vascular": ("vascular lesion", "#56b4e9"),
    "uncertain": ("unclear", "#b59b5b"),
}
"""Titles and colours of decisions that are none of the classes."""

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
        Groups by column, with its value, ``decision``, ``slices`` and ``failed``.
    histogram
        Slices by the probability of any tumour, in bins of one width from 0 to 1.
    series
        Series in the order of ``month``, ``scanner`` and ``decision``: see
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
    return _archive_template().render(
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
            (TEMPLATES / "evaluation.css").read_text("utf-8")
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
        if value in _DECISIONS:
            return _DECISIONS[str(value)][0]
        return name_text(str(value)).replace("_", " ").replace("mri", "MRI")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _color(decision: object) -> str:
    if decision in _DECISIONS:
        return _DECISIONS[str(decision)][1]
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

    levels: list[dict[str, Any]] = folded(series, ("month", "scanner", "decision"), ())
    return levels


@cache
def _archive_template() -> Template:
    return page_template("archive.html", number=lambda value: f"{value:,}")
