"""Figures as documents write them: their titles, and a value with its interval.

Tested in `tests/report/model_card/test_card.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
