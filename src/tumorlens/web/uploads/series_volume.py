"""A series as the browser gets it: its voxels in one packed block, and a window."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.geometry import (
    StackView,
    even_grid_of,
    views_of,
)
from tumorlens.imaging.study import Series
from tumorlens.report.slice.overlay import encode_png, window_picture

LEVELS = 4095
"""Steps of brightness kept where values are no whole numbers: a window of a
sixteenth of the range still shows 256 greys."""

Window = tuple[float, float]
"""Lowest and highest value that are told apart, in the file's own units."""

_MOST_LEVELS = 65_535
_EVERY = 4
_THUMBNAIL = 160
_TOP_PERCENTILE = 99.8
_HEAD_SHARE = 0.1
"""Brightness, as a share of what the automatic window spans, that is no air."""
_LEAST_INSIDE = 0.25
_WIDEST = 4.0


@dataclass(frozen=True)
class PackedSeries:
    """A series, ready to be kept and shown.

    Parameters
    ----------
    voxels
        Gzip of little-endian uint16, shape (D, H, W), columns fastest.
    thumbnail
        PNG of the middle slice, in its true proportions.
    geometry
        Plain JSON values: ``shape`` (D, H, W); ``slope`` and ``offset`` from a
        stored number to the file's own units; ``range`` and the windows
        ``auto``, ``tissue``, ``bright`` and ``stored`` (lowest and highest value; the
        last null where the file has none that shows the head) in stored numbers;
        ``gap_mm`` between slices, where they are evenly apart; ``affine`` from
        (column, row, slice, 1) to LPS mm, three rows of four, null where the place in
        the patient is not known or slices are missing; ``views``; ``places`` where
        slices are missing: the slice in each place along the stack, or null.
    """

    voxels: bytes
    thumbnail: bytes
    geometry: dict[str, Any]


def pack_series(series: Series) -> PackedSeries:
    """Pack a series for the browser.

    Whole numbers that span at most 16 bits keep their value; others are kept
    in `LEVELS` even steps. Slices that differ in size are laid into the upper
    left corner of the largest.

    Parameters
    ----------
    series
        At least one slice.
    """
    grid = even_grid_of(series)
    # It speaks of slices: where some are missing, places are others.
    affine = None if grid is None or grid.has_gaps else grid.affine[:3].tolist()
    slices = [item.pixels for item in series.slices]
    height = max(item.shape[0] for item in slices)
    width = max(item.shape[1] for item in slices)
    low = min(float(item.min()) for item in slices)
    high = max(float(item.max()) for item in slices)
    # A picture of one value is whole in every sense: there is nothing to scale.
    whole = high == low or (
        high - low <= _MOST_LEVELS and all(_whole(item) for item in slices)
    )
    slope = 1.0 if whole else (high - low) / LEVELS
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    packed = []
    for pixels in slices:
        block = np.zeros((height, width), "<u2")
        block[: pixels.shape[0], : pixels.shape[1]] = np.rint((pixels - low) / slope)
        packed.append(packer.compress(block.tobytes()))
    packed.append(packer.flush())
    sample = np.concatenate([item[::_EVERY, ::_EVERY].ravel() for item in slices])
    stored = file_window(series, sample)
    geometry = {
        "shape": [len(slices), height, width],
        "slope": slope,
        "offset": low,
        "range": [0, round((high - low) / slope)],
        "auto": _stored_numbers(auto_window(sample, low, high), low, slope),
        **{
            name: _stored_numbers(window, low, slope)
            for name, window in head_windows(sample, low, high).items()
        },
        "stored": None if stored is None else _stored_numbers(stored, low, slope),
        "gap_mm": None if grid is None else grid.gap_mm,
        "affine": affine,
        "views": [_view_to_json(item) for item in views_of(series, grid)],
        "places": list(grid.places) if grid is not None and grid.has_gaps else None,
    }
    return PackedSeries(b"".join(packed), _thumbnail(series), geometry)


def _stored_numbers(window: Window, offset: float, slope: float) -> list[float]:
    return [(value - offset) / slope for value in window]


def pack_evidence(evidence: NDArray[np.uint8]) -> bytes:
    """Pack evidence, shape (D, H, W), uint8, as gzip."""
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    parts = [packer.compress(np.ascontiguousarray(item).data) for item in evidence]
    return b"".join((*parts, packer.flush()))


def auto_window(sample: NDArray[np.float32], low: float, high: float) -> Window:
    """Take all but the brightest two in a thousand; never a window of no width.

    Parameters
    ----------
    sample
        Shape (N,): values of the series.
    low, high
        The least and the greatest of all its values.
    """
    bright = float(np.percentile(sample, _TOP_PERCENTILE))
    top = bright if bright > low else high
    return low, top if top > low else low + 1.0


def head_windows(
    sample: NDArray[np.float32], low: float, high: float
) -> dict[str, Window]:
    """Choose windows for looking closer at a head.

    Parameters
    ----------
    sample, low, high
        The same as for `auto_window`.

    Returns
    -------
    dict
        ``tissue``, in which soft tissues differ most, and ``bright``, in which what is
        brighter than most tissue does.
    """
    least, most = auto_window(sample, low, high)
    head = sample[sample > least + _HEAD_SHARE * (most - least)]
    if not head.size:
        return {"tissue": (least, most), "bright": (least, most)}
    dark, middle, top = (float(x) for x in np.percentile(head, (10.0, 60.0, 98.0)))
    return {
        "tissue": (dark, top if top > dark else dark + 1.0),
        "bright": (middle, high if high > middle else middle + 1.0),
    }


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
    windows = [item.window for item in series.slices if item.window is not None]
    if 2 * len(windows) < len(series.slices) or not windows:
        return None
    low, high = (float(value) for value in np.median(np.array(windows), axis=0))
    least, most = auto_window(sample, float(sample.min()), float(sample.max()))
    head = sample[sample > least + _HEAD_SHARE * (most - least)]
    if not head.size or high - low > _WIDEST * (most - least):
        return None
    inside = float(np.mean((head > low) & (head < high)))
    return (low, high) if inside >= _LEAST_INSIDE else None


def _thumbnail(series: Series) -> bytes:
    middle = series.slices[len(series.slices) // 2]
    down, across = middle.spacing_mm or (1.0, 1.0)
    height, width = middle.height * down, middle.width * across
    scale = _THUMBNAIL / max(height, width)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    picture = window_picture(middle.pixels)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return encode_png(np.asarray(small, np.uint8))


def _whole(pixels: NDArray[np.float32]) -> bool:
    return bool((pixels == np.rint(pixels)).all())


def _view_to_json(view: StackView) -> dict[str, Any]:
    return {
        "plane": None if view.plane is None else view.plane.value,
        "order": list(view.order),
        "flipped": list(view.flipped),
        "spacing_mm": None if view.spacing_mm is None else list(view.spacing_mm),
        "edges": None if view.edges is None else list(view.edges),
    }
