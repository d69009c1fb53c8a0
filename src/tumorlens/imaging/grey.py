"""Grey values or colours in an array become a slice; padding becomes air.

Tested in `tests/imaging/test_read.py`.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.imaging.limits import check_dimensions, check_values
from tumorlens.imaging.study import Slice

_BAND = 256
"""Rows of a colour picture that become grey at a time."""

_LEAST_PADDED = 0.01
"""Share of a picture's pixels: fewer are a bright vessel, or dirt."""

_LEAST_LEVELS = 16


def to_slice(pixels: NDArray[Any], source: str, index: int = 0) -> Slice:
    """Make a slice of an array of grey values or colours.

    Parameters
    ----------
    pixels
        Shape (H, W), (H, W, 3) in RGB, or (H, W, 4) with alpha, which is laid
        on black; integers or floats, finite, brighter is higher.
    source
        The name of the file, or what the user calls the array.
    index
        The position among the slices of the same source.

    Raises
    ------
    InputError
        Where shape, dtype or values are none of these, or a limit is passed.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        raise InputError(
            f"{source} has the shape {pixels.shape}.",
            "Give (height, width), or (height, width, 3) for colours in RGB.",
        )
    if pixels.dtype.kind not in "buif":
        raise InputError(
            f"{source} has the type {pixels.dtype}.", "Give integers or floats."
        )
    check_dimensions(pixels.shape[1], pixels.shape[0], source)
    if pixels.ndim == 2:
        grey, colorfulness = pixels.astype(np.float32), 0.0
    else:
        grey, colorfulness = _to_grey(pixels)
    if pixels.dtype.kind == "f" and not np.isfinite(cv2.sumElems(grey)[0]):
        raise InputError(
            f"{source} holds values that are not finite numbers.",
            "Replace NaN and infinity before giving the picture.",
        )
    if pixels.dtype.kind == "f":
        check_values(*cv2.minMaxLoc(grey)[:2], source)
    return Slice(grey, source, index, colorfulness=colorfulness)


def _to_grey(pixels: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Weigh the channels as BT.601 does, and measure how far they differ."""
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
        full = float(np.iinfo(pixels.dtype).max)
    else:
        # Floats and wide integers have no set white: take the brightest value.
        full = float(np.abs(pixels[..., :3]).max()) or 1.0
    top = None
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3]
        top = full if pixels.dtype.kind == "u" else max(1.0, float(alpha.max()))
        top = top if float(alpha.min()) < top else None
    grey = np.empty(pixels.shape[:2], np.float32)
    spread = 0.0
    # In bands: the steps between hold several copies.
    for start in range(0, len(pixels), _BAND):
        band = pixels[start : start + _BAND]
        grey[start : start + _BAND], differing = _band_to_grey(band, top)
        spread += differing * len(band) / len(pixels)
    return grey, min(1.0, spread / full)


def _band_to_grey(
    pixels: NDArray[Any], top: float | None
) -> tuple[NDArray[np.float32], float]:
    """Grey values, and the mean spread; `top` is full cover, None is no alpha."""
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        pixels = pixels.astype(np.float32)
    channels = list(cv2.split(np.ascontiguousarray(pixels)))
    if len(channels) == 4:
        alpha = channels.pop()
        if top is not None:
            cover = alpha.astype(np.float32) / np.float32(top)
            channels = [item.astype(np.float32) * cover for item in channels]
    red, green, blue = channels
    brightest = cv2.max(cv2.max(red, green), blue)
    darkest = cv2.min(cv2.min(red, green), blue)
    spread = cv2.mean(cv2.subtract(brightest, darkest))[0]
    if spread == 0.0:
        return red.astype(np.float32), 0.0
    grey = cv2.cvtColor(cv2.merge(channels), cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float32), float(spread)


def without_padding(
    pixels: NDArray[np.float32], padded: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Give what was padded the darkest value of the rest: it is air.

    Parameters
    ----------
    pixels
        Shape (H, W), float32.
    padded
        Shape (H, W), true where the scanner measured nothing.
    """
    if padded.all() or not padded.any():
        return pixels
    return np.where(padded, pixels[~padded].min(), pixels)


def unstated_padding(pixels: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Find what was padded though nothing says so.

    Padding is one value, in many pixels, that lies farther from all others than they
    lie apart.

    Parameters
    ----------
    pixels
        Shape (H, W), float32.

    Returns
    -------
    ndarray or None
        Shape (H, W), true where padded; None where nothing looks so.
    """
    low, high, _, _ = cv2.minMaxLoc(pixels)
    for extreme in (high, low):
        others = (pixels != np.float32(extreme)).view(np.uint8)
        count = pixels.size - cv2.countNonZero(others)
        if not _LEAST_PADDED * pixels.size <= count < pixels.size:
            continue
        darkest, brightest, _, _ = cv2.minMaxLoc(pixels, others)
        gap = extreme - brightest if extreme == high else darkest - extreme
        if gap <= brightest - darkest or brightest == darkest:
            continue
        # A drawing in few greys is none that a scanner measured.
        if len(np.unique(pixels[others > 0])) >= _LEAST_LEVELS:
            return np.asarray(others == 0, np.bool_)
    return None
