"""Slices as they would look had someone stripped the skull before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.skull_stripping import brain_mask
from tumorlens.training.augment.slice import take_off_skull
from tumorlens.training.dataset import Sample, stored_square


def without_skull(samples: Sequence[Sample]) -> list[Sample]:
    """Take the skull off, for what has to know both kinds of picture.

    Parameters
    ----------
    samples
        Of any kind.

    Returns
    -------
    list of Sample
        In their order, without those whose brain was not found, or whose tumour
        would be cut.
    """
    found = []
    for sample in samples:
        if sample.brain is None:
            continue
        square, outline = take_off_skull(sample.square, sample.outline, sample.brain)
        if square is not sample.square:
            found.append(replace(sample, square=square, outline=outline, brain=None))
    return found


def strip_picture(picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Take the skull off a picture of a head.

    Parameters
    ----------
    picture
        Shape (H, W), uint8: a slice of a whole head, on black.

    Returns
    -------
    ndarray or None
        Shape (S, S), uint8: cropped to the brain; None where it was not found. Crude
        (see `strip.brain_mask`).
    """
    square, _ = stored_square(picture.astype(np.float32))
    brain = brain_mask(square)
    if brain is None:
        return None
    bare, _ = take_off_skull(square, None, brain)
    return None if bare is square else bare
