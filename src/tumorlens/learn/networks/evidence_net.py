"""evidence-net: one backbone, a slice head and an evidence head.

The slice head is global average pooling and a dense softmax. The evidence
head says, for each cell of a stride-16 grid, which class the cell shows; it
learns from radiologists' outlines and is what holds on strangers' scanners.
"""

from __future__ import annotations

import keras
from keras import layers

from tumorlens.learn.networks.efficientnet_lite import efficientnet_lite0
from tumorlens.taxonomy import CLASSES

EVIDENCE_FILTERS = 160
DROPOUT = 0.3
LAST_CONVOLUTION = "top_relu"
EMBEDDING_LAYERS = ("block4_add", "block10_add", "top_relu")


def build(
    size: int | None = None,
    evidence_filters: int = EVIDENCE_FILTERS,
    dropout: float = DROPOUT,
) -> keras.Model:
    """Build evidence-net, untrained.

    Parameters
    ----------
    size
        Height and width of the input in pixels, a multiple of 32; None leaves
        both open.
    evidence_filters
        Width of the evidence head.
    dropout
        Share of the pooled features dropped in training.

    Returns
    -------
    keras.Model
        Input ``pixels`` (N, size, size, 3), float32, in [0, 1]. Outputs, by
        name: ``logits`` (N, 4) and ``evidence`` (N, size/16, size/16, 4), both
        float32 and before softmax, classes in the taxonomy's order.
    """
    # --- Backbone ---
    pixels = keras.Input((size, size, 3), name="pixels", dtype="float32")
    _, stride16, top = efficientnet_lite0(pixels)

    # --- Slice head ---
    embedding = layers.GlobalAveragePooling2D(name="embedding")(top)
    logits = layers.Dense(len(CLASSES), name="logits")(
        layers.Dropout(dropout, name="dropout")(embedding)
    )

    # --- Evidence head ---
    lateral = layers.Conv2D(evidence_filters, 1, name="evidence_lateral")(stride16)
    context = layers.Conv2D(evidence_filters, 1, name="evidence_context")(top)
    # Doubling, then averaging neighbours, is linear interpolation for any size.
    context = layers.UpSampling2D(2, name="evidence_up")(context)
    context = layers.AveragePooling2D(
        3, strides=1, padding="same", name="evidence_smooth"
    )(context)
    joined = layers.ReLU(name="evidence_relu")(
        layers.Add(name="evidence_add")([lateral, context])
    )
    evidence = layers.Conv2D(len(CLASSES), 1, name="evidence")(joined)

    # --- Model ---
    return keras.Model(
        pixels, {"logits": logits, "evidence": evidence}, name="evidence-net"
    )
