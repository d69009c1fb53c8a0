"""Figures of how well a map points where a radiologist drew the tumour."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DatasetError
from tumorlens.imaging.preprocess.slice import Crop

CENTER_WIDTH = 1.0 / 6.0
"""Standard deviation of the centre map, as a share of the head's square."""


def read_outline(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a drawn outline.

    Parameters
    ----------
    path
        A picture, white inside.
    shape
        Height and width it has to have.

    Returns
    -------
    ndarray
        Shape (H, W), true inside.

    Raises
    ------
    DatasetError
        The outline is unreadable or of another size.
    """
    drawn = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if drawn is None or drawn.shape != shape:
        raise DatasetError(
            f"The outline {path} is unreadable or of another size.",
            "Export the outline at the picture's size.",
        )
    return np.asarray(drawn > 127)


def pointing(
    heat: NDArray[np.float32], inside: NDArray[np.bool_]
) -> tuple[float, float]:
    """Compare a map with an outline.

    Parameters
    ----------
    heat
        Shape (H, W), not negative.
    inside
        Shape (H, W), true inside the outline.

    Returns
    -------
    peak_inside
        1 where the map's peak lies inside (pointing game: Zhang et al. 2018,
        IJCV), else 0.
    dice
        Overlap of the outline and the map at half of its peak. Both are 0 for a map
        that is 0 everywhere: it points nowhere.
    """
    strongest = float(heat.max())
    if strongest <= 0.0:
        return 0.0, 0.0
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    marked = heat >= np.float32(0.5 * strongest)
    dice = 2.0 * float((marked & inside).sum()) / float(marked.sum() + inside.sum())
    return float(inside[peak]), dice


def center_map(crop: Crop, height: int, width: int) -> NDArray[np.float32]:
    """Draw the map of somebody who always looks at the middle of the head.

    A fair measure of a map has to beat it: tumours lie nearer to the middle
    than to the edge (centre bias: Judd et al. 2009, ICCV).

    Parameters
    ----------
    crop
        The square that holds the head.
    height, width
        Size of the picture, in pixels.

    Returns
    -------
    ndarray
        Shape (height, width), float32, 0 to 1: a Gaussian.
    """
    sigma = CENTER_WIDTH * crop.side
    y = (np.arange(height) - (crop.y + 0.5 * crop.side)) / sigma
    x = (np.arange(width) - (crop.x + 0.5 * crop.side)) / sigma
    return np.outer(np.exp(-0.5 * y**2), np.exp(-0.5 * x**2)).astype(np.float32)
