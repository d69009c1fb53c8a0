"""The sections on how often a bundle is right: by class, subgroup, source, MR sequence.

Curves of discrimination, calibration and net benefit stand beside these figures, and so
does what says whether they are held out; then what each decision rule buys and costs,
the figures on whole series, and the worst errors with their pictures.

Tested in `tests/evaluation/test_performance.py`,
`tests/evaluation/test_by_sequence.py`, `tests/evaluation/test_scored_slices.py`,
`tests/evaluation/test_leakage.py` and `tests/report/evaluation/test_series.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.preprocess.slice import filled
from tumorlens.inference.bundle.facts import ALL_SEQUENCES
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.report.page_parts import (
    FIGURES,
    GROUP_NOTES,
    Chart,
    Line,
    Picture,
    Section,
    Table,
    class_count,
    figure_text,
    name_text,
    operating_rows,
)
from tumorlens.report.slice.overlay import (
    OUTLINE_COLOR,
    OverlayKind,
    encode_png,
    render_overlay,
    window_picture,
)
from tumorlens.report.words import counted
from tumorlens.taxonomy import CLASSES, TumorClass, Verdict, class_title

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
        Figures of `tumorlens.evaluation.performance.set_figures`.
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
        From `tumorlens.evaluation.performance.compare`, with ``names``
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


_UNIT = (0.0, 1.0)


def curve_sections(figures: Figures) -> list[Section]:
    """Show what `curve_figures` found, under the key ``curves`` of the metrics."""
    curves = figures["curves"]
    sections = [_reliability(curves["reliability"])]
    if curves["roc"]:
        sections.insert(0, _discrimination(figures))
    if "decision" in curves:
        sections.append(_decision(curves["decision"]))
    return sections


def _line(name: str, curve: Figures, *, band: bool = True) -> Line:
    low, high = (curve["low"], curve["high"]) if band else ((), ())
    return Line(name, curve["x"], curve["y"], low=low, high=high)


def _title(name: str) -> str:
    known = {"tumor": "Tumour, by slice", "tumor_by_patient": "Tumour, by patient"}
    return known.get(name) or class_title(name)


def _discrimination(figures: Figures) -> Section:
    curves = figures["curves"]
    tumor = [name for name in curves["roc"] if name.startswith("tumor")]
    classes = [name for name in curves["roc"] if not name.startswith("tumor")]
    charts = []
    for key, title, x, y in (
        ("roc", "ROC", "1 - specificity", "Sensitivity"),
        ("precision_recall", "Precision and recall", "Recall", "Precision"),
    ):
        for names, what in ((tumor, "tumour or none"), (classes, "one against rest")):
            lines = [
                _line(_title(name), curves[key][name], band=names is tumor)
                for name in names
            ]
            across, up = _operating_points(figures)
            if key == "roc" and names is tumor and across:
                lines.append(Line("Operating points", across, up, "points"))
            if lines:
                charts.append(
                    Chart(f"{title}: {what}", x, y, lines, _UNIT, _UNIT, key == "roc")
                )
    rows = [
        (
            _title(name),
            figure_text(item["average_precision"]),
            f"{item['prevalence']:.3f}",
        )
        for name, item in curves["precision_recall"].items()
    ]
    return Section(
        "discrimination",
        "How well it tells them apart, at every threshold",
        (
            "Bands are 95 % intervals over patients. An average precision is to be "
            "compared with the share of positives, which chance would reach.",
        ),
        (Table("", ("", "Average precision", "Share of positives"), rows),),
        charts,
    )


def _reliability(curves: Figures) -> Section:
    charts = []
    for key, title, x, y in (
        (
            "most_probable",
            "Most probable class",
            "Probability of the most probable class",
            "Share that is right",
        ),
        ("tumor", "Tumour", "Probability of tumour", "Share that shows a tumour"),
    ):
        rows = curves[key]["bins"]
        charts.append(
            Chart(
                title,
                x,
                y,
                [
                    Line(
                        "Slices, 15 bins",
                        [row["sure"] for row in rows],
                        [row["right"]["value"] for row in rows],
                        "points",
                        [row["right"]["low"] for row in rows],
                        [row["right"]["high"] for row in rows],
                    )
                ],
                _UNIT,
                _UNIT,
                True,
            )
        )
    return Section(
        "calibration",
        "Does it mean its probabilities?",
        (
            "On the diagonal slices that are said to be right with 80 % are right in "
            "80 %. Below it the model boasts, above it is too modest. Bins with few "
            "slices have wide intervals.",
        ),
        (
            Table(
                "Most probable class, by bin",
                ("Probability", "Slices", "Mean probability", "Share that is right"),
                [
                    (
                        f"{row['from']:.2f} to {row['to']:.2f}",
                        str(row["slices"]),
                        f"{row['sure']:.3f}",
                        figure_text(row["right"]),
                    )
                    for row in curves["most_probable"]["bins"]
                ],
            ),
        ),
        charts,
    )


def _decision(curve: Figures) -> Section:
    lines = [
        _line("Act on the model", curve),
        Line("Act on every slice", curve["x"], curve["all"]),
        Line("Act on none", curve["x"], [0.0] * len(curve["x"])),
    ]
    top = max(*curve["high"], curve["prevalence"]) * 1.05
    return Section(
        "decision-curve",
        "What acting on it would be worth",
        (
            "Net benefit (Vickers and Elkin 2006, Med Decis Making): tumour slices "
            "found less false alarms, a false alarm weighing as much as the threshold "
            "says, per slice. It is worth something where it lies above both acting "
            "on every slice and on none. It holds for this set's share of tumours, "
            f"{curve['prevalence']:.2f}, which no clinic has.",
        ),
        (),
        (
            Chart(
                "Decision curve, tumour or none",
                "Probability of tumour from which one acts",
                "Net benefit per slice",
                lines,
                _UNIT,
                (min(-0.05, *curve["y"]) if min(curve["y"]) > -0.5 else -0.5, top),
            ),
        ),
    )


def _operating_points(figures: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Place the operating points on the ROC: false alarms, and sensitivity."""
    rates = [
        item
        for item in figures["operating_points"].values()
        if item["specificity"] and item["sensitivity"]
    ]
    return (
        [1.0 - item["specificity"]["value"] for item in rates],
        [item["sensitivity"]["value"] for item in rates],
    )


_OWN_LEVEL = (
    "One thing is set on a fold's own pictures, without a look at their classes: the "
    "level below which a picture is refused as no brain MRI, so that at most 1 % of "
    "them are."
)


def held_out_section(leakage: Mapping[str, Any]) -> Section:
    """Say whether figures are held out, and from what.

    Parameters
    ----------
    leakage
        From `tumorlens.evaluation.leakage`: of one bundle
        (`check_held_out`), or pooled over folds (`pool_leakage`).
    """
    return _of_folds(leakage) if "folds" in leakage else _of_one_bundle(leakage)


def _of_one_bundle(figures: Mapping[str, Any]) -> Section:
    copies = "not looked for" if figures["copies"] is None else str(figures["copies"])
    rows = [
        ("Slices scored", str(figures["slices"])),
        *(
            (f"Patients also in the bundle's split '{split}'", str(count))
            for split, count in figures["shared_patients"].items()
        ),
        ("Slices of these patients", str(figures["shared_slices"])),
        *(
            (("Models that it started from, counted in", str(figures["parents"])),)
            if figures.get("parents")
            else ()
        ),
        ("Slices that name no patient", str(figures["unnamed_slices"])),
        ("Copies, or nearly, of training pictures", copies),
        *(
            (f"of these, from '{name}'", str(count))
            for name, count in figures["copies_by_source"].items()
        ),
        *(("for example", name) for name in figures["examples"]),
        ("Training pictures compared with", str(figures["compared_with"])),
    ]
    return Section(
        "held-out",
        "Held out" if figures["held_out"] else "Not held out",
        (figures["statement"],),
        (Table("", ("", "Number"), rows),),
    )


def _of_folds(figures: Mapping[str, Any]) -> Section:
    folds = figures["folds"]
    examples = [
        (fold, name) for fold, item in folds.items() for name in item["examples"]
    ]
    tables = [
        Table(
            "",
            (
                "Fold",
                "Slices scored",
                "Patients also in its training",
                "Slices of these",
                "Slices that name no patient",
                "Copies of its training pictures",
                "Pictures compared with",
            ),
            [(fold, *_fold_row(item)) for fold, item in folds.items()],
        )
    ]
    if examples:
        tables.append(Table("Copies, for example", ("Fold", "Picture"), examples))
    return Section(
        "held-out",
        "Held out" if figures["held_out"] else "Not held out",
        (figures["statement"], _OWN_LEVEL),
        tables,
    )


def _fold_row(leakage: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(leakage["slices"]),
        str(sum(leakage["shared_patients"].values())),
        str(leakage["shared_slices"]),
        str(leakage["unnamed_slices"]),
        "not looked for" if leakage["copies"] is None else str(leakage["copies"]),
        str(leakage["compared_with"]),
    )


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
        Figures of `tumorlens.evaluation.by_sequence.sequence_figures`.

    Returns
    -------
    list of Table
        Rows and columns that hold nothing are left out, and so are empty tables.
    """
    tables = []
    for part, title, columns in _OVERVIEW:
        rows = {
            key: row
            for key, row in figures.get(part, {}).items()
            if any(name in row for name in columns)
        }
        shown = {
            name: words
            for name, words in columns.items()
            if any(name in row for row in rows.values())
        }
        if rows:
            cells = [
                (
                    key,
                    str(row["slices"]),
                    *(figure_text(row.get(name)) for name in shown),
                )
                for key, row in rows.items()
            ]
            tables.append(Table(title, ("", "Slices", *shown.values()), cells))
    return tables


def sequence_tables(columns: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Set figures of several models side by side.

    Parameters
    ----------
    columns
        From `tumorlens.evaluation.by_sequence.sequence_figures`, by the
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


RULES = {
    "weak_sign": "Signs of a tumour, too weak to name one",
    "several_tumors": "Several tumours in the prediction set",
    "heads_disagree": "The heads name different tumours",
    "little_brain": "Too little brain",
}
"""Key in the figures, and how the page calls the rule."""

_TITLE = "What each decision rule buys and costs"

_ORDERINGS = {
    "probability": "Least sure of its class first",
    "heads_disagree": "Firmest disagreement of the heads first",
    "little_brain": "Least brain first",
}

_MOST_HELD = 0.3


def rules_section(figures: Mapping[str, Any]) -> Section:
    """Show what `measure_rules` found."""
    if not figures["slices"]:
        return Section("rules", _TITLE, ("Every picture was refused as foreign.",))
    without = figures["without"]
    return Section(
        "rules",
        _TITLE,
        (
            f"{figures['slices']} slices of {figures['patients']} patients that were "
            "not refused as foreign. Without any rule, every one of them would be "
            "named: "
            f"{figure_text(without['error'], percent=True)} wrongly, at a sensitivity "
            f"of {figure_text(without['sensitivity'], percent=True)} and a specificity "
            f"of {figure_text(without['specificity'], percent=True)}.",
            "A rule is worth having where it catches a larger share of the errors than "
            "it loses of the right decisions, and where the other rules do not do the "
            "same without it.",
            *_level_sentences(figures["levels"]),
        ),
        (_alone(figures), _added(figures), _refusal(figures)),
        (_curve_chart(figures["curves"]),),
    )


def _level_sentences(levels: Mapping[str, Sequence[float]]) -> list[str]:
    sentences = []
    for name, values in levels.items():
        shown = ", ".join(f"{value:.3f}" for value in values)
        sentences.append(
            f"{RULES[name]}: {f'threshold {shown}' if shown else 'this rule is off'}."
        )
    return sentences


def _alone(figures: Mapping[str, Any]) -> Table:
    parts = [(RULES[name], item) for name, item in figures["rules"].items()]
    return _prices(
        "Each rule alone, and all together",
        "Held back",
        [*parts, ("All together", figures["all"])],
    )


def _refusal(figures: Mapping[str, Any]) -> Table:
    return _prices(
        "Of all slices, those refused as foreign too",
        "Not decided",
        [
            ("Refused as no brain MRI", figures["refusal"]),
            ("Refused, or held back by a rule", figures["refusal_and_all"]),
        ],
    )


def _prices(title: str, held: str, parts: Sequence[tuple[str, Any]]) -> Table:
    keys = {
        "held": held,
        "errors_caught": "Errors caught",
        "right_lost": "Right decisions lost",
        "wrong_among_held": "Wrong among the held",
        "error_after": "Error among the decided",
        "sensitivity_change": "Sensitivity, change",
        "specificity_change": "Specificity, change",
    }
    return Table(
        title,
        ("Rule", *keys.values()),
        [
            (name, *(figure_text(item[key], percent=True) for key in keys))
            for name, item in parts
        ],
    )


def _added(figures: Mapping[str, Any]) -> Table:
    return Table(
        "What only this rule holds back",
        ("Rule", "Held back", "Errors caught", "Right decisions lost"),
        [
            (
                RULES[name],
                *(
                    figure_text(item["adds"][key], percent=True)
                    for key in ("held", "errors_caught", "right_lost")
                ),
            )
            for name, item in figures["rules"].items()
        ],
    )


def _curve_chart(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Chart:
    """Draw what `hold_back_curves` found."""
    return Chart(
        "Error among the decided, when more and more slices are held back",
        "Share of slices held back",
        "Error among the decided",
        [
            Line(title, curves[name]["held"], curves[name]["error"])
            for name, title in _ORDERINGS.items()
        ],
        x_range=(0.0, _MOST_HELD),
    )


Row = tuple[str, str]

_SOURCES = {
    "lgg": "`lgg`, whole series and their tumour-free parts",
    "lgg_thin": "`lgg`, all but two tumour slices removed",
    "lgg_sequences": "`lgg_sequences` (FLAIR, T1), whole series and their tumour-free "
    "parts",
    "lgg_sequences_thin": "`lgg_sequences`, all but two tumour slices removed",
    "cheng": "`cheng`, stacks of tumour slices",
    "ixi": "`ixi`, healthy heads",
    "volumes": "single volumes",
}


def series_figure_rows(figures: Mapping[str, Any]) -> list[Row]:
    """Turn the figures into rows of what was measured, and the value.

    Parameters
    ----------
    figures
        Figures as `tumorlens calibrate --json` writes them.

    Returns
    -------
    list of tuple
        A title and a value with its 95 % interval over patients.
    """
    learned, by_hand = figures["learned"], figures["set_by_hand"]
    rows = [
        ("AUROC", figure_text(learned["auroc"])),
        ("AUROC of the rule set by hand", figure_text(by_hand["auroc"])),
        ("Calibration error", figure_text(learned["calibration_error"])),
        (
            "Calibration error of the rule set by hand",
            figure_text(by_hand["calibration_error"]),
        ),
        *_rates("", learned["operating_points"]),
    ]
    for source, points in learned["by_source"].items():
        rows += _rates(f"{_SOURCES.get(source, source)}: ", points)
    for point, by_sequence in learned.get("measured", {}).items():
        for word, shares in by_sequence.items():
            if word != ALL_SEQUENCES:
                rows += _shares(word, point, shares)
    for source, kinds in learned.get("kinds", {}).items():
        rows += [
            (
                f"{_SOURCES.get(source, source)}: likeliest kind right, {kind} "
                f"({found['scans']} series)",
                figure_text(found["right"]),
            )
            for kind, found in kinds.items()
        ]
    for kind, name in (("acquired", "the acquired plane"), ("all", "all three planes")):
        points = figures["planes"][kind]["operating_points"]
        rows += _rates(f"Nearly isotropic voxels, {name}: ", points)
    if figures["outlines"] is not None:
        rows += _outlines(figures["outlines"])
    return rows


_GROUPS = {
    "labelled_lesions": "tumours found",
    "same_scanner": "tumour-free parts from the same scanners called free of tumour",
    "healthy_strangers": "healthy strangers called free of tumour",
}


def _shares(word: str, point: str, shares: Mapping[str, Any]) -> Iterator[Row]:
    for group, title in _GROUPS.items():
        if group in shares:
            found = shares[group]
            yield (
                f"{word}: {title} at `{point}` ({found['slices']} series)",
                figure_text(found),
            )


def _rates(prefix: str, points: Mapping[str, Any]) -> Iterator[Row]:
    for name, rates in points.items():
        for kind, truth in (("sensitivity", "tumor"), ("specificity", "no_tumor")):
            if rates[kind] is not None:
                title = f"{kind} at `{name}` ({rates['scans'][truth]} series)"
                yield prefix + title, figure_text(rates[kind])


def _outlines(outlines: Mapping[str, Any]) -> Iterator[Row]:
    kinds = [
        ("Lesion at the fitted level", outlines["fitted"]),
        ("Lesion at half of the peak", outlines["half_of_peak"]),
        *(
            (f"Lesion in {_SOURCES.get(name, name)}", figures)
            for name, figures in outlines["by_source"].items()
        ),
    ]
    for title, figures in kinds:
        count = f"{title} ({figures['scans']} outlines)"
        yield f"{count}: Dice, mean", figure_text(figures["dice"])
        yield (
            f"{count}: relative error of the longest side, median",
            figure_text(figures["size_error"]),
        )
        yield (
            f"{count}: peak inside the outline",
            figure_text(figures["peak_inside"]),
        )


_SIDE = 200
"""Longer side of each half of a picture on the page, in pixels."""

_WHITE = (255, 255, 255)

_DECISIONS = {
    str(Verdict.TUMOR): " Called a tumour, its kind left open.",
    str(Verdict.UNCERTAIN): " Left uncertain.",
    str(Verdict.NOT_BRAIN_MRI): " Refused as no brain MRI.",
    str(TumorClass.NO_TUMOR): " Called free of tumour.",
}

SKETCH_SIDE = 100
"""Longer side of a drawing, in its own units."""

_AIR = 20

_DETAIL = 0.6
"""How far a traced line may leave the outline, in units of the drawing."""


def error_picture(
    error: Mapping[str, Any],
    prediction: Prediction,
    outline: NDArray[np.bool_] | None,
) -> Picture:
    """Draw an error: the slice with outlines, beside its evidence map.

    Parameters
    ----------
    error
        One error of `tumorlens.evaluation.scored_slices.worst_errors`.
    prediction
        The bundle's, of that slice.
    outline
        Shape (H, W), true inside what radiologists drew; None without an outline.

    Returns
    -------
    Picture
        Two halves of up to 200 pixels. The drawn outline, where there is one,
        is white, the bundle's yellow.
    """
    slice_half = _small(
        np.repeat(window_picture(prediction.pixels)[:, :, np.newaxis], 3, axis=2)
    )
    evidence_half = render_overlay(
        prediction.pixels, prediction.explanation, OverlayKind.EVIDENCE
    )
    # Outlines are drawn at the page's size; shrunk with the slice they would fade.
    scale = slice_half.shape[0] / prediction.height
    _draw_outline(slice_half, prediction.explanation.outline, scale, OUTLINE_COLOR)
    if outline is not None:
        _draw_outline(slice_half, _edges(outline), scale, _WHITE)
    both = np.hstack([slice_half, _small(evidence_half)])
    return Picture(encode_png(both), _caption(error))


def _draw_outline(
    picture: NDArray[np.uint8],
    polygons: Sequence[NDArray[Any]],
    scale: float,
    color: tuple[int, int, int],
) -> None:
    scaled = [np.rint(item * scale).astype(np.int32) for item in polygons]
    cv2.polylines(picture, scaled, True, color, 1, cv2.LINE_AA)


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _caption(error: Mapping[str, Any]) -> str:
    true, said = (class_title(error[key]) for key in ("true", "said"))
    decision = _DECISIONS.get(error["decision"], "")
    return (
        f"{error['file']} ({error['source'] or 'no source named'}): truth "
        f"{true.lower()}, most probable {said.lower()} with {error['sure']:.2f}, the "
        f"truth with {error['true_probability']:.2f}.{decision}"
    )


def worst_errors_section(
    errors: Sequence[Mapping[str, Any]], pictures: Sequence[Picture] = ()
) -> Section:
    """Show the errors.

    Parameters
    ----------
    errors
        Errors that `worst_errors` has listed.
    pictures
        Pictures of the errors; without them, only captions are listed.
    """
    lines = () if pictures else tuple(_caption(error) for error in errors)
    return Section(
        "worst-errors",
        f"The {len(errors)} worst errors",
        (
            "Slices whose most probable class is wrong, the surest first, two of a "
            "patient at most. Left the slice with the drawn outline in white, where "
            "there is one, and the model's in yellow; right its evidence map. The "
            "label may be what is wrong: look.",
            *lines,
        ),
        pictures=tuple(pictures),
    )


def trace_sketch(
    prediction: Prediction, outline: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Trace a slice as a line drawing, which shows nobody's picture.

    Parameters
    ----------
    prediction
        The bundle's, of that slice.
    outline
        Shape (H, W), true inside what radiologists drew; None without an outline.

    Returns
    -------
    dict
        Plain JSON: ``width`` and ``height``, and polygons of [x, y] in units of the
        drawing, whose longer side is 100: the ``head``, the tumour as ``drawn`` by
        radiologists, and as ``marked`` by the model.
    """
    scale = SKETCH_SIDE / max(prediction.height, prediction.width)
    tissue = (window_picture(prediction.pixels) > _AIR).astype(np.uint8)
    drawn = () if outline is None else _edges(outline)
    return {
        "width": round(prediction.width * scale),
        "height": round(prediction.height * scale),
        "head": _polygons(_edges(filled(tissue)), scale),
        "drawn": _polygons(drawn, scale),
        "marked": _polygons(prediction.explanation.outline, scale),
    }


def _edges(inside: NDArray[Any]) -> Sequence[NDArray[Any]]:
    edges, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return edges


def _polygons(
    outlines: Sequence[NDArray[Any]], scale: float
) -> list[list[list[float]]]:
    """Scale and simplify (Douglas and Peucker 1973); specks are left out."""
    polygons = []
    for outline in outlines:
        line = outline.reshape(-1, 1, 2).astype(np.float32) * np.float32(scale)
        kept = cv2.approxPolyDP(line, _DETAIL, True).reshape(-1, 2)
        if len(kept) > 2:
            polygons.append(np.round(kept.astype(np.float64), 1).tolist())
    return polygons
