"""Comparison of the lesion found with the one that radiologists drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DatasetError
from tumorlens.imaging.geometry import (
    Volume,
    slice_gap,
    volume_of,
)
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series
from tumorlens.inference.series.by_slices import SeenSlices
from tumorlens.inference.series.decision import discounted_odds, series_features
from tumorlens.inference.series.lesion import smoothed_odds, spot_in
from tumorlens.inference.series.results import Lesion
from tumorlens.statistics.localisation import read_outline

LEVELS: tuple[float | None, ...] = (
    None,
    *(0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97),
)
"""Levels that are tried; None is half of the peak, without any fit."""

MEASURES = ("dice", "size_error", "size_ratio", "thickness_error", "peak_inside")
"""Overlap; error of the longest side within slices as a share of it, and its ratio;
error of the thickness in slices; whether the peak lies inside the outline."""

_END_DISCOUNT = 4.0
"""Slices at the ends of the head are trusted that much less here. The spot is
compared before the discount is fitted; it hardly moves the run that holds it."""

_OTHERS = ((1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class OutlineFit:
    """A series' lesion at each level beside the drawn one.

    Parameters
    ----------
    measures
        Shape (levels, measures), in the order of `LEVELS` and `MEASURES`. Where
        no spot is found, the overlap is 0 and the error the whole size.
    size_mm
        Longest side of the drawn one within slices; None without spacing.
    """

    measures: NDArray[np.float64]
    size_mm: float | None


def drawn_outline(
    masks: Path | Sequence[Path | None], series: Series
) -> NDArray[np.bool_]:
    """Read an outline onto the slices of a series.

    Parameters
    ----------
    masks
        A volume that lies in the same patient space; or a picture for each slice,
        None where it shows no tumour.
    series
        Series of D slices of one size.

    Returns
    -------
    ndarray
        Shape (D, H, W), true inside.

    Raises
    ------
    DatasetError
        The outline is unreadable, of another size, or empty.
    """
    shape = series.slices[0].pixels.shape
    if isinstance(masks, Path):
        drawn = _in_series(masks, series)
    else:
        drawn = np.stack(
            [
                np.zeros(shape, np.bool_) if mask is None else read_outline(mask, shape)
                for mask in masks
            ]
        )
    if not drawn.any():
        raise DatasetError(
            f"The outline of {series.slices[0].source} is empty on its slices.",
            "Give an outline that was drawn on this scan.",
        )
    return drawn


def _in_series(path: Path, series: Series) -> NDArray[np.bool_]:
    """Take the nearest voxel of an outline for every voxel of a series."""
    volume = volume_of(series)
    outline = volume_of(read_study(path).series[0])
    if volume is None or outline is None:
        raise DatasetError(
            f"{path} or the scan it was drawn on is no regular stack of known place.",
            "Give both as volumes.",
        )
    return _nearest(outline, volume)


def _nearest(outline: Volume, volume: Volume) -> NDArray[np.bool_]:
    depth, height, width = volume.voxels.shape
    # (column, row, slice) of the series to those of the outline.
    way = np.linalg.inv(outline.affine) @ volume.affine
    rows, columns = np.mgrid[:height, :width]
    flat = np.stack(
        [columns.ravel(), rows.ravel(), np.zeros(rows.size), np.ones(rows.size)]
    )
    limits = np.array(outline.voxels.shape[::-1])[:, None]
    inside_outline = np.zeros((depth, height, width), np.bool_)
    for index in range(depth):
        flat[2] = index
        place = np.rint((way @ flat)[:3]).astype(np.int64)
        inside = ((place >= 0) & (place < limits)).all(axis=0)
        column, row, layer = place[:, inside]
        inside_outline[index].ravel()[inside] = outline.voxels[layer, row, column] > 0
    return inside_outline


def compare_outlines(
    seen: SeenSlices, series: Series, drawn: NDArray[np.bool_]
) -> OutlineFit | None:
    """Compare the lesion at each level with the drawn one.

    Parameters
    ----------
    seen, series
        The slices as judged, and as read.
    drawn
        Shape (D, H, W), from `drawn_outline`.

    Returns
    -------
    OutlineFit or None
        None where no slice was judged or slices differ in size.
    """
    if seen.evidence is None or not np.isfinite(seen.p_tumor).any():
        return None
    gap = slice_gap(series.slices)
    by_slice = discounted_odds(seen.p_tumor, seen.heads, _END_DISCOUNT)
    run, _ = series_features(by_slice, gap)
    odds = smoothed_odds(seen.evidence, gap)
    box = _box(drawn)
    rows = [
        _measure(spot_in(odds, series.slices, run, level), drawn, box)
        for level in LEVELS
    ]
    spacing = series.slices[0].spacing_mm
    longest = max(box[4] - box[1], box[5] - box[2])
    return OutlineFit(
        np.array(rows), None if spacing is None else longest * float(spacing[0])
    )


def _measure(
    lesion: Lesion | None,
    drawn: NDArray[np.bool_],
    box: tuple[int, int, int, int, int, int],
) -> tuple[float, ...]:
    longest = max(box[4] - box[1], box[5] - box[2])
    thick = box[3] - box[0]
    if lesion is None or lesion.mask is None:
        return 0.0, 1.0, 0.0, float(thick), 0.0
    z0, y0, x0, z1, y1, x1 = lesion.box
    common = int((drawn[z0:z1, y0:y1, x0:x1] & lesion.mask).sum())
    dice = 2.0 * common / float(lesion.voxels + cv2.countNonZero(_flat(drawn)))
    side = max(y1 - y0, x1 - x0)
    return (
        dice,
        abs(side - longest) / longest,
        side / longest,
        float(abs((z1 - z0) - thick)),
        float(drawn[lesion.peak]),
    )


def _flat(drawn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return drawn.reshape(len(drawn), -1).view(np.uint8)


def _box(drawn: NDArray[np.bool_]) -> tuple[int, int, int, int, int, int]:
    low = [int(np.flatnonzero(drawn.any(axis=axes))[0]) for axes in _OTHERS]
    high = [int(np.flatnonzero(drawn.any(axis=axes))[-1]) + 1 for axes in _OTHERS]
    return low[0], low[1], low[2], high[0], high[1], high[2]
