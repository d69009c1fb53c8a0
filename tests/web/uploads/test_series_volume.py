"""What the browser is sent is the series, in fewer bytes."""

from __future__ import annotations

import gzip
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.samples.drawn_series import drawn_series
from tumorlens.imaging.study import Series, Slice
from tumorlens.web.uploads.series_volume import (
    LEVELS,
    PackedSeries,
    Window,
    head_windows,
    pack_evidence,
    pack_series,
)


def block(packed: PackedSeries) -> np.ndarray:
    """The values, in the file's own units."""
    shape = packed.geometry["shape"]
    stored = np.frombuffer(gzip.decompress(packed.voxels), "<u2").reshape(shape)
    return stored * packed.geometry["slope"] + packed.geometry["offset"]


def series_of_values(*values: np.ndarray) -> Series:
    return Series(tuple(Slice(item.astype(np.float32), "x") for item in values))


def test_whole_numbers_stay_exact() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-1024, 30_000, (3, 40, 50))
    packed = pack_series(series_of_values(*values))
    assert packed.geometry["slope"] == 1.0
    assert np.array_equal(block(packed), values)


@pytest.mark.parametrize("scale", [1e-3, 0.37, 1e6])
def test_other_numbers_are_off_by_half_a_step_at_most(scale: float) -> None:
    values = np.random.default_rng(0).normal(0.0, scale, (3, 40, 50))
    packed = pack_series(series_of_values(*values))
    step = packed.geometry["slope"]
    assert packed.geometry["range"] == [0, LEVELS]
    assert np.abs(block(packed) - values).max() <= 0.5 * step * 1.01


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0])
def test_a_series_of_one_value_is_shown(value: float) -> None:
    packed = pack_series(series_of_values(np.full((40, 40), value)))
    assert np.array_equal(block(packed), np.full((1, 40, 40), value))
    low, high = packed.geometry["auto"]
    assert low <= high


def test_a_few_bright_pixels_do_not_darken_the_rest() -> None:
    values = np.random.default_rng(0).integers(0, 400, (4, 64, 64))
    values[0, 0, 0] = 4000
    packed = pack_series(series_of_values(*values))
    assert packed.geometry["auto"][1] < 500
    assert packed.geometry["stored"] is None
    assert packed.geometry["range"] == [0, 4000]


def test_slices_of_different_sizes_share_a_corner() -> None:
    scan = drawn_series(count=3, blank=0)
    small = replace(scan.slices[0], pixels=scan.slices[0].pixels[:200, :150].copy())
    packed = pack_series(Series((small, *scan.slices[1:])))
    assert packed.geometry["shape"] == [3, 256, 256]
    found = block(packed)
    assert np.array_equal(found[0, :200, :150], small.pixels)
    assert len(packed.geometry["views"]) == 1


def test_evidence_comes_back() -> None:
    evidence = np.random.default_rng(0).integers(0, 256, (5, 30, 20)).astype(np.uint8)
    found = np.frombuffer(gzip.decompress(pack_evidence(evidence)), np.uint8)
    assert np.array_equal(found.reshape(evidence.shape), evidence)


def test_the_thumbnail_has_true_proportions() -> None:
    scan = series_of_values(np.arange(40 * 80).reshape(40, 80))
    wide = replace(scan.slices[0], spacing_mm=(4.0, 1.0))
    data = np.frombuffer(pack_series(Series((wide,))).thumbnail, np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).shape == (160, 80)


def windowed(*windows: Window | None) -> Series:
    """A head of values 0 to about 250 whose slices store these windows."""
    scan = drawn_series(count=len(windows), blank=0)
    return Series(
        tuple(
            replace(item, window=window)
            for item, window in zip(scan.slices, windows, strict=True)
        )
    )


def test_the_window_is_the_median_of_the_slices_own() -> None:
    packed = pack_series(windowed((10, 190), (20, 200), (40, 260)))
    assert packed.geometry["stored"] == [20.0, 200.0]
    assert packed.geometry["auto"] != packed.geometry["stored"]


def test_the_window_is_kept_in_the_numbers_that_the_browser_gets() -> None:
    scan = windowed((20, 200), (20, 200))
    scaled = Series(
        tuple(
            replace(
                item,
                pixels=(0.1 * item.pixels - 5).astype(np.float32),
                window=(-3.0, 15.0),
            )
            for item in scan.slices
        )
    )
    geometry = pack_series(scaled).geometry
    low, high = (
        value * geometry["slope"] + geometry["offset"] for value in geometry["stored"]
    )
    assert (low, high) == pytest.approx((-3.0, 15.0))


@pytest.mark.parametrize(
    "window",
    [(5_000.0, 6_000.0), (-900.0, -800.0), (249.0, 250.0), (0.0, 20_000.0)],
    ids=["above", "below", "a sliver", "far too wide"],
)
def test_one_that_shows_next_to_nothing_is_left(window: Window) -> None:
    assert pack_series(windowed(window, window)).geometry["stored"] is None


def test_one_that_most_slices_lack_is_left() -> None:
    assert pack_series(windowed((20, 200), None, None)).geometry["stored"] is None
    assert pack_series(windowed((20, 200), (20, 200), None)).geometry["stored"]


def test_a_scan_of_one_value_has_none() -> None:
    flat = drawn_series(count=2, blank=2)
    slices = tuple(replace(item, window=(-1.0, 1.0)) for item in flat.slices)
    assert pack_series(Series(slices)).geometry["stored"] is None


def test_windows_for_a_closer_look_lie_within_the_values() -> None:
    sample = np.concatenate([np.zeros(500), np.linspace(100, 200, 450), [1000] * 50])
    windows = head_windows(sample.astype(np.float32), 0.0, 1000.0)
    low, high = windows["tissue"]
    assert 100 <= low < 130
    assert 190 < high <= 1000
    dark, bright = windows["bright"]
    assert low < dark < 200
    assert bright == 1000.0


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_windows_of_one_value_have_a_width(value: float) -> None:
    sample = np.full(50, value, np.float32)
    for low, high in head_windows(sample, value, value).values():
        assert high > low
