"""The tables of figures by MR sequence, and of lesions that are none of the classes.

Tested in `tests/evaluation/performance/test_by_sequence.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tumorlens.report.page_parts import Table, figure_text, name_text
from tumorlens.taxonomy import CLASSES

_TITLES = {
    "accuracy": "Four-class accuracy",
    **{f"recall_{name}": f"Recall, {name}" for name in CLASSES},
    "auroc_tumor": "Tumour or none, AUROC",
    "auroc_gain": "Above T1C alone, AUROC",
    "sensitivity": "Tumour not cleared",
    "cleared": "Tumour-free, decided so",
    "likeliest_clear": "Tumour-free, likeliest so",
    "other_called_kind": "Other kind: likeliest one of the three",
    "other_called_clear": "Other kind: likeliest no tumour",
    "other_decided_kind": "Other kind: decided one of the three",
    "other_cleared": "Other kind: decided no tumour",
    "vascular_called_kind": "Stroke: likeliest a tumour",
    "vascular_decided_kind": "Stroke: decided a tumour",
    "undrawn_called_kind": "No stroke drawn: likeliest a tumour",
    "refused": "Refused",
    "calibration_error": "Calibration error",
    "peak_inside": "Peak inside the outline",
    "dice": "Dice at half height",
    "sequence_right": "Sequence told from the pixels",
}

_OVERVIEW: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "sequences",
        "By set and sequence",
        {
            "accuracy": "4-class accuracy",
            "auroc_tumor": "AUROC",
            "sensitivity": "Tumour not cleared",
            "cleared": "Tumour-free cleared",
            "calibration_error": "ECE",
            "peak_inside": "Peak inside",
            "sequence_right": "Sequence told",
        },
    ),
    (
        "sequences",
        "Recall by set and sequence",
        {f"recall_{name}": name_text(name).capitalize() for name in CLASSES},
    ),
    ("sites", "Tumour or none, inside one hospital", {"auroc_tumor": "AUROC"}),
    (
        "kinds",
        "Other lesions, by kind and sequence",
        {
            "other_called_kind": "Likeliest one of the three",
            "other_called_clear": "Likeliest no tumour",
            "other_decided_kind": "Decided one of the three",
            "other_cleared": "Decided no tumour",
            "vascular_called_kind": "Stroke: likeliest a tumour",
        },
    ),
    (
        "studies",
        "Sequences of one slice together, weighed as in other hospitals",
        {"auroc_tumor": "AUROC", "auroc_gain": "Above T1C alone"},
    ),
)
"""Tables of an overview: part of the figures, title, and its columns."""


def sequence_overview(figures: Mapping[str, Any]) -> list[Table]:
    """Set one model's figures by sequence out in few tables, a row a set or kind.

    Parameters
    ----------
    figures
        From `tumorlens.evaluation.performance.by_sequence.sequence_figures`.

    Returns
    -------
    list of Table
        Rows and columns that hold nothing are left out, and so are empty tables.
    """
    tables = []
    for part, title, columns in _OVERVIEW:
        rows = {
            key: found
            for key, found in figures.get(part, {}).items()
            if any(name in found for name in columns)
        }
        shown = {
            name: words
            for name, words in columns.items()
            if any(name in found for found in rows.values())
        }
        if rows:
            cells = [
                (
                    key,
                    str(found["slices"]),
                    *(figure_text(found.get(name)) for name in shown),
                )
                for key, found in rows.items()
            ]
            tables.append(Table(title, ("", "Slices", *shown.values()), cells))
    return tables


def sequence_tables(columns: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Set figures of several models side by side.

    Parameters
    ----------
    columns
        From `tumorlens.evaluation.performance.by_sequence.sequence_figures`, by the
        model's name.

    Returns
    -------
    list of Table
        Rows in the order of the first model that has them.
    """
    headings = ("", "Figure", "Slices", *columns)
    tables = []
    for part, title in (
        ("sequences", "By set and sequence"),
        ("sites", "Inside one hospital"),
        ("kinds", "Other lesions, by kind"),
        ("studies", "Sequences of one slice, weighed as in other hospitals"),
    ):
        rows = []
        for key in dict.fromkeys(
            name for figures in columns.values() for name in figures[part]
        ):
            models = [figures[part].get(key, {}) for figures in columns.values()]
            for name, words in _TITLES.items():
                if any(name in figures for figures in models):
                    count = next(figures["slices"] for figures in models if figures)
                    cells = [
                        figure_text(figures[name]) if name in figures else ""
                        for figures in models
                    ]
                    rows.append((key, words, str(count), *cells))
        tables.append(Table(title, headings, rows))
    return tables
