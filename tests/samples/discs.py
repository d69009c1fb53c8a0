"""Discs, of which tests draw heads, brains and tumours."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def disc(radius: int, centre: tuple[int, int] = (128, 128)) -> NDArray[np.uint8]:
    """Draw a disc of 255 on black, shape (256, 256); the centre is (column, row)."""
    picture = np.zeros((256, 256), np.uint8)
    cv2.circle(picture, centre, radius, 255, -1)
    return picture
