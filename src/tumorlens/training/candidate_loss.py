"""What teaches a head that may be told several answers, one of which is right."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops


class CandidateLoss(keras.losses.Loss):
    """Cross-entropy against a set of answers of which one is right.

    The loss of a row is the negative logarithm of the probability that its answers
    have together (learning from partial labels: Cour, Sapp and Taskar 2011, JMLR 12).
    Where there is one answer it is the usual cross-entropy, with label smoothing as
    usual (Szegedy et al. 2016, CVPR).

    Parameters
    ----------
    label_smoothing
        Share of the target that is spread over all answers.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__(name="candidate_loss")
        self._smoothing = label_smoothing

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """Work out the loss of each row.

        Parameters
        ----------
        y_true
            Shape (N, F), float32: 1 for each answer that may be right. A row of
            zeros has a finite loss, to be given no weight.
        y_pred
            Shape (N, F), float32, before softmax.

        Returns
        -------
        KerasTensor
            Shape (N,), float32.
        """
        logs = ops.log_softmax(y_pred, axis=-1)
        together = ops.logsumexp(logs + _NEVER * (y_true - 1.0), axis=-1)
        spread = ops.mean(logs, axis=-1)
        return -(1.0 - self._smoothing) * together - self._smoothing * spread


_NEVER = 1e4
"""Taken off the log-probability of an answer that is not right."""
