"""The figures of a set as sections of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tumorlens.evaluation.performance.positions import PARTS
from tumorlens.report.figure_words import FIGURES
from tumorlens.report.page_parts import Section, Table
from tumorlens.statistics.intervals import in_words
from tumorlens.taxonomy import CLASSES, INFO

Figures = Mapping[str, Any]

METHOD = (
    "Every interval is a 95 % percentile interval over 1000 draws of whole patients "
    "(200 for areas under curves), since slices of one patient are nearly copies. "
    "Where a share is 0 or 1 in every draw, the exact interval of Clopper and Pearson "
    "over patients stands in its place. A picture that names no patient counts as one "
    "patient, or with those it is alike where the manifest says so."
)
_CLASS_COLUMNS = ("recall", "precision", "specificity", "f1", "auroc")
_PART_COLUMNS = {
    "accuracy": "Accuracy",
    "tumor_sensitivity": "Tumour sensitivity",
    "tumor_specificity": "Tumour specificity",
    "auroc_tumor": "AUROC, tumour or none",
    "calibration_error": "ECE",
    "peak_inside_outline": "Peak inside",
}


def figure_sections(figures: Figures) -> list[Section]:
    """Show what `set_figures` found."""
    found = [
        _summary(figures),
        _classes(figures),
        _points(figures),
        _heads(figures),
        _sources(figures),
    ]
    if "localisation" in figures:
        found.append(_localisation(figures))
    return found


def cell(found: Mapping[str, float] | None) -> str:
    """Show a figure with three digits; a dash where there is none."""
    return in_words(found, digits=3)


def _summary(figures: Figures) -> Section:
    rows = [(title, cell(figures.get(key))) for title, key in FIGURES]
    rows += [
        ("Brier score, four classes", cell(figures["brier"])),
        ("Classes in a prediction set, mean", cell(figures["set_size"])),
        ("Prediction sets of one class", cell(figures["set_of_one"])),
    ]
    return Section(
        "summary",
        "In short",
        (
            f"{figures['slices']} slices of {figures['patients']} patients (or "
            "likeness groups).",
            METHOD,
        ),
        (Table("", ("Figure", "Value [95 % interval]"), rows),),
    )


def _classes(figures: Figures) -> Section:
    tables = []
    for key, title, unit in (
        ("by_slice", "By slice", "slices"),
        ("by_patient", "By patient", "patients"),
    ):
        found = figures["classes"][key]
        tables.append(_class_table(found, f"{title}: each class against the rest"))
        tables.append(_confusion(found["confusion"], f"{title}: {unit} by true class"))
    tables.append(_coverage(figures))
    return Section(
        "classes",
        "The four classes",
        (
            "What counts is the most probable class, whatever the operating point. By "
            "patient the probabilities of a patient's slices of one class are "
            "averaged first; who has tumour and tumour-free slices counts once for "
            "each. Prediction sets are made to hold the true class as often as is "
            "stated, where every patient weighs alike: by patient, the shares of a "
            "patient's slices are averaged.",
        ),
        tables,
    )


def _coverage(figures: Figures) -> Table:
    stated = figures.get("model", {}).get("stated_coverage")
    rows = [
        (
            INFO[name].title,
            "–" if stated is None else f"{stated:.2f}",
            cell(figures["coverage_by_patient"][name]),
            cell(figures["coverage"][name]),
        )
        for name in CLASSES
    ]
    heads = ("Class", "Stated, by patient", "By patient", "By slice")
    return Table("Prediction sets: how often they hold the true class", heads, rows)


def _class_table(found: Figures, title: str) -> Table:
    rows = [
        (
            INFO[name].title,
            str(found["classes"][name]["count"]),
            *(cell(found["classes"][name][column]) for column in _CLASS_COLUMNS),
        )
        for name in CLASSES
    ]
    balanced, macro = cell(found["balanced_accuracy"]), cell(found["macro_f1"])
    rows.append(("Mean", str(found["count"]), balanced, "–", "–", macro, "–"))
    heads = ("Class", "Number", "Recall", "Precision", "Specificity", "F1", "AUROC")
    return Table(title, heads, rows)


def _confusion(matrix: list[list[int]], title: str) -> Table:
    names = [INFO[name].title for name in CLASSES]
    return Table(
        title,
        ("True", *(f"Said: {name}" for name in names)),
        [
            (name, *(str(count) for count in row))
            for name, row in zip(names, matrix, strict=True)
        ],
    )


def _points(figures: Figures) -> Section:
    tables = []
    for key, title in (
        ("operating_points", "By slice"),
        ("operating_points_by_patient", "By patient, on mean probabilities"),
    ):
        rows = [
            (
                name,
                *(
                    cell(rates[kind])
                    for kind in (
                        "sensitivity",
                        "specificity",
                        "positive_predictive_value",
                        "negative_predictive_value",
                    )
                ),
            )
            for name, rates in figures[key].items()
        ]
        heads = ("Point", "Sensitivity", "Specificity", "PPV", "NPV")
        tables.append(Table(title, heads, rows))
    return Section(
        "operating-points",
        "Tumour or none, at each operating point",
        (
            "A tumour slice is missed when it is called free of tumour; a tumour-free "
            "slice counts as right only then. Predictive values hold for this set's "
            "share of tumours, which is far above that of any clinic.",
        ),
        tables,
    )


def _heads(figures: Figures) -> Section:
    rows = [
        (title, cell(found["accuracy"]), cell(found["auroc_tumor"]))
        for title, found in (
            ("Slice head alone", figures["heads"]["slice_head"]),
            ("Evidence head alone", figures["heads"]["evidence_head"]),
            ("Both, calibrated", figures),
        )
    ]
    return Section(
        "heads",
        "What each head says by itself",
        (),
        (Table("", ("", "Accuracy", "AUROC, tumour or none"), rows),),
    )


def _sources(figures: Figures) -> Section:
    rows = [
        (
            name,
            str(found["slices"]),
            str(found["patients"]),
            str(found["tumor_slices"]),
            cell(found["auroc_tumor"]),
            cell(found["auroc_tumor_like_position"]),
            cell(found["auroc_tumor_position"]),
        )
        for name, found in figures["within_sites"].items()
    ]
    kinds = figures.get("source_kinds")
    heads = (
        "Place",
        "Slices",
        "Patients",
        "Tumour slices",
        "AUROC, tumour or none",
        "The same, between slices of one height",
        "Height alone",
    )
    inside = Table("Tumour or none inside one source, and inside one site", heads, rows)
    return Section(
        "sources",
        "By source, and inside one site",
        (
            "Where tumours come from one set and tumour-free pictures from another, a "
            "network can tell the sets apart instead. Inside one site it cannot: the "
            "last table is the one to believe. Yet a patient's tumour-free slices lie "
            "mostly near the ends of the head, so that even there the height of a "
            "slice in its scan tells much: how much alone (how near to the middle of "
            "the patient's slices), and what is told between slices that lie in the "
            f"same of {PARTS} parts of their scans, stand beside it.",
        ),
        [
            part_table("By source", figures["by_source"]),
            *([part_table("By what a source holds", kinds)] if kinds else []),
            *([inside] if rows else []),
        ],
    )


def part_table(title: str, parts: Mapping[str, Figures]) -> Table:
    """Lay out the main figures of a set's parts, as `by_part` gives them.

    Columns that no part has a figure for are left out.
    """
    shown = [key for key in _PART_COLUMNS if _any_has(key, parts.values())]
    return Table(
        title,
        ("", "Slices", "Patients", *(_PART_COLUMNS[key] for key in shown)),
        [
            (
                name,
                str(found["slices"]),
                str(found["patients"]),
                *(cell(found.get(key)) for key in shown),
            )
            for name, found in parts.items()
        ],
    )


def _any_has(key: str, parts: Iterable[Figures]) -> bool:
    return any(part.get(key) is not None for part in parts)


def _localisation(figures: Figures) -> Section:
    titles = {
        "evidence": "Evidence",
        "gradcam": "Grad-CAM",
        "center": "The head's middle",
    }
    rows = [
        (
            title,
            cell(figures["localisation"][key]["peak_inside_outline"]),
            cell(figures["localisation"][key]["dice_at_half_height"]),
        )
        for key, title in titles.items()
    ]
    return Section(
        "localisation",
        "Where the maps point",
        (
            f"On {figures['outlined_slices']} tumour slices with a drawn outline: how "
            "often the map's peak lies inside it (pointing game, Zhang et al. 2018), "
            "and the overlap of the outline with the map at half of its peak (Dice). "
            "The last row is a Gaussian on the middle of the head, which knows nothing "
            "of the picture; a map that is no better explains nothing.",
        ),
        (Table("", ("Map", "Peak inside", "Dice at half height"), rows),),
    )
