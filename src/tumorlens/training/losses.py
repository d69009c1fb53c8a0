"""Losses of the evidence head, and of a head that may be told several answers."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, ops

from tumorlens.taxonomy import NO_TUMOR_INDEX

PEAK = 0.3
"""Weight of the place beside the cells' classes (docs/experiments.md)."""

_NEVER = 1e4
"""Taken off the log-odds of cells that are not to count, and of answers that are not
right."""


class EvidenceLoss(keras.losses.Loss):
    """Cross-entropy of every cell, and of the place of the strongest.

    Cell by cell, a network may err in one small spot beside the tumour at next to no
    cost, and a map's peak then lies there. So the cells of a slice with an outlined
    tumour also compete: the softmax, over the slice, of their log-odds of its class
    against none is the chance that each of them holds the peak, and what the outline
    holds of it is to be all of it. The second term is the negative logarithm of that
    share.

    The targets are those of `tumorlens.training.batches`: one-hot, or all 0 in a cell
    that is ignored; given with weights that sum to the number of cells, so that both
    terms are means over slices.

    Parameters
    ----------
    clear
        Places of the classes that are free of tumour; the first is the one that the
        log-odds are against.
    """

    def __init__(self, clear: Sequence[int] = (NO_TUMOR_INDEX,)) -> None:
        super().__init__(name="evidence_loss")
        self._clear = list(clear)

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """Work out the loss of each cell.

        Parameters
        ----------
        y_true, y_pred
            Shape (N, g, g, F), float32, for F findings: targets, and what the head
            gives, before softmax.

        Returns
        -------
        KerasTensor
            Shape (N, g, g), float32; the second term is the same in all cells.
        """
        lesions = 1.0 - ops.sum(ops.one_hot(self._clear, y_true.shape[-1]), axis=0)
        classes = -ops.sum(y_true * ops.log_softmax(y_pred, axis=-1), axis=-1)
        lesion_truth = y_true * lesions
        inside = ops.sum(lesion_truth, axis=-1)
        counts = ops.sum(y_true, axis=-1)
        shown = ops.max(lesion_truth, axis=(1, 2), keepdims=True)
        odds = ops.sum(shown * y_pred, axis=-1)
        odds = odds - y_pred[..., self._clear[0]]
        place = _log_sum(odds - _NEVER * (1.0 - counts)) - _log_sum(
            odds - _NEVER * (1.0 - inside)
        )
        return classes + PEAK * ops.max(inside, axis=(1, 2), keepdims=True) * place


def _log_sum(cells: KerasTensor) -> KerasTensor:
    return ops.logsumexp(cells, axis=(1, 2), keepdims=True)


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
    present
        Shape (F,), float32: 1 for each answer that the slices can show, 0 for those
        that are left out of the softmax and learn nothing; None for all. A head of
        which a site of a federation lacks answers is else taught that there are none
        (restricted softmax: Li and Zhan 2021, KDD, with their scale at 0, since Adam
        makes a step of any size of a gradient).
    """

    def __init__(
        self, label_smoothing: float = 0.0, present: keras.Variable | None = None
    ) -> None:
        super().__init__(name="candidate_loss")
        self._smoothing = label_smoothing
        self._present = present

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
        present = self._present
        if present is not None:
            y_pred = y_pred * present - _NEVER * (1.0 - present)
        logs = ops.log_softmax(y_pred, axis=-1)
        together = ops.logsumexp(logs + _NEVER * (y_true - 1.0), axis=-1)
        if present is None:
            spread = ops.mean(logs, axis=-1)
        else:
            spread = ops.sum(logs * present, axis=-1) / ops.sum(present)
        return -(1.0 - self._smoothing) * together - self._smoothing * spread
