"""Reads a network's weights, and tells those of another network."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras

from tumorlens.errors import TrainingError


def load_weights(model: keras.Model, path: Path) -> None:
    """Put weights from a file into a network.

    Parameters
    ----------
    model
        The network; its weights may be changed in part where this fails.
    path
        Keras weights.

    Raises
    ------
    TrainingError
        The file cannot be read, or its weights are of another network.
    """
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that the file does not have.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (OSError, ValueError, UserWarning) as error:
        raise TrainingError(
            f"{path} holds no weights of {model.name}: {error}",
            "Name the network that they are of with --network, or other weights.",
        ) from error
