"""Preprocessing: field of view, size and gain mean nothing to the model."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import Phantom, draw_phantom
from tumorlens.imaging.preprocess.slice import (
    Crop,
    Preprocessing,
    brain_share,
    cut,
    find_head,
    prepare,
    prepare_batch,
    to_picture,
    with_square_pixels,
)
from tumorlens.imaging.study import square_shape

FACTS = Preprocessing()


def drawn(
    height: int = 256, width: int = 256, **options: object
) -> NDArray[np.float32]:
    return draw_phantom(height, width, **options).astype(np.float32)  # type: ignore[arg-type]


def test_shape_type_and_range(phantom: Phantom) -> None:
    pixels, _ = prepare(phantom().astype(np.float32), FACTS)
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.float32
    assert pixels.min() == 0.0
    assert pixels.max() == 1.0
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_a_batch_equals_its_elements() -> None:
    pictures = [drawn(256, 256), drawn(200, 300, seed=1), drawn(512, 400, seed=2)]
    inputs, crops = prepare_batch(pictures, FACTS)
    for row, picture in enumerate(pictures):
        single, crop = prepare(picture, FACTS)
        np.testing.assert_array_equal(inputs[row], single)
        assert crops[row] == crop


def test_the_picture_is_left_as_it_was() -> None:
    picture = drawn() + 3
    before = picture.copy()
    prepare(picture, FACTS)
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize(("height", "width"), [(300, 300), (240, 480), (480, 240)])
def test_the_aspect_is_kept(height: int, width: int) -> None:
    picture = np.zeros((height, width), np.float32)
    centre = (width // 2, height // 2)
    cv2.circle(picture, centre, 90, 100.0, -1)
    pixels, _ = prepare(picture, FACTS)
    rows, columns = np.nonzero(pixels[..., 0] > 0.5)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 2


def test_gain_and_offset_mean_nothing() -> None:
    picture = drawn()
    plain, _ = prepare(picture, FACTS)
    sixteen, _ = prepare(picture * 257, FACTS)
    lifted, _ = prepare(picture * 3 - 1000, FACTS)
    np.testing.assert_allclose(sixteen, plain, atol=2e-3)
    np.testing.assert_allclose(lifted, plain, atol=2e-3)


def test_the_field_of_view_means_little() -> None:
    picture = drawn()
    wide = cv2.copyMakeBorder(picture, 60, 90, 120, 30, cv2.BORDER_CONSTANT, value=0)
    narrow, _ = prepare(picture, FACTS)
    far, _ = prepare(wide, FACTS)
    assert np.abs(narrow - far).mean() < 0.02


def test_text_at_the_edge_does_not_widen_the_crop() -> None:
    picture = draw_phantom(512, 512)
    with_text = picture.copy()
    cv2.putText(with_text, "R", (4, 20), cv2.FONT_HERSHEY_PLAIN, 1.0, 255, 1)
    plain = find_head(picture.astype(np.float32), FACTS)
    marked = find_head(with_text.astype(np.float32), FACTS)
    assert abs(plain.side - marked.side) <= 8


@pytest.mark.parametrize("value", [0.0, 1.0, -5.0, 6e4])
def test_a_constant_picture_becomes_black(value: float) -> None:
    pixels, crop = prepare(np.full((100, 80), value, np.float32), FACTS)
    assert not pixels.any()
    assert crop.side >= 100


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (32, 32), (32, 256)])
def test_tiny_pictures(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pixels, crop = prepare(rng.random(shape, np.float32), FACTS)
    assert pixels.shape == (224, 224, 3)
    assert np.isfinite(pixels).all()
    assert to_picture(pixels[:14, :14, 0], crop, *shape).shape == shape


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    scale=st.floats(1e-3, 1e6),
    seed=st.integers(0, 1000),
)
def test_any_picture_gives_a_finite_input(
    height: int, width: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    picture = (rng.normal(0, scale, (height, width))).astype(np.float32)
    pixels, crop = prepare(picture, FACTS)
    assert np.isfinite(pixels).all()
    assert 0.0 <= pixels.min() <= pixels.max() <= 1.0
    assert crop.side >= 1


@pytest.mark.parametrize(
    ("height", "width", "x", "y"),
    [
        (256, 256, 90, 110),
        (512, 512, 300, 200),
        (300, 500, 260, 140),
        (500, 300, 120, 300),
    ],
)
def test_a_spot_of_the_input_lands_on_the_same_spot_of_the_picture(
    height: int, width: int, x: int, y: int
) -> None:
    picture = drawn(height, width)
    _, crop = prepare(picture, FACTS)
    spot = np.zeros_like(picture)
    spot[y - 4 : y + 5, x - 4 : x + 5] = 1.0
    seen = cut(spot, crop, FACTS.size)
    back = to_picture(seen, crop, height, width)
    rows, columns = np.nonzero(back > 0.4 * back.max())
    assert abs(rows.mean() - y) < 1.5
    assert abs(columns.mean() - x) < 1.5


def test_a_coarse_cell_lands_where_it_belongs() -> None:
    grid = np.zeros((14, 14), np.float32)
    grid[3, 10] = 1.0
    crop = Crop(x=20, y=-16, side=280)  # A cell is 20 pixels wide.
    back = to_picture(grid, crop, 200, 300)
    peak_y, peak_x = np.unravel_index(back.argmax(), back.shape)
    assert abs(peak_x - (20 + 10.5 * 20)) <= 1
    assert abs(peak_y - (-16 + 3.5 * 20)) <= 1


@pytest.mark.parametrize(("height", "width"), [(64, 512), (512, 64), (200, 200)])
def test_a_map_is_0_outside_the_crop_and_even_inside(height: int, width: int) -> None:
    crop = Crop(x=20, y=-10, side=100)
    full = to_picture(np.ones((14, 14), np.float32), crop, height, width)
    inside = full[0 : min(height, 90), 20 : min(width, 120)]
    np.testing.assert_allclose(inside, 1.0, atol=1e-6)
    assert full.sum() == pytest.approx(inside.size, rel=1e-5)


def test_a_crop_beside_the_picture_gives_an_empty_map() -> None:
    full = to_picture(np.ones((14, 14), np.float32), Crop(500, 500, 50), 64, 64)
    assert not full.any()


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [(1.0, (60, 80)), (1.05, (60, 80)), (2.0, (120, 80)), (0.5, (60, 160))],
)
def test_oblong_pixels_become_square(aspect: float, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).uniform(0, 9, (60, 80)).astype(np.float32)
    square = with_square_pixels(pixels, aspect)
    assert square.shape == square_shape(60, 80, aspect) == shape
    assert float(square.mean()) == pytest.approx(float(pixels.mean()), rel=0.01)


def test_square_pixels_never_pass_the_limit() -> None:
    height, width = square_shape(4000, 4000, 4.0)
    assert height * width <= 20_000_000 and height / width == pytest.approx(4.0)


def share_of(picture: NDArray[np.uint8]) -> float:
    pixels, _ = prepare(picture.astype(np.float32), Preprocessing())
    return brain_share(pixels)


def head_of_small_pieces() -> NDArray[np.uint8]:
    """A head like one at the base of the skull: air, bone, muscle, side by side."""
    rng = np.random.default_rng(3)
    pieces = cv2.resize(
        rng.choice(np.array([15, 90, 240], np.uint8), (22, 22)),
        (256, 256),
        interpolation=cv2.INTER_NEAREST,
    )
    mask = np.zeros((256, 256), np.uint8)
    cv2.ellipse(mask, (128, 128), (92, 112), 0, 0, 360, 1, -1)
    rim = cv2.ellipse(np.zeros_like(mask), (128, 128), (92, 112), 0, 0, 360, 1, 6)
    return np.where(rim > 0, np.uint8(150), pieces * mask).astype(np.uint8)


def test_a_head_shows_more_brain_than_its_base(phantom: Phantom) -> None:
    middle = share_of(phantom())
    assert 0.2 < middle < 0.6
    assert share_of(head_of_small_pieces()) < 0.2 * middle


def test_a_blank_picture_shows_none() -> None:
    assert brain_share(np.zeros((224, 224, 3), np.float32)) == 0.0


@pytest.mark.parametrize("size", [128, 256, 512])
def test_matrix_size_means_nothing(phantom: Phantom, size: int) -> None:
    head = phantom()
    other = cv2.resize(head, (size, size), interpolation=cv2.INTER_AREA)
    assert share_of(other.astype(np.uint8)) == pytest.approx(share_of(head), abs=0.05)


def test_brightness_means_nothing(phantom: Phantom) -> None:
    head = phantom()
    assert share_of(head // 3) == pytest.approx(share_of(head), abs=0.03)


def test_a_lesion_does_not_make_a_head_too_empty(phantom: Phantom) -> None:
    assert share_of(phantom(lesion=(100, 110, 30))) > 0.6 * share_of(phantom())
