"""Where a bundle fails, in words, read off its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.figure_words import figure_text, name_text
from tumorlens.report.model_card.sets import SETS, measured_sets, sets_cover_patients
from tumorlens.taxonomy import CLASSES

ENOUGH_PATIENTS = 10
"""A part of fewer patients is not called the weakest: chance may have made it so."""

Parts = Mapping[str, Mapping[str, Any]]


def failures(bundle: Bundle) -> list[str]:
    """Write where the bundle fails most, set by set.

    Parameters
    ----------
    bundle
        With or without measured figures.

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
    for name, found in sets:
        lines += ["", f"{SETS[name][0]}:", ""]
        lines += [f"- {said}" for said in _of_set(found, bundle)]
    beyond = [*_damage(bundle.metrics), *_foreign(bundle.metrics)]
    if beyond:
        lines += [
            "",
            "Image damage and foreign images:",
            "",
            *(f"- {said}" for said in beyond),
        ]
    return lines


def _of_set(found: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    yield from _rates(found)
    yield from _weakest_class(found)
    kind = "coverage_by_patient" if sets_cover_patients(bundle) else "coverage"
    yield from _missed_coverage(found.get(kind, {}), bundle.prediction_sets.coverage)
    parts: dict[str, Parts] = {"source": found.get("by_source") or {}}
    parts |= found.get("subgroups", {})
    for kind, rows in parts.items():
        yield from _weakest_part(kind, rows)


def _rates(found: Mapping[str, Any]) -> Iterator[str]:
    for key, words in (
        ("tumor_sensitivity", "of the tumour slices are called free of tumour"),
        (
            "tumor_specificity",
            "of the tumour-free slices are not called free of tumour",
        ),
    ):
        if found.get(key):
            yield f"{figure_text(_rest(found[key]))} {words}."
    if found.get("inconclusive"):
        yield f"{figure_text(found['inconclusive'])} of all slices get no answer."


def _rest(share: Mapping[str, float]) -> dict[str, float]:
    return {
        "value": 1 - share["value"],
        "low": 1 - share["high"],
        "high": 1 - share["low"],
    }


def _weakest_class(found: Mapping[str, Any]) -> Iterator[str]:
    recall = {name: value for name, value in found.get("recall", {}).items() if value}
    if not recall:
        return
    name = min(recall, key=lambda item: recall[item]["value"])
    said = (
        f"The class with the lowest recall is {name_text(name)}: "
        f"{figure_text(recall[name])}"
    )
    if "confusion" in found:
        row = list(found["confusion"][CLASSES.index(name)])
        right = row[CLASSES.index(name)]
        row[CLASSES.index(name)] = -1
        other = CLASSES[row.index(max(row))]
        if max(row) > 0:
            said += (
                f"; of its {sum(row) + 1} errors {max(row)} are called "
                f"{name_text(other)}; {right} slices are right"
            )
    yield said + "."


def _missed_coverage(found: Mapping[str, Any], asked: float) -> Iterator[str]:
    for name, value in found.items():
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


def _foreign(metrics: Mapping[str, Any]) -> Iterator[str]:
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
