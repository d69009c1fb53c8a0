"""Views of a stack of slices from its three sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tumorlens.errors import InputError
from tumorlens.imaging.geometry.volume import Volume, check_view, view_of
from tumorlens.imaging.placement import Placement, Plane
from tumorlens.imaging.study import Series

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
        Between rows and between columns of a picture; None where unknown.
    edges
        None where the place in the patient is not known.
    """

    plane: Plane | None
    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    spacing_mm: tuple[float, float] | None
    edges: Edges | None


def views_of(series: Series, volume: Volume | None) -> tuple[StackView, ...]:
    """List the views that a series allows.

    Parameters
    ----------
    series
        Slices in order.
    volume
        The stack from `volume_of`, or None.

    Returns
    -------
    tuple of StackView
        The slices as they are, then the two other planes where the series is a
        regular stack that is broad enough to be seen from there (see
        `check_view`).
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
    if volume is None:
        return (own,)
    depth, height, width = volume.voxels.shape
    shape, affine = (depth, height, width), volume.affine
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
