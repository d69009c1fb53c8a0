"""Many slices become one decision."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.bundle import Bundle
from tumorlens.engine.decide import apply_operating_point, prediction_set
from tumorlens.taxonomy import NO_TUMOR_INDEX, TumorClass, Verdict

RUN_MM = 10.0
"""Thickness of the neighbouring slices that decide together, in mm."""

DEFAULT_RUN = 3
"""Slices of a run where the distance between slices is not known."""

HEALTHY_LOGIT = 1.5
"""Subtracted from the run's log-odds, since the most suspicious run of a healthy
scan's many slices is more suspicious than a slice taken alone.

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


def run_length(gap_mm: float | None) -> int:
    """Count the slices of a run.

    Parameters
    ----------
    gap_mm
        Distance between neighbouring slices; None where it is not known.
    """
    if gap_mm is None or gap_mm <= 0.0:
        return DEFAULT_RUN
    return max(1, round(RUN_MM / gap_mm))


def strongest_run(p_tumor: NDArray[np.float64], length: int) -> tuple[int, int]:
    """Find the neighbouring slices that are most suspicious together.

    Parameters
    ----------
    p_tumor
        Shape (D,): probability of tumour, NaN where a slice was not judged;
        at least one is a number.
    length
        Of the run, in slices. Runs count of which at least half is judged.

    Returns
    -------
    tuple of int
        First and last-plus-one index.
    """
    length = min(length, len(p_tumor))
    known = np.isfinite(p_tumor)
    window = np.ones(length)
    counts = np.convolve(known, window, "valid")
    sums = np.convolve(np.where(known, p_tumor, 0.0), window, "valid")
    # Where slices are judged here and there only, the fullest runs must do.
    least = min(math.ceil(length / 2), counts.max())
    means = np.where(counts >= least, sums / np.maximum(counts, 1.0), -1.0)
    first = int(np.argmax(means))
    return first, first + length


def scan_probabilities(
    probabilities: NDArray[np.float64], run: tuple[int, int]
) -> NDArray[np.float64]:
    """Average a run, and take off what a healthy scan's maximum gives.

    Parameters
    ----------
    probabilities
        Shape (D, 4), NaN rows where a slice was not judged.
    run
        From `strongest_run`.

    Returns
    -------
    ndarray
        Shape (4,), summing to 1.
    """
    mean = np.nanmean(probabilities[slice(*run)], axis=0)
    tumor = float(np.clip(1.0 - mean[NO_TUMOR_INDEX], 1e-9, 1.0 - 1e-9))
    odds = math.log(tumor / (1.0 - tumor)) - HEALTHY_LOGIT
    corrected = 1.0 / (1.0 + math.exp(-odds))
    values = mean * (corrected / tumor)
    values[NO_TUMOR_INDEX] = 1.0 - corrected
    return np.asarray(values / values.sum(), np.float64)


def decide_scan(
    values: NDArray[np.float64], judged: int, refused: int, bundle: Bundle, point: str
) -> tuple[TumorClass | Verdict, tuple[str, ...]]:
    """Decide what a scan shows.

    Parameters
    ----------
    values
        Shape (4,), from `scan_probabilities`.
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
    if 2 * refused > judged:
        return Verdict.NOT_BRAIN_MRI, (MOSTLY_REFUSED,)
    options = prediction_set(values, bundle.prediction_sets.thresholds)
    threshold = bundle.operating_points[point].threshold
    decision, reasons = apply_operating_point(values, options, threshold)
    if refused:
        reasons += (
            f"{refused} of the {judged} slices that show brain were refused as unlike "
            "brain MRI of the kind the model knows; they do not count.",
        )
    return decision, (*reasons, NOT_VALIDATED)


def key_slices(p_tumor: Sequence[float | None], apart: int) -> tuple[int, ...]:
    """Choose the most suspicious slices, each well apart from the others.

    Parameters
    ----------
    p_tumor
        Of each slice; None where it was not judged.
    apart
        Least difference of their indices.
    """
    order = sorted(
        ((-value, index) for index, value in enumerate(p_tumor) if value is not None)
    )
    chosen: list[int] = []
    for _, index in order:
        if all(abs(index - other) >= apart for other in chosen):
            chosen.append(index)
        if len(chosen) == KEY_SLICES:
            break
    return tuple(chosen)
