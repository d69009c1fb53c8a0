"""evidence-net: one backbone, a slice head, an evidence head, and at times a third.

The slice head is global average pooling and a dense softmax. The evidence
head says, for each cell of a stride-8 grid, which class the cell shows; it
learns from radiologists' outlines and is what holds on unknown scanners.
It joins coarse context to fine detail from the top down, as feature pyramids
do (Lin et al. 2017, arXiv:1612.03144). The third head, where a network is to read
any sequence, says which MR sequence the slice is of.

Tested in `tests/training/networks/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers, ops

from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX, Finding
from tumorlens.training.networks.efficientnet_lite import LITE0, Lite, efficientnet_lite

EVIDENCE_FILTERS = 160
DROPOUT = 0.3
DROPOUT_OF_SEQUENCES = 0.4
"""For the networks of every sequence, most of whose kinds have few patients."""
LAST_CONVOLUTION = "top_relu"
EVIDENCE_STRIDE = 8
STRONGEST_CELLS = 8
"""Cells that speak for a slice without an outline while training."""


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


def embedding_layers(lite: Lite) -> tuple[str, ...]:
    """Name the last layers of stride 8, 16 and 32."""
    fine, coarse = lite.last_block(8), lite.last_block(16)
    return f"block{fine}_add", f"block{coarse}_add", LAST_CONVOLUTION


def frozen(lite: Lite) -> tuple[str, ...]:
    """Name the blocks up to stride 8, whose ImageNet filters stay.

    It halves the time of a step, and over equally many steps was as good as
    training them (docs/experiments.md).
    """
    return ("stem", *(f"block{row}" for row in range(lite.last_block(8) + 1)))


def build(
    size: int | None = None,
    lite: Lite = LITE0,
    name: str = "evidence-net",
    evidence_filters: int = EVIDENCE_FILTERS,
    dropout: float = DROPOUT,
    findings: Sequence[Finding] = CLASSES,
    sequences: int = 0,
) -> keras.Model:
    """Build evidence-net, untrained.

    Parameters
    ----------
    size
        Height and width of the input in pixels, a multiple of 32; None leaves
        both open.
    lite
        The backbone.
    name
        Name of the network in the registry.
    evidence_filters
        Width of the evidence head.
    dropout
        Share of the pooled features dropped in training.
    findings
        Findings that it tells apart: the classes, and at times other lesions.
    sequences
        Number of MR sequences it tells apart; 0 for a network without that head.

    Returns
    -------
    keras.Model
        Input ``pixels`` (N, size, size, 3), float32, in [0, 1]. Outputs, by
        name: ``logits`` (N, F) and ``evidence`` (N, size/8, size/8, F), both
        float32 and before softmax, in the order of the F findings. With
        sequences also ``sequence`` (N, S), before softmax, and ``strongest``
        (N, F), what the strongest cells say of the slice; the latter is for
        training alone.
    """
    # --- Backbone ---
    pixels = keras.Input((size, size, 3), name="pixels", dtype="float32")
    stride8, stride16, top = efficientnet_lite(pixels, lite)

    # --- Slice head ---
    embedding = layers.GlobalAveragePooling2D(name="embedding")(top)
    dropped = layers.Dropout(dropout, name="dropout")(embedding)
    logits = layers.Dense(len(findings), name="logits", dtype="float32")(dropped)

    # --- Evidence head ---
    joined = layers.Conv2D(evidence_filters, 1, name="evidence_context")(top)
    for finer, stride in ((stride16, 16), (stride8, 8)):
        joined = _joined(joined, finer, f"evidence{stride}")
    evidence = layers.Conv2D(len(findings), 1, name="evidence", dtype="float32")(joined)
    outputs = {"logits": logits, "evidence": evidence}

    # --- Sequence head ---
    if sequences:
        named = layers.Dense(sequences, name="sequence", dtype="float32")
        strongest = StrongestCells(STRONGEST_CELLS, name="strongest", dtype="float32")
        outputs |= {"sequence": named(embedding), "strongest": strongest(evidence)}

    # --- Model ---
    return keras.Model(pixels, outputs, name=name)


def _joined(
    coarse: keras.KerasTensor, fine: keras.KerasTensor, name: str
) -> keras.KerasTensor:
    """Add a coarse grid to one twice as fine."""
    # Doubling, then averaging neighbours, is linear interpolation for any size.
    doubled = layers.UpSampling2D(2, name=f"{name}_up")(coarse)
    smooth = layers.AveragePooling2D(
        3, strides=1, padding="same", name=f"{name}_smooth"
    )(doubled)
    lateral = layers.Conv2D(int(coarse.shape[-1]), 1, name=f"{name}_lateral")(fine)
    return layers.ReLU(name=f"{name}_relu")(
        layers.Add(name=f"{name}_add")([lateral, smooth])
    )
