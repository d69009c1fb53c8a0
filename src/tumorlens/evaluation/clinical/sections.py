"""The page on what clinical columns add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tumorlens.evaluation.clinical.added_value import ACCURACY, CALIBRATION, LOG_LOSS
from tumorlens.report.figure_words import name_text
from tumorlens.report.page_parts import Section, Table
from tumorlens.statistics.intervals import in_words

_LEVELS = {"by_patient": "By patient", "by_slice": "By slice"}
_SIGNIFICANT = 0.05
_FEWEST = 19
"""Permutations of which p can reach 0.05."""


def answer(report: Mapping[str, Any]) -> str:
    """Say in a sentence or two whether the columns add anything.

    Parameters
    ----------
    report
        Of `tumorlens.experiments.clinical_run.add_clinical`.
    """
    found = report["by_patient"][LOG_LOSS]
    change = in_words(found["difference"], digits=3)
    p = found["p"]
    by_chance = "" if p is None else f"; p = {p:.2f} against permuted columns"
    figures = f"the log loss by patient changes by {change}{by_chance}"
    # So few permutations cannot give a p that small; then the interval answers.
    unlike_chance = report["permutations"] < _FEWEST or p <= _SIGNIFICANT
    sure = found["difference"]["high"] < 0.0 and unlike_chance
    if sure and report["warnings"]:
        return f"The columns seem to add something ({figures}), but see the warnings."
    if sure:
        return f"The columns add something over the image alone: {figures}."
    if found["difference"]["low"] > 0.0:
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
        As for `answer`.
    """
    found = [_answer_section(report), _columns_section(report)]
    if report["subgroups"]:
        found.append(_subgroup_section(report["subgroups"]))
    found.append(_weights_section(report["model_weights"]))
    return found


def figure_table(report: Mapping[str, Any], level: str) -> Table:
    """Set the judges side by side.

    Parameters
    ----------
    report
        As for `answer`.
    level
        ``by_patient`` or ``by_slice``.
    """
    rows = [
        (
            name,
            *(in_words(found[judge], digits=3) for judge in ("served", "image")),
            in_words(found["fused"], digits=3),
            in_words(found["difference"], digits=3),
            _range(found["null"]),
            "–" if found["p"] is None else f"{found['p']:.2f}",
        )
        for name, found in report[level].items()
    ]
    heads = ("Figure", "Image as served", "Image, fitted here", "Image and columns")
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
            f"{report['slices']} slices of {report['patients']} patients, each judged "
            "by a clinical model fitted on other patients. "
            f"{report['image_side']}",
            "'Image, fitted here' has all the freedom of the clinical model but its "
            "columns; the difference is the columns' alone. Its interval is 95 %, of "
            "paired draws of patients. The last columns say what the same work gives "
            f"when the columns are dealt anew among patients ({report['permutations']} "
            "times): the middle 95 % of the differences, and how often they help as "
            "much. p values are not corrected for their number; the log loss was named "
            "beforehand as the one that counts.",
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
        rows = [_subgroup_row(part, found) for part, found in parts.items()]
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


def _subgroup_row(part: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    right = found[ACCURACY]
    error = found[CALIBRATION]
    return (
        part,
        str(found["patients"]),
        in_words(right["image"]),
        in_words(right["fused"]),
        in_words(found[LOG_LOSS]["difference"], digits=3),
        in_words(error["image"]),
        in_words(error["fused"]),
    )


def _weights_section(weights: Mapping[str, Any]) -> Section:
    classes = [name_text(name) for name in weights["classes"]]
    rows = [
        (name, *(f"{value + 0.0:.2f}" for value in row))
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
