"""ROC, precision and recall, reliability, and what decisions would be worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.scoring.scored_slices import (
    Judgements,
    ScoredSlices,
    by_patient,
    by_slice,
)
from tumorlens.statistics import Resampling, figure, ratio

BINS = 15
FALSE_ALARMS = np.r_[np.linspace(0.0, 0.1, 41)[:-1], np.linspace(0.1, 1.0, 60)].round(4)
"""False alarm rates of the ROC: 100, denser below 0.1, where a useful test works."""

RECALLS = (1.0 - FALSE_ALARMS[::-1]).round(4)
"""Recalls at which precision is given, denser above 0.9."""

THRESHOLDS = np.round(np.linspace(0.01, 0.95, 95), 2)
Curve = dict[str, list[float]]


def curve_figures(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Work out every curve.

    Parameters
    ----------
    scored_slices
        At least one slice; curves that need tumours and tumour-free slices
        are left out where one kind is missing.

    Returns
    -------
    dict
        Plain JSON: ``roc`` and ``precision_recall`` by what is told from the
        rest (``tumor``, ``tumor_by_patient`` and each class), ``reliability``
        of the most probable class and of tumour, ``decision`` curves. Bands
        (``low``, ``high``) are 95 % intervals over patients at each point.
    """
    slices, patients = by_slice(scored_slices), by_patient(scored_slices)
    draws, patient_draws = Resampling(slices.groups), Resampling(patients.groups)
    ranked: dict[str, tuple[Resampling, NDArray[np.float64], NDArray[np.bool_]]] = {
        "tumor": (draws, slices.p_tumor, slices.tumor),
        "tumor_by_patient": (patient_draws, patients.p_tumor, patients.tumor),
    }
    for row, name in enumerate(slices.classes):
        of_class = np.asarray(slices.labels == row)
        ranked[name.value] = (draws, slices.probabilities[:, row], of_class)
    ranked = {
        name: item
        for name, item in ranked.items()
        if item[2].any() and not item[2].all()
    }
    right = np.asarray(slices.predicted == slices.labels)
    curves: dict[str, Any] = {
        "roc": {name: _ranked(*item)[0] for name, item in ranked.items()},
        "precision_recall": {name: _ranked(*item)[1] for name, item in ranked.items()},
        "reliability": {
            "most_probable": _reliability(
                slices.probabilities.max(axis=1), right, draws
            ),
            "tumor": _reliability(slices.p_tumor, slices.tumor, draws),
        },
    }
    if "tumor" in ranked:
        curves["decision"] = _decision(slices, draws)
    return curves


def _ranked(
    draws: Resampling, scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """ROC and precision over recall, at a hundred points, in all draws."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    weights = draws.slice_weights()[:, order]
    hits = np.cumsum(weights * positive[order], axis=1)[:, ends]
    alarms = np.cumsum(weights * ~positive[order], axis=1)[:, ends]
    recall, false = ratio(hits, hits[:, -1:]), ratio(alarms, alarms[:, -1:])
    precision = ratio(hits, hits + alarms)
    # A draw may lack a kind; it says nothing on either curve.
    usable = np.isfinite(recall[:, 0]) & np.isfinite(false[:, 0])
    recall, false, precision = recall[usable], false[usable], precision[usable]
    precision = np.nan_to_num(precision, nan=1.0)
    roc = [
        np.interp(FALSE_ALARMS, np.r_[0.0, x], np.r_[0.0, y])
        for x, y in zip(false, recall, strict=True)
    ]
    # The precision at a recall is that of the first threshold which reaches it.
    steps = [np.searchsorted(row, RECALLS - 1e-9) for row in recall]
    curve = [row[step] for row, step in zip(precision, steps, strict=True)]
    average = (np.diff(recall, axis=1, prepend=0.0) * precision).sum(axis=1)
    return _banded(FALSE_ALARMS, np.array(roc)), {
        **_banded(RECALLS, np.array(curve)),
        "average_precision": figure(average),
        "prevalence": float(positive.mean()),
    }


def _banded(x: NDArray[np.float64], draws: NDArray[np.float64]) -> dict[str, Any]:
    rest = draws[1:] if len(draws) > 1 else draws
    low, high = np.percentile(rest, (2.5, 97.5), axis=0)
    return {"x": x.tolist(), "y": _short(draws[0])} | {
        "low": _short(low),
        "high": _short(high),
    }


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.round(values, 5)]


def _reliability(
    sure: NDArray[np.float64], right: NDArray[np.bool_], draws: Resampling
) -> dict[str, Any]:
    """Measure the share of right answers by confidence, in bins of equal width."""
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    rows = []
    for number in range(BINS):
        inside = np.asarray(bins == number)
        if inside.any():
            rows.append(
                {
                    "from": number / BINS,
                    "to": (number + 1) / BINS,
                    "slices": int(inside.sum()),
                    "sure": float(sure[inside].mean()),
                    "right": draws.share(right, inside),
                }
            )
    return {"bins": rows}


def _decision(judged: Judgements, draws: Resampling) -> dict[str, Any]:
    """Net benefit of acting on a probability of tumour (Vickers and Elkin 2006).

    Tumours found less false alarms, each weighed by the odds of the threshold,
    as a share of all slices.
    """
    called = judged.p_tumor[:, np.newaxis] >= THRESHOLDS
    tumor = judged.tumor[:, np.newaxis]
    odds = THRESHOLDS / (1.0 - THRESHOLDS)
    count = draws.sums(np.ones(len(tumor)))[:, np.newaxis]
    tumors_called = draws.sums(called & tumor) / count
    false = draws.sums(called & ~tumor) / count
    benefit = tumors_called - false * odds
    share = float(judged.tumor.mean())
    low, high = np.percentile(benefit[1:], (2.5, 97.5), axis=0)
    return {
        "x": THRESHOLDS.tolist(),
        "y": _short(benefit[0]),
        "low": _short(low),
        "high": _short(high),
        "all": _short(share - (1.0 - share) * odds),
        "prevalence": share,
    }
