"""Series are laid over each other where they lie in the patient."""

from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from tests.samples.drawn_study import FLAIR, T1, T1C, drawn, moved, tilted
from tumorlens.imaging.geometry import Volume, series_of
from tumorlens.imaging.study import Plane
from tumorlens.inference.study.combination import (
    MAX_TILT,
    choose_grid,
    evidence_odds,
    match,
    middles,
    on_grid,
    slice_weights,
    tilt,
)


def thinned(series, step):
    """Keep every so many slices."""
    return replace(series, slices=series.slices[::step])


def test_thick_tilted_slices_speak_for_where_the_evidence_lies():
    grid, other = drawn(T1), tilted(drawn(FLAIR), 20.0)
    assert match(grid, other).series is other
    place = other.slices[4].placement
    assert place is not None
    assert slice_weights(grid, other)[:, 4].argmax() == 4
    spots = middles(other)
    spots[4] = place.at(127.5, 127.5 + 29.0)
    # 29 mm below the middle a slice tilted by 20 degrees lies 10 mm higher.
    assert slice_weights(grid, other, spots)[:, 4].argmax() == 6


def even_head(plane=Plane.SAGITTAL):
    """A head of even spacing with a bright ball, cut in a plane."""
    z, y, x = np.mgrid[:64, :64, :64].astype(np.float32)
    voxels = np.where((z - 40) ** 2 + (y - 30) ** 2 + (x - 20) ** 2 < 64, 200.0, 50.0)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-128.0, -128.0, 0.0)
    return series_of(Volume.of(voxels.astype(np.float32), affine), plane, "even")


def test_slices_in_one_place_are_matched_one_to_one():
    weights = slice_weights(drawn(T1), drawn(FLAIR))
    assert weights == pytest.approx(np.eye(9))


def test_slices_between_others_are_averaged():
    fine, coarse = drawn(T1), thinned(drawn(FLAIR), 2)
    weights = slice_weights(fine, coarse)
    assert weights[2] == pytest.approx([0, 1, 0, 0, 0])
    assert weights[3] == pytest.approx([0, 0.5, 0.5, 0, 0])
    values = on_grid(weights, np.array([0.0, 2.0, 4.0, 6.0, 8.0]))
    assert values == pytest.approx(np.arange(9.0))
    back = slice_weights(coarse, fine)
    assert back[1] == pytest.approx([0, 0.5, 1, 0.5, 0, 0, 0, 0, 0])


def test_where_nothing_near_was_judged_there_is_nothing():
    weights = slice_weights(drawn(T1), thinned(drawn(FLAIR), 2))
    values = on_grid(weights, np.array([0.0, np.nan, 4.0, np.nan, 8.0]))
    assert np.isnan(values[2])
    assert values[3] == 4.0
    assert on_grid(weights, np.full((5, 4), np.nan)).shape == (9, 4)


def test_a_moved_series_is_matched_where_it_lies():
    weights = slice_weights(drawn(T1), moved(drawn(FLAIR), (0.0, 0.0, 10.0)))
    assert weights[4].argmax() == 2
    assert weights[0].sum() == 0.0


def test_evidence_lands_where_it_lies_in_the_patient():
    grid = drawn(T1)
    other = moved(drawn(FLAIR), (30.0, -20.0, 5.0))
    evidence = np.zeros((9, 256, 256), np.uint8)
    evidence[4, 100:110, 50:60] = 255
    odds = evidence_odds(grid.slices[5], other, evidence, np.ones(9, bool))
    rows, columns = np.nonzero(odds > 0)
    assert (rows.min(), rows.max() + 1) == (80, 90)
    assert (columns.min(), columns.max() + 1) == (80, 90)
    assert np.isnan(odds[:, 0]).all()
    same = evidence_odds(other.slices[4], other, evidence, np.ones(9, bool))
    assert ((same > 0) == (evidence[4] > 0)).all()
    assert np.isfinite(same).all()


def test_slices_that_were_not_judged_give_no_evidence():
    series = drawn(T1)
    judged = np.ones(9, bool)
    judged[4] = False
    evidence = np.full((9, 256, 256), 255, np.uint8)
    assert np.isnan(evidence_odds(series.slices[4], series, evidence, judged)).all()


def test_a_tilt_is_measured_whatever_the_direction_of_the_slices():
    series = drawn(T1)
    backwards = replace(series, slices=series.slices[::-1])
    assert tilt(series, tilted(series, 8.0)) == pytest.approx(8.0)
    assert tilt(series, backwards) == pytest.approx(0.0)


def test_slightly_tilted_slices_are_compared_as_they_are():
    grid, other = drawn(T1), tilted(drawn(FLAIR), MAX_TILT - 1.0)
    found = match(grid, other)
    assert found.series is other
    assert not found.is_cut_anew


def test_even_volumes_are_cut_along_the_grid():
    axial, sagittal = even_head(Plane.AXIAL), even_head(Plane.SAGITTAL)
    found = match(axial, sagittal)
    assert found.is_cut_anew
    assert found.series is not None
    assert len(found.series.slices) == 64
    for made, wanted in zip(found.series.slices, axial.slices, strict=True):
        assert made.pixels == pytest.approx(wanted.pixels, abs=1e-3)
        assert made.placement == wanted.placement


def guessed(series):
    return replace(series, place_guessed=True)


def in_frame(series, frame):
    header = Dataset()
    header.FrameOfReferenceUID = frame
    return replace(series, headers=(header,) * len(series.slices))


@pytest.mark.parametrize(
    ("grid", "series", "words"),
    [
        (drawn(T1), tilted(drawn(FLAIR), 40.0), "40 degrees"),
        (drawn(T1), guessed(drawn(FLAIR)), "Nobody says"),
        (guessed(drawn(T1)), guessed(thinned(drawn(FLAIR), 2)), "Nobody says"),
        (in_frame(drawn(T1), "1.2"), in_frame(drawn(FLAIR), "1.3"), "another frame"),
        (drawn(T1), moved(drawn(FLAIR), (0.0, 0.0, 500.0)), "beside"),
        (drawn(T1), moved(drawn(FLAIR), (500.0, 0.0, 0.0)), "beside"),
    ],
)
def test_what_cannot_be_matched_says_why(grid, series, words):
    found = match(grid, series)
    assert found.series is None
    assert words in found.reason


def test_voxels_of_one_grid_are_matched_without_a_place():
    other = guessed(drawn(FLAIR))
    assert match(guessed(drawn(T1)), other).series is other


def test_the_grid_is_the_one_on_which_most_sequences_lie():
    thick_sagittal = tilted(drawn(T1C), 90.0)
    chosen = choose_grid([thick_sagittal, drawn(T1), drawn(FLAIR)], "abc", [0, 1, 2])
    assert chosen == 1
    twice = [thick_sagittal, thick_sagittal, drawn(T1), drawn(FLAIR)]
    assert choose_grid(twice, "aabc", [0, 1, 2, 3]) == 2


def test_among_alike_the_finest_that_spans_the_head_is_the_grid():
    coarse, fine = thinned(drawn(T1), 2), drawn(FLAIR)
    assert choose_grid([coarse, fine], "ab", [0, 1]) == 1
    assert choose_grid([coarse, fine], "ab", [0]) == 0
    slab = drawn(FLAIR)
    finer = replace(slab, slices=slab.slices[3:5])
    assert choose_grid([coarse, finer], "ab", [0, 1]) == 0
