"""seed-cnn: the plain network that this project was first asked for.

Convolution, batch normalisation, max pooling, dropout, global average
pooling, dense softmax. It stands beside evidence-net in every table.

Tested in `tests/training/networks/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from tumorlens.taxonomy import CLASSES, Finding

FILTERS = (32, 64, 128, 256)
DROPOUT = 0.3
LAST_CONVOLUTION = "relu3"
EMBEDDING_LAYERS = ("relu2", "relu3")
EVIDENCE_STRIDE = 16


def build(
    size: int | None = None,
    filters: tuple[int, ...] = FILTERS,
    dropout: float = DROPOUT,
    findings: Sequence[Finding] = CLASSES,
) -> keras.Model:
    """Build seed-cnn, untrained.

    Parameters
    ----------
    size
        Height and width of the input in pixels; None leaves both open.
    filters
        Width of each convolution block; each block halves the picture but the
        last.
    dropout
        Share of the features dropped after each block, and before the head.
    findings
        Classes that it tells apart.

    Returns
    -------
    keras.Model
        Input ``pixels`` (N, size, size, 3), float32, in [0, 1]. Output
        ``logits`` (N, F), float32, before softmax, in the order of the F classes.
    """
    # --- Blocks ---
    pixels = keras.Input((size, size, 3), name="pixels", dtype="float32")
    x = layers.MaxPooling2D(2, name="shrink")(
        layers.Conv2D(16, 3, strides=1, padding="same", name="stem")(pixels)
    )
    for index, width in enumerate(filters):
        x = layers.Conv2D(
            width, 3, padding="same", use_bias=False, name=f"conv{index}"
        )(x)
        x = layers.BatchNormalization(name=f"bn{index}")(x)
        x = layers.ReLU(name=f"relu{index}")(x)
        if index < len(filters) - 1:
            x = layers.MaxPooling2D(2, name=f"pool{index}")(x)
            x = layers.Dropout(dropout / 3.0, name=f"drop{index}")(x)

    # --- Slice head ---
    embedding = layers.GlobalAveragePooling2D(name="embedding")(x)
    logits = layers.Dense(len(findings), name="logits", dtype="float32")(
        layers.Dropout(dropout, name="dropout")(embedding)
    )

    # --- Model ---
    return keras.Model(pixels, {"logits": logits}, name="seed-cnn")
