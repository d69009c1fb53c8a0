"""Random changes that a volume of the same head could have had.

Every change is drawn from the generator that is passed in, so a seed repeats it.

Tested in `tests/training/test_volumes.py`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_ROTATION_DEGREES = 8.0
_LEAST_SLAB = 0.3
"""Share of a healthy head's height that a cut leaves at least."""


def augment_volume(
    block: NDArray[np.uint8],
    outline: NDArray[np.uint8] | None,
    rng: np.random.Generator,
    *,
    may_cut: bool,
) -> tuple[Floats, Floats | None]:
    """Change one volume at random.

    Parameters
    ----------
    block
        Shape (D, S, S), uint8: a prepared volume.
    outline
        The same shape, 255 inside; None where unknown.
    rng
        Source of chance.
    may_cut
        Whether the label holds for any part of the volume, as it does for a head
        without a tumour.

    Returns
    -------
    block, outline
        Shape (D, S, S), float32, in [0, 1]; the outline is None where it was.
    """
    pixels = block.astype(np.float32) / np.float32(255.0)
    drawn = None if outline is None else outline.astype(np.float32) / np.float32(255.0)
    if may_cut and rng.random() < 0.4:
        pixels = _slab(pixels, rng)
    if rng.random() < 0.5:
        pixels = _thick_slices(pixels, rng)
    matrix = _in_plane(pixels.shape[1], rng)
    places = _along(pixels.shape[0], rng)
    pixels = _moved(pixels, matrix, places)
    if drawn is not None:
        drawn = _moved(drawn, matrix, places)
    return _other_intensity(pixels, rng), drawn


def _slab(pixels: Floats, rng: np.random.Generator) -> Floats:
    """Keep a part of the height, in the middle of the block as serving puts it."""
    depth = len(pixels)
    thick = int(depth * rng.uniform(_LEAST_SLAB, 1.0))
    first = int(rng.integers(0, depth - thick + 1))
    slab = np.zeros_like(pixels)
    start = (depth - thick) // 2
    slab[start : start + thick] = pixels[first : first + thick]
    return slab


def _thick_slices(pixels: Floats, rng: np.random.Generator) -> Floats:
    """Average along the body, as thick slices do: no set is to be known by them."""
    count = int(rng.integers(2, 4))
    padded = np.pad(pixels, ((1, count - 2), (0, 0), (0, 0)), mode="edge")
    parts = [padded[shift : shift + len(pixels)] for shift in range(count)]
    return np.asarray(np.mean(parts, axis=0), np.float32)


def _in_plane(edge: int, rng: np.random.Generator) -> NDArray[np.float64]:
    angle = np.deg2rad(rng.normal(0.0, _ROTATION_DEGREES))
    scale = float(np.exp(rng.normal(0.0, 0.08)))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([mirror * scale, scale])
    centre = np.full(2, (edge - 1) / 2.0)
    offset = centre - linear @ (centre + rng.normal(0.0, 0.03, 2) * edge)
    return np.column_stack([linear, offset])


def _along(depth: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Make the places that slices are read from, shape (D,), in slices."""
    scale = float(np.exp(rng.normal(0.0, 0.08)))
    centre = (depth - 1) / 2.0
    shift = rng.normal(0.0, 0.05) * depth
    places = (np.arange(depth) - centre) * scale + centre + shift
    return np.asarray(places, np.float64)


def _moved(
    pixels: Floats, matrix: NDArray[np.float64], places: NDArray[np.float64]
) -> Floats:
    lower = np.floor(places).astype(int)
    share = (places - lower).astype(np.float32)
    # A blank slice stands for whatever lies outside.
    padded = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    rows = [
        np.where((index >= 0) & (index < len(pixels)), index, len(pixels))
        for index in (lower, lower + 1)
    ]
    moved = np.empty_like(pixels)
    size = (pixels.shape[2], pixels.shape[1])
    for index, (one, other) in enumerate(zip(*rows, strict=True)):
        flat = (1.0 - share[index]) * padded[one] + share[index] * padded[other]
        moved[index] = cv2.warpAffine(flat, matrix, size, flags=cv2.INTER_LINEAR)
    return moved


def _other_intensity(pixels: Floats, rng: np.random.Generator) -> Floats:
    changed = pixels ** np.float32(np.exp(rng.normal(0.0, 0.25)))
    if rng.random() < 0.5:
        axes = [
            np.linspace(-1.0, 1.0, side, dtype=np.float32) for side in changed.shape
        ]
        slopes = rng.normal(0.0, 0.15, 3).astype(np.float32)
        for axis, (line, slope) in enumerate(zip(axes, slopes, strict=True)):
            shape = [1, 1, 1]
            shape[axis] = -1
            changed *= np.exp(slope * line).reshape(shape)
    if rng.random() < 0.5:
        sigma = rng.uniform(0.01, 0.05)
        changed += rng.normal(0.0, sigma, changed.shape).astype(np.float32)
    return np.clip(changed, 0.0, 1.0).astype(np.float32)
