"""A stack is seen from its three sides as radiologists look at each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.samples.drawn_series import drawn_series
from tumorlens.imaging.geometry.views import toward, views_of
from tumorlens.imaging.geometry.volume import Volume, series_of, volume_of
from tumorlens.imaging.placement import Plane
from tumorlens.imaging.study import Series


def numbered(shape: tuple[int, int, int], signs: tuple[int, int, int]) -> Volume:
    """A block whose columns, rows and slices run along LPS, or against it."""
    affine = np.diag([*(1.0 * sign for sign in signs), 1.0])
    voxels = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Volume.of(voxels, affine)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("plane", list(Plane))
def test_each_view_shows_the_voxels_that_slicing_gives(
    signs: tuple[int, int, int], plane: Plane
) -> None:
    volume = numbered((40, 48, 56), signs)
    series = series_of(volume, Plane.AXIAL, "x")
    stack = volume_of(series)
    assert stack is not None
    view = next(item for item in views_of(series, stack) if item.plane is plane)
    turned = np.transpose(stack.voxels, view.order)
    turned = np.flip(turned, tuple(axis for axis in range(3) if view.flipped[axis]))
    expected = np.stack([item.pixels for item in series_of(volume, plane, "x").slices])
    assert np.array_equal(turned, expected)


def test_edges_name_the_way_each_side_points() -> None:
    series = series_of(numbered((40, 48, 56), (1, 1, 1)), Plane.AXIAL, "x")
    edges = {view.plane: view.edges for view in views_of(series, volume_of(series))}
    assert edges == {
        Plane.AXIAL: ("R", "L", "A", "P"),
        Plane.CORONAL: ("R", "L", "S", "I"),
        Plane.SAGITTAL: ("A", "P", "S", "I"),
    }


def test_spacing_is_that_of_the_pictures() -> None:
    series = drawn_series(count=9)
    spacing = {
        view.plane: view.spacing_mm for view in views_of(series, volume_of(series))
    }
    assert spacing[Plane.AXIAL] == (1.0, 1.0)
    assert spacing[Plane.CORONAL] == spacing[Plane.SAGITTAL] == (5.0, 1.0)


def test_a_few_slices_are_not_seen_from_their_side() -> None:
    series = drawn_series(count=5)
    assert [view.plane for view in views_of(series, volume_of(series))] == [Plane.AXIAL]


def test_without_a_place_there_is_one_view() -> None:
    series = drawn_series(placed=False)
    (view,) = views_of(series, volume_of(series))
    assert (view.plane, view.edges) == (Plane.AXIAL, None)
    bare = Series(tuple(replace(x, plane=None, spacing_mm=None) for x in series.slices))
    (view,) = views_of(bare, None)
    assert (view.plane, view.spacing_mm) == (None, None)


def test_the_nearest_direction_counts() -> None:
    assert toward((0.9, 0.3, 0.1)) == "L"
    assert toward((0.1, -0.9, 0.3)) == "A"
    assert toward((0.0, 0.1, -0.2)) == "I"
