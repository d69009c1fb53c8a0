"""cnn3d: a network that sees a whole volume at once.

Convolution, batch normalisation, max pooling, dropout, global average pooling
and a dense softmax, all in three dimensions, small enough for the few volumes there
are. The evidence head judges each cell of a stride-4 grid, as evidence-net's does.

Tested in `tests/training/networks/test_contract.py`.
"""

from __future__ import annotations

import keras
from keras import layers

from tumorlens.imaging.preprocess.volume import block_shape
from tumorlens.taxonomy import CLASSES

FILTERS = (12, 24, 48, 64)
DROPOUT = 0.3
LAST_CONVOLUTION = "relu3"
EMBEDDING_LAYERS = ("relu1", "relu2", "relu3")
EVIDENCE_STRIDE = 4
EVIDENCE_FILTERS = 32
DEFAULTS = {
    "size": 64,
    "batch_size": 8,
    "steps_per_epoch": 30,
    "epochs": 20,
    "learning_rate": 2e-3,
    "ema": 0.98,
}
"""A volume has a thousand times the voxels of a small picture, and there are few."""


def build(
    size: int | None = None,
    filters: tuple[int, int, int, int] = FILTERS,
    dropout: float = DROPOUT,
) -> keras.Model:
    """Build cnn3d, untrained.

    Parameters
    ----------
    size
        Edge of the input in voxels, a multiple of 32; None leaves it open.
    filters
        Width of each convolution block; the first three halve the block.
    dropout
        Share of the features dropped before the head, a third of it after each
        block.

    Returns
    -------
    keras.Model
        Input ``pixels`` (N, D, size, size, 1) with D three quarters of `size`,
        float32, in [0, 1]. Outputs, by name: ``logits`` (N, 4) and
        ``evidence`` (N, D/4, size/4, size/4, 4), both float32 and before
        softmax, classes in the taxonomy's order.
    """
    # --- Blocks ---
    shape = (None, None, None) if size is None else block_shape(size)
    pixels = keras.Input((*shape, 1), name="pixels", dtype="float32")
    x = pixels
    taps = []
    for index, width in enumerate(filters):
        x = layers.Conv3D(
            width,
            3,
            # The first convolution is where most voxels are.
            strides=2 if index == 0 else 1,
            padding="same",
            use_bias=False,
            name=f"conv{index}",
        )(x)
        x = layers.BatchNormalization(name=f"bn{index}", momentum=0.95)(x)
        x = layers.ReLU(name=f"relu{index}")(x)
        taps.append(x)
        if 0 < index < len(filters) - 1:
            x = layers.MaxPooling3D(2, name=f"pool{index}")(x)
            x = layers.Dropout(dropout / 3.0, name=f"drop{index}")(x)

    # --- Volume head ---
    embedding = layers.GlobalAveragePooling3D(name="embedding")(x)
    logits = layers.Dense(len(CLASSES), name="logits", dtype="float32")(
        layers.Dropout(dropout, name="dropout")(embedding)
    )

    # --- Evidence head ---
    context = layers.Conv3D(EVIDENCE_FILTERS, 1, name="evidence_context")(x)
    detail = layers.Conv3D(EVIDENCE_FILTERS, 1, name="evidence_lateral")(taps[2])
    doubled = layers.UpSampling3D(2, name="evidence_up")(context)
    joined = layers.ReLU(name="evidence_relu")(
        layers.Add(name="evidence_add")([detail, doubled])
    )
    evidence = layers.Conv3D(len(CLASSES), 1, name="evidence", dtype="float32")(joined)

    # --- Model ---
    return keras.Model(pixels, {"logits": logits, "evidence": evidence}, name="cnn3d")
