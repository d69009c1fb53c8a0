"""Where voxels lie in the patient: grids, stacks of slices, and views of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorlens.errors import InputError, TooLargeError
from tumorlens.imaging.limits import MAX_PAGES, MAX_STUDY_PIXELS, check_dimensions
from tumorlens.imaging.study import (
    Placement,
    Plane,
    Point,
    Series,
    Slice,
    square_shape,
)

LPS_TO_RAS: NDArray[np.float64] = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM counts towards left and posterior, NIfTI towards right and anterior."""

MAX_SKEW = 0.01
"""Cosine between two axes of a grid: 0.6 degrees off the right angle."""

NEAR_ISOTROPIC = 1.3
"""Largest over smallest spacing, below which no plane was the acquired one."""

_ACROSS = {Plane.SAGITTAL: 0, Plane.CORONAL: 1, Plane.AXIAL: 2}
"""The LPS axis that a plane's slices follow each other on."""


def skew(affine: NDArray[np.float64]) -> float:
    """Measure the largest cosine between two axes of a grid, 0 at right angles."""
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(steps.T @ steps - np.eye(3)).max())


def nearest_axes(affine: NDArray[np.float64]) -> tuple[int, int, int]:
    """Find the grid's axis that runs most nearly along each of the patient's.

    Parameters
    ----------
    affine
        Shape (4, 4), as `Volume.affine` or `Volume.affine_ras` gives it.

    Returns
    -------
    tuple
        Axes left-right, front-back and down-up: 0 for the columns' axis, 1 for
        the rows', 2 for the slices'. Each stands once.
    """
    steps = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    left, front, up = max(
        permutations((0, 1, 2)),
        key=lambda order: float(np.prod([steps[w, a] for w, a in enumerate(order)])),
    )
    return left, front, up


def acquired_plane(
    spacing: tuple[float, float, float], affine: NDArray[np.float64]
) -> Plane:
    """Guess in which plane a block of voxels was taken: across its widest step.

    Parameters
    ----------
    spacing
        Distances of slices, rows and columns in mm, as `Volume.spacing_mm`.
    affine
        Shape (4, 4), as `Volume.affine`.

    Returns
    -------
    Plane
        Axial where the spacings are near each other (ratio below 1.3).
    """
    if max(spacing) < NEAR_ISOTROPIC * min(spacing):
        return Plane.AXIAL
    return plane_across(2 - int(np.argmax(spacing)), affine)


def plane_across(axis: int, affine: NDArray[np.float64]) -> Plane:
    """Name the plane that an axis of the grid (0 columns, 1 rows, 2 slices) crosses."""
    world = nearest_axes(affine).index(axis)
    return next(plane for plane, across in _ACROSS.items() if across == world)


_UNEVEN = 0.1
"""Share of the usual distance by which one differs where slices are evenly apart."""

_TOLERANCE = 0.01
"""Share of a spacing, and mm, by which slices may be off their place."""

_LEAST_WITH_GAPS = 4
"""Slices of a stack with gaps: fewer do not tell what is usual."""

_MOST_PLACES = 4
"""Places for each slice of a stack with gaps, at most."""

_OFF_PLACE = 0.25
"""Share of the usual distance by which slices beside gaps may be off their place."""

# How radiologists look at each plane, as (LPS axis, direction) of the columns
# from left to right, the rows from top to bottom, and the slices in order.
_VIEWS: dict[Plane, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    Plane.AXIAL: ((0, 1), (1, 1), (2, 1)),
    Plane.CORONAL: ((0, 1), (2, -1), (1, 1)),
    Plane.SAGITTAL: ((1, 1), (2, -1), (0, 1)),
}


@dataclass(frozen=True)
class Volume:
    """A regular stack of slices.

    Parameters
    ----------
    voxels
        Shape (D, H, W): slice, row, column; float32, finite.
    placement
        Placement of slice 0.
    step
        Step from a pixel to the one in the next slice, in LPS mm.
    """

    voxels: NDArray[np.float32]
    placement: Placement
    step: Point

    @classmethod
    def of(cls, voxels: NDArray[np.float32], affine: NDArray[np.float64]) -> Volume:
        """Make one of voxels (D, H, W) and an affine as `affine` gives it."""
        place = Placement.of(affine[:3, 3], affine[:3, 0], affine[:3, 1])
        left, posterior, superior = (float(item) for item in affine[:3, 2])
        return cls(voxels, place, (left, posterior, superior))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between slices, rows and columns, in mm."""
        return float(np.linalg.norm(self.step)), *self.placement.spacing_mm

    @property
    def affine(self) -> NDArray[np.float64]:
        """Matrix of shape (4, 4), float64: (column, row, slice, 1) to LPS mm."""
        place = self.placement
        matrix = np.eye(4)
        matrix[:3] = np.array([place.across, place.down, self.step, place.origin]).T
        return matrix

    @property
    def affine_ras(self) -> NDArray[np.float64]:
        """Matrix of shape (4, 4), float64: (column, row, slice, 1) to RAS mm."""
        return LPS_TO_RAS @ self.affine


def placements_of(slices: Sequence[Slice]) -> list[Placement] | None:
    """List where slices lie; None where one has no known place."""
    places = [item.placement for item in slices if item.placement is not None]
    return places if len(places) == len(slices) else None


def affine_of(series: Series) -> NDArray[np.float64] | None:
    """Find where the stack of a series' slices lies, without stacking them.

    Parameters
    ----------
    series
        Slices in order.

    Returns
    -------
    ndarray or None
        Shape (4, 4), float64: (column, row, slice, 1) to LPS mm. None where
        there are fewer than two slices, where one has no known place or
        another size, or where they are not parallel, not evenly apart (within
        1 % of the step or 0.01 mm), or slanted against the step.
    """
    places = placements_of(series.slices)
    shapes = {item.pixels.shape for item in series.slices}
    if places is None or len(places) < 2 or len(shapes) != 1:
        return None
    first = places[0]
    origins = np.array([place.origin for place in places])
    step = (origins[-1] - origins[0]) / (len(places) - 1)
    length = float(np.linalg.norm(step))
    ideal = origins[0] + np.arange(len(places))[:, None] * step
    off = float(np.linalg.norm(origins - ideal, axis=1).max())
    # Slices nearer to each other than the tolerance lie in one place.
    if length <= _TOLERANCE or off > max(_TOLERANCE, _TOLERANCE * length):
        return None
    if not all(_parallel(first, place) for place in places[1:]):
        return None
    affine = np.eye(4)
    affine[:3] = np.array([first.across, first.down, step, first.origin]).T
    return None if skew(affine) > MAX_SKEW else affine


def volume_of(series: Series) -> Volume | None:
    """Stack a series; None where `affine_of` finds no regular stack."""
    affine = affine_of(series)
    if affine is None:
        return None
    return Volume.of(np.stack([item.pixels for item in series.slices]), affine)


@dataclass(frozen=True)
class EvenGrid:
    """The even places along which slices lie, though some may be missing.

    Parameters
    ----------
    affine
        Shape (4, 4), float64: (column, row, place, 1) to LPS mm.
    places
        The index of the slice in each place; None where it is missing.
    """

    affine: NDArray[np.float64]
    places: tuple[int | None, ...]

    @property
    def has_gaps(self) -> bool:
        """True where a slice is missing."""
        return None in self.places

    @property
    def gap_mm(self) -> float:
        """Distance from one place to the next, in mm."""
        return float(np.linalg.norm(self.affine[:3, 2]))


def even_grid_of(series: Series) -> EvenGrid | None:
    """Find the even places along which the slices of a series lie.

    Parameters
    ----------
    series
        Slices in order.

    Returns
    -------
    EvenGrid or None
        None where slices are no stack as `affine_of` has it even with gaps allowed:
        distances have to be multiples of the usual one, within a quarter of it.
    """
    count = len(series.slices)
    affine = affine_of(series)
    if affine is not None:
        return EvenGrid(affine, tuple(range(count)))
    placed = placements_of(series.slices)
    shapes = {item.pixels.shape for item in series.slices}
    if placed is None or count < _LEAST_WITH_GAPS or len(shapes) != 1:
        return None
    origins = np.array([place.origin for place in placed])
    distances = np.linalg.norm(origins - origins[0], axis=1)
    steps = np.diff(distances)
    usual = float(np.median(steps))
    if steps.min() <= _TOLERANCE or not all(_parallel(placed[0], x) for x in placed):
        return None
    numbers = np.rint(distances / usual).astype(int)
    length = int(numbers[-1]) + 1
    if len(set(numbers)) < count or length > min(MAX_PAGES, _MOST_PLACES * count):
        return None
    step = (origins[-1] - origins[0]) / numbers[-1]
    off = np.linalg.norm(origins - origins[0] - numbers[:, None] * step, axis=1)
    affine = np.eye(4)
    affine[:3] = np.array([placed[0].across, placed[0].down, step, origins[0]]).T
    if float(off.max()) > _OFF_PLACE * usual or skew(affine) > MAX_SKEW:
        return None
    by_place = {int(number): index for index, number in enumerate(numbers)}
    return EvenGrid(affine, tuple(by_place.get(place) for place in range(length)))


def with_blank_slices(
    stack: NDArray[np.uint8], places: Sequence[int | None]
) -> NDArray[np.uint8]:
    """Put slices in their places, and slices of zeros where one is missing.

    Parameters
    ----------
    stack
        Shape (D, H, W).
    places
        N of them, as `EvenGrid` has them.

    Returns
    -------
    ndarray
        Shape (N, H, W).
    """
    full = np.zeros((len(places), *stack.shape[1:]), stack.dtype)
    for place, index in enumerate(places):
        if index is not None:
            full[place] = stack[index]
    return full


def _parallel(one: Placement, other: Placement) -> bool:
    pairs = ((one.across, other.across), (one.down, other.down))
    return all(
        np.linalg.norm(np.subtract(a, b)) <= _TOLERANCE * np.linalg.norm(a)
        for a, b in pairs
    )


@dataclass(frozen=True)
class View:
    """Turn of a block to be seen in a plane.

    Parameters
    ----------
    order
        The block's axes that become slices, rows and columns.
    flipped
        Whether each of these runs backwards.
    first
        Placement of slice 0.
    step
        Shape (3,): from one slice to the next, in LPS mm.
    shape
        Slices, rows, columns.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    first: Placement
    step: NDArray[np.float64]
    shape: tuple[int, int, int]


def view_of(
    shape: tuple[int, int, int], affine: NDArray[np.float64], plane: Plane
) -> View:
    """Find how a block is turned to be seen in a plane.

    Parameters
    ----------
    shape
        Slices, rows, columns of the block.
    affine
        Shape (4, 4), as `Volume.affine`.
    plane
        Any of the three.
    """
    axes = nearest_axes(affine)
    origin = affine[:3, 3].copy()
    steps, order, flipped = [], [], []
    for world, sign in _VIEWS[plane]:
        axis = axes[world]
        step = affine[:3, axis]
        backwards = bool(step[world] * sign < 0)
        if backwards:
            origin += (shape[2 - axis] - 1) * step
        steps.append(-step if backwards else step)
        order.append(2 - axis)
        flipped.append(backwards)
    across, down, through = steps
    column, row, depth = order
    return View(
        (depth, row, column),
        (flipped[2], flipped[1], flipped[0]),
        Placement.of(origin, across, down),
        through,
        (shape[depth], shape[row], shape[column]),
    )


def _square_size(
    height: int, width: int, spacing: tuple[float, float]
) -> tuple[int, int]:
    return square_shape(height, width, spacing[0] / spacing[1])


def check_view(
    shape: tuple[int, int, int], affine: NDArray[np.float64], plane: Plane, name: str
) -> int:
    """Refuse a block whose slices in a plane would pass a limit.

    Parameters
    ----------
    shape
        Slices, rows, columns of the block, each at least 1.
    affine, plane, name
        The same as for `acquired_plane` and `series_of`.

    Returns
    -------
    int
        Pixels of all slices.

    Raises
    ------
    TooSmallError, TooLargeError, InputError
        What `limits.check_dimensions` raises; too large above `MAX_STUDY_PIXELS` and
        above `MAX_PAGES` slices too.
    """
    view = view_of(shape, affine, plane)
    height, width = _square_size(view.shape[1], view.shape[2], view.first.spacing_mm)
    if view.shape[0] > MAX_PAGES:
        raise TooLargeError(
            f"{name} has {view.shape[0]} {plane} slices; at most {MAX_PAGES} are read.",
            "Split the volume, or resample it to 1 mm.",
        )
    # A huge count of thin slices is told by its number, not by its odd outline.
    if view.shape[0] * height * width > MAX_STUDY_PIXELS:
        raise TooLargeError(
            f"{name} has {view.shape[0]} {plane} slices of {width} x {height} pixels; "
            f"at most {MAX_STUDY_PIXELS // 10**6} million pixels are read.",
            "Crop the volume to the head, or resample it to 1 mm.",
        )
    check_dimensions(width, height, name)
    return view.shape[0] * height * width


def series_of(volume: Volume, plane: Plane, source: str) -> Series:
    """Slice a volume as radiologists look at it, along its own grid.

    Axial slices have the patient's right on the left and the front on top, and
    go from the feet up; coronal ones have the right on the left and the head's
    top on top, and go from front to back; sagittal ones have the front on the
    left, and go from right to left. An oblique grid stays oblique: the nearest
    axes are taken, and no voxel is moved. Only pixels longer than wide (or
    wider than long) by over 10 % are resized to squares.

    Parameters
    ----------
    volume
        Volume to slice.
    plane
        How.
    source
        The file's name, for `Slice.source`.

    Raises
    ------
    TooSmallError, TooLargeError, InputError
        Where slices in this plane pass a limit (see `check_view`).
    """
    shape = volume.voxels.shape
    check_view((shape[0], shape[1], shape[2]), volume.affine, plane, source)
    view = view_of((shape[0], shape[1], shape[2]), volume.affine, plane)
    seen_voxels = np.transpose(volume.voxels, view.order)
    seen_voxels = np.flip(
        seen_voxels, tuple(axis for axis in range(3) if view.flipped[axis])
    )
    slices = []
    for index, pixels in enumerate(seen_voxels):
        origin = np.array(view.first.origin) + index * view.step
        left, posterior, superior = (float(item) for item in origin)
        placement = replace(view.first, origin=(left, posterior, superior))
        pixels, placement = _squared(np.ascontiguousarray(pixels), placement)
        slices.append(
            Slice(
                pixels,
                source,
                index,
                spacing_mm=placement.spacing_mm,
                plane=plane,
                placement=placement,
            )
        )
    return Series(tuple(slices))


def in_grid(
    stack: NDArray[np.uint8],
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    plane: Plane,
) -> NDArray[np.uint8]:
    """Turn a map over the slices of `series_of` back into the volume's grid.

    Parameters
    ----------
    stack
        Shape (slices, rows, columns) of ``series_of(volume, plane, ...)``.
    shape, affine, plane
        The volume's slices, rows and columns, its affine, and the plane in which it
        was sliced.

    Returns
    -------
    ndarray
        Shape (D, H, W) of the volume's voxels.
    """
    depth, height, width = shape
    view = view_of((depth, height, width), affine, plane)
    _, rows, columns = view.shape
    if stack.shape[1:] != (rows, columns):
        stack = np.stack([cv2.resize(item, (columns, rows)) for item in stack])
    unflipped = np.flip(stack, tuple(axis for axis in range(3) if view.flipped[axis]))
    return np.ascontiguousarray(np.transpose(unflipped, np.argsort(view.order)))


def _squared(
    pixels: NDArray[np.float32], placement: Placement
) -> tuple[NDArray[np.float32], Placement]:
    """Resize oblong pixels to squares; the picture's outer edges stay in place."""
    height, width = pixels.shape
    rows, columns = _square_size(height, width, placement.spacing_mm)
    if (rows, columns) == (height, width):
        return pixels, placement
    resized = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
    wider, taller = width / columns, height / rows
    # OpenCV lays pixels edge to edge: the first centre moves with their size.
    return np.asarray(resized, np.float32), Placement.of(
        placement.at((wider - 1) / 2, (taller - 1) / 2),
        np.array(placement.across) * wider,
        np.array(placement.down) * taller,
    )


def slice_gap(slices: Sequence[Slice]) -> float | None:
    """Measure the usual distance between neighbouring slices, in mm.

    Parameters
    ----------
    slices
        Slices in order.

    Returns
    -------
    float or None
        The mean where slices are evenly apart, else the median, which slices that
        are missing do not change. None for fewer than two slices, or where a
        place is not known.
    """
    depths = _depths(slices)
    if depths is None:
        return None
    mean = abs(float(depths[-1] - depths[0])) / (len(slices) - 1)
    if uneven_depths(slices) is None:
        return mean or None
    return float(np.median(np.abs(np.diff(depths)))) or None


def uneven_depths(slices: Sequence[Slice]) -> NDArray[np.float64] | None:
    """Measure where slices lie along their normal, where they are not evenly apart.

    Parameters
    ----------
    slices
        Slices in order.

    Returns
    -------
    ndarray or None
        Shape (D,), mm; None where slices are evenly apart, or nobody knows.
    """
    depths = _depths(slices)
    if depths is None:
        return None
    steps = np.abs(np.diff(depths))
    usual = float(np.median(steps))
    return depths if np.abs(steps - usual).max() > _UNEVEN * usual else None


def _depths(slices: Sequence[Slice]) -> NDArray[np.float64] | None:
    places = placements_of(slices)
    if places is None or len(places) < 2:
        return None
    origins = np.array([place.origin for place in places])
    return np.asarray(origins @ places[0].normal)


Edges: TypeAlias = tuple[str, str, str, str]
"""Directions of the left, right, top and bottom edge: R L A P I S."""

_WAYS = (("L", "R"), ("P", "A"), ("S", "I"))


@dataclass(frozen=True)
class StackView:
    """One way of going through a stack.

    Parameters
    ----------
    plane
        None where the file does not say.
    order
        The stack's axes (0 slices, 1 rows, 2 columns) that become this view's
        slices, rows and columns.
    flipped
        Whether each of these runs backwards.
    spacing_mm
        Distances of rows and of columns of a picture; None where unknown.
    edges
        None where the place in the patient is not known.
    """

    plane: Plane | None
    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    spacing_mm: tuple[float, float] | None
    edges: Edges | None


def views_of(series: Series, grid: EvenGrid | None) -> tuple[StackView, ...]:
    """List the views that a series allows.

    Parameters
    ----------
    series
        Slices in order.
    grid
        Its grid from `even_grid_of`, or None.

    Returns
    -------
    tuple of StackView
        The slices as they are, then the two other planes where the series is a
        stack that is broad enough to be seen from there (see `check_view`); in
        these its first axis counts the places of the grid.
    """
    first = series.slices[0]
    place = first.placement
    own = StackView(
        first.plane,
        (0, 1, 2),
        (False, False, False),
        first.spacing_mm,
        None if place is None else edges_of(place),
    )
    if grid is None:
        return (own,)
    shape = (len(grid.places), first.height, first.width)
    affine = grid.affine
    others = []
    for plane in Plane:
        view = view_of(shape, affine, plane)
        if view.order[0] == 0:
            continue
        try:
            check_view(shape, affine, plane, first.source)
        except InputError:
            continue
        others.append(
            StackView(
                plane,
                view.order,
                view.flipped,
                view.first.spacing_mm,
                edges_of(view.first),
            )
        )
    return (own, *others)


def edges_of(place: Placement) -> Edges:
    """Name the direction in the patient that each edge of a slice points to."""
    right, bottom = toward(place.across), toward(place.down)
    back = {one: other for pair in _WAYS for one, other in (pair, pair[::-1])}
    return back[right], right, back[bottom], bottom


def toward(way: ArrayLike) -> str:
    """Name the nearest direction in the patient: R, L, A, P, I or S.

    Parameters
    ----------
    way
        Shape (3,), LPS.
    """
    steps = np.asarray(way, np.float64)
    axis = int(np.argmax(np.abs(steps)))
    return _WAYS[axis][0 if steps[axis] > 0 else 1]
