"""The sections on how often a bundle is right, by class, subgroup and source.

Tested in `tests/evaluation/performance/test_comparison.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tumorlens.report.page_parts import (
    FIGURES,
    GROUP_NOTES,
    Section,
    Table,
    class_count,
    figure_text,
    operating_rows,
)
from tumorlens.report.words import counted
from tumorlens.taxonomy import class_title

Figures = Mapping[str, Any]

METHOD = (
    "Every interval is a 95 % percentile interval over 1000 draws of whole patients "
    "(200 for areas under curves), since slices of one patient are nearly copies. "
    "Where a share is 0 or 1 in every draw, the exact interval of Clopper and Pearson "
    "over patients stands in its place. A picture that names no patient counts as one "
    "patient, or with those it is alike where the manifest says so."
)

_CLASS_COLUMNS = ("recall", "precision", "specificity", "f1", "auroc")

_COST_HEADS = ("", "Sequence", "Share", "Value", "Slices", "Patients")

_PART_COLUMNS = {
    "accuracy": "Accuracy",
    "tumor_sensitivity": "Tumour sensitivity",
    "tumor_specificity": "Tumour specificity",
    "auroc_tumor": "AUROC, tumour or none",
    "calibration_error": "ECE",
    "peak_inside_outline": "Peak inside",
}

_SUBGROUP_TITLES = {
    "plane": "By plane",
    "federated_site": "By site of the federation",
    "site": "By site",
    "tumor_size": "Tumour slices by the outline's share of the head's square",
    "sharpness": "By sharpness (variance of the Laplacian)",
    "sharpness_of_tumors": "Tumour slices by sharpness",
}


def figure_sections(figures: Figures, height_parts: int) -> list[Section]:
    """Show the figures of a set.

    Parameters
    ----------
    figures
        From `tumorlens.evaluation.performance.figures.set_figures`.
    height_parts
        Parts of a series within which slices count as lying alike.
    """
    sections = [
        _summary(figures),
        _classes(figures),
        _points(figures),
        _heads(figures),
        _sources(figures, height_parts),
    ]
    if "localisation" in figures:
        sections.append(_localisation(figures))
    return sections


def _summary(figures: Figures) -> Section:
    count = len(figures["recall"])
    rows = [
        (class_count(title, count), figure_text(figures.get(key)))
        for title, key in FIGURES
    ]
    rows += [
        (
            f"Brier score, {'four' if count == 4 else count} classes",
            figure_text(figures["brier"]),
        ),
        ("Classes in a prediction set, mean", figure_text(figures["set_size"])),
        ("Prediction sets of one class", figure_text(figures["set_of_one"])),
    ]
    return Section(
        "summary",
        "In short",
        (
            f"{counted(figures['slices'], 'slice')} of "
            f"{counted(figures['patients'], 'patient')} (or likeness groups).",
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
        classes = figures["classes"][key]
        tables.append(_class_table(classes, f"{title}: each class against the rest"))
        tables.append(_confusion(classes, f"{title}: {unit} by true class"))
    tables.append(_coverage(figures))
    return Section(
        "classes",
        "The four classes" if len(figures["recall"]) == 4 else "The classes",
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
            class_title(name),
            "–" if stated is None else f"{stated:.2f}",
            figure_text(figures["coverage_by_patient"][name]),
            figure_text(figures["coverage"][name]),
        )
        for name in figures["coverage"]
    ]
    heads = ("Class", "Stated, by patient", "By patient", "By slice")
    return Table("Prediction sets: how often they hold the true class", heads, rows)


def _class_table(classes: Figures, title: str) -> Table:
    rows = [
        (
            class_title(name),
            str(classes["classes"][name]["count"]),
            *(
                figure_text(classes["classes"][name][column])
                for column in _CLASS_COLUMNS
            ),
        )
        for name in classes["classes"]
    ]
    balanced, macro = (
        figure_text(classes["balanced_accuracy"]),
        figure_text(classes["macro_f1"]),
    )
    rows.append(("Mean", str(classes["count"]), balanced, "–", "–", macro, "–"))
    heads = ("Class", "Number", "Recall", "Precision", "Specificity", "F1", "AUROC")
    return Table(title, heads, rows)


def _confusion(classes: Figures, title: str) -> Table:
    matrix: list[list[int]] = classes["confusion"]
    names = [class_title(name) for name in classes["classes"]]
    return Table(
        title,
        ("True", *(f"Said: {name}" for name in names)),
        [
            (name, *(str(count) for count in row))
            for name, row in zip(names, matrix, strict=True)
        ],
        # A class's cells are shaded by how often it is said.
        [[count / max(1, sum(row)) for count in row] for row in matrix],
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
                    figure_text(rates[kind])
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
    notes: tuple[str, ...] = ()
    for name, rates in figures["operating_points"].items():
        if costs := operating_rows(rates.get("measured", {})):
            title = f"What {name} finds, and what it costs"
            tables.append(Table(title, _COST_HEADS, costs))
            notes = (GROUP_NOTES.replace("*", ""),)
    return Section(
        "operating-points",
        "Tumour or none, at each operating point",
        (
            "A tumour slice is missed when it is called free of tumour; a tumour-free "
            "slice counts as right only then. Predictive values hold for this set's "
            "share of tumours, which is far above that of any clinic.",
            *notes,
        ),
        tables,
    )


def _heads(figures: Figures) -> Section:
    rows = [
        (title, figure_text(head["accuracy"]), figure_text(head["auroc_tumor"]))
        for title, head in (
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


def _sources(figures: Figures, height_parts: int) -> Section:
    rows = [
        (
            name,
            str(place["slices"]),
            str(place["patients"]),
            str(place["tumor_slices"]),
            figure_text(place["auroc_tumor"]),
            figure_text(place["auroc_tumor_like_position"]),
            figure_text(place["auroc_tumor_position"]),
        )
        for name, place in figures["within_sites"].items()
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
            "slice in its series tells much: how much alone (how near to the middle of "
            "the patient's slices), and what is told between slices that lie in the "
            f"same of {height_parts} parts of their series, stand beside it.",
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
                str(part["slices"]),
                str(part["patients"]),
                *(figure_text(part.get(key)) for key in shown),
            )
            for name, part in parts.items()
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
            figure_text(figures["localisation"][key]["peak_inside_outline"]),
            figure_text(figures["localisation"][key]["dice_at_half_height"]),
        )
        for key, title in titles.items()
    ]
    return Section(
        "localisation",
        "Where the maps point",
        (
            f"On {counted(figures['outlined_slices'], 'tumour slice')} with a drawn "
            "outline: how often the map's peak lies inside it (pointing game, Zhang et "
            "al. 2018), and the overlap of the outline with the map at half of its "
            "peak (Dice). "
            "The last row is a Gaussian on the middle of the head, which knows nothing "
            "of the picture; a map that is no better explains nothing.",
        ),
        (Table("", ("Map", "Peak inside", "Dice at half height"), rows),),
    )


def subgroup_section(figures: Mapping[str, Any]) -> Section:
    """Show what `subgroup_figures` found."""
    return Section(
        "subgroups",
        "Subgroups",
        (
            "Subgroups differ in more than their name: planes, sites and sharpness go "
            "with sources, and sources with classes. A low figure says where to look, "
            "not why. Of a single patient a share's interval is nearly 0 to 1.",
        ),
        [
            part_table(_SUBGROUP_TITLES.get(kind, f"By {kind}"), parts)
            for kind, parts in figures.items()
        ],
    )


def baseline_section(figures: Mapping[str, Any]) -> Section:
    """Show what `measure_intensity_baseline` found."""
    return Section(
        "intensity-baseline",
        "What brightness alone would reach",
        (
            "A random forest that sees ten statistics of a picture's brightness and "
            f"nothing else ({', '.join(figures['statistics'])}), trained on other "
            f"patients: {counted(figures['slices'], 'slice')} of "
            f"{counted(figures['patients'], 'patient')}.",
            "Across sets of which each holds tumours only, or none, it tells the sets "
            "apart; inside one set and site that holds both it has only the heads to "
            "go by. A network's figure says something of tumours as far as it is "
            "above these.",
        ),
        [
            _baseline_table(figures[key], title, unit)
            for key, title, unit in (
                ("by_slice", "By slice", "Slices"),
                ("by_patient", "By patient: mean over slices of one class", "Patients"),
            )
        ],
    )


def _baseline_table(figures: Mapping[str, Any], title: str, unit: str) -> Table:
    parts = [("All", figures["all"])]
    if "across" in figures:
        parts.append(("Across sets of one kind", figures["across"]))
    parts += [(f"Inside {place}", item) for place, item in figures["inside"].items()]
    parts += [
        (f"Together: {names}", item) for names, item in figures["together"].items()
    ]
    return Table(
        title,
        ("Part", unit, "AUROC, tumour or none", "Accuracy, four classes"),
        [
            (
                name,
                str(item["count"]),
                figure_text(item["auroc_tumor"]),
                figure_text(item["accuracy"]),
            )
            for name, item in parts
        ],
    )


def comparison_section(
    figures: Mapping[str, Any], swaps: int, number: int = 1
) -> Section:
    """Show two bundles on the same slices.

    Parameters
    ----------
    figures
        From `tumorlens.evaluation.performance.comparison.compare`, with ``names``
        of the two bundles added, and ``statements``: whether the slices are held
        out from each.
    swaps
        Random swaps of each permutation test.
    number
        Tells several comparisons on one page apart.
    """
    first, second = figures["names"]
    rows = [
        (
            name,
            figure_text(compared["first"]),
            figure_text(compared["second"]),
            figure_text(compared["difference"]),
            _p(compared["p"]),
        )
        for name, compared in figures["figures"].items()
    ]
    alone = figures["mcnemar"]
    return Section(
        f"comparison-{number}",
        f"Beside {second}",
        (
            f"{first}: {figures['statements'][0]} {second}: {figures['statements'][1]}",
            f"Both on the same {counted(figures['slices'], 'slice')} of "
            f"{counted(figures['patients'], 'patient')}. The interval of a difference "
            "is of paired draws of patients; p "
            f"is two-sided, of {swaps} random swaps of the two bundles' answers, "
            "patient by patient (Ernst 2004). p values are not corrected for their "
            "number.",
            f"By patient, {alone['only_first']} are judged better by {first} and "
            f"{alone['only_second']} by {second}: p = {_p(alone['p'])} (McNemar 1947, "
            "exact). It is not done by slice: slices of one patient are not "
            "independent, which that test requires.",
        ),
        (Table("", ("Figure", first, second, "Difference", "p"), rows),),
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
