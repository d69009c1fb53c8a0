"""The sections on what clinical columns add.

Tested in `tests/evaluation/test_clinical.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tumorlens.report.page_parts import Section, Table, figure_text, name_text
from tumorlens.report.words import counted

_LOG_LOSS, _ACCURACY = "Log loss", "-class accuracy"
_CALIBRATION = "Calibration error (ECE, 15 bins)"
"""Names of the figures that the page speaks of by itself; before the second stands
how many classes there are."""

_JUDGES = {
    "served": "Image as served",
    "image": "Image, fitted here",
    "columns": "Columns alone",
    "fused": "Image and columns",
}
_LEVELS = {"by_patient": "By patient", "by_slice": "By slice"}
_SIGNIFICANT = 0.05
_FEWEST = 19
"""Permutations of which p can reach 0.05."""


def answer(report: Mapping[str, Any]) -> str:
    """Say in a sentence or two whether the columns add anything.

    Parameters
    ----------
    report
        Report of `tumorlens.experiments.clinical.add_clinical`.
    """
    log_loss = report["by_patient"][_LOG_LOSS]
    change = figure_text(log_loss["difference"])
    p = log_loss["p"]
    by_chance = "" if p is None else f"; p = {p:.2f} against permuted columns"
    figures = f"the log loss by patient changes by {change}{by_chance}"
    # So few permutations cannot give a p that small; then the interval answers.
    unlike_chance = report["permutations"] < _FEWEST or p <= _SIGNIFICANT
    sure = log_loss["difference"]["high"] < 0.0 and unlike_chance
    if sure and report["warnings"]:
        return f"The columns seem to add something ({figures}), but see the warnings."
    if sure:
        return f"The columns add something over the image alone: {figures}."
    if log_loss["difference"]["low"] > 0.0:
        return f"The columns make it worse: {figures}. Do not use them."
    return (
        f"Nothing here shows that the columns add anything over the image alone: "
        f"{figures}."
    )


def clinical_sections(report: Mapping[str, Any]) -> list[Section]:
    """Show the report.

    Parameters
    ----------
    report
        The same as for `answer`.
    """
    sections = [_answer_section(report), _columns_section(report)]
    if report["subgroups"]:
        sections.append(_subgroup_section(report["subgroups"]))
    sections.append(_weights_section(report["model_weights"]))
    return sections


def figure_table(report: Mapping[str, Any], level: str) -> Table:
    """Set the judges side by side.

    Parameters
    ----------
    report
        The same as for `answer`.
    level
        ``by_patient`` or ``by_slice``.
    """
    rows = [
        (
            name,
            *(figure_text(figures[judge]) for judge in _JUDGES),
            figure_text(figures["difference"]),
            _range(figures["null"]),
            "–" if figures["p"] is None else f"{figures['p']:.2f}",
        )
        for name, figures in report[level].items()
    ]
    heads = ("Figure", *_JUDGES.values())
    beside = ("Difference", "Of permuted columns", "p")
    return Table(_LEVELS[level], (*heads, *beside), rows)


def _range(null: Mapping[str, float] | None) -> str:
    # Adding zero takes the minus from what rounds to nothing.
    return (
        "–"
        if null is None
        else f"{round(null['low'], 3) + 0.0:.3f} … {round(null['high'], 3) + 0.0:.3f}"
    )


def _answer_section(report: Mapping[str, Any]) -> Section:
    return Section(
        "answer",
        "What the columns add",
        (
            answer(report),
            f"{counted(report['slices'], 'slice')} of "
            f"{counted(report['patients'], 'patient')}, each judged "
            "by a clinical model fitted on other patients. "
            f"{report['image_side']}",
            "'Image, fitted here' has all the freedom of the clinical model but its "
            "columns; the difference of 'Image and columns' from it is the columns' "
            "alone. 'Columns alone' takes from the image only whether a slice shows "
            "one of the classes that were learned. The difference's interval is 95 %, "
            "of paired draws of patients. The last columns say what the same work "
            "gives when the columns are dealt anew among patients "
            f"({report['permutations']} times): the middle 95 % of the differences, "
            "and how often they help as much. p values are not corrected for their "
            "number; the log loss was named beforehand as the one that counts.",
            *report["warnings"],
        ),
        [figure_table(report, level) for level in _LEVELS],
    )


def _columns_section(report: Mapping[str, Any]) -> Section:
    used = [
        (
            column["name"],
            column["kind"],
            str(column["missing"]),
            ", ".join(column["categories"]) or "–",
        )
        for column in report["columns"]
    ]
    people = [
        (name_text(name), str(counts["patients"]), str(counts["without_row"]))
        for name, counts in report["classes"].items()
    ]
    heads = ("Column", "Kind", "Patients without", "Categories learned")
    return Section(
        "columns",
        "Columns and patients",
        (
            "A patient without a row is judged by the image alone and does not count "
            "here. Where that goes with the class, these patients are no fair sample.",
            *report["left_out"],
        ),
        [
            Table("Columns that were learned", heads, used),
            Table("Patients", ("Class", "With a row", "Without"), people),
        ],
    )


def _subgroup_section(subgroups: Mapping[str, Any]) -> Section:
    tables = []
    for kind, parts in subgroups.items():
        rows = [_subgroup_row(part, figures) for part, figures in parts.items()]
        heads = ("Group", "Patients", "Accuracy, image", "Accuracy, both")
        beside = ("Log loss, difference", "Calibration error, image", "both")
        tables.append(Table(f"By {kind}", (*heads, *beside), rows))
    return Section(
        "subgroups",
        "Groups of patients",
        (
            "By slice. A model that gains on the whole may lose in a group: look for "
            "groups whose log loss rises. Groups of few patients are not shown; of "
            "those shown, small ones have wide intervals, and a difference between "
            "groups may come from their mix of classes.",
        ),
        tables,
    )


def _subgroup_row(part: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    right = next(value for name, value in figures.items() if name.endswith(_ACCURACY))
    error = figures[_CALIBRATION]
    return (
        part,
        str(figures["patients"]),
        figure_text(right["image"], digits=2),
        figure_text(right["fused"], digits=2),
        figure_text(figures[_LOG_LOSS]["difference"]),
        figure_text(error["image"], digits=2),
        figure_text(error["fused"], digits=2),
    )


def _weights_section(weights: Mapping[str, Any]) -> Section:
    classes = [name_text(name) for name in weights["classes"]]
    rows = [
        (name, *(f"{round(value, 2) + 0.0:.2f}" for value in row))
        for name, row in zip(weights["features"], weights["weights"], strict=True)
    ]
    return Section(
        "weights",
        "What was learned",
        (
            "Log-odds that a column adds: for a number, one standard deviation above "
            "the mean; for a category, being in it. The image's log-probabilities are "
            f"multiplied by {weights['image_weight']:.2f}, and the sum is divided by "
            f"the temperature {weights['temperature']:.2f}. The penalty chosen is "
            f"{weights['penalty']:g}. Weights are not causes.",
        ),
        [Table("", ("Column", *classes), rows)],
    )
