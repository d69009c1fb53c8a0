"""The model card's figures: of each set that the bundle was measured on, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.figure_words import FIGURES, figure_text, name_text, table
from tumorlens.taxonomy import CLASSES, INFO

SETS = {
    "test": (
        "Held-out patients",
        "who neither trained nor tuned the model",
    ),
    "cross_validation": (
        "Cross-validation",
        "each judged by the one of several networks, trained in the same way, that had "
        "not seen the patient, and pooled. The figures describe the training "
        "procedure; the shipped network is another one of its kind",
    ),
    "leave_site_out": (
        "Hospitals left out",
        "judged by a network trained in the same way without any patient of their "
        "hospitals",
    ),
}
"""Heading and words for each set whose figures are an evaluation's."""

COVERAGES = {"coverage_by_patient": ", by patient", "coverage": ""}
"""Key of what the prediction sets hold, and the words that tell it is by patient."""

_PART_FIGURES = (
    ("Accuracy", "accuracy"),
    ("Sensitivity", "tumor_sensitivity"),
    ("Specificity", "tumor_specificity"),
)


def measured_sets(bundle: Bundle) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and figures of every set in `SETS` that the bundle has."""
    for name in SETS:
        found = bundle.metrics.get(name)
        if isinstance(found, dict):
            yield name, found


def sets_cover_patients(bundle: Bundle) -> bool:
    """Tell whether every patient weighed alike when the sets were fitted."""
    facts = bundle.provenance.get("calibrated_on")
    return isinstance(facts, dict) and facts.get("sets_cover") == "patients"


def quality(bundle: Bundle) -> list[str]:
    """Write how good the bundle is, set by set."""
    lines = ["## Performance"]
    for name, found in measured_sets(bundle):
        title, who = SETS[name]
        lines += ["", f"### {title}", "", _who(found, who), ""]
        lines += _main_figures(found)
        lines += _confusion(found)
    if len(lines) == 1:
        lines += ["", "Not yet measured on held-out patients."]
    return lines


def subgroups(bundle: Bundle) -> list[str]:
    """Write the figures of parts of each set: by source, plane, size and so on."""
    lines = ["## Subgroups", "", "A subgroup with few patients says little."]
    before = len(lines)
    for name, found in measured_sets(bundle):
        parts = {"source": found.get("by_source"), **found.get("subgroups", {})}
        for kind, rows in parts.items():
            if rows:
                lines += [
                    "",
                    f"{SETS[name][0]}, by {kind.replace('_', ' ')}:",
                    "",
                    *_parts(rows),
                ]
    if len(lines) == before:
        lines += ["", "Not yet measured."]
    return lines


def calibration(bundle: Bundle) -> list[str]:
    """Write how far probabilities and prediction sets can be taken at their word."""
    coverage = bundle.prediction_sets.coverage
    by_patient = sets_cover_patients(bundle)
    weighed = ", every patient with the same weight" if by_patient else ""
    lines = [
        "## Calibration",
        "",
        "One factor for each head's logits and one offset for each class (vector "
        "scaling, Guo et al. 2017) were fitted on held-out patients. Prediction sets "
        "(conformal, class by class) are made to contain the true class in "
        f"{100 * coverage:.0f} % of the slices of each class{weighed}.",
    ]
    found = list(measured_sets(bundle))
    if not found:
        return lines
    rows: list[list[str]] = [
        [title, *(figure_text(figures.get(key)) for _, figures in found)]
        for title, key in (
            ("Calibration error (ECE, 15 bins)", "calibration_error"),
            ("Brier score (0 to 2)", "brier"),
            ("Classes in a prediction set, mean", "set_size"),
        )
        if any(figures.get(key) for _, figures in found)
    ]
    rows += [
        [
            f"Coverage of prediction sets, {INFO[name].title.lower()}{words}",
            *(figure_text(figures.get(key, {}).get(name)) for _, figures in found),
        ]
        for key, words in COVERAGES.items()
        if any(figures.get(key) for _, figures in found)
        for name in CLASSES
    ]
    heads = ["", *(SETS[name][0] for name, _ in found)]
    return [*lines, "", *table(heads, rows)]


def _who(found: Mapping[str, Any], who: str) -> str:
    point = found.get("model", {}).get("operating_point")
    at = f" Operating point `{point}`;" if point else ""
    # Figures recorded before this was noted do not say.
    leaking = found.get("held_out", True) is False
    warning = f" **{found['leakage']['statement']}**" if leaking else ""
    return (
        f"{found['slices']} slices of {found['patients']} patients (or groups of like "
        f"images) {who}.{at} 95 % intervals over patients.{warning}"
    )


def _main_figures(found: Mapping[str, Any]) -> list[str]:
    rows = [
        (title, figure_text(found[key])) for title, key in FIGURES if found.get(key)
    ]
    rows += [
        (f"Recall, {name_text(name)}", figure_text(value))
        for name, value in found.get("recall", {}).items()
        if value
    ]
    rows += [
        (f"{kind.capitalize()} at `{point}`", figure_text(rates[kind]))
        for point, rates in found.get("operating_points", {}).items()
        for kind in ("sensitivity", "specificity")
        if rates.get(kind)
    ]
    return table(("", ""), rows)


def _confusion(found: Mapping[str, Any]) -> list[str]:
    if "confusion" not in found:
        return []
    rows = [
        (INFO[name].title, *row)
        for name, row in zip(CLASSES, found["confusion"], strict=True)
    ]
    return [
        "",
        "Confusion matrix: most probable class (columns) by true class (rows).",
        "",
        *table(("", *(INFO[name].title for name in CLASSES)), rows),
    ]


def _parts(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return table(
        ("", "Slices", "Patients", *(title for title, _ in _PART_FIGURES)),
        (
            (
                f"`{name}`",
                part["slices"],
                part.get("patients", "–"),
                *(figure_text(part.get(key)) for _, key in _PART_FIGURES),
            )
            for name, part in rows.items()
        ),
    )
