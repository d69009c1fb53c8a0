"""Thresholds of the decision layer's rules, fixed on validation patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.rules import Rules, disagreement

MOST_RIGHT_LOST = 0.02
"""Share of the right answers that the rule on the heads may hold back."""
BRAIN_KEPT = 0.995
"""Share of the slices that the rule on the brain lets pass."""
_FEWEST_PATIENTS = 3
_Z = 1.96


def fit_rules(
    slice_head: NDArray[np.float64],
    evidence_head: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    brain_shares: NDArray[np.float64],
) -> Rules:
    """Choose from where on a slice is held back, so that each rule costs little.

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
        Shape (M,), 0 to 1: how much brain slices show that a user may send.
        They need not be the N slices: how much brain a picture shows does not
        depend on who trained.

    Returns
    -------
    Rules
        A rule is off where it would not pay: the rule on the heads, where
        what it holds back is not wrong more often than the rest.
    """
    _, rows, counts = np.unique(
        np.asarray(patients), return_inverse=True, return_counts=True
    )
    right = probabilities.argmax(axis=1) == labels
    return Rules(
        head_disagreement=_fit_disagreement(
            disagreement(slice_head, evidence_head), right, rows, 1.0 / counts[rows]
        ),
        min_brain_share=_fit_brain(brain_shares),
    )


def _fit_disagreement(
    found: NDArray[np.float64],
    right: NDArray[np.bool_],
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> float | None:
    """Find the level that catches most errors for each slice that it holds back.

    Few slices make any share look good, so the lower end of the share's
    interval counts (Wilson 1927), over patients.
    """
    best: float | None = None
    # Below this, holding back is no better than drawing slices blindly.
    most = float(weights[~right].sum() / weights.sum())
    allowed = MOST_RIGHT_LOST * weights[right].sum()
    for level in np.unique(found[found > 0.0])[::-1]:
        held = found >= level
        if weights[held & right].sum() > allowed:
            break
        patients = len(np.unique(rows[held]))
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


def _fit_brain(shares: NDArray[np.float64]) -> float | None:
    """Find the highest share that lets `BRAIN_KEPT` of the slices pass."""
    if not len(shares):
        return None
    dropped = int(np.floor((1.0 - BRAIN_KEPT) * len(shares) + 1e-9))
    return float(np.sort(shares)[dropped])
