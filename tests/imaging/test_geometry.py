"""A spot is shown where it lies, in every plane and from each side of a stack."""

from __future__ import annotations

from dataclasses import replace

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from numpy.typing import NDArray

from tests.samples.drawn_series import drawn_series
from tumorlens.errors import InputError, TooLargeError, TooSmallError
from tumorlens.imaging.geometry import (
    LPS_TO_RAS,
    Volume,
    acquired_plane,
    check_view,
    even_grid_of,
    in_grid,
    series_of,
    toward,
    views_of,
    volume_of,
    with_blank_slices,
)
from tumorlens.imaging.limits import MAX_PAGES
from tumorlens.imaging.readers.volume_file import check_grid
from tumorlens.imaging.study import (
    Placement,
    Plane,
    Series,
    Slice,
)

SHAPE = (40, 48, 56)
"""Voxels to the right-left, back-front, down-up."""
CENTRE = np.array([3.0, -7.0, 11.0])
MARK = (5, 40, 50)
"""A voxel in the patient's left, front, top of a grid that runs to R, A, S
from left, back and bottom (so the first index counts towards the right)."""


def rotation(degrees: float) -> NDArray[np.float64]:
    """Turn about two axes, so that no voxel axis stays along the patient's."""
    turn = np.radians(degrees)
    cos, sin = np.cos(turn), np.sin(turn)
    about_x = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return about_x @ about_z


def marked(
    codes: str, degrees: float = 0.0, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Draw a volume whose axes run as the codes say, with one bright voxel.

    Returns the array as NIfTI indexes it, its RAS affine, and the mark in LPS.
    """
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) @ np.diag(spacing)
    affine[:3, 3] = CENTRE - affine[:3, :3] @ (np.array(SHAPE) / 2)
    voxels = np.zeros(SHAPE, np.float32)
    voxels[MARK] = 100.0
    image = nibabel.Nifti1Image(voxels, affine)
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    assert np.allclose(turned.affine, affine @ inv_ornt_aff(turn, SHAPE))
    at = LPS_TO_RAS @ affine @ (*MARK, 1)
    return np.asarray(turned.dataobj), turned.affine, at[:3]


def volume_from(voxels: NDArray[np.float32], affine: NDArray[np.float64]) -> Volume:
    return Volume.of(np.ascontiguousarray(voxels.T), LPS_TO_RAS @ affine)


def find(series: Series) -> tuple[int, int, int]:
    """Slice, row and column of the brightest pixel."""
    block = np.stack([item.pixels for item in series.slices])
    depth, row, column = np.unravel_index(block.argmax(), block.shape)
    return int(depth), int(row), int(column)


ORIENTATIONS = ["RAS", "LPS", "PSR", "LAS", "ASL", "SPR", "IRA"]


@pytest.mark.parametrize("degrees", [0.0, 17.0])
@pytest.mark.parametrize("plane", list(Plane))
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_mark_is_shown_where_it_lies(codes: str, plane: Plane, degrees: float):
    voxels, affine, mark = marked(codes, degrees)
    series = series_of(volume_from(voxels, affine), plane, "head.nii")
    depth, row, column = find(series)
    found = series.slices[depth]
    assert found.plane is plane and found.placement is not None
    assert found.placement.plane is plane
    assert np.allclose(found.placement.at(column, row), mark, atol=1e-6)
    # Radiological display: the mark lies left, in front and on top.
    right, front, top = SHAPE[0] - 1 - MARK[0], SHAPE[1] - 1 - MARK[1], MARK[2]
    assert (depth, row, column) == {
        Plane.AXIAL: (top, front, right),
        Plane.CORONAL: (front, SHAPE[2] - 1 - top, right),
        Plane.SAGITTAL: (right, SHAPE[2] - 1 - top, front),
    }[plane]


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_series_stacks_back_to_the_same_place(codes: str):
    voxels, affine, mark = marked(codes, 9.0)
    series = series_of(volume_from(voxels, affine), Plane.CORONAL, "head.nii")
    again = volume_of(series)
    assert again is not None
    depth, row, column = find(series)
    assert again.voxels[depth, row, column] == 100.0
    assert np.allclose((again.affine @ (column, row, depth, 1))[:3], mark)
    assert np.allclose(again.affine_ras, LPS_TO_RAS @ again.affine)
    axial = series_of(again, Plane.AXIAL, "head.nii")
    direct = series_of(volume_from(voxels, affine), Plane.AXIAL, "head.nii")
    for one, other in zip(axial.slices, direct.slices, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert one.placement is not None and other.placement is not None
        assert np.allclose(one.placement.origin, other.placement.origin)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.4, 1.0)])
@pytest.mark.parametrize("plane", list(Plane))
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_map_over_any_plane_turns_back_into_the_grid(
    codes: str, plane: Plane, spacing: tuple[float, ...]
):
    voxels, affine, _ = marked(codes, 9.0, spacing)
    volume = volume_from(voxels, affine)
    series = series_of(volume, plane, "head.nii")
    seen = np.stack([item.pixels for item in series.slices])
    back = in_grid(
        (2.0 * seen).astype(np.uint8), volume.voxels.shape, volume.affine, plane
    )
    assert back.shape == volume.voxels.shape
    # Where oblong pixels were made square, the mark's own voxel stays brightest.
    assert back.argmax() == volume.voxels.argmax()
    if len(set(spacing)) == 1:
        assert np.array_equal(back, (2.0 * volume.voxels).astype(np.uint8))


@pytest.mark.parametrize(
    ("spacing", "codes", "plane"),
    [
        ((1.0, 1.0, 5.0), "RAS", Plane.AXIAL),
        ((1.0, 1.0, 5.0), "PSR", Plane.AXIAL),
        ((1.0, 5.0, 1.0), "LPS", Plane.CORONAL),
        ((5.0, 1.0, 1.0), "ASL", Plane.SAGITTAL),
        ((1.2, 1.0, 1.0), "RAS", Plane.AXIAL),
        ((1.29, 1.0, 1.0), "RAS", Plane.AXIAL),
        ((1.31, 1.0, 1.0), "RAS", Plane.SAGITTAL),
    ],
)
def test_the_acquired_plane_lies_across_the_widest_step(
    spacing: tuple[float, ...], codes: str, plane: Plane
):
    voxels, affine, _ = marked(codes, 10.0, spacing)
    volume = volume_from(voxels, affine)
    assert acquired_plane(volume.spacing_mm, volume.affine) is plane


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [((1.0, 1.0, 2.5), (140, 48)), ((1.0, 2.5, 1.0), (56, 120))],
    ids=["tall", "wide"],
)
def test_oblong_pixels_become_square_in_place(
    spacing: tuple[float, ...], shape: tuple[int, int]
):
    """The mark's centre of mass stays where the mark was."""
    voxels, affine, mark = marked("LPS", 8.0, spacing)
    series = series_of(volume_from(voxels, affine), Plane.SAGITTAL, "head.nii")
    depth, _, _ = find(series)
    found = series.slices[depth]
    assert found.pixels.shape == shape
    assert found.spacing_mm == pytest.approx((1.0, 1.0))
    weights = found.pixels / found.pixels.sum()
    row = float((weights.sum(axis=1) * np.arange(shape[0])).sum())
    column = float((weights.sum(axis=0) * np.arange(shape[1])).sum())
    assert found.placement is not None
    # Sampling moves the centre of one voxel by some hundredths.
    assert np.allclose(found.placement.at(column, row), mark, atol=0.02)


def test_slightly_oblong_pixels_stay_as_they_are():
    voxels, affine, _ = marked("RAS", 0.0, (1.0, 1.09, 1.0))
    series = series_of(volume_from(voxels, affine), Plane.AXIAL, "head.nii")
    assert series.slices[0].pixels.shape == (48, 40)
    assert series.slices[0].spacing_mm == (1.09, 1.0)


def stack(places: list[tuple[float, float, float]]) -> Series:
    """Axial slices of 32 x 32 px at these origins."""
    return Series(
        tuple(
            Slice(
                np.zeros((32, 32), np.float32),
                "a",
                index,
                placement=Placement(at, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
            )
            for index, at in enumerate(places)
        )
    )


def test_even_steps_are_a_volume():
    volume = volume_of(stack([(0, 0, 5.0 * i + 0.02 * (i % 2)) for i in range(6)]))
    assert volume is not None
    assert volume.spacing_mm == pytest.approx((5.0, 1.0, 1.0), rel=0.01)


@pytest.mark.parametrize(
    "places",
    [
        [(0, 0, 0)],
        [(0, 0, 0), (0, 0, 0), (0, 0, 0)],
        [(0, 0, 0), (0, 0, 5), (0, 0, 15)],
        [(0, 0, 0), (0, 0, 5), (0, 0.3, 10), (0, 0, 15)],
        [(0, 0, 0), (0, 0.5, 5), (0, 1.0, 10)],
    ],
    ids=["one", "same place", "a gap", "one aside", "slanted"],
)
def test_an_uneven_stack_is_no_volume(places: list[tuple[float, float, float]]):
    assert volume_of(stack(places)) is None


@pytest.mark.parametrize(
    ("depths", "places"),
    [
        ([0, 5, 10, 15], (0, 1, 2, 3)),
        ([0, 5, 10, 20, 25], (0, 1, 2, None, 3, 4)),
        ([0, -3, -12, -15, -18], (0, 1, None, None, 2, 3, 4)),
        ([0, 5, 10.4, 19.6, 25], (0, 1, 2, None, 3, 4)),
    ],
    ids=["none missing", "one missing", "two, downwards", "rounded"],
)
def test_slices_beside_a_gap_lie_in_places_of_one_grid(
    depths: list[float], places: tuple[int | None, ...]
) -> None:
    grid = even_grid_of(stack([(0, 0, depth) for depth in depths]))
    assert grid is not None
    assert grid.places == places
    ends = grid.affine @ [[0, 0], [0, 0], [0, len(places) - 1], [1, 1]]
    assert ends[2] == pytest.approx([depths[0], depths[-1]])
    assert grid.gap_mm == pytest.approx(abs(depths[-1]) / (len(places) - 1))


@pytest.mark.parametrize(
    "places",
    [
        [(0, 0, 0), (0, 0, 5), (0, 0, 15)],
        [(0, 0, 0), (0, 0, 5), (0, 0, 10), (0, 0, 17.5), (0, 0, 22.5)],
        [(0, 0, 0), (0, 0, 5), (0, 0, 10), (0, 0, 500)],
        [(0, 0, 0), (0, 0, 5), (0, 4, 10), (0, 0, 20)],
        [(0, 0, 0), (0, 1, 5), (0, 2, 10), (0, 4, 20)],
        [(0, 0, 0), (0, 0, 5), (0, 0, 0), (0, 0, 20)],
    ],
    ids=["few", "half a step", "far off", "aside", "slanted", "back and forth"],
)
def test_what_lies_in_no_places_has_no_grid(
    places: list[tuple[float, float, float]],
) -> None:
    assert even_grid_of(stack(places)) is None


def test_a_series_with_a_gap_is_seen_from_its_sides() -> None:
    slices = drawn_series(count=12).slices
    series = Series((*slices[:5], *slices[7:]))
    grid = even_grid_of(series)
    assert grid is not None
    assert [view.plane for view in views_of(series, grid)] == list(Plane)
    full = with_blank_slices(np.ones((10, 2, 2), np.uint8), grid.places)
    assert full[:, 0, 0].tolist() == [1] * 5 + [0, 0] + [1] * 5


def test_unlike_slices_are_no_volume():
    good = stack([(0, 0, 0), (0, 0, 5), (0, 0, 10)]).slices
    turned = Placement((0, 0, 10), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    for odd in (
        replace(good[2], placement=turned),
        replace(good[2], placement=None),
        replace(good[2], pixels=np.zeros((32, 40), np.float32)),
    ):
        assert volume_of(Series((*good[:2], odd))) is None


def test_a_volume_has_no_more_slices_than_a_file_has_pages():
    check_view((MAX_PAGES, 32, 32), np.eye(4), Plane.AXIAL, "a.nii")
    many = (MAX_PAGES + 1, 32, 32)
    with pytest.raises(TooLargeError, match=r"a\.nii has 1001 axial slices"):
        check_view(many, np.eye(4), Plane.AXIAL, "a.nii")
    deep = np.diag([1.0, 1.0, 5.0, 1.0])
    with pytest.raises(TooLargeError, match="at most 1000"):
        check_grid(many, deep, 10**9, "a.nii")


def test_limits_hold_for_each_plane():
    thin = np.diag([1.0, 1.0, 50.0, 1.0])
    check_view((20, 256, 256), thin, Plane.AXIAL, "a.nii")
    with pytest.raises(TooSmallError, match=r"a\.nii"):
        check_view((20, 256, 256), np.eye(4), Plane.CORONAL, "a.nii")
    with pytest.raises(TooLargeError):
        check_view((300, 600, 512), thin, Plane.CORONAL, "a.nii")
    with pytest.raises(InputError):
        check_view((20, 32, 300), np.eye(4), Plane.AXIAL, "a.nii")


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
    view = next(
        item for item in views_of(series, even_grid_of(series)) if item.plane is plane
    )
    turned = np.transpose(stack.voxels, view.order)
    turned = np.flip(turned, tuple(axis for axis in range(3) if view.flipped[axis]))
    expected = np.stack([item.pixels for item in series_of(volume, plane, "x").slices])
    assert np.array_equal(turned, expected)


def test_edges_name_the_way_each_side_points() -> None:
    series = series_of(numbered((40, 48, 56), (1, 1, 1)), Plane.AXIAL, "x")
    edges = {view.plane: view.edges for view in views_of(series, even_grid_of(series))}
    assert edges == {
        Plane.AXIAL: ("R", "L", "A", "P"),
        Plane.CORONAL: ("R", "L", "S", "I"),
        Plane.SAGITTAL: ("A", "P", "S", "I"),
    }


def test_spacing_is_that_of_the_pictures() -> None:
    series = drawn_series(count=9)
    spacing = {
        view.plane: view.spacing_mm for view in views_of(series, even_grid_of(series))
    }
    assert spacing[Plane.AXIAL] == (1.0, 1.0)
    assert spacing[Plane.CORONAL] == spacing[Plane.SAGITTAL] == (5.0, 1.0)


def test_a_few_slices_are_not_seen_from_their_side() -> None:
    series = drawn_series(count=5)
    assert [view.plane for view in views_of(series, even_grid_of(series))] == [
        Plane.AXIAL
    ]


def test_without_a_place_there_is_one_view() -> None:
    series = drawn_series(placed=False)
    (view,) = views_of(series, even_grid_of(series))
    assert (view.plane, view.edges) == (Plane.AXIAL, None)
    bare = Series(tuple(replace(x, plane=None, spacing_mm=None) for x in series.slices))
    (view,) = views_of(bare, None)
    assert (view.plane, view.spacing_mm) == (None, None)


def test_the_nearest_direction_counts() -> None:
    assert toward((0.9, 0.3, 0.1)) == "L"
    assert toward((0.1, -0.9, 0.3)) == "A"
    assert toward((0.0, 0.1, -0.2)) == "I"
