"""Where the viewer's window starts: as the file has it, or as the voxels suggest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import Series

_TOP_PERCENTILE = 99.8
_HEAD_SHARE = 0.1
"""Brightness, as a share of what the automatic window spans, that is no air."""
_LEAST_INSIDE = 0.25
_WIDEST = 4.0

Window = tuple[float, float]
"""Lowest and highest value that are told apart, in the file's own units."""


def auto_window(sample: NDArray[np.float32], low: float, high: float) -> Window:
    """Take all but the brightest two in a thousand; never a window of no width.

    Parameters
    ----------
    sample
        Shape (N,): values of the series.
    low, high
        Of all values.
    """
    bright = float(np.percentile(sample, _TOP_PERCENTILE))
    top = bright if bright > low else high
    return low, top if top > low else low + 1.0


def file_window(series: Series, sample: NDArray[np.float32]) -> Window | None:
    """Find the window that the series' files ask for.

    Scanners set one for each slice; all slices are shown by the median of them,
    so that brightness does not jump while scrolling.

    Parameters
    ----------
    series
        At least one slice.
    sample
        Shape (N,): values of the series.

    Returns
    -------
    tuple of float or None
        None where most slices have none, or where it would show next to
        nothing: less than a quarter of the head in greys, or a picture of little
        contrast.
    """
    known = [item.window for item in series.slices if item.window is not None]
    if 2 * len(known) < len(series.slices) or not known:
        return None
    low, high = (float(value) for value in np.median(np.array(known), axis=0))
    least, most = auto_window(sample, float(sample.min()), float(sample.max()))
    head = sample[sample > least + _HEAD_SHARE * (most - least)]
    if not head.size or high - low > _WIDEST * (most - least):
        return None
    inside = float(np.mean((head > low) & (head < high)))
    return (low, high) if inside >= _LEAST_INSIDE else None
