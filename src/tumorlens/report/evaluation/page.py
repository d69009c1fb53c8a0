"""A page of figures: one HTML file that needs no network and no script."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from tumorlens.report.charts import STYLE, draw_chart
from tumorlens.report.page_parts import Chart, Picture, Section, Table
from tumorlens.report.slice.document import RESEARCH_USE

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


def page_template(
    name: str, *folders: Path, **filters: Callable[..., object]
) -> Template:
    """Load the template of a page that is a file by itself.

    Parameters
    ----------
    name
        File of the template.
    folders
        Where to look, before the folder of `page.html`, which such pages extend.
    filters
        Filters of the template, by name.
    """
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
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
