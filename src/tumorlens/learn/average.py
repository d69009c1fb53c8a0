"""The networks of a cross-validation become one: their weights are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from tumorlens.errors import TrainingError
from tumorlens.learn.networks.registry import find_network


def average_networks(name: str, weights: Sequence[Path]) -> keras.Model:
    """Build a network whose weights are the mean of several runs'.

    Runs that started from the same weights and the same heads end in one
    valley of the loss, and their mean does what an ensemble of them would, in
    one pass ("model soup": Wortsman et al. 2022, ICML). That holds for what
    normalisation counted as well.

    Parameters
    ----------
    name
        Of the network in the registry.
    weights
        Keras weight files of it, at least one.

    Raises
    ------
    TrainingError
        A file is missing, or of another network.
    """
    model = find_network(name).build(None)
    sums = [np.zeros(item.shape, np.float64) for item in model.get_weights()]
    for path in weights:
        try:
            model.load_weights(path)
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{path} holds no weights of {name}: {error}.",
                "Train that fold again.",
            ) from error
        for total, item in zip(sums, model.get_weights(), strict=True):
            total += item
    model.set_weights([(item / len(weights)).astype(np.float32) for item in sums])
    return model
