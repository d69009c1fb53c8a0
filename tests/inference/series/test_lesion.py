"""Evidence of several planes and slices becomes one block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.samples.drawn_series import drawn_series
from tumorlens.imaging.study import Slice
from tumorlens.inference.series.lesion import (
    ODDS_STEPS,
    Side,
    find_lesion,
    joined_evidence,
    slice_gap,
    smoothed_odds,
    uneven_depths,
)


def block(*slices: int, depth: int = 9, value: int = 240) -> np.ndarray:
    evidence = np.full((depth, 60, 70), 20, np.uint8)
    evidence[list(slices), 20:40, 25:40] = value
    return evidence


def test_a_spot_in_one_plane_alone_is_weak() -> None:
    spot, nothing = block(4), block()
    joined = joined_evidence([spot, nothing, nothing])
    assert joined.dtype == np.uint8
    assert 20 < joined[4, 30, 30] < 128
    assert joined_evidence([spot, spot, spot])[4, 30, 30] == 240
    assert not joined_evidence([np.zeros_like(spot)] * 3).any()


def test_neighbours_hold_a_spot_up_and_a_lone_one_sinks() -> None:
    lone = smoothed_odds(block(4), None)[4, 30, 30] / ODDS_STEPS
    kept = smoothed_odds(block(3, 4, 5), None)[4, 30, 30] / ODDS_STEPS
    sure = np.log(240 / 15)
    assert lone < sure - 1.0
    assert abs(kept - sure) < 0.35
    assert smoothed_odds(block(), None).min() == smoothed_odds(block(), None).max()


def test_thin_slices_are_smoothed_over_as_many_millimetres() -> None:
    thick = smoothed_odds(block(3, 4, 5, depth=9), 3.0)
    thin = smoothed_odds(block(*range(9, 18), depth=27), 1.0)
    assert abs(int(thick[4, 30, 30]) - int(thin[13, 30, 30])) <= 4


def test_the_level_sets_the_outline() -> None:
    evidence = np.zeros((9, 256, 256), np.uint8)
    evidence[3:6, 60:160, 60:160] = 180
    evidence[3:6, 90:130, 95:125] = 252
    slices = drawn_series().slices
    wide = find_lesion(evidence, slices, (3, 6))
    tight = find_lesion(evidence, slices, (3, 6), 0.9)
    assert wide is not None
    assert tight is not None
    assert wide.box[1:3] == (60, 60)
    assert tight.box[1:3] == (90, 95)
    assert tight.size_mm is not None
    assert tight.size_mm[1:] == (40.0, 30.0)
    assert tight.mask is not None
    assert tight.mask.shape == tuple(np.subtract(tight.box[3:], tight.box[:3]))
    assert tight.mask.sum() == tight.voxels


def test_a_peak_below_the_level_still_has_a_spot() -> None:
    evidence = np.zeros((9, 256, 256), np.uint8)
    evidence[3:6, 90:130, 95:125] = 200
    found = find_lesion(evidence, drawn_series().slices, (3, 6), 0.95)
    assert found is not None
    assert found.box[1:3] == (90, 95)
    evidence[evidence > 0] = 50
    assert find_lesion(evidence, drawn_series().slices, (3, 6), 0.95) is None


@pytest.mark.parametrize(
    ("slope", "air", "padded"),
    [(1, 0, 0), (1, 1000, 0), (1, -500, 0), (0.001, 90, 0), (1, 0, -2000)],
)
def test_the_side_is_the_heads_wherever_air_lies(
    slope: float, air: float, padded: float
) -> None:
    # The head lies towards the picture's left and top; the spot lies to the right of
    # its middle, which is the patient's left, and not of the picture's.
    slices = []
    for item in drawn_series(blank=0).slices:
        pixels = np.roll(item.pixels, (-14, -36), (0, 1))
        pixels = pixels * np.float32(slope) + air
        pixels[-30:, -30:] += padded
        slices.append(replace(item, pixels=pixels))
    evidence = np.zeros((9, 256, 256), np.uint8)
    evidence[3:6, 20:40, 108:124] = 252
    found = find_lesion(evidence, slices, (3, 6))
    assert found is not None
    assert found.side is Side.LEFT
    assert found.location.startswith("left, anterior third")


# --- Slices that are not evenly apart ---


def spread(*places: int) -> tuple[Slice, ...]:
    """Lay drawn slices at these multiples of 5 mm."""
    moved = []
    for item, place in zip(drawn_series().slices, places, strict=False):
        assert item.placement is not None
        x, y, _ = item.placement.origin
        placement = replace(item.placement, origin=(x, y, 5.0 * place))
        moved.append(replace(item, placement=placement))
    return tuple(moved)


def test_missing_slices_do_not_make_the_others_thicker() -> None:
    evidence = np.zeros((6, 256, 256), np.uint8)
    evidence[1:4, 90:130, 95:125] = 252
    slices = spread(0, 1, 2, 3, 7, 8)
    assert slice_gap(slices) == pytest.approx(5.0)
    lesion = find_lesion(evidence, slices, (1, 4), 0.9)
    assert lesion is not None and lesion.size_mm is not None
    assert lesion.size_mm[0] == pytest.approx(15.0)
    across = np.zeros((6, 256, 256), np.uint8)
    across[2:6, 90:130, 95:125] = 252
    lesion = find_lesion(across, slices, (2, 6), 0.9)
    assert lesion is not None and lesion.size_mm is not None
    first, last = lesion.box[0], lesion.box[3] - 1
    places = (0, 5, 10, 15, 35, 40)
    assert first < 4 <= last
    assert lesion.size_mm[0] == pytest.approx(places[last] - places[first] + 5.0)


def test_a_slice_is_smoothed_by_those_that_lie_near_it() -> None:
    evidence = np.zeros((6, 64, 64), np.uint8)
    evidence[4] = 250
    even = smoothed_odds(evidence, 5.0)
    apart = smoothed_odds(evidence, 5.0, np.array([0.0, 5, 10, 15, 60, 65]))
    assert even[3, 0, 0] > apart[3, 0, 0]
    assert apart[5, 0, 0] > apart[3, 0, 0]


def test_even_slices_have_the_mean_gap_and_no_places_of_their_own() -> None:
    slices = spread(0, 1, 2, 3, 4)
    assert uneven_depths(slices) is None
    assert slice_gap(slices) == pytest.approx(5.0)
