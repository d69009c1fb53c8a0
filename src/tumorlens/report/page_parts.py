"""What a page of figures is made of: sections of words, tables, charts, pictures.

Who measures says what to show in these; who draws the page knows nothing else.

Tested in `tests/report/evaluation/test_page.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

LineStyle = Literal["line", "points", "bars"]


@dataclass(frozen=True)
class Table:
    """Rows of text under headings.

    Parameters
    ----------
    title
        Above the table; may be empty.
    columns
        Headings. The first column names its row.
    rows
        Each as long as `columns`.
    heat
        For each row, how strongly each cell but the first is shaded, 0 to 1; empty
        for a table without shades.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    heat: Sequence[Sequence[float]] = field(default=())


@dataclass(frozen=True)
class Line:
    """One series of a chart.

    Parameters
    ----------
    name
        Name in the legend.
    x, y
        Numbers, equally many.
    style
        A line, points alone, or bars from zero.
    low, high
        Interval around each y; empty where there is none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: LineStyle = "line"
    low: Sequence[float] = field(default=())
    high: Sequence[float] = field(default=())


@dataclass(frozen=True)
class Chart:
    """Series over shared axes.

    Parameters
    ----------
    title, x_label, y_label
        Title and labels in words; units stand in the labels.
    lines
        At least one series.
    x_range, y_range
        Ends of the axes; None for the ends of the data.
    diagonal
        Also draw y = x, as a calibration or ROC chart needs it.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    diagonal: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Parameters
    ----------
    png
        An encoded PNG.
    caption
        One or two sentences.
    """

    png: bytes
    caption: str


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Parameters
    ----------
    id
        Anchor for links: letters, digits and hyphens.
    title
        Heading of the section.
    paragraphs
        Plain text, shown before the rest.
    tables, charts, pictures
        Parts that follow, in this order.
    """

    id: str
    title: str
    paragraphs: Sequence[str] = field(default=())
    tables: Sequence[Table] = field(default=())
    charts: Sequence[Chart] = field(default=())
    pictures: Sequence[Picture] = field(default=())
