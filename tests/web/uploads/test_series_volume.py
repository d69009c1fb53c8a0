"""What the browser is sent is the series, in fewer bytes."""

from __future__ import annotations

import gzip
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.samples.series_findings_by_slices import drawn_scan
from tumorlens.imaging.study import Series, Slice
from tumorlens.web.uploads.series_volume import (
    LEVELS,
    PackedSeries,
    pack_evidence,
    pack_series,
)
from tumorlens.web.views.series_curve import HEIGHT, WIDTH, curve_of


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
    scan = drawn_scan(count=3, blank=0)
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


def test_the_curve_breaks_where_slices_were_not_judged() -> None:
    curve = curve_of([None, 0.0, 1.0, None, 0.5], (1, 3))
    share = WIDTH / 5
    assert curve.gaps == ((0.0, share), (3 * share, share))
    assert curve.run == (share, 2 * share)
    first, last = (
        [tuple(map(float, point.split(","))) for point in line.split(" ")]
        for line in curve.lines
    )
    assert first[1:-1] == [(1.5 * share, HEIGHT), (2.5 * share, 0.0)]
    assert last == [
        (4 * share, HEIGHT / 2),
        (4.5 * share, HEIGHT / 2),
        (WIDTH, HEIGHT / 2),
    ]


def test_a_curve_of_nothing_judged_is_one_gap() -> None:
    curve = curve_of([None, None], None)
    assert (curve.lines, curve.gaps, curve.run) == ((), ((0.0, WIDTH),), None)
