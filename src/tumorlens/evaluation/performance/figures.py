"""The figures of a scored set: how often it is right, found, sure, and inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.performance.by_class import class_figures
from tumorlens.evaluation.performance.positions import (
    like_position_auroc,
    middle_auroc,
    slice_positions,
)
from tumorlens.evaluation.scoring.judgements import Judgements, by_patient, by_slice
from tumorlens.evaluation.scoring.scored_slices import ScoredSet
from tumorlens.statistics.intervals import Figure
from tumorlens.statistics.resampling import (
    Draws,
    Resampling,
    figure,
    without_bias,
)
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX, TumorClass, Verdict

BINS = 15
"""Bins of the calibration error, as the asked figures are stated."""

_MIN_OF_EACH = 5
"""Slices of each kind that an AUROC inside one site needs to mean anything."""


def set_figures(scored: ScoredSet) -> dict[str, Any]:
    """Work out every figure that needs nothing but what was said.

    Parameters
    ----------
    scored
        At least one slice.

    Returns
    -------
    dict
        Plain JSON. A figure is ``{"value", "low", "high"}`` with its 95 %
        interval over patients, or None where there is nothing to measure it
        on. Sensitivity counts a tumour slice as missed when its decision is
        ``no_tumor``; specificity counts a tumour-free slice as right only
        then.
    """
    draws = Resampling(scored.groups)
    slices, patients = by_slice(scored), by_patient(scored)
    labels, tumor = scored.labels, scored.tumor
    every = np.ones(len(labels), bool)
    classes = {
        "by_slice": class_figures(slices, draws),
        "by_patient": class_figures(patients, Resampling(patients.groups)),
    }
    cleared, unsure, refused = _said(scored)
    found: dict[str, Any] = {
        "slices": len(labels),
        "patients": draws.patients,
        "accuracy": classes["by_slice"]["accuracy"],
        "accuracy_by_patient": classes["by_patient"]["accuracy"],
        "recall": _column(classes["by_slice"], "recall"),
        "coverage": {
            name: draws.share(scored.sets[:, row], labels == row)
            for row, name in enumerate(CLASSES)
        },
        "coverage_by_patient": {
            name: draws.share_by_patient(scored.sets[:, row], labels == row)
            for row, name in enumerate(CLASSES)
        },
        "set_size": draws.average(scored.sets.sum(axis=1), every),
        "set_of_one": draws.share(scored.sets.sum(axis=1) == 1, every),
        "tumor_sensitivity": draws.share(~cleared, tumor),
        "tumor_specificity": draws.share(cleared, ~tumor),
        "inconclusive": draws.share(unsure, every),
        "refused_as_foreign": draws.share(refused, every),
        "auroc_tumor": classes["by_slice"]["auroc_tumor"],
        "calibration_error": figure(calibration_draws(slices, draws)),
        "brier": figure(brier_draws(slices, draws)),
        "confusion": classes["by_slice"]["confusion"],
        "classes": classes,
        "heads": _heads(scored, draws),
        "operating_points": _operating_points(slices, draws, refused),
        "operating_points_by_patient": _operating_points(
            patients, Resampling(patients.groups), np.zeros(len(patients.labels), bool)
        ),
        "by_source": by_part(scored, [item.source for item in scored.records]),
        "within_sites": within_sites(scored),
    }
    return found | _localisation(scored, draws)


def _column(found: Mapping[str, Any], key: str) -> dict[str, Figure | None]:
    return {name: row[key] for name, row in found["classes"].items()}


def _said(
    scored: ScoredSet,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which slices were cleared, left inconclusive, and refused: (N,) each."""
    kinds = (TumorClass.NO_TUMOR, Verdict.INCONCLUSIVE, Verdict.NOT_BRAIN_MRI)
    cleared, unsure, refused = (
        np.array([item is kind for item in scored.decisions]) for kind in kinds
    )
    return cleared, unsure, refused


def calibration_draws(judged: Judgements, draws: Resampling) -> Draws:
    """Measure the calibration error of the most probable class, in every draw.

    Equal-width bins (Naeini et al. 2015; Guo et al. 2017), as in
    `tumorlens.statistics.metrics.calibration_error`; the draws are those of
    `without_bias`.
    """
    sure = judged.probabilities.max(axis=1)
    gap = (judged.predicted == judged.labels) - sure
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    inside = bins[:, np.newaxis] == np.arange(BINS)
    error = np.abs(draws.sums(inside * gap[:, np.newaxis])).sum(axis=1)
    return without_bias(np.asarray(error / draws.sums(np.ones(len(gap)))))


def brier_draws(judged: Judgements, draws: Resampling) -> Draws:
    """Squared distance of probabilities from the truth (Brier 1950), 0 to 2."""
    truth = np.eye(len(CLASSES))[judged.labels]
    distance = ((judged.probabilities - truth) ** 2).sum(axis=1)
    return draws.mean(distance, np.ones(len(distance), bool))


def _heads(scored: ScoredSet, draws: Resampling) -> dict[str, Any]:
    """Each head by itself, before calibration joins them."""
    found = {}
    for name, values in (
        ("slice_head", scored.slice_head),
        ("evidence_head", scored.evidence_head),
    ):
        known = np.asarray(np.isfinite(values).all(axis=1))
        right = np.asarray(values.argmax(axis=1) == scored.labels)
        auroc = draws.auroc(1.0 - values[:, NO_TUMOR_INDEX], scored.tumor)
        found[name] = {
            "accuracy": draws.share(right, known),
            "auroc_tumor": figure(auroc),
        }
    return found


def _operating_points(
    judged: Judgements, draws: Resampling, refused: NDArray[np.bool_]
) -> dict[str, Any]:
    """Rates at every point: a tumour is missed below the threshold.

    A refused slice is neither missed nor cleared: nobody is told that it is
    free of tumour.
    """
    tumor = judged.tumor
    found = {}
    for name, thresholds in judged.thresholds.items():
        if not np.isfinite(thresholds).all():
            continue
        cleared = (judged.p_tumor < thresholds) & ~refused
        called = ~cleared & ~refused
        found[name] = {
            "sensitivity": draws.share(~cleared, tumor),
            "specificity": draws.share(cleared, ~tumor),
            "positive_predictive_value": draws.share(tumor, called),
            "negative_predictive_value": draws.share(~tumor, cleared),
        }
    return found


def by_part(
    scored: ScoredSet, parts: list[str], of: list[str] | None = None
) -> dict[str, Any]:
    """Give the main figures of each part of a set.

    Parameters
    ----------
    scored
        The set.
    parts
        N names; slices with an empty one are left out.
    of
        The parts to show and their order; by default all, sorted.

    Returns
    -------
    dict
        By part: ``slices``, ``patients``, and the figures that can be had.
    """
    names = np.array(parts)
    found = {}
    for part in of or sorted(set(parts) - {""}):
        if (names == part).any():
            found[part] = _part(scored.take(names == part))
    return found


def _part(scored: ScoredSet) -> dict[str, Any]:
    draws, judged = Resampling(scored.groups), by_slice(scored)
    tumor, every = scored.tumor, np.ones(len(scored.records), bool)
    cleared, _, _ = _said(scored)
    right = judged.predicted == judged.labels
    found: dict[str, Any] = {
        "slices": len(every),
        "patients": draws.patients,
        "accuracy": draws.share(right, every),
        "tumor_sensitivity": draws.share(~cleared, tumor),
        "tumor_specificity": draws.share(cleared, ~tumor),
        "peak_inside_outline": _inside(scored.peak_inside, draws),
    }
    # Of a single patient these would have no interval to speak of.
    if draws.patients > 1:
        found |= {
            "auroc_tumor": figure(draws.auroc(scored.p_tumor, tumor)),
            "calibration_error": figure(calibration_draws(judged, draws)),
            "dice_at_half_height": _where_known(scored.dice, draws),
        }
    return {key: value for key, value in found.items() if value is not None}


def within_sites(scored: ScoredSet) -> dict[str, Any]:
    """Tell tumour from none where both come from one source, or one site.

    Between sets a network can tell the sets apart instead; inside a site it
    cannot. Only places with at least five slices of each kind, and more than one
    patient, count. Where slices are numbered, ``auroc_tumor_position`` is what
    their position alone tells, and ``auroc_tumor_like_position`` what is told
    between slices that lie alike.
    """
    found: dict[str, Any] = {}
    for kind, names in (
        ("source", [item.source for item in scored.records]),
        ("site", [item.site for item in scored.records]),
    ):
        for name in sorted(set(names) - {""}):
            part = scored.take(np.array(names) == name)
            tumor = part.tumor
            if min(tumor.sum(), (~tumor).sum()) < _MIN_OF_EACH:
                continue
            draws = Resampling(part.groups)
            if draws.patients == 1:
                continue
            places = slice_positions(part.records)
            alike = like_position_auroc(part.p_tumor, tumor, places, draws)
            found[f"{kind} {name}"] = {
                "slices": len(tumor),
                "patients": draws.patients,
                "tumor_slices": int(tumor.sum()),
                "auroc_tumor": figure(draws.auroc(part.p_tumor, tumor)),
                "auroc_tumor_like_position": figure(alike),
                "auroc_tumor_position": figure(middle_auroc(places, tumor, draws)),
            }
    return found


def _localisation(scored: ScoredSet, draws: Resampling) -> dict[str, Any]:
    """Peak and Dice against the outlines: evidence, Grad-CAM and the baseline."""
    if not np.isfinite(scored.peak_inside).any():
        return {}
    maps = {
        "evidence": (scored.peak_inside, scored.dice),
        "gradcam": (scored.gradcam_peak_inside, scored.gradcam_dice),
        "center": (scored.center_peak_inside, scored.center_dice),
    }
    found = {
        name: {
            "peak_inside_outline": _inside(peak, draws),
            "dice_at_half_height": _where_known(dice, draws),
        }
        for name, (peak, dice) in maps.items()
    }
    return {
        **found["evidence"],
        "outlined_slices": int(np.isfinite(scored.peak_inside).sum()),
        "localisation": found,
    }


def _where_known(values: NDArray[np.float64], draws: Resampling) -> Figure | None:
    known = np.isfinite(values)
    return draws.average(np.where(known, values, 0.0), known)


def _inside(peaks: NDArray[np.float64], draws: Resampling) -> Figure | None:
    return draws.share(np.asarray(peaks == 1.0), np.isfinite(peaks))
