"""A picture's brightness in ten numbers that know nothing of where anything is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

STATISTICS = (
    "mean",
    "standard deviation",
    "skewness",
    "kurtosis",
    "10th percentile",
    "median",
    "90th percentile",
    "99th percentile",
    "entropy",
    "share of nearly black",
)
"""Of the brightness as a share of the picture's own brightest value."""

_BINS = 64
_BLACK = 0.05


def intensity_statistics(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum up a picture's brightness.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, any range.

    Returns
    -------
    ndarray
        Shape (10,), as `STATISTICS` names them; zeros for a constant picture.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if high <= low:
        return np.zeros(len(STATISTICS))
    share = (pixels.ravel() - np.float32(low)) / np.float32(high - low)
    mean, spread = float(share.mean()), float(share.std())
    standard = (share - mean) / max(spread, 1e-9)
    counts = cv2.calcHist([share], [0], None, [_BINS], [0.0, 1.0 + 1e-6]).ravel()
    filled = counts[counts > 0] / share.size
    return np.array(
        [
            mean,
            spread,
            float((standard**3).mean()),
            float((standard**4).mean()),
            *np.percentile(share, (10, 50, 90, 99)),
            -float((filled * np.log(filled)).sum()),
            float((share < _BLACK).mean()),
        ]
    )
