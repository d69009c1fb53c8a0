"""Many slices become one decision."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import Rate, ScanModel
from tumorlens.inference.series.features import (
    discounted_odds,
    log_odds,
    run_length,
    scan_features,
    strongest_run,
)
from tumorlens.inference.slice.decision import apply_operating_point, prediction_set
from tumorlens.taxonomy import NO_TUMOR_INDEX, TumorClass, Verdict

HEALTHY_LOGIT = 1.5
"""Subtracted from the run's log-odds where a bundle was not calibrated on whole
scans, since the most suspicious run of a healthy scan's many slices is more
suspicious than a slice taken alone.

Set by hand, halfway between the highest of nine healthy heads (log-odds -2.0 to
-0.2, mean -1.1) and a T1 with contrast with a glioma (3.2); seven stacks of
`lgg` lay from 4.7 to 6.3. A glioma on T1 without contrast (0.5) falls below. Runs
were of eight slices, ten in one head and two in tumours, not measured off the
distance between slices. The model has trained on most of these patients, so
this flatters it, and so few scans fix no rate.
"""

KEY_SLICES = 3

MOSTLY_REFUSED = (
    "Most slices do not look like brain MRI of the kind the model knows, so the scan "
    "gets no answer."
)
NOTHING_JUDGED = "No slice shows enough brain to be judged."
NOT_VALIDATED = (
    "The probability of the whole scan is taken from its most suspicious neighbouring "
    "slices; it is not validated on scans that the model has never seen."
)
VALIDATED = (
    "Measured by cross-validation on whole scans of patients that a model so trained "
    "had never seen: of {patients} with a tumour, {sensitivity} of the scans were not "
    "called free of it; of {healthy} without, {specificity} were called free of tumour."
)


def scan_log_odds(
    p_tumor: NDArray[np.float64],
    heads: NDArray[np.int64],
    gap_mm: float | None,
    model: ScanModel | None,
) -> tuple[tuple[int, int], float]:
    """Find the run that decides, and the log-odds of any tumour in the scan.

    Parameters
    ----------
    p_tumor
        Shape (D,): probability of tumour, NaN where a slice was not judged; at
        least one is a number.
    heads
        Shape (D,): edge of the square that holds the head, in pixels.
    gap_mm
        Distance between neighbouring slices; None where it is not known.
    model
        Of the bundle. Without one, the run's mean less `HEALTHY_LOGIT`.

    Returns
    -------
    run, log_odds
        First and last-plus-one index of the run, and the scan's log-odds.
    """
    if model is None:
        run = strongest_run(p_tumor, run_length(gap_mm))
        mean = np.array(np.nanmean(p_tumor[slice(*run)]))
        return run, float(log_odds(mean)) - HEALTHY_LOGIT
    odds = discounted_odds(p_tumor, heads, model.end_discount)
    run, features = scan_features(odds, gap_mm)
    return run, model.intercept + sum(
        weight * features[name] for name, weight in model.weights.items()
    )


def scan_probabilities(
    probabilities: NDArray[np.float64], run: tuple[int, int], odds: float
) -> NDArray[np.float64]:
    """Share the scan's probability of tumour out as its run names the tumours.

    Parameters
    ----------
    probabilities
        Shape (D, 4), NaN rows where a slice was not judged.
    run, odds
        From `scan_log_odds`.

    Returns
    -------
    ndarray
        Shape (4,), summing to 1.
    """
    values = np.nanmean(probabilities[slice(*run)], axis=0)
    values[NO_TUMOR_INDEX] = 0.0
    p_tumor = 1.0 / (1.0 + math.exp(-odds))
    values *= p_tumor / max(float(values.sum()), 1e-12)
    values[NO_TUMOR_INDEX] = 1.0 - p_tumor
    return np.asarray(values / values.sum(), np.float64)


def decide_scan(
    values: NDArray[np.float64] | None,
    judged: int,
    refused: int,
    bundle: Bundle,
    point: str,
) -> tuple[TumorClass | Verdict, tuple[str, ...]]:
    """Decide what a scan shows.

    Parameters
    ----------
    values
        Shape (4,), from `scan_probabilities`; None where every slice that shows
        brain was refused, or none shows any.
    judged, refused
        Slices that show brain, and how many of these were refused.
    bundle, point
        The model, and a name of its operating points.

    Returns
    -------
    decision, reasons
        As for a slice, with the caveats that hold for every scan.
    """
    if judged == 0:
        return Verdict.INCONCLUSIVE, (NOTHING_JUDGED,)
    if values is None or 2 * refused > judged:
        return Verdict.NOT_BRAIN_MRI, (MOSTLY_REFUSED,)
    options = prediction_set(values, bundle.prediction_sets.thresholds)
    threshold = bundle.scan_points[point].threshold
    decision, reasons = apply_operating_point(values, options, threshold)
    if refused:
        reasons += (
            f"{refused} of the {judged} slices that show brain were refused as unlike "
            "brain MRI of the kind the model knows; they do not count.",
        )
    return decision, (*reasons, _standing(bundle.scans, point))


def _standing(model: ScanModel | None, point: str) -> str:
    """Say how far the probability of a scan can be believed."""
    if model is None:
        return NOT_VALIDATED
    rates = model.operating_points[point]
    return VALIDATED.format(
        patients=model.patients,
        healthy=model.healthy_patients,
        sensitivity=in_percent(rates.sensitivity),
        specificity=in_percent(rates.specificity),
    )


def in_percent(rate: Rate) -> str:
    """Write a share with its interval, for example ``97 % (94 to 99)``."""
    return f"{rate.value:.0%} ({rate.low:.0%} to {rate.high:.0%})".replace("%", " %")


def key_slices(suspicion: Sequence[float | None], apart: int) -> tuple[int, ...]:
    """Choose the most suspicious slices, each well apart from the others.

    Parameters
    ----------
    suspicion
        Of each slice, in any unit; None where it was not judged.
    apart
        Least difference of their indices.
    """
    order = sorted(
        ((-value, index) for index, value in enumerate(suspicion) if value is not None)
    )
    chosen: list[int] = []
    for _, index in order:
        if all(abs(index - other) >= apart for other in chosen):
            chosen.append(index)
        if len(chosen) == KEY_SLICES:
            break
    return tuple(chosen)
