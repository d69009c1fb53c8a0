"""The strongest cells of an evidence map speak for the slice."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops

from tumorlens.taxonomy import NO_TUMOR_INDEX


@keras.saving.register_keras_serializable(package="tumorlens")
class StrongestCells(keras.layers.Layer):
    """Mean of the strongest cells' log-odds of each finding against none.

    What a slice without an outline shows can be taught to the evidence head by them
    (multiple-instance learning: Dietterich, Lathrop and Lozano-Pérez 1997): one cell
    of it, wherever it lies, shows the lesion. It has no weights.

    Parameters
    ----------
    cells
        Number of cells.
    """

    def __init__(self, cells: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.cells = cells

    def call(self, evidence: KerasTensor) -> KerasTensor:
        """Pool a map.

        Parameters
        ----------
        evidence
            Shape (N, g, g, F), before softmax.

        Returns
        -------
        KerasTensor
            Shape (N, F); 0 for no tumour.
        """
        odds = evidence - evidence[..., NO_TUMOR_INDEX : NO_TUMOR_INDEX + 1]
        flat = ops.reshape(odds, (ops.shape(odds)[0], -1, odds.shape[3]))
        strongest, _ = ops.top_k(ops.transpose(flat, (0, 2, 1)), self.cells)
        return ops.mean(strongest, axis=-1)

    def get_config(self) -> dict[str, object]:
        """Say how it was made."""
        return {**super().get_config(), "cells": self.cells}
