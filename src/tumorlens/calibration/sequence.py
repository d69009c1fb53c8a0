"""Calibration of a network's sequence head, fitted on held-out patients."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.optimize import minimize_scalar

from tumorlens.data.sequences import LEARNED_SEQUENCES
from tumorlens.inference.bundle.facts import SequenceHead
from tumorlens.training.held_out import HeldOut


def fit_sequence_head(held: HeldOut) -> SequenceHead | None:
    """Fit the temperature of a sequence head (Guo et al. 2017, arXiv:1706.04599).

    Every source and sequence weighs alike: a large set is not to decide how sure the
    head may be of a small one.

    Parameters
    ----------
    held
        Outputs on patients who did not train the network. Sequences that none shows
        are not measured.

    Returns
    -------
    SequenceHead or None
        None for a network without one, or where no slice's sequence is known.
    """
    is_learned = np.array(
        [row.sequence in LEARNED_SEQUENCES for row in held.records], bool
    )
    if held.sequence is None or not is_learned.any():
        return None
    rows = [row for row, kept in zip(held.records, is_learned, strict=True) if kept]
    keys = [(row.source, row.sequence) for row in rows]
    counts = Counter(keys)
    weights = np.array([1.0 / counts[key] for key in keys])
    weights /= weights.sum()
    truth = [LEARNED_SEQUENCES.index(row.sequence) for row in rows if row.sequence]
    outputs = held.sequence[is_learned]

    def loss(log_scale: float) -> float:
        head = SequenceHead(LEARNED_SEQUENCES, float(np.exp(log_scale)))
        true_probability = head.probabilities(outputs)[np.arange(len(truth)), truth]
        return float(-(weights * np.log(true_probability + 1e-12)).sum())

    minimum = minimize_scalar(loss, bounds=(-3.0, 2.0), method="bounded")
    shown = {row.sequence for row in rows}
    measured = tuple(item for item in LEARNED_SEQUENCES if item in shown)
    return SequenceHead(LEARNED_SEQUENCES, float(np.exp(minimum.x)), measured)
