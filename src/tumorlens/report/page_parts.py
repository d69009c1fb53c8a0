"""Parts of a page of figures: sections, tables, charts, pictures; and its words.

Who measures says what to show in these; who draws the page knows nothing else. A figure
is called and written the same way wherever it stands.

Tested in `tests/report/test_page_parts.py` and `tests/report/test_page.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tumorlens.taxonomy import INFO, parse_class

FIGURES = (
    ("4-class accuracy, by slice", "accuracy"),
    ("4-class accuracy, by patient", "accuracy_by_patient"),
    ("Tumour sensitivity", "tumor_sensitivity"),
    ("Tumour specificity", "tumor_specificity"),
    ("No class named", "inconclusive"),
    ("Brain MRI wrongly refused", "refused_as_foreign"),
    ("AUROC, tumour or none", "auroc_tumor"),
    ("Calibration error (ECE, 15 bins)", "calibration_error"),
    ("Evidence peak inside the outline", "peak_inside_outline"),
    ("Evidence Dice at half height", "dice_at_half_height"),
)
"""Title and key of the figures that an evaluation gives, in order."""

OPERATING_GROUPS = (
    ("Same scanner", "same_scanner"),
    ("Healthy strangers", "healthy_strangers"),
    ("Strokes", "strokes"),
    ("Large lesions", "large_lesions"),
    ("Labelled lesions", "labelled_lesions"),
    ("Faint lesions", "faint_lesions"),
)
"""Title and key of the groups of slices that an operating point is measured on; see
`tumorlens.calibration.operating_points.slice_groups`."""
LESION_GROUPS = ("large_lesions", "labelled_lesions", "faint_lesions")
GROUP_NOTES = (
    "Every patient weighs alike. *Same scanner*: tumour-free slices from sources in "
    "which patients show both. *Healthy strangers*: sources of healthy heads only. "
    "*Large* and *faint lesions*: the third of a patient's outlined slices with the "
    "largest and with the smallest area."
)


def operating_rows(
    measured: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> list[tuple[str, ...]]:
    """Write what an operating point finds and costs, the same scanner first.

    Parameters
    ----------
    measured
        Shares by MR sequence and group, as in a bundle.

    Returns
    -------
    list of tuple
        Group, sequence, what the share is of, the share, slices, patients.
    """
    return [
        (
            title,
            "every sequence" if word == "all" else word,
            "found" if key in LESION_GROUPS else "called free of tumour",
            figure_text(shares[key]),
            str(shares[key]["slices"]),
            str(shares[key]["patients"]),
        )
        for title, key in OPERATING_GROUPS
        for word, shares in measured.items()
        if key in shares
    ]


def figure_text(
    figure: Mapping[str, float] | None, *, percent: bool = False, digits: int = 3
) -> str:
    """Write a figure with its interval, for example ``0.912 [0.884, 0.940]``.

    An interval of no width is left out: where all draws say the same, as of a
    single patient, they do not tell how sure the figure is.

    Parameters
    ----------
    figure
        ``value``, ``low`` and ``high``; a dash stands for None.
    percent
        True for a share, which is then written in percent with one digit
        after the point.
    digits
        After the point, where it is not written in percent.
    """
    if figure is None:
        return "–"
    factor, places = (100.0, 1) if percent else (1.0, digits)
    value, low, high = (
        # Adding zero takes the minus from what rounds to nothing.
        f"{round(factor * figure[key], places) + 0.0:.{places}f}"
        for key in ("value", "low", "high")
    )
    unit = " %" if percent else ""
    has_width = figure["low"] < figure["high"]
    return f"{value}{unit} [{low}, {high}]" if has_width else f"{value}{unit}"


def judged_apart(figures: Mapping[str, Any]) -> str:
    """Say who judged what several bundles of a cross-validation were shown.

    Parameters
    ----------
    figures
        Figures whose ``bundles`` counts them; without it, there was one.

    Returns
    -------
    str
        A sentence with a space before it; empty for one bundle.
    """
    bundles = figures.get("bundles", 1)
    if bundles == 1:
        return ""
    return (
        f" Each slice is judged by the one bundle, of {bundles}, that its patient did "
        "not train."
    )


def class_count(title: str, count: int) -> str:
    """Say of how many classes a figure of `FIGURES` is."""
    return title.replace("4-class", f"{count}-class")


def name_text(name: str) -> str:
    """Name a class as people do, in lower case; other names stay."""
    known = parse_class(name)
    return INFO[known].title.lower() if known else name


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Write a table in Markdown, one line a row.

    Parameters
    ----------
    columns
        Headings.
    rows
        Cells, each as long as `columns`; an upright stroke in one is escaped.
    """
    return [
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
        *(
            "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
            for row in rows
        ),
    ]


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
        Strength of the shade of each cell but the first, by row, 0 to 1; empty
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
        True to draw y = x too, as a calibration or ROC chart needs it.
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
