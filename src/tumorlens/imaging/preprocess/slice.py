"""A slice becomes the model's input; training and serving share this file.

The head is found and cropped, padded to a square (aspect kept), resized, and
its intensities are set between robust percentiles of the head, so that field
of view, matrix size and scanner gain mean nothing to the model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import square_shape

_SEARCH_SIZE = 128
_HISTOGRAM_BINS = 1024


@dataclass(frozen=True)
class Preprocessing:
    """The facts of preprocessing that travel with a model.

    Parameters
    ----------
    size
        Height and width of the input, in pixels.
    margin
        Room left around the head, as a share of its longer side.
    foreground
        Brightness from which a pixel counts as head, as a share of the
        picture's robust range.
    low, high
        Percentiles of the cropped head that become 0 and 1.
    """

    size: int = 224
    margin: float = 0.04
    foreground: float = 0.10
    low: float = 1.0
    high: float = 99.5

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Crop:
    """The square of the picture that the model sees; it may pass the edges.

    Parameters
    ----------
    x, y
        Left and top edge, in pixels of the picture.
    side
        Length of an edge, in pixels of the picture.
    """

    x: int
    y: int
    side: int


def _percentiles(
    values: NDArray[np.float32], shares: tuple[float, float]
) -> tuple[float, float]:
    """Two percentiles by histogram, in about a tenth of the time of a sort."""
    bottom, top = float(values.min()), float(values.max())
    if top <= bottom:
        return bottom, top
    counts = cv2.calcHist(
        [values], [0], None, [_HISTOGRAM_BINS], [bottom, np.nextafter(top, np.inf)]
    ).ravel()
    cumulative = np.cumsum(counts)
    edges = [
        int(np.searchsorted(cumulative, share / 100.0 * cumulative[-1]))
        for share in shares
    ]
    step = (top - bottom) / _HISTOGRAM_BINS
    return bottom + edges[0] * step, bottom + (edges[1] + 1) * step


def with_square_pixels(
    pixels: NDArray[np.float32], aspect: float
) -> NDArray[np.float32]:
    """Resize a picture so that its pixels are as wide as high.

    Parameters
    ----------
    pixels
        Shape (H, W), float32.
    aspect
        Height over width of a pixel.

    Returns
    -------
    ndarray
        Input of the shape that `square_shape` counts, float32.
    """
    height, width = square_shape(pixels.shape[0], pixels.shape[1], aspect)
    if (height, width) == pixels.shape:
        return pixels
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)


def head_box(
    pixels: NDArray[np.float32], foreground: float
) -> tuple[float, float, float, float]:
    """Find the rectangle that holds the head.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, any range.
    foreground
        Brightness from which a pixel counts as head, as `Preprocessing` has it.

    Returns
    -------
    tuple of float
        Left, upper, right and lower edge, in pixels; the whole picture where no
        head stands out.
    """
    height, width = pixels.shape
    scale = min(1.0, _SEARCH_SIZE / max(height, width))
    small: NDArray[Any] = cv2.resize(
        pixels,
        (max(1, round(width * scale)), max(1, round(height * scale))),
        interpolation=cv2.INTER_AREA,
    )
    low, high = _percentiles(small, (1.0, 99.0))
    mask: NDArray[Any] = (small > low + foreground * (high - low)).astype(np.uint8)
    # An opening drops stray text and noise without touching the head.
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(
        mask, connectivity=8, ltype=cv2.CV_16U
    )
    if count < 2:
        x0, y0, x1, y1 = 0.0, 0.0, float(width), float(height)
    else:
        areas = stats[1:, cv2.CC_STAT_AREA]
        # A head can fall apart into pieces (a dark ventricle cuts it); dirt is small.
        pieces = stats[1:][areas >= 0.2 * areas.max()]
        x0 = float(pieces[:, cv2.CC_STAT_LEFT].min()) / scale
        y0 = float(pieces[:, cv2.CC_STAT_TOP].min()) / scale
        x1 = float((pieces[:, cv2.CC_STAT_LEFT] + pieces[:, cv2.CC_STAT_WIDTH]).max())
        y1 = float((pieces[:, cv2.CC_STAT_TOP] + pieces[:, cv2.CC_STAT_HEIGHT]).max())
        x1, y1 = min(float(width), x1 / scale), min(float(height), y1 / scale)
    return x0, y0, x1, y1


def find_head(pixels: NDArray[np.float32], facts: Preprocessing) -> Crop:
    """Find the square that holds the head.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, any range.
    facts
        What counts as head, and the margin around it.

    Returns
    -------
    Crop
        The whole picture, made square, where no head stands out.
    """
    x0, y0, x1, y1 = head_box(pixels, facts.foreground)
    side = max(x1 - x0, y1 - y0) * (1.0 + 2.0 * facts.margin)
    side = max(1, round(side))
    return Crop(round((x0 + x1 - side) / 2.0), round((y0 + y1 - side) / 2.0), int(side))


def cut(
    pixels: NDArray[Any], crop: Crop, size: int, interpolation: int | None = None
) -> NDArray[Any]:
    """Cut a square out of a picture and resize it; outside the picture is 0.

    Parameters
    ----------
    pixels
        Shape (H, W).
    crop
        The square to cut.
    size
        Edge of the result, in pixels.
    interpolation
        One of OpenCV's; by default area when shrinking and linear otherwise.

    Returns
    -------
    ndarray
        Shape (size, size), of the same dtype.
    """
    height, width = pixels.shape
    x0, y0 = max(0, crop.x), max(0, crop.y)
    x1, y1 = min(width, crop.x + crop.side), min(height, crop.y + crop.side)
    inside = pixels[y0:y1, x0:x1]
    if inside.shape != (crop.side, crop.side):
        inside = cv2.copyMakeBorder(
            inside,
            y0 - crop.y,
            crop.y + crop.side - y1,
            x0 - crop.x,
            crop.x + crop.side - x1,
            cv2.BORDER_CONSTANT,
            value=0,
        )
    if interpolation is None:
        interpolation = cv2.INTER_AREA if crop.side > size else cv2.INTER_LINEAR
    return cv2.resize(inside, (size, size), interpolation=interpolation)


def normalise_intensity(
    square: NDArray[np.float32], facts: Preprocessing
) -> NDArray[np.float32]:
    """Set intensities between robust percentiles of the head.

    Parameters
    ----------
    square
        Shape (S, S), float32, 0 for air.
    facts
        The percentiles.

    Returns
    -------
    ndarray
        Shape (S, S), float32, in [0, 1]; all 0 for a constant picture.
    """
    low, high = _percentiles(square, (facts.low, facts.high))
    if high <= low:
        return np.zeros_like(square)
    scaled = (square - np.float32(low)) * np.float32(1.0 / (high - low))
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def prepare(
    pixels: NDArray[np.float32], facts: Preprocessing
) -> tuple[NDArray[np.float32], Crop]:
    """Turn one slice into the model's input.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, finite, any range.
    facts
        The model's preprocessing.

    Returns
    -------
    input
        Shape (size, size, 3), float32, in [0, 1], the three channels equal.
    crop
        Place of the input in the picture.
    """
    floor = float(pixels.min())
    # Air is padded with 0, so the picture's darkest value has to be 0.
    lifted = pixels - np.float32(floor) if floor != 0.0 else pixels
    crop = find_head(lifted, facts)
    square = normalise_intensity(cut(lifted, crop, facts.size), facts)
    grey: NDArray[Any] = cv2.merge((square, square, square))
    return grey, crop


def prepare_batch(
    pictures: list[NDArray[np.float32]], facts: Preprocessing
) -> tuple[NDArray[np.float32], list[Crop]]:
    """Do what `prepare` does for several slices.

    Parameters
    ----------
    pictures
        N slices of shape (H, W), float32; sizes may differ.
    facts
        The model's preprocessing.

    Returns
    -------
    inputs
        Shape (N, size, size, 3), float32, in [0, 1]; equal to `prepare` of
        each.
    crops
        N crops.
    """
    inputs = np.empty((len(pictures), facts.size, facts.size, 3), np.float32)
    crops = []
    for row, pixels in enumerate(pictures):
        inputs[row], crop = prepare(pixels, facts)
        crops.append(crop)
    return inputs, crops


def to_picture(
    grid: NDArray[np.float32], crop: Crop, height: int, width: int
) -> NDArray[np.float32]:
    """Lay a map over the model's input back onto the picture.

    Parameters
    ----------
    grid
        Shape (g, g), float32: values over the crop.
    crop
        Place of the input in the picture.
    height, width
        The size of the picture, in pixels.

    Returns
    -------
    ndarray
        Shape (height, width), float32; 0 outside the crop.
    """
    x0, y0 = max(0, crop.x), max(0, crop.y)
    x1, y1 = min(width, crop.x + crop.side), min(height, crop.y + crop.side)
    full = np.zeros((height, width), np.float32)
    if x1 <= x0 or y1 <= y0:
        return full
    rows, columns = (y0 - crop.y, y1 - crop.y), (x0 - crop.x, x1 - crop.x)
    # One axis after the other, so that the part of the crop outside the picture,
    # which can be large, is never held as a whole. Few rows are cheap to widen, and
    # whole rows cheap to blend: columns go first, unless far fewer rows are kept.
    if x1 - x0 <= 2 * (y1 - y0):
        part = cv2.resize(grid, (crop.side, grid.shape[0]))[:, slice(*columns)]
        if y1 - y0 == crop.side:
            cv2.resize(part, (x1 - x0, crop.side), full[y0:y1, x0:x1])
            return full
        part = cv2.resize(part, (x1 - x0, crop.side))[slice(*rows)]
    else:
        part = cv2.resize(grid, (grid.shape[1], crop.side))[slice(*rows)]
        part = cv2.resize(part, (crop.side, y1 - y0))[:, slice(*columns)]
    full[y0:y1, x0:x1] = part
    return full


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
        cv2.extractChannel(prepared, 0),
        (_WORK_SIZE, _WORK_SIZE),
        interpolation=cv2.INTER_AREA,
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
    middle = _median(values)
    even = (np.abs(small - middle) < _LIKE_BRAIN * middle) & (inside > 0)
    _, _, stats, _ = cv2.connectedComponentsWithStats(
        even.astype(np.uint8), connectivity=4
    )
    largest = int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))
    return float(largest / even.size)


def _median(values: NDArray[Any]) -> float:
    """Return the middle value; numpy's own imports its masked arrays for that."""
    upper = len(values) // 2
    lower = (len(values) - 1) // 2
    ordered = np.partition(values, (lower, upper))
    return float(ordered[lower : upper + 1].mean())


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
