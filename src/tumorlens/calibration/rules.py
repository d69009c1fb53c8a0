"""Thresholds of the decision layer's rules, fixed on validation patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorlens.inference.bundle.facts import Rules, disagreement
from tumorlens.taxonomy import CLASSES, Finding

MOST_RIGHT_LOST = 0.02
"""Share of the right answers that a rule may hold back."""
GUARD_COSTS = 0.005
"""Share of the slices that the guard against the ends of a series may hold back."""
FEWEST_SEEN = 10
"""Patients who must have shown as little brain for such slices to be judged."""
_FEWEST_PATIENTS = 3
_Z = 1.96


@dataclass(frozen=True)
class _Answers:
    """Answers for N slices of P patients.

    Parameters
    ----------
    right
        Shape (N,).
    rows
        Shape (N,): patient of each slice, 0 to P - 1.
    weights
        Shape (N,): one over the patient's slices, so that patients weigh alike.
    """

    right: NDArray[np.bool_]
    rows: NDArray[np.int64]
    weights: NDArray[np.float64]


def fit_rules(
    slice_head: NDArray[np.float64],
    evidence_head: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    brain_shares: NDArray[np.float64] | None,
    names: Sequence[Finding] = CLASSES,
) -> Rules:
    """Choose from where on a slice is held back, so that each rule costs little.

    A rule is off where it would not pay: where what it holds back is not wrong
    more often than the rest. Too little brain is held back even so where next
    to nobody was seen with as little: how often the network is right there is
    not known.

    Parameters
    ----------
    slice_head, evidence_head
        Shape (N, 4): probabilities of each head alone, on validation slices.
    probabilities
        Shape (N, 4), calibrated.
    labels
        Shape (N,): class indices.
    patients
        N group keys. Every patient weighs alike, whatever the number of
        slices.
    brain_shares
        Shape (N,), 0 to 1: how much brain they show. None for whole series,
        which have no such rule.
    names
        The classes, in their order.
    """
    _, rows, counts = np.unique(
        np.asarray(patients), return_inverse=True, return_counts=True
    )
    right = np.asarray(probabilities.argmax(axis=1) == labels)
    answers = _Answers(right, rows, 1.0 / counts[rows])
    return Rules(
        head_disagreement=_paying_level(
            disagreement(slice_head, evidence_head, names), answers
        ),
        min_brain_share=None
        if brain_shares is None
        else _fit_brain(brain_shares, answers),
    )


def _paying_level(values: NDArray[np.float64], answers: _Answers) -> float | None:
    """Find the level that catches most errors for each slice that it holds back.

    Few slices make any share look good, so the lower end of the share's
    interval counts (Wilson 1927), over patients.

    Parameters
    ----------
    values
        Shape (N,): held back from the level on; 0 is never.
    answers
        Answers to the same slices.
    """
    right, weights = answers.right, answers.weights
    best: float | None = None
    # Below this, holding back is no better than drawing slices blindly.
    most = float(weights[~right].sum() / weights.sum())
    allowed = MOST_RIGHT_LOST * weights[right].sum()
    for level in np.unique(values[values > 0.0])[::-1]:
        held = values >= level
        if weights[held & right].sum() > allowed:
            break
        patients = len(np.unique(answers.rows[held]))
        if patients < _FEWEST_PATIENTS:
            continue
        caught = float(weights[held & ~right].sum() / weights[held].sum())
        low = _wilson_low(caught, patients)
        if low > most:
            best, most = float(level), low
    return best


def _wilson_low(share: float, count: int) -> float:
    spread = _Z * np.sqrt(share * (1.0 - share) / count + (_Z / (2 * count)) ** 2)
    return float((share + _Z**2 / (2 * count) - spread) / (1.0 + _Z**2 / count))


def _fit_brain(shares: NDArray[np.float64], answers: _Answers) -> float | None:
    """Find the share of brain below which holding back pays, or is a guard."""
    pays = _paying_level(1.0 - shares, answers)
    level = _unseen(shares, answers)
    if pays is not None:
        # The rule holds below its share, not at it.
        level = max(level, float(shares[1.0 - shares < pays].min(initial=1.0)))
    return level or None


def _unseen(shares: NDArray[np.float64], answers: _Answers) -> float:
    """Find the share of brain below which too few patients were seen, or 0.

    Parameters
    ----------
    shares
        Shape (N,).
    answers
        Answers to the same slices.
    """
    order = np.argsort(shares, kind="stable")
    _, first = np.unique(answers.rows[order], return_index=True)
    place = np.sort(first)[:FEWEST_SEEN][-1]
    weights = answers.weights[order]
    costs = (np.cumsum(weights) - weights) / weights.sum()
    return float(shares[order][min(place, int((costs <= GUARD_COSTS).sum()) - 1)])
