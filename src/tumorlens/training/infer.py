"""Raw outputs of a Keras model on cached samples, as serving would give them."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.training.dataset import Sample, served_pixels
from tumorlens.training.volumes import VolumeSample, served_volumes

_ROWS_AT_A_TIME = 32


def infer(
    model: keras.Model, samples: Sequence[Sample], size: int
) -> dict[str, NDArray[np.float32]]:
    """Run a model over samples.

    Parameters
    ----------
    model
        With named outputs.
    samples
        N of them, all slices or all whole scans.
    size
        Edge of the input, in pixels or voxels.

    Returns
    -------
    dict
        Arrays with N rows, by output name.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {}
    for start in range(0, len(samples), _ROWS_AT_A_TIME):
        chosen = samples[start : start + _ROWS_AT_A_TIME]
        whole = isinstance(chosen[0], VolumeSample)
        pixels = (served_volumes if whole else served_pixels)(chosen, size)
        outputs = model.predict_on_batch(pixels)
        for name, value in outputs.items():
            parts.setdefault(name, []).append(np.asarray(value))
    return {name: np.concatenate(rows) for name, rows in parts.items()}
