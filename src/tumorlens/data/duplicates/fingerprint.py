"""Fingerprints of pictures: digests, and two small views of each.

A copy that was compressed again, resized, stretched, mirrored, brightened or
given another border keeps at least one of its views almost as it was; the
next slice of the same series does not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.read import read_study

VIEW_SIZE = 48
"""Edge of a view, in pixels."""

_DEVIATION = 24.0
_SEARCH_SIZE = 128
_HEAD = 0.25
_FINE, _COARSE = 0.6, 4.5


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of one picture.

    Parameters
    ----------
    bytes_digest
        SHA-256 of the file, in hex.
    pixels_digest
        SHA-256 of shape and grey values, in hex.
    height, width
        Size in pixels.
    low, median, high
        Percentiles 1, 50 and 99 of the grey values, slightly blurred, in the
        file's own units.
    colorfulness
        0 for grey to 1; see `tumorlens.imaging.study.Slice`.
    views
        Shape (2, VIEW_SIZE, VIEW_SIZE), int8, mean 0: local contrast of the
        whole picture and of the box around the head, each stretched to a
        square. All 0 for a blank picture.
    """

    bytes_digest: str
    pixels_digest: str
    height: int
    width: int
    low: float
    median: float
    high: float
    colorfulness: float
    views: NDArray[np.int8]

    @property
    def blank(self) -> bool:
        """True where the picture shows nothing."""
        return not self.views[0].any()


def fingerprint(path: Path) -> Fingerprint:
    """Take the fingerprint of a picture.

    Parameters
    ----------
    path
        The picture; of several pages the first counts.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    item = read_study(path).slices[0]
    pixels = np.ascontiguousarray(item.pixels)
    calm = cv2.GaussianBlur(_shrink(pixels, _SEARCH_SIZE), (0, 0), 1.0)
    low, median, high = (float(value) for value in np.percentile(calm, (1, 50, 99)))
    bright = calm > low + _HEAD * (high - low)
    digest = hashlib.sha256(f"{item.height}x{item.width}:".encode())
    digest.update(pixels.data)
    return Fingerprint(
        bytes_digest=_file_digest(path),
        pixels_digest=digest.hexdigest(),
        height=item.height,
        width=item.width,
        low=low,
        median=median,
        high=high,
        colorfulness=item.colorfulness,
        views=np.stack(
            (_local_contrast(pixels), _local_contrast(_head_box(pixels, bright)))
        ),
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shrink(pixels: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    height, width = pixels.shape
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _head_box(
    pixels: NDArray[np.float32], bright: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Cut the rows and columns that hold the head.

    Unlike `preprocess.find_head` this looks at whole rows and columns, so that
    a few pixels more or less (as compression makes them) move no edge far.
    """
    y0, y1 = _ends(bright.mean(axis=1))
    x0, x1 = _ends(bright.mean(axis=0))
    down, across = np.divide(pixels.shape, bright.shape)
    rows = slice(int(y0 * down), max(1, round(y1 * down)))
    columns = slice(int(x0 * across), max(1, round(x1 * across)))
    return pixels[rows, columns]


def _ends(share: NDArray[np.floating]) -> tuple[int, int]:
    held = np.flatnonzero(share > 0.1 * share.max())
    if held.size == 0:
        return 0, share.size
    return int(held[0]), int(held[-1]) + 1


def _local_contrast(pixels: NDArray[np.float32]) -> NDArray[np.int8]:
    """Difference of two blurs, as whole numbers of a fixed deviation."""
    square = cv2.resize(pixels, (VIEW_SIZE, VIEW_SIZE), interpolation=cv2.INTER_AREA)
    fine = cv2.GaussianBlur(square, (0, 0), _FINE)
    difference = fine - cv2.GaussianBlur(square, (0, 0), _COARSE)
    difference -= difference.mean()
    deviation = float(difference.std())
    # Rounding alone leaves a little contrast in a picture of one value.
    if deviation <= 1e-6 * (1.0 + float(np.abs(square).max())):
        return np.zeros((VIEW_SIZE, VIEW_SIZE), np.int8)
    scaled = np.rint(difference * (_DEVIATION / deviation))
    return np.asarray(np.clip(scaled, -127, 127), np.int8)
