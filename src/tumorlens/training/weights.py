"""Weights of networks are read, checked against a network, and averaged.

After averaging, the statistics of batch normalisation are counted anew.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.training.batches import BatchStream
from tumorlens.training.config import TrainingConfig
from tumorlens.training.networks.registry import network_of

_HEADS = {"logits", "evidence"}
"""Layers whose size is that of the classes."""


def load_weights(model: keras.Model, path: Path, *, new_heads: bool = False) -> None:
    """Put weights from a file into a network.

    Parameters
    ----------
    model
        The network; its weights may be changed in part where this fails.
    path
        Keras weights.
    new_heads
        Whether heads of other classes than the file's stay as they are.

    Raises
    ------
    TrainingError
        The file cannot be read, or its weights are of another network.
    """
    try:
        with warnings.catch_warnings(record=new_heads) as told:
            # Keras only warns of layers that the file does not have.
            warnings.simplefilter("always" if new_heads else "error", UserWarning)
            model.load_weights(path, skip_mismatch=new_heads)
        for warning in told or ():
            missing = str(warning.message).partition("List of objects")[2]
            if set(re.findall(r"name=(\w+)", missing)) - _HEADS:
                raise ValueError("more than its heads differ")
    except (OSError, ValueError, UserWarning) as error:
        raise TrainingError(
            f"{path} holds no weights of {model.name}: {error}",
            "Name the network that they are of with --network, or other weights.",
        ) from error


NORMALISATION_BATCHES = 40
"""Training batches on which normalisation is counted for averaged weights."""


def average_networks(config: TrainingConfig, weights: Sequence[Path]) -> keras.Model:
    """Build a network whose weights are the mean of several runs'.

    Runs that started from the same weights and the same heads end in one
    valley of the loss, and their mean does what an ensemble of them would, in
    one pass ("model soup": Wortsman et al. 2022, ICML). What normalisation
    counted in each of them is not what it would count in the mean: follow with
    `count_normalisation`.

    Parameters
    ----------
    config
        Every choice of the runs.
    weights
        Keras weight files of its network, at least one.

    Raises
    ------
    TrainingError
        A file is missing, or of another network.
    """
    model = network_of(config).build(None)
    sums = [np.zeros(item.shape, np.float64) for item in model.get_weights()]
    for path in weights:
        load_weights(model, path)
        for total, item in zip(sums, model.get_weights(), strict=True):
            total += item
    model.set_weights([(item / len(weights)).astype(np.float32) for item in sums])
    return model


def count_normalisation(
    model: keras.Model, stream: BatchStream, config: TrainingConfig
) -> None:
    """Count anew what batch normalisation needs, on the first batches of a run.

    Parameters
    ----------
    model
        Model with averaged weights.
    stream
        The run's batches.
    config
        Every choice of the run.
    """
    batches = min(NORMALISATION_BATCHES, config.total_steps)
    drawn = stream.batches(0, batches, lambda _: config.size)
    refresh_normalisation(model, (batch.pixels for batch in drawn))


def refresh_normalisation(
    model: keras.Model, batches: Iterable[NDArray[np.float32]]
) -> None:
    """Count anew what batch normalisation needs, after weights were changed.

    As for weights averaged over a run (Izmailov et al. 2018, UAI, section 3).
    Without it the averaged network is far less sure than those it came from.

    Parameters
    ----------
    model
        Its frozen layers are left alone.
    batches
        Batches of training pictures, shape (N, S, S, 3), float32, in [0, 1]; each
        weighs alike.
    """
    layers = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    usual = [layer.momentum for layer in layers]
    with _without_dropout(model):
        for number, pixels in enumerate(batches):
            for layer in layers:
                # The mean of all batches so far, not a moving one.
                layer.momentum = number / (number + 1)
            model(pixels, training=True)
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum


@contextmanager
def _without_dropout(model: keras.Model) -> Iterator[None]:
    """Let nothing drop for a while: a served network drops nothing either."""
    layers = [item for item in model.layers if isinstance(item, keras.layers.Dropout)]
    usual = [layer.rate for layer in layers]
    for layer in layers:
        layer.rate = 0.0
    try:
        yield
    finally:
        for layer, rate in zip(layers, usual, strict=True):
            layer.rate = rate
