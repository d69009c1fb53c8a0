"""In a few rows: damage, what is no brain MRI, and whether maps tell the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tumorlens.report.figure_words import figure_text

MAPS = {"evidence": "Evidence map", "gradcam": "Grad-CAM"}


def damage_rows(damage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Sum up what damage to pictures costs.

    Parameters
    ----------
    damage
        As a bundle keeps it under ``robustness``.

    Yields
    ------
    tuple of str
        A title and a figure with its interval.
    """
    kinds = damage["kinds"]
    worst = max(kinds, key=lambda name: kinds[name]["drop"]["value"])
    yield (
        "Accuracy lost under damage, points of 100, mean over "
        f"{len(kinds)} kinds at {len(kinds[worst]['strengths'])} strengths",
        figure_text(damage["drop"]),
    )
    yield f"The same, the costliest kind ({worst})", figure_text(kinds[worst]["drop"])
    for name in ("sensitivity", "specificity"):
        yield (
            f"Tumour {name} lost under damage, points of 100",
            figure_text(damage[f"{name}_drop"]),
        )


def refusal_rows(foreign: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Sum up how well what is no brain MRI is told and refused.

    Parameters
    ----------
    foreign
        As a bundle keeps it under that name.

    Yields
    ------
    tuple of str
        A title and a figure with its interval.
    """
    for key, words in (("all", "all kinds"), ("new", "kinds that taught nothing")):
        found = foreign[key]
        count = f"{found['pictures']} pictures"
        yield (
            f"No brain MRI, {words} ({count}): AUROC against brain MRI",
            figure_text(found["auroc"]),
        )
        yield "The same: refused", figure_text(found["refused"])
    yield (
        f"Brain MRI that passes ({foreign['slices']} slices)",
        figure_text(foreign["passed"]),
    )


def map_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Sum up whether the maps tell the truth.

    Parameters
    ----------
    found
        As a bundle keeps it under ``faithfulness``, of at least one slice.

    Yields
    ------
    tuple of str
        A title, then a figure with its interval for each of `MAPS`. What needs
        outlines is left out where there are none.
    """
    shuffled, turned = found["randomisation"], found["repeatability"]["turn"]
    whole = shuffled["cascading"][-1]
    agreed = found["agreement"].get("gain_over_center", {})
    rows = {
        "Peak inside the outline, more often than the middle of the head by": {
            name: agreed[name]["peak_inside"] for name in agreed
        },
        **{
            f"{way.capitalize()}, first quarter of the pixels, better than the middle "
            "by": {
                name: found["deletion"][way]["gain_over_center"][name]["early"]
                for name in MAPS
            }
            for way in ("deletion", "insertion")
        },
        "Rank correlation with itself once all weights are shuffled": {
            name: whole[name]["spearman"] for name in MAPS
        },
        "The same with another patient's map": {
            name: shuffled["other_patient"][name]["spearman"] for name in MAPS
        },
        "Correlation with itself when the head is turned by 3 and 8 degrees": {
            name: turned[name]["correlation"] for name in MAPS
        },
    }
    for title, figures in rows.items():
        if figures:
            yield title, *(figure_text(figures[name]) for name in MAPS)
