"""Overlays show the map where it is strong and the picture elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tumorlens.inference.slice.prediction import Prediction
from tumorlens.report.slice.overlay import (
    OverlayKind,
    color_scale,
    encode_png,
    grey_png,
    heat_layer,
    lay_heat_over,
    lay_over,
    overlay_layer,
    render_overlay,
    window_picture,
)


def test_a_window_ignores_a_few_extreme_pixels() -> None:
    pixels = np.tile(np.linspace(0, 1000, 200, dtype=np.float32), (200, 1))
    pixels[0, 0] = 1e6
    shown = window_picture(pixels)
    assert shown.dtype == np.uint8
    assert shown[:, 100].mean() == pytest.approx(128, abs=2)


@pytest.mark.parametrize("value", [0.0, -7.0, 1e9])
def test_a_constant_picture_is_black(value: float) -> None:
    assert not window_picture(np.full((5, 9), value, np.float32)).any()


def test_a_lone_bright_pixel_still_shows() -> None:
    pixels = np.zeros((400, 400), np.float32)
    pixels[7, 11] = 3.0
    assert window_picture(pixels)[7, 11] == 255


@pytest.mark.parametrize("kind", list(OverlayKind))
def test_an_overlay_has_the_size_of_the_picture(
    prediction: Prediction, kind: OverlayKind
) -> None:
    pixels = np.random.default_rng(0).random((60, 80), np.float32)
    picture = render_overlay(pixels, prediction.explanation, kind.value)
    assert picture.shape == (60, 80, 3)
    assert picture.dtype == np.uint8


def test_evidence_colours_the_spot_and_leaves_the_rest_grey(
    prediction: Prediction,
) -> None:
    pixels = np.random.default_rng(0).random((60, 80), np.float32)
    picture = render_overlay(pixels, prediction.explanation, "evidence")
    spread = np.ptp(picture.astype(int), axis=2)
    assert spread[12:18, 52:68].min() > 60
    assert spread[30:, :].max() == 0
    assert np.array_equal(picture[30:, :, 0], window_picture(pixels)[30:])


def test_a_map_is_laid_over_as_its_layer_would_be() -> None:
    rng = np.random.default_rng(1)
    grey, heat = rng.integers(0, 256, (2, 90, 70)).astype(np.uint8)
    wanted = lay_over(grey, heat_layer(heat))
    np.testing.assert_array_equal(lay_heat_over(grey, heat), wanted)


def test_an_outline_is_a_line_around_the_spot(prediction: Prediction) -> None:
    layer = overlay_layer(prediction.explanation, OverlayKind.OUTLINE)
    assert layer[10, 60, 3] == 255
    assert layer[15, 60, 3] == 0


def test_an_unknown_kind_is_refused(prediction: Prediction) -> None:
    with pytest.raises(ValueError, match="rainbow"):
        render_overlay(
            np.zeros((60, 80), np.float32), prediction.explanation, "rainbow"
        )


def test_the_colours_grow_steadily_lighter() -> None:
    lightness = cv2.cvtColor(color_scale()[:, np.newaxis], cv2.COLOR_RGB2LAB)[:, 0, 0]
    assert (np.diff(lightness.astype(int)) >= -1).all()
    assert int(lightness[-1]) - int(lightness[0]) > 120


def test_a_grey_map_is_0_to_255_for_0_to_1() -> None:
    heat = np.array([[0.0, 0.5, 1.0]], np.float32)
    data = np.frombuffer(grey_png(heat), np.uint8)
    read = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert read is not None
    assert read.tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_keeps_red_red(channels: int) -> None:
    picture = np.zeros((4, 5, channels), np.uint8)
    picture[:, :, 0] = 200
    read = cv2.imdecode(
        np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_UNCHANGED
    )
    assert read is not None
    assert read.shape == picture.shape
    assert read[0, 0, 2] == 200
