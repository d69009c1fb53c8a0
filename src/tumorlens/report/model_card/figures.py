"""The model card's figures: set by set, where it fails, and beyond plain pictures.

Tested in `tests/report/model_card/test_card.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.evaluation.explanations import MAPS, map_rows
from tumorlens.report.evaluation.performance import sequence_overview
from tumorlens.report.page_parts import (
    FIGURES,
    figure_text,
    judged_apart,
    name_text,
    table,
)
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

SEQUENCE_NOTE = (
    "Each row is one set in one sequence (`?`: not stated), so that no scanner stands "
    "for a sequence. Patients, hospitals and the kinds of other lesions were left out "
    "of the network that judged them. Labels of `brain44` are by case: a slice of it "
    "may show no tumour."
)

ENOUGH_PATIENTS = 10
"""A part of fewer patients is not called the weakest: chance may have made it so."""

Parts = Mapping[str, Mapping[str, Any]]


def measured_sets(bundle: Bundle) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and figures of every set in `SETS` that the bundle has."""
    for name in SETS:
        figures = bundle.metrics.get(name)
        if isinstance(figures, dict):
            yield name, figures


def sets_cover_patients(bundle: Bundle) -> bool:
    """Tell whether every patient weighed alike when the sets were fitted."""
    facts = bundle.provenance.get("calibrated_on")
    return isinstance(facts, dict) and facts.get("sets_cover") == "patients"


def quality(bundle: Bundle) -> list[str]:
    """Write how good the bundle is, set by set."""
    lines = ["## Performance"]
    for name, figures in measured_sets(bundle):
        title, who = SETS[name]
        lines += ["", f"### {title}", "", _who(figures, who), ""]
        lines += _main_figures(figures)
        lines += _confusion(figures)
    if len(lines) == 1:
        lines += ["", "Not yet measured on held-out patients."]
    return lines


def subgroups(bundle: Bundle) -> list[str]:
    """Write the figures of parts of each set: by source, plane, size and so on."""
    lines = ["## Subgroups", "", "A subgroup with few patients says little."]
    before = len(lines)
    for name, figures in measured_sets(bundle):
        parts = {"source": figures.get("by_source"), **figures.get("subgroups", {})}
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


def by_sequence(bundle: Bundle) -> list[str]:
    """Write the figures of each MR sequence, and what other lesions are called."""
    lines = ["## By MR sequence, and other lesions"]
    for name, figures in measured_sets(bundle):
        if not figures.get("sequences"):
            continue
        lines += ["", f"{SETS[name][0]}. {SEQUENCE_NOTE}"]
        for part in sequence_overview(figures["sequences"]):
            lines += ["", f"{part.title}:", "", *table(part.columns, part.rows)]
    return lines if len(lines) > 1 else []


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
    measured = list(measured_sets(bundle))
    if not measured:
        return lines
    rows: list[list[str]] = [
        [title, *(figure_text(figures.get(key)) for _, figures in measured)]
        for title, key in (
            ("Calibration error (ECE, 15 bins)", "calibration_error"),
            ("Brier score (0 to 2)", "brier"),
            ("Classes in a prediction set, mean", "set_size"),
        )
        if any(figures.get(key) for _, figures in measured)
    ]
    rows += [
        [
            f"Coverage of prediction sets, {INFO[name].title.lower()}{words}",
            *(figure_text(figures.get(key, {}).get(name)) for _, figures in measured),
        ]
        for key, words in COVERAGES.items()
        if any(figures.get(key) for _, figures in measured)
        for name in CLASSES
    ]
    heads = ["", *(SETS[name][0] for name, _ in measured)]
    return [*lines, "", *table(heads, rows)]


def _who(figures: Mapping[str, Any], who: str) -> str:
    point = figures.get("model", {}).get("operating_point")
    at = f" Operating point `{point}`;" if point else ""
    # Figures recorded before this was noted do not say.
    leaking = figures.get("held_out", True) is False
    warning = f" **{figures['leakage']['statement']}**" if leaking else ""
    return (
        f"{figures['slices']} slices of {figures['patients']} patients (or groups of "
        f"like images) {who}.{at} 95 % intervals over patients.{warning}"
    )


def _main_figures(figures: Mapping[str, Any]) -> list[str]:
    rows = [
        (title, figure_text(figures[key])) for title, key in FIGURES if figures.get(key)
    ]
    rows += [
        (f"Recall, {name_text(name)}", figure_text(value))
        for name, value in figures.get("recall", {}).items()
        if value
    ]
    rows += [
        (f"{kind.capitalize()} at `{point}`", figure_text(rates[kind]))
        for point, rates in figures.get("operating_points", {}).items()
        for kind in ("sensitivity", "specificity")
        if rates.get(kind)
    ]
    return table(("", ""), rows)


def _confusion(figures: Mapping[str, Any]) -> list[str]:
    if "confusion" not in figures:
        return []
    rows = [
        (INFO[name].title, *row)
        for name, row in zip(CLASSES, figures["confusion"], strict=True)
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


def failures(bundle: Bundle) -> list[str]:
    """Write where the bundle fails most, set by set.

    Parameters
    ----------
    bundle
        A bundle with or without measured figures.

    Returns
    -------
    list of str
        Markdown; nothing in it is typed by hand but the words around figures.
    """
    lines = [
        "## Where it fails",
        "",
        "These sentences are derived from the figures of this card by fixed rules.",
    ]
    sets = list(measured_sets(bundle))
    if not sets:
        lines = ["## Where it fails", "", "Not yet measured on held-out patients."]
    for name, figures in sets:
        lines += ["", f"{SETS[name][0]}:", ""]
        lines += [f"- {said}" for said in _of_set(figures, bundle)]
    beyond = [*_damage(bundle.metrics), *_least_refused(bundle.metrics)]
    if beyond:
        lines += [
            "",
            "Image damage and foreign images:",
            "",
            *(f"- {said}" for said in beyond),
        ]
    return lines


def _of_set(figures: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    yield from _rates(figures)
    yield from _weakest_class(figures)
    kind = "coverage_by_patient" if sets_cover_patients(bundle) else "coverage"
    yield from _missed_coverage(figures.get(kind, {}), bundle.prediction_sets.coverage)
    parts: dict[str, Parts] = {"source": figures.get("by_source") or {}}
    parts |= figures.get("subgroups", {})
    for kind, rows in parts.items():
        yield from _weakest_part(kind, rows)


def _rates(figures: Mapping[str, Any]) -> Iterator[str]:
    for key, words in (
        ("tumor_sensitivity", "of the tumour slices are called free of tumour"),
        (
            "tumor_specificity",
            "of the tumour-free slices are not called free of tumour",
        ),
    ):
        if figures.get(key):
            yield f"{figure_text(_rest(figures[key]))} {words}."
    if figures.get("inconclusive"):
        unnamed = figure_text(figures["inconclusive"])
        yield f"{unnamed} of all slices are given no single class."


def _rest(share: Mapping[str, float]) -> dict[str, float]:
    return {
        "value": 1 - share["value"],
        "low": 1 - share["high"],
        "high": 1 - share["low"],
    }


def _weakest_class(figures: Mapping[str, Any]) -> Iterator[str]:
    recall = {name: value for name, value in figures.get("recall", {}).items() if value}
    if not recall:
        return
    name = min(recall, key=lambda item: recall[item]["value"])
    said = (
        f"The class with the lowest recall is {name_text(name)}: "
        f"{figure_text(recall[name])}"
    )
    if "confusion" in figures:
        row = list(figures["confusion"][CLASSES.index(name)])
        right = row[CLASSES.index(name)]
        row[CLASSES.index(name)] = -1
        other = CLASSES[row.index(max(row))]
        if max(row) > 0:
            said += (
                f"; of its {sum(row) + 1} errors {max(row)} are called "
                f"{name_text(other)}; {right} slices are right"
            )
    yield said + "."


def _missed_coverage(coverage: Mapping[str, Any], asked: float) -> Iterator[str]:
    for name, value in coverage.items():
        if value and value["value"] < asked:
            yield (
                f"Prediction sets contain the true class too seldom for "
                f"{name_text(name)}: {figure_text(value)}, made for {asked:.2f}."
            )


def _weakest_part(kind: str, rows: Parts) -> Iterator[str]:
    """Name the part with the lowest figure, where there are several to choose from."""
    for key, words in (
        ("accuracy", "accuracy"),
        ("tumor_sensitivity", "tumour sensitivity"),
        ("tumor_specificity", "tumour specificity"),
    ):
        known = {
            name: part[key]
            for name, part in rows.items()
            if part.get(key)
            and part.get("patients", ENOUGH_PATIENTS) >= ENOUGH_PATIENTS
        }
        if len(known) > 1:
            name = min(known, key=lambda item: known[item]["value"])
            lowest = f"`{name}`, {figure_text(known[name])}"
            yield f"Lowest {words} by {kind.replace('_', ' ')}: {lowest}."


def _damage(metrics: Mapping[str, Any]) -> Iterator[str]:
    kinds = (metrics.get("robustness") or {}).get("kinds", {})
    known = {kind: part["drop"] for kind, part in kinds.items() if part.get("drop")}
    if known:
        kind = max(known, key=lambda item: known[item]["value"])
        yield (
            f"Of all kinds of image damage, {kind} costs most: "
            f"{figure_text(known[kind])} percentage points of accuracy."
        )


def _least_refused(metrics: Mapping[str, Any]) -> Iterator[str]:
    kinds = (metrics.get("foreign") or {}).get("kinds", {})
    known = {
        kind: part["refused"] for kind, part in kinds.items() if part.get("refused")
    }
    if known:
        kind = min(known, key=lambda item: known[item]["value"])
        yield (
            f"Of the images that are no brain MRI, {kind} is refused least: "
            f"{figure_text(known[kind])}."
        )


def robustness(bundle: Bundle) -> list[str]:
    """Write what damage to the pictures costs, if it was measured."""
    damage = bundle.metrics.get("robustness")
    if not damage or "kinds" not in damage:
        return []
    kinds = [
        (kind, figure_text(part.get("drop"))) for kind, part in damage["kinds"].items()
    ]
    return [
        "## Image damage",
        "",
        f"{damage['slices']} slices of {damage['patients']} patients, damaged at five "
        "strengths. The table gives percentage points of accuracy lost, as the mean "
        "over the strengths. Over all kinds they are "
        f"{figure_text(damage.get('drop'))}, and "
        f"{figure_text(damage.get('sensitivity_drop'))} points of tumour sensitivity. "
        f"Below zero is a gain.{judged_apart(damage)}",
        "",
        *table(("Damage", "Points lost"), kinds),
    ]


def refusal(bundle: Bundle) -> list[str]:
    """Write how well what is no brain MRI is refused."""
    lines = ["## Refusal"]
    refusal_figures = bundle.metrics.get("foreign")
    if refusal_figures and "kinds" in refusal_figures:
        lines += ["", *_foreign(refusal_figures)]
    return [*lines, "", *_own_word(bundle.domain)]


def _foreign(refusal_figures: Mapping[str, Any]) -> list[str]:
    kinds = (
        (
            kind,
            "yes" if part.get("taught") else "no",
            part.get("pictures", "–"),
            figure_text(part.get("auroc")),
            figure_text(part.get("refused")),
        )
        for kind, part in refusal_figures["kinds"].items()
    )
    new = refusal_figures.get("new", {})
    return [
        "What counts are kinds of images that the score was not taught: their AUROC "
        f"against brain MRI is {figure_text(new.get('auroc'))}, and "
        f"{figure_text(new.get('refused'))} of them are refused, while "
        f"{figure_text(refusal_figures.get('passed'))} of the brain MRI pass."
        f"{judged_apart(refusal_figures)}",
        "",
        *table(("Kind", "Taught", "Images", "AUROC", "Refused"), kinds),
    ]


def _own_word(domain: Mapping[str, Any]) -> list[str]:
    kinds = [
        (key.removeprefix("refused_"), f"{value:.3f}")
        for key, value in sorted(domain.items())
        if key.startswith("refused_")
    ]
    lines = [
        "As measured when the bundle was exported: the proportion of drawn images and "
        "photographs that are refused. The linear probe in the score has not seen the "
        "kind that it judges; the weights that combine the probe with the other "
        "features were fitted on all kinds, and the threshold, which 99 % of "
        "validation slices pass, on the slices that the AUROC counts. These figures "
        "therefore flatter the score.",
        "",
        *table(("Kind", "Refused"), kinds),
    ]
    if "auroc" in domain:
        lines += ["", f"AUROC, brain MRI against all of these: {domain['auroc']:.4f}."]
    return lines


def faithfulness(bundle: Bundle) -> list[str]:
    """Write how far the maps show what decides, if it was measured."""
    maps = bundle.metrics.get("faithfulness")
    if not maps or not maps["slices"]:
        return []
    return [
        "## Sanity checks of the maps",
        "",
        f"Whether the maps show what decides, on {maps['slices']} tumour slices of "
        f"{maps['patients']} patients; the evaluation page says what each check "
        f"measures, and shows more.{judged_apart(maps)}",
        "",
        *table(("", *MAPS.values()), map_rows(maps)),
    ]
