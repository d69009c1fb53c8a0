"""EfficientNet-Lite backbones.

The Lite family is EfficientNet without squeeze-and-excitation and with ReLU6
in place of swish (Tan and Le 2019, arXiv:1905.11946; the Lite variant is from
the TensorFlow TPU repository), which makes it fast on plain processors.

Tested in `tests/training/networks/test_contract.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers


@dataclass(frozen=True)
class Stage:
    """A run of inverted-residual blocks that share a width."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


@dataclass(frozen=True)
class Lite:
    """One size of the family.

    Parameters
    ----------
    name
        Name in its package of ImageNet weights.
    stages
        Stages from the stem to the last convolution.
    """

    name: str
    stages: tuple[Stage, ...]

    def last_block(self, stride: int) -> int:
        """Index of the last block whose output has this stride."""
        index, reached, last = -1, 2, -1
        for stage in self.stages:
            index += stage.repeats
            reached *= stage.stride
            if reached == stride:
                last = index
        return last


LITE0 = Lite(
    "lite0",
    (
        Stage(1, 3, 1, 1, 16),
        Stage(2, 3, 2, 6, 24),
        Stage(2, 5, 2, 6, 40),
        Stage(3, 3, 2, 6, 80),
        Stage(3, 5, 1, 6, 112),
        Stage(4, 5, 2, 6, 192),
        Stage(1, 3, 1, 6, 320),
    ),
)
LITE2 = Lite(
    "lite2",
    (
        Stage(1, 3, 1, 1, 16),
        Stage(3, 3, 2, 6, 24),
        Stage(3, 5, 2, 6, 48),
        Stage(4, 3, 2, 6, 88),
        Stage(4, 5, 1, 6, 120),
        Stage(5, 5, 2, 6, 208),
        Stage(1, 3, 1, 6, 352),
    ),
)
"""1.1 times as wide and 1.2 times as deep; stem and last convolution as in all."""

STEM_FILTERS = 32
TOP_FILTERS = 1280


def _normalise(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=name)(x)


def _inverted_residual(
    x: keras.KerasTensor, stage: Stage, stride: int, name: str
) -> keras.KerasTensor:
    """Expand, filter each channel, project; add the input where shapes allow."""
    entry = x
    channels = int(x.shape[-1])
    if stage.expansion != 1:
        x = layers.Conv2D(
            channels * stage.expansion, 1, use_bias=False, name=f"{name}_expand"
        )(x)
        x = layers.ReLU(6.0, name=f"{name}_expand_relu")(
            _normalise(x, f"{name}_expand_bn")
        )
    x = layers.DepthwiseConv2D(
        stage.kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        name=f"{name}_depthwise",
    )(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(
        _normalise(x, f"{name}_depthwise_bn")
    )
    x = layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{name}_project")(x)
    x = _normalise(x, f"{name}_project_bn")
    if stride == 1 and channels == stage.filters:
        x = layers.Add(name=f"{name}_add")([entry, x])
    return x


def efficientnet_lite(
    pixels: keras.KerasTensor, lite: Lite
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """Build the backbone on a tensor of pixels.

    Parameters
    ----------
    pixels
        Shape (N, H, W, 3), float32, in [0, 1].
    lite
        Size of the network.

    Returns
    -------
    stride8, stride16, top
        Features of shape (N, H/8, W/8, C), (N, H/16, W/16, D) and
        (N, H/32, W/32, 1280), C and D as the size has them; the last is the
        last convolution's activation.
    """
    # The ImageNet weights were trained on (byte - 127) / 128.
    x = layers.Rescaling(255.0 / 128.0, offset=-127.0 / 128.0, name="to_imagenet")(
        pixels
    )
    x = layers.Conv2D(
        STEM_FILTERS, 3, strides=2, padding="same", use_bias=False, name="stem"
    )(x)
    x = layers.ReLU(6.0, name="stem_relu")(_normalise(x, "stem_bn"))
    taps = {}
    index = 0
    for stage in lite.stages:
        for repeat in range(stage.repeats):
            x = _inverted_residual(
                x, stage, stage.stride if repeat == 0 else 1, f"block{index}"
            )
            taps[index] = x
            index += 1
    x = layers.Conv2D(TOP_FILTERS, 1, use_bias=False, name="top")(x)
    x = layers.ReLU(6.0, name="top_relu")(_normalise(x, "top_bn"))
    return taps[lite.last_block(8)], taps[lite.last_block(16)], x
