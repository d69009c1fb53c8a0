"""Confusion matrix and what follows from it, class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.scoring.judgements import Judgements
from tumorlens.statistics.resampling import Resampling, figure, ratio
from tumorlens.taxonomy import CLASSES

_KINDS = len(CLASSES)


def class_figures(judged: Judgements, draws: Resampling) -> dict[str, Any]:
    """Measure the most probable class against the truth.

    Parameters
    ----------
    judged
        Slices, or patients.
    draws
        Made of `judged.groups`.

    Returns
    -------
    dict
        Plain JSON: ``count``, ``confusion`` (rows true, columns said),
        ``accuracy``, ``balanced_accuracy`` and ``macro_f1`` over the classes
        there are, ``auroc_tumor``, and ``classes``: by class, ``count``,
        ``recall``, ``precision``, ``specificity``, ``f1`` and ``auroc`` (one
        against the rest).
    """
    pairs = judged.labels * _KINDS + judged.predicted
    cells = draws.sums(pairs[:, np.newaxis] == np.arange(_KINDS**2))
    matrix = cells.reshape(-1, _KINDS, _KINDS)
    hits = np.diagonal(matrix, axis1=1, axis2=2)
    there, said = matrix.sum(axis=2), matrix.sum(axis=1)
    total = there.sum(axis=1)
    recall = ratio(hits, there)
    precision = ratio(hits, said)
    specificity = ratio(total[:, None] - there - said + hits, total[:, None] - there)
    f1 = ratio(2.0 * hits, there + said)
    f1[:, there[0] == 0] = np.nan
    known = there[0] > 0
    return {
        "count": len(judged.labels),
        "confusion": matrix[0].astype(int).tolist(),
        "accuracy": figure(ratio(hits.sum(axis=1), total), draws.patients),
        "balanced_accuracy": figure(_mean_of_known(recall[:, known])),
        "macro_f1": figure(_mean_of_known(f1[:, known])),
        "auroc_tumor": figure(draws.auroc(judged.p_tumor, judged.tumor)),
        "classes": {
            name: {
                "count": int(there[0, row]),
                "recall": figure(recall[:, row], draws.count(judged.labels == row)),
                "precision": figure(
                    precision[:, row], draws.count(judged.predicted == row)
                ),
                "specificity": figure(
                    specificity[:, row], draws.count(judged.labels != row)
                ),
                "f1": figure(f1[:, row]),
                "auroc": figure(
                    draws.auroc(judged.probabilities[:, row], judged.labels == row)
                ),
            }
            for row, name in enumerate(CLASSES)
        },
    }


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over classes; a class that a draw lacks is left out of it."""
    there = np.isfinite(values)
    return ratio(np.where(there, values, 0.0).sum(axis=1), there.sum(axis=1))
