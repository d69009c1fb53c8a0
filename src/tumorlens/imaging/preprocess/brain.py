"""Share of brain in a slice, so that the ends of a series are not judged."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_WORK_SIZE = 64
_AIR = 0.08
_SCALP = 5
"""Pixels of the small square that are taken off all round: scalp and skull."""
_LEAST_INSIDE = 20
_LIKE_BRAIN = 0.35
"""Largest distance of tissue from the median inside the head, as a share of it."""


def brain_share(prepared: NDArray[np.float32]) -> float:
    """Measure which share of the head's square is one piece of even tissue.

    Brain is the largest even region in a head: the face and the base of the
    skull fall into small pieces of very different brightness, and the top of
    the head is mostly scalp. This is a rough measure for a rule, no
    segmentation: tumours, ventricles and the rim of the brain do not count.

    Parameters
    ----------
    prepared
        Shape (S, S, 3), float32, in [0, 1], the channels equal: the model's
        input, from `tumorlens.imaging.preprocess.slice.prepare`.

    Returns
    -------
    float
        0 to 1; about 0.3 in the middle of a head, 0 for a blank picture.
    """
    small = cv2.resize(
        prepared[..., 0], (_WORK_SIZE, _WORK_SIZE), interpolation=cv2.INTER_AREA
    )
    inside = cv2.erode(
        filled((small > _AIR).astype(np.uint8)),
        disc(_SCALP),
        # What touches the edge of the square goes on beyond it only as air.
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0.0,
    )
    values = small[inside > 0]
    if len(values) < _LEAST_INSIDE:
        return 0.0
    middle = float(np.median(values))
    even = (np.abs(small - middle) < _LIKE_BRAIN * middle) & (inside > 0)
    _, _, stats, _ = cv2.connectedComponentsWithStats(
        even.astype(np.uint8), connectivity=4
    )
    largest = int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))
    return float(largest / even.size)


def filled(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest piece of a mask, with its holes filled.

    Parameters
    ----------
    mask
        Shape (H, W), uint8, above 0 inside.

    Returns
    -------
    ndarray
        Shape (H, W), uint8, 1 inside; all 0 where nothing is inside.
    """
    full = np.zeros_like(mask)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if contours:
        largest = max(contours, key=cv2.contourArea)
        cv2.drawContours(full, [largest], -1, (1.0,), cv2.FILLED)
    return full


def disc(radius: int) -> NDArray[np.uint8]:
    """Draw the disc by which a mask grows or shrinks that many pixels all round.

    Parameters
    ----------
    radius
        Radius in pixels.

    Returns
    -------
    ndarray
        Shape (2 radius + 1, 2 radius + 1), uint8, 1 inside.
    """
    edge = 2 * radius + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (edge, edge)).astype(np.uint8)
