"""Heads as another MR sequence would show them.

Nobody drew the outline of a tumour on T2, and few sets hold meningiomas without
contrast agent. What a slice shows does not depend on its sequence, so slices whose
truth is known are shown as a sequence that was not taken. None of these is a picture to
measure with: they have to teach that a lesion may be bright, dark or neither.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.skull_stripping import AIR
from tumorlens.imaging.preprocess.slice import disc, filled

Square = NDArray[np.uint8]

_FLUID_PERCENTILES = (3.0, 40.0)
"""Greys of a brain in T1 between which tissue turns into fluid."""
_MIN_SPREAD = 8.0
"""Distance of those greys below which fluid cannot be told from tissue."""
_MIN_BRAIN = 500
"""Pixels of brain that levels of grey can be taken from."""
_FLUID_IN_T2 = 200.0
"""Least grey of fluid in T2, of 255."""
_RING = 9
"""Width in pixels of the tissue around an outline that it is compared with."""
_ENHANCED = 0.5
"""Spreads of the brain's grey by which enhancing tissue is brighter than around it."""


def invert_contrast(square: Square) -> Square:
    """Show a head with dark for bright, as T2 shows what T1 does.

    In T1 fluid is dark and white matter brighter than grey; in T2 both are the other
    way round, and so is a tumour without contrast.

    Parameters
    ----------
    square
        Shape (S, S), uint8: a prepared head, air 0.
    """
    head = filled((square > AIR).astype(np.uint8))
    top = int(np.percentile(square[head > 0], 97)) if head.any() else 255
    turned = np.clip(top - square.astype(np.int16), 0, 255).astype(np.uint8)
    return np.where(head > 0, turned, 0).astype(np.uint8)


def t2_of_flair(flair: Square, t1: Square, brain: Square) -> Square | None:
    """Show a FLAIR slice as T2: the fluid that FLAIR suppresses is made bright.

    Both weigh by T2, so that tissue and most lesions keep their grey. Where fluid lies,
    the T1 slice on the same grid says, which shows it dark.

    Parameters
    ----------
    flair, t1
        Shape (S, S), uint8: the same slice, cropped alike.
    brain
        Shape (S, S), uint8, 255 inside the brain.

    Returns
    -------
    ndarray or None
        Shape (S, S), uint8; None where T1 does not part fluid from tissue.
    """
    inside = brain > 0
    if np.count_nonzero(inside) < _MIN_BRAIN:
        return None
    low, high = np.percentile(t1[inside], _FLUID_PERCENTILES)
    if high - low < _MIN_SPREAD:
        return None
    edge = cv2.GaussianBlur(brain, (0, 0), 1.0).astype(np.float32) / 255.0
    fluid = np.clip((high - t1.astype(np.float32)) / (high - low), 0.0, 1.0) * edge
    bright = max(float(np.percentile(flair[inside], 99.5)), _FLUID_IN_T2)
    grey = flair.astype(np.float32)
    shown = grey * (1.0 - fluid) + fluid * np.maximum(grey, bright)
    return np.rint(shown).clip(0, 255).astype(np.uint8)


def enhances(square: Square, outline: Square, brain: Square) -> bool:
    """Tell whether what is outlined is brighter than the brain around it.

    Parameters
    ----------
    square
        Shape (S, S), uint8: a head in T1 with contrast agent.
    outline, brain
        Shape (S, S), uint8, 255 inside.
    """
    levels = _surroundings(square, outline, brain)
    if levels is None:
        return False
    median, spread = levels
    return bool(np.median(square[outline > 127]) > median + _ENHANCED * spread)


def without_agent(
    square: Square, outline: Square, brain: Square, rng: np.random.Generator
) -> Square:
    """Show an enhancing tumour as T1 without contrast agent would.

    There it is about as bright as the brain, or darker; some of its texture and its
    pressure on what lies around it are left to tell it by.

    Parameters
    ----------
    square
        Shape (S, S), uint8: a head in T1 with contrast agent.
    outline, brain
        Shape (S, S), uint8, 255 inside.
    rng
        Source of chance.

    Returns
    -------
    ndarray
        Shape (S, S), uint8; the square itself where the brain around the tumour is
        not known.
    """
    levels = _surroundings(square, outline, brain)
    if levels is None:
        return square
    median, spread = levels
    grey = square.astype(np.float32)
    tumor = grey[outline > 127]
    own = max(float(tumor.std()), 1.0)
    level = median + spread * rng.uniform(-1.3, 0.3)
    texture = spread * rng.uniform(0.25, 0.7) / own
    if rng.random() < 0.2:
        texture = -texture
    shown = level + texture * (grey - float(tumor.mean()))
    # A rim of what enhances lies outside of most outlines.
    whole = cv2.dilate(outline, disc(int(rng.integers(1, 4))))
    soft = cv2.GaussianBlur(whole, (0, 0), rng.uniform(1.0, 2.0)) / np.float32(255.0)
    mixed = grey * (1.0 - soft) + shown * soft
    # Vessels and dura enhance too.
    bright = np.where(brain > 0, median + 2.0 * spread, 255.0)
    mixed = np.where(mixed > bright, bright + 0.4 * (mixed - bright), mixed)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def _surroundings(
    square: Square, outline: Square, brain: Square
) -> tuple[float, float] | None:
    """Find the median grey of the brain around an outline, and the brain's spread."""
    inside = (outline > 127).astype(np.uint8)
    near = (cv2.dilate(inside, disc(_RING)) > 0) & (inside == 0) & (brain > 0)
    rest = (brain > 0) & (inside == 0)
    if not inside.any() or near.sum() < 50 or rest.sum() < _MIN_BRAIN:
        return None
    low, high = np.percentile(square[rest], (16, 84))
    middle = float(np.median(square[near]))
    return middle, max(float(high - low) / 2.0, 1.0)
