"""Figures of merit, with intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_SEED = 20


def bootstrap(
    values: NDArray[np.float64], patients: Sequence[str]
) -> tuple[float, float, float]:
    """Mean of a per-slice value, with its 95 % interval over patients.

    Patients are drawn, not slices: slices of one patient are nearly copies,
    and an interval over them would be far too narrow.

    Parameters
    ----------
    values
        Shape (N,).
    patients
        N group keys.

    Returns
    -------
    value, low, high
        All NaN-free; 0, 0, 0 without values.
    """
    if not len(values):
        return 0.0, 0.0, 0.0
    _, rows = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.bincount(rows, weights=values)
    counts = np.bincount(rows).astype(np.float64)
    rng = np.random.default_rng(_SEED)
    drawn = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(np.mean(values)), float(low), float(high)


def bootstrap_statistic(
    statistic: Callable[[NDArray[np.int64]], float], patients: Sequence[str]
) -> tuple[float, float, float]:
    """Any statistic of the slices, with its 95 % interval over patients.

    Parameters
    ----------
    statistic
        Takes the rows that are in the sample, some of them repeatedly.
    patients
        N group keys.
    """
    keys, groups = np.unique(np.asarray(patients), return_inverse=True)
    members = [np.flatnonzero(groups == row) for row in range(len(keys))]
    rng = np.random.default_rng(_SEED)
    found = [
        statistic(np.concatenate([members[row] for row in drawn]))
        for drawn in rng.integers(0, len(keys), (RESAMPLES // 5, len(keys)))
    ]
    whole = statistic(np.arange(len(groups)))
    usable = [value for value in found if np.isfinite(value)] or [whole]
    low, high = np.percentile(usable, (2.5, 97.5))
    return float(whole), float(low), float(high)


def calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = 15
) -> float:
    """Measure the expected calibration error of the most probable class.

    Equal-width bins (Naeini et al. 2015; Guo et al. 2017).

    Parameters
    ----------
    probabilities
        Shape (N, K).
    labels
        Shape (N,).
    bins
        How many.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    rows = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for row in range(bins):
        inside = rows == row
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            error += float(inside.mean()) * float(gap)
    return error


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Measure the area under the ROC curve (Mann-Whitney).

    Parameters
    ----------
    scores
        Shape (N,).
    positive
        Shape (N,).

    Returns
    -------
    float
        NaN without both kinds.
    """
    if positive.all() or not positive.any():
        return float("nan")
    order = np.argsort(scores, kind="stable")
    _, inverse, counts = np.unique(
        scores[order], return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts).astype(np.float64)
    ranks = np.empty(len(scores))
    ranks[order] = (last - (counts - 1) / 2.0)[inverse]
    wins = ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2.0
    return float(wins / (positive.sum() * (~positive).sum()))
