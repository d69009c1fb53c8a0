"""Judgements of slices, or of patients: one kind of row for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.scoring.scored_slices import ScoredSet
from tumorlens.taxonomy import NO_TUMOR_INDEX


@dataclass(frozen=True)
class Judgements:
    """N things that were judged.

    Parameters
    ----------
    labels
        Class indices, shape (N,).
    probabilities
        Shape (N, 4).
    groups
        N group keys, over which intervals are made.
    thresholds
        By operating point, shape (N,): NaN where there is none.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    groups: Sequence[str]
    thresholds: Mapping[str, NDArray[np.float64]]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class, shape (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def tumor(self) -> NDArray[np.bool_]:
        """Which show a tumour, shape (N,)."""
        return np.asarray(self.labels != NO_TUMOR_INDEX)

    @property
    def p_tumor(self) -> NDArray[np.float64]:
        """Probability of any tumour, shape (N,)."""
        return np.asarray(1.0 - self.probabilities[:, NO_TUMOR_INDEX])


def by_slice(scored: ScoredSet) -> Judgements:
    """Take every slice as it was judged."""
    return Judgements(
        scored.labels,
        scored.probabilities,
        scored.groups,
        {
            "screening": scored.thresholds,
            "balanced": scored.balanced_thresholds,
        },
    )


def by_patient(scored: ScoredSet) -> Judgements:
    """Mean the probabilities over a patient's slices of one class.

    A patient of a set that has tumour and tumour-free slices of the same
    scan counts once for each. Thresholds, the same for all slices that one
    bundle judged, are averaged too.
    """
    return averaged(by_slice(scored))


def averaged(slices: Judgements) -> Judgements:
    """Do the same for slices that were judged in any other way."""
    keys = np.array(
        [
            f"{label}\t{name}"
            for label, name in zip(slices.labels, slices.groups, strict=True)
        ]
    )
    _, first, rows, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(rows, values) / counts)

    return Judgements(
        slices.labels[first],
        np.stack([mean(column) for column in slices.probabilities.T], axis=1),
        [slices.groups[row] for row in first],
        {name: mean(values) for name, values in slices.thresholds.items()},
    )
