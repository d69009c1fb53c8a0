"""A volume becomes the input of a network that sees it whole; shared with training.

The head is turned upright, its axial outline is cropped to a square, and the
block above is resampled to one voxel size, so that the volume's plane, matrix and
spacing mean nothing to the model. Intensities are set as for slices. An oblique
volume is turned along the nearest axes, not resampled along the patient's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.imaging.geometry import (
    Volume,
    nearest_axes,
    volume_of,
)
from tumorlens.imaging.preprocess.slice import (
    Preprocessing,
    find_head,
    normalise_intensity,
)
from tumorlens.imaging.study import Series

DEPTH_SHARE = 0.75
"""Height of the block over its edge: from the vertex of a head to the base of its
skull it is about three quarters of its length."""

_SEARCH_SIZE = 256
"""Pixels of the longer side of the head seen from above."""

_HEAD_SLICE = 0.02
"""Share of a slice that is head from the vertex downwards."""


@dataclass(frozen=True)
class Block:
    """Place of the model's input in a volume.

    Parameters
    ----------
    axes
        The volume's array axes that run up, back and to the left.
    flipped
        Whether each of them runs the other way.
    spacing
        Distance between voxels of the volume along each, in mm.
    start
        First voxel of the input along each, in mm from the volume's first voxel
        in the upright order.
    step
        Edge of an input voxel, in mm.
    shape
        The input's: (D, S, S).
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    spacing: tuple[float, float, float]
    start: tuple[float, float, float]
    step: float
    shape: tuple[int, int, int]


def block_shape(size: int) -> tuple[int, int, int]:
    """Return the input's shape for an edge of `size` voxels: (D, size, size)."""
    return round(DEPTH_SHARE * size), size, size


def whole_volume(series: Series) -> Volume:
    """Stack a series that is to be judged whole.

    Parameters
    ----------
    series
        Slices in order.

    Raises
    ------
    InputError
        The slices are no regular stack whose place in the patient is known.
    """
    volume = volume_of(series)
    if volume is None:
        raise InputError(
            f"{series.slices[0].source} is no regular stack of slices whose place in "
            "the patient is known, so it cannot be judged as a whole.",
            "Give the whole series as DICOM, NIfTI or NRRD.",
        )
    return volume


def prepare_volume(
    volume: Volume, facts: Preprocessing
) -> tuple[NDArray[np.float32], Block]:
    """Turn a volume into the model's input.

    Parameters
    ----------
    volume
        Any plane, voxel size and number of slices.
    facts
        The model's preprocessing; `size` is the input's edge in voxels.

    Returns
    -------
    input
        Shape (D, size, size, 1), float32, in [0, 1]: slices from below
        upwards, rows from front to back, columns from the patient's right to
        the left. Voxels outside the volume are 0.
    block
        Place of the input in the volume.
    """
    block = find_block(volume, facts)
    pixels = resample(volume.voxels - volume.voxels.min(), block)
    count = volume.voxels.shape[block.axes[0]]
    inside = _read_at(count, block, 0).any(axis=1)
    flat = pixels[inside].reshape(-1, facts.size)
    if len(flat):
        # Rows outside the volume must not count for the percentiles.
        pixels[inside] = normalise_intensity(flat, facts).reshape(-1, *block.shape[1:])
    return pixels[..., None], block


def find_block(volume: Volume, facts: Preprocessing) -> Block:
    """Find the head in a volume.

    Parameters
    ----------
    volume, facts
        The same as for `prepare_volume`.

    Returns
    -------
    Block
        Its square holds the head seen from above, margin included. Its top is
        the vertex where more of the head is there than fits below; a thinner
        volume lies in the middle.
    """
    left, back, up = nearest_axes(volume.affine)
    axes = (2 - up, 2 - back, 2 - left)
    flipped = (
        bool(volume.affine[2, up] < 0),
        bool(volume.affine[1, back] < 0),
        bool(volume.affine[0, left] < 0),
    )
    depth, height, width = axes
    spacing = (
        volume.spacing_mm[depth],
        volume.spacing_mm[height],
        volume.spacing_mm[width],
    )
    upright = _turned(volume.voxels, axes, flipped)

    # --- From above: the square ---
    seen = upright.mean(axis=0, dtype=np.float32) - np.float32(upright.min())
    wide, deep = seen.shape[1] * spacing[2], seen.shape[0] * spacing[1]
    # Of one size for every volume, so that coarse pixels are not what it is cut by.
    fine = max(wide, deep) / _SEARCH_SIZE
    shape = (
        max(1, round(deep / fine)),
        max(1, round(wide / fine)),
    )
    rows = _linear(seen.shape[0], spacing[1], 0.0, fine, shape[0])
    columns = _linear(seen.shape[1], spacing[2], 0.0, fine, shape[1])
    crop = find_head(np.ascontiguousarray(rows @ seen @ columns.T), facts)
    step = crop.side * fine / facts.size

    # --- Along the body: what of it is head ---
    thinned = upright[:, ::2, ::2]
    low, high = np.percentile(thinned, (1.0, 99.0))
    level = low + facts.foreground * (high - low)
    covered = (thinned > level).mean(axis=(1, 2))
    head = np.flatnonzero(covered >= _HEAD_SLICE)
    bottom, top = (head[0], head[-1]) if head.size else (0, len(covered) - 1)
    tall = block_shape(facts.size)[0] * step
    upper, lower = (top + 0.5) * spacing[0], (bottom - 0.5) * spacing[0]
    room = tall - (upper - lower)
    start = upper - tall if room < 0.0 else lower - 0.5 * room
    return Block(
        axes,
        flipped,
        spacing,
        (
            float(start + 0.5 * step),
            crop.y * fine + 0.5 * (step - fine),
            crop.x * fine + 0.5 * (step - fine),
        ),
        step,
        block_shape(facts.size),
    )


def resample(voxels: NDArray[np.float32], block: Block) -> NDArray[np.float32]:
    """Read a volume's voxels, or an outline of its shape, at the input's grid.

    Parameters
    ----------
    voxels
        Shape (D, H, W) of the volume, float32.
    block
        Place of the input, from `find_block`.

    Returns
    -------
    ndarray
        Shape `block.shape`, float32; linear between voxels, averaged where the
        volume is finer; 0 outside the volume.
    """
    upright = _turned(voxels, block.axes, block.flipped)
    depths, rows, columns = (
        _read_at(count, block, axis) for axis, count in enumerate(upright.shape)
    )
    flat = np.stack([rows @ picture @ columns.T for picture in upright])
    block_voxels = depths @ flat.reshape(len(flat), -1)
    return np.ascontiguousarray(block_voxels.reshape(block.shape), np.float32)


def to_scan(
    grid: NDArray[np.float32], block: Block, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Lay a map over the model's input back onto the volume.

    Parameters
    ----------
    grid
        Shape (d, h, w), float32, in [0, 1]: values over the input.
    block
        Place of the input in the volume.
    shape
        The volume's: (D, H, W).

    Returns
    -------
    ndarray
        Shape (D, H, W), uint8, 255 for 1; 0 outside the input.
    """
    inverse: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * 3
    for axis, (own, cells) in enumerate(zip(block.axes, grid.shape, strict=True)):
        cell = block.shape[axis] * block.step / cells
        first = block.start[axis] + 0.5 * (cell - block.step)
        spacing = block.spacing[axis]
        weights = _linear(cells, cell, -first, spacing, shape[own])
        inverse[own] = weights[::-1] if block.flipped[axis] else weights
    turned = np.transpose(grid, np.argsort(block.axes))
    slices, rows, columns = inverse
    deep = (slices @ turned.reshape(len(turned), -1)).reshape(-1, *turned.shape[1:])
    laid_back = np.empty(shape, np.uint8)
    for index, picture in enumerate(deep):
        values = np.clip(rows @ picture @ columns.T, 0.0, 1.0)
        laid_back[index] = np.rint(255.0 * values)
    return laid_back


def _turned(
    voxels: NDArray[np.float32],
    axes: tuple[int, int, int],
    flipped: tuple[bool, bool, bool],
) -> NDArray[np.float32]:
    upright = np.transpose(voxels, axes)
    backwards = tuple(axis for axis in range(3) if flipped[axis])
    return np.asarray(np.flip(upright, backwards), np.float32)


def _read_at(count: int, block: Block, axis: int) -> NDArray[np.float32]:
    """Weights from a volume's `count` samples along an axis to the input's."""
    start, shape = block.start[axis], block.shape[axis]
    return _linear(count, block.spacing[axis], start, block.step, shape)


def _linear(
    count: int, spacing: float, start: float, step: float, wanted: int
) -> NDArray[np.float32]:
    """Weights (wanted, count) that read a row of samples at other places.

    A triangle as wide as the coarser of both grids: linear interpolation to a
    finer grid, an average to a coarser one. All 0 for a place that is more than
    half a sample outside.
    """
    places = start + step * np.arange(wanted)[:, None]
    samples = spacing * np.arange(count)[None, :]
    weights = np.maximum(0.0, 1.0 - np.abs(places - samples) / max(step, spacing))
    total = weights.sum(axis=1, keepdims=True)
    outside = (places < -0.5 * spacing) | (places > (count - 0.5) * spacing)
    weights = np.where(outside | (total <= 0.0), 0.0, weights / np.maximum(total, 1e-9))
    return np.asarray(weights, np.float32)
