"""The few numbers that sum up the slices of a scan."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

RUN_MM = 10.0
"""Thickness of the neighbouring slices that decide together, in mm."""

DEFAULT_RUN = 3
"""Slices of a run where the distance between slices is not known."""

_LEAST = 1e-4
"""A slice is never surer than this, so that a single one cannot outweigh a run."""


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


def strongest_run(values: NDArray[np.float64], length: int) -> tuple[int, int]:
    """Find the neighbouring slices that are most suspicious together.

    Parameters
    ----------
    values
        Shape (D,): probability or log-odds of tumour, NaN where a slice does not
        count; at least one is a number.
    length
        Of the run, in slices. Runs count of which at least half is known.

    Returns
    -------
    tuple of int
        First and last-plus-one index.
    """
    length = min(length, len(values))
    known = np.isfinite(values)
    window = np.ones(length)
    counts = np.convolve(known, window, "valid")
    sums = np.convolve(np.where(known, values, 0.0), window, "valid")
    # Where slices are judged here and there only, the fullest runs must do.
    least = min(math.ceil(length / 2), counts.max())
    means = np.where(counts >= least, sums / np.maximum(counts, 1.0), -np.inf)
    first = int(np.argmax(means))
    return first, first + length


def log_odds(p_tumor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn probabilities into log-odds between about -9 and 9; NaN stays NaN."""
    held = np.clip(p_tumor, _LEAST, 1.0 - _LEAST)
    return np.asarray(np.log(held / (1.0 - held)))


def discounted_odds(
    p_tumor: NDArray[np.float64], heads: NDArray[np.int64], discount: float
) -> NDArray[np.float64]:
    """Trust slices less, the smaller the head is in them.

    At the vertex, the base and the sides of a head false alarms gather: such
    slices are rare in training. A sure lesion there still stands out.

    Parameters
    ----------
    p_tumor
        Shape (D,), NaN where a slice was not judged.
    heads
        Shape (D,): edge of the square that holds the head, in pixels; 0 where a
        slice was not judged.
    discount
        Log-odds taken off a slice without any head; in proportion elsewhere,
        none off the slice with the largest.

    Returns
    -------
    ndarray
        Shape (D,): log-odds, NaN where a slice was not judged.
    """
    shares = heads / max(int(heads.max(initial=0)), 1)
    return np.asarray(log_odds(p_tumor) - discount * (1.0 - shares))


def scan_features(
    odds: NDArray[np.float64], gap_mm: float | None
) -> tuple[tuple[int, int], dict[str, float]]:
    """Sum up the slices of a scan.

    Parameters
    ----------
    odds
        Shape (D,), from `discounted_odds`; at least one is a number.
    gap_mm
        Distance between neighbouring slices; None where it is not known.

    Returns
    -------
    run
        First and last-plus-one index of the most suspicious run.
    features
        By name, see `FEATURES`. Where no slice is left beside the run, the
        second says what the first says.
    """
    length = run_length(gap_mm)
    run = strongest_run(odds, length)
    first = float(np.nanmean(odds[slice(*run)]))
    rest = odds.copy()
    rest[slice(*run)] = np.nan
    second = first
    if np.isfinite(rest).any():
        second = float(np.nanmean(rest[slice(*strongest_run(rest, length))]))
    return run, {"strongest_run": first, "second_run": second}
