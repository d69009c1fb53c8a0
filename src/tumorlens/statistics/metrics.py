"""Figures of merit of a whole set, without intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score


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
        Number of bins.
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
    return float(roc_auc_score(positive, scores))
