"""Crude skull stripping, to show the model heads without skull.

Many research scans are skull-stripped before anyone looks at them. A model
that never saw one calls them all alike. This is no segmentation to measure
with: it only has to look like one.

Tested in `tests/training/augment/test_slice.py`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.preprocess.slice import (
    Crop,
    Preprocessing,
    cut,
    disc,
    filled,
    find_head,
)
from tumorlens.imaging.preprocess.slice import normalise_intensity as normalise

STORED_SIZE = 256
"""Edge of the squares that training keeps: a little over the model's, so that zooms
stay sharp."""

AIR = 20
"""Grey of 255 above which a pixel belongs to the head."""

_WORK_SIZE = 128


def brain_mask(square: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Guess which pixels of a cropped head are brain.

    The scalp and skull are cut off by eroding the head until the dark ring of
    the skull separates what is inside, which is then grown back.

    Parameters
    ----------
    square
        Shape (S, S), uint8: a head that fills the picture, air 0.

    Returns
    -------
    ndarray or None
        Shape (S, S), uint8, 255 inside; None where no plausible brain was
        found.
    """
    size = square.shape[0]
    small = cv2.resize(square, (_WORK_SIZE, _WORK_SIZE), interpolation=cv2.INTER_AREA)
    head = filled((small > AIR).astype(np.uint8))
    if head.sum() < 0.15 * head.size:
        return None
    # Start inside the scalp, whose fat is as bright as anything in the brain.
    inner = cv2.erode(head, disc(6))
    level, _ = cv2.threshold(
        small[inner > 0].reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU
    )
    tissue = ((small > 0.75 * level) & (inner > 0)).astype(np.uint8)
    core = _largest(cv2.erode(tissue, disc(3)).astype(np.uint8))
    if core is None:
        return None
    grown = cv2.morphologyEx(cv2.dilate(core, disc(4)), cv2.MORPH_CLOSE, disc(7))
    brain = filled(grown.astype(np.uint8) & inner.astype(np.uint8))
    share = float(brain.sum()) / float(head.sum())
    if not 0.2 < share < 0.85:
        return None
    full = cv2.resize(brain * 255, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.where(full > 127, np.uint8(255), np.uint8(0)).astype(np.uint8)


def take_off_skull(
    square: NDArray[np.uint8],
    outline: NDArray[np.uint8] | None,
    brain: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Blank all but the brain, and crop to it as serving would.

    Nothing is done where that would cut away the tumour.
    """
    if outline is not None:
        inside = cv2.countNonZero(outline & brain)
        if inside < 0.9 * cv2.countNonZero(outline):
            return square, outline
    bare = square & brain
    crop = find_head(bare.astype(np.float32), Preprocessing())
    if crop.side < square.shape[0] // 4:
        return square, outline
    edge = square.shape[0]
    stripped = cut(bare, crop, edge)
    return stripped, None if outline is None else cut(outline, crop, edge)


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
        (see `brain_mask`).
    """
    square, _ = stored_square(picture.astype(np.float32))
    brain = brain_mask(square)
    if brain is None:
        return None
    bare, _ = take_off_skull(square, None, brain)
    return None if bare is square else bare


def stored_square(pixels: NDArray[np.float32]) -> tuple[NDArray[np.uint8], Crop]:
    """Crop a slice to its head, and normalise it, as training keeps it.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, any range.

    Returns
    -------
    square
        Shape (`STORED_SIZE`, `STORED_SIZE`), uint8.
    crop
        Crop that was cut out.
    """
    facts = Preprocessing(size=STORED_SIZE)
    lifted = pixels - pixels.min()
    crop = find_head(lifted, facts)
    square = normalise(cut(lifted, crop, STORED_SIZE), facts)
    return np.rint(square * 255.0).astype(np.uint8), crop


def _largest(mask: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    largest: NDArray[np.uint8] = (labels == best).astype(np.uint8)
    return largest
