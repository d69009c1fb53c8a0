"""The model card's figures beyond plain pictures: damage, refusal, explanations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.evaluation.network_figures import MAPS, map_rows
from tumorlens.report.figure_words import figure_text, judged_apart, table


def robustness(bundle: Bundle) -> list[str]:
    """Write what damage to the pictures costs, if it was measured."""
    found = bundle.metrics.get("robustness")
    if not found or "kinds" not in found:
        return []
    kinds = [
        (kind, figure_text(part.get("drop"))) for kind, part in found["kinds"].items()
    ]
    return [
        "## Image damage",
        "",
        f"{found['slices']} slices of {found['patients']} patients, damaged at five "
        "strengths. The table gives percentage points of accuracy lost, as the mean "
        "over the strengths. Over all kinds they are "
        f"{figure_text(found.get('drop'))}, and "
        f"{figure_text(found.get('sensitivity_drop'))} points of tumour sensitivity. "
        f"Below zero is a gain.{judged_apart(found)}",
        "",
        *table(("Damage", "Points lost"), kinds),
    ]


def refusal(bundle: Bundle) -> list[str]:
    """Write how well what is no brain MRI is refused."""
    lines = ["## Refusal"]
    found = bundle.metrics.get("foreign")
    if found and "kinds" in found:
        lines += ["", *_foreign(found)]
    return [*lines, "", *_own_word(bundle.domain)]


def _foreign(found: Mapping[str, Any]) -> list[str]:
    kinds = (
        (
            kind,
            "yes" if part.get("taught") else "no",
            part.get("pictures", "–"),
            figure_text(part.get("auroc")),
            figure_text(part.get("refused")),
        )
        for kind, part in found["kinds"].items()
    )
    new = found.get("new", {})
    return [
        "What counts are kinds of images that the score was not taught: their AUROC "
        f"against brain MRI is {figure_text(new.get('auroc'))}, and "
        f"{figure_text(new.get('refused'))} of them are refused, while "
        f"{figure_text(found.get('passed'))} of the brain MRI pass."
        f"{judged_apart(found)}",
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
    found = bundle.metrics.get("faithfulness")
    if not found or not found["slices"]:
        return []
    return [
        "## Sanity checks of the maps",
        "",
        f"Whether the maps show what decides, on {found['slices']} tumour slices of "
        f"{found['patients']} patients; the evaluation page says what each check "
        f"measures, and shows more.{judged_apart(found)}",
        "",
        *table(("", *MAPS.values()), map_rows(found)),
    ]
