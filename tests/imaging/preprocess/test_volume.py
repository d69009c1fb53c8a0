"""A scan becomes the same input however it lies in its file."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from tests.samples.volumes import EDGE_MM, LESION, draw_head, inside
from tumorlens.errors import InputError
from tumorlens.imaging.geometry import Volume
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.imaging.preprocess.volume import (
    find_block,
    prepare_volume,
    resample,
    to_scan,
    whole_volume,
)
from tumorlens.imaging.study import Placement, Series, Slice

FACTS = Preprocessing(size=32)
UPRIGHT = np.diag([EDGE_MM, EDGE_MM, EDGE_MM, 1.0])


def turned(voxels, order, flips):
    """The same head with its axes swapped and turned round, and its affine."""
    stored = np.transpose(voxels, order)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    for axis in range(3):
        # Array axes run (slice, row, column); the affine's columns the other way.
        world = (2, 1, 0)[order[axis]]
        sign = 1.0
        if flips[axis]:
            stored = np.flip(stored, axis)
            sign = -1.0
            affine[world, 3] = EDGE_MM * (stored.shape[axis] - 1)
        affine[world, 2 - axis] = sign * EDGE_MM
    return Volume.of(np.ascontiguousarray(stored), affine)


def test_the_input_is_a_block_of_shares():
    pixels, block = prepare_volume(Volume.of(draw_head(), UPRIGHT), FACTS)
    assert pixels.shape == (24, 32, 32, 1)
    assert pixels.dtype == np.float32
    assert (pixels.min(), pixels.max()) == (0.0, 1.0)
    assert block.shape == (24, 32, 32)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_head_gives_one_input_however_it_is_stored(order):
    head = draw_head(LESION)
    wanted, _ = prepare_volume(Volume.of(head, UPRIGHT), FACTS)
    for flips in product((False, True), repeat=3):
        found, _ = prepare_volume(turned(head, order, flips), FACTS)
        np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True)])
def test_a_map_comes_back_to_where_it_was_seen(flips):
    volume = turned(inside(LESION).astype(np.float32), (2, 0, 1), flips)
    head = turned(draw_head(LESION), (2, 0, 1), flips)
    block = find_block(head, FACTS)
    grid = resample(volume.voxels, block)
    back = to_scan(grid, block, head.voxels.shape) / 255.0
    assert back.shape == head.voxels.shape
    overlap = np.minimum(back > 0.5, volume.voxels > 0.5).sum()
    assert 2 * overlap / ((back > 0.5).sum() + volume.voxels.sum()) > 0.85


def test_a_finer_scan_gives_the_same_input():
    head = draw_head(LESION)
    fine = np.repeat(np.repeat(np.repeat(head, 2, 0), 2, 1), 2, 2)
    affine = np.diag([EDGE_MM / 2] * 3 + [1.0])
    wanted, _ = prepare_volume(Volume.of(head, UPRIGHT), FACTS)
    found, _ = prepare_volume(Volume.of(fine, affine), FACTS)
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99


def test_a_slab_lies_in_the_middle_and_the_rest_is_blank():
    slab = Volume.of(draw_head()[18:26], UPRIGHT)
    pixels, _ = prepare_volume(slab, FACTS)
    shown = np.flatnonzero(pixels.any(axis=(1, 2, 3)))
    assert 3 < shown[0] < 12 < shown[-1] < 21
    assert abs((shown[0] + shown[-1]) / 2 - 11.5) <= 1.0
    # Blank rows must not make the slab brighter or darker.
    assert np.median(pixels[shown][pixels[shown] > 0.1]) > 0.3


def test_a_neck_is_cut_off_at_the_bottom():
    head = draw_head()
    long = np.concatenate([np.full((30, *head.shape[1:]), 0, np.float32), head])
    long[:34, 18:30, 14:26] = 120.0
    pixels, block = prepare_volume(Volume.of(long, UPRIGHT), FACTS)
    top = (len(long) - 1) * EDGE_MM
    end = block.start[0] + (block.shape[0] - 1) * block.step
    assert top - 5 * EDGE_MM < end < top + EDGE_MM
    assert block.start[0] > 20 * EDGE_MM
    assert pixels[-3].any()


def test_slices_whose_place_is_not_known_are_refused_by_name():
    slices = tuple(
        Slice(picture, "odd.tif", i) for i, picture in enumerate(draw_head())
    )
    with pytest.raises(InputError, match=r"odd\.tif"):
        whole_volume(Series(slices))


def test_a_blank_scan_gives_a_blank_input():
    pixels, _ = prepare_volume(
        Volume.of(np.zeros((9, 40, 40), np.float32), UPRIGHT), FACTS
    )
    assert not pixels.any()


def test_a_missing_slice_is_no_regular_stack():
    places = [0.0, 4.0, 8.0, 16.0]
    slices = tuple(
        Slice(
            draw_head()[20 + i],
            "gap.dcm",
            i,
            placement=Placement((0.0, 0.0, z), (4.0, 0, 0), (0, 4.0, 0)),
        )
        for i, z in enumerate(places)
    )
    with pytest.raises(InputError, match="regular stack"):
        whole_volume(Series(slices))
