"""Key slices as pictures, with the lesion's outline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.samples.drawn_series import SERIES, known_prediction
from tumorlens.imaging.study import (
    Placement,
    Point,
    Series,
)
from tumorlens.report.series.pictures import (
    edge_letters,
    key_pictures,
    lesion_in_slice,
    outlines,
)
from tumorlens.report.slice.overlay import window_picture


def test_key_slices_come_in_the_order_of_the_series() -> None:
    finding = replace(known_prediction(), key_slices=(6, 4))
    pictures = key_pictures(finding, SERIES)
    assert [item.index for item in pictures] == [4, 6]
    assert [item.p_tumor for item in pictures] == [0.9, 0.6]


def test_evidence_colours_its_own_slice_and_leaves_the_rest_grey() -> None:
    first, _ = key_pictures(known_prediction(), SERIES)
    grey = window_picture(SERIES.slices[4].pixels)
    assert np.array_equal(first.grey, grey)
    assert first.overlay is not None
    spread = np.ptp(first.overlay.astype(int), axis=2)
    assert spread[105:115, 85:95].min() > 60
    assert np.array_equal(first.overlay[200:, :, 0], grey[200:])


def test_only_the_lesion_is_outlined() -> None:
    first, _ = key_pictures(known_prediction(), SERIES)
    (polygon,) = first.outline
    assert polygon.min(axis=0).tolist() == [80, 100]


def test_without_an_evidence_volume_the_slice_stands_alone() -> None:
    finding = replace(known_prediction(), evidence=None, lesion=None)
    first, _ = key_pictures(finding, SERIES)
    assert first.overlay is None
    assert first.outline == ()


def test_pixels_keep_their_shape_and_a_slice_without_place_has_no_letters() -> None:
    item = replace(SERIES.slices[4], spacing_mm=(3.0, 1.5), placement=None)
    slices = (*SERIES.slices[:4], item, *SERIES.slices[5:])
    first, second = key_pictures(known_prediction(), Series(slices))
    assert first.aspect == 2.0
    assert first.edges is None
    assert second.edges == ("R", "L", "A", "P")


@pytest.mark.parametrize(
    ("across", "down", "letters"),
    [
        ((1.0, 0, 0), (0, 1.0, 0), ("R", "L", "A", "P")),
        ((-1.0, 0, 0), (0, 1.0, 0), ("L", "R", "A", "P")),
        ((1.0, 0, 0), (0, 0, -1.0), ("R", "L", "H", "F")),
        ((0.1, 0.9, 0), (0, 0.1, -0.9), ("A", "P", "H", "F")),
    ],
)
def test_letters_name_the_sides_where_they_are(
    across: Point, down: Point, letters: tuple[str, ...]
) -> None:
    assert edge_letters(Placement((0, 0, 0), across, down)) == letters


def test_the_lesion_is_marked_where_its_mask_is() -> None:
    mask = lesion_in_slice(known_prediction(), 5)
    assert mask is not None
    wanted = np.zeros((256, 256), np.uint8)
    wanted[100:120, 80:100] = 1
    assert np.array_equal(mask, wanted)


def test_a_slice_beyond_the_box_is_empty() -> None:
    finding = known_prediction()
    for index in (3, 7):
        mask = lesion_in_slice(finding, index)
        assert mask is not None
        assert not mask.any()


def test_no_lesion_or_no_evidence_gives_no_mask() -> None:
    finding = known_prediction()
    assert lesion_in_slice(replace(finding, lesion=None), 5) is None
    assert lesion_in_slice(replace(finding, evidence=None), 5) is None


def test_an_outline_runs_along_the_outermost_pixels() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:10, 12:20] = 1
    mask[15, 3] = 1
    large, single = sorted(outlines(mask), key=len, reverse=True)
    assert large.min(axis=0).tolist() == [12, 5]
    assert large.max(axis=0).tolist() == [19, 9]
    assert single.tolist() == [[3, 15]]
