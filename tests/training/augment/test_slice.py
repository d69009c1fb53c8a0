"""Augmentation: repeatable, in range, outline and picture together."""

import cv2
import numpy as np

from tumorlens.data.skull_stripping import brain_mask
from tumorlens.training.augment.slice import (
    augment,
    bend,
    change_intensity,
    stretch,
    take_off_skull,
    warp,
)


def lesion_outline():
    outline = np.zeros((256, 256), np.uint8)
    cv2.circle(outline, (90, 110), 18, 255, -1)
    return outline


def test_the_same_seed_repeats_the_change(phantom):
    square = phantom(lesion=(90, 110, 18))
    runs = [
        augment(square, lesion_outline(), None, 224, np.random.default_rng(7), 0.0)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    np.testing.assert_array_equal(runs[0][1], runs[1][1])


def test_other_seeds_change_otherwise(phantom):
    square = phantom()
    found = [
        augment(square, None, None, 160, np.random.default_rng(seed), 0.0)[0]
        for seed in (1, 2)
    ]
    assert not np.array_equal(*found)


def test_size_and_type_are_as_asked(phantom):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        square, outline = augment(phantom(), lesion_outline(), None, 160, rng, 0.0)
        assert square.shape == outline.shape == (160, 160)
        assert square.dtype == outline.dtype == np.uint8


def test_the_outline_moves_with_the_lesion():
    outline = lesion_outline()
    for seed in range(30):
        square, moved = warp(outline, outline, 224, np.random.default_rng(seed))
        np.testing.assert_array_equal(square, moved)
        assert (moved > 127).any()


def test_the_outline_bends_with_the_lesion():
    outline = lesion_outline()
    shapes = set()
    for seed in range(10):
        square, bent = bend(outline, outline, np.random.default_rng(seed))
        np.testing.assert_array_equal(square, bent)
        area = cv2.countNonZero(np.asarray(bent > 127, np.uint8))
        assert 0.5 < area / cv2.countNonZero(outline) < 2.0
        shapes.add(bent.tobytes())
    assert len(shapes) == 10
    assert bend(outline, None, np.random.default_rng(0))[1] is None


def test_the_input_is_left_alone(phantom):
    square = phantom()
    before = square.copy()
    augment(square, None, None, 160, np.random.default_rng(3), 1.0)
    np.testing.assert_array_equal(square, before)


def test_curves_keep_what_is_brighter_and_change_how_much():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    steepest = []
    for seed in range(200):
        changed = change_intensity(ramp, np.random.default_rng(seed)).astype(int)
        if (changed == changed[0]).all():  # else a bias field lies over it
            assert (np.diff(changed[0]) >= 0).all()
            steepest.append((changed[0, 51:] - changed[0, :-51]).max() / 51.0)
    assert np.percentile(steepest, 10) < 1.1
    assert np.percentile(steepest, 90) > 2.0


def test_stretch_brings_a_dull_picture_to_full_range(phantom):
    dull = (phantom() // 3 + 20).astype(np.uint8)
    found = stretch(dull)
    assert found.min() == 0
    assert found.max() == 255


def test_skull_stripping_takes_the_scalp_and_keeps_the_brain(phantom):
    square = phantom()
    # A dark ring between scalp and brain, as the skull's.
    cv2.ellipse(square, (128, 128), (84, 105), 0, 0, 360, 5, 8)
    mask = brain_mask(square)
    assert mask is not None
    assert mask[128, 100] == 255
    assert mask[128, 128 - 90] == 0
    bare, _ = take_off_skull(square, None, mask)
    assert bare.shape == square.shape
    assert bare[0].max() == 0


def test_skull_stripping_never_takes_the_tumor(phantom):
    outline = lesion_outline()
    brain = np.zeros((256, 256), np.uint8)
    brain[150:, :] = 255  # the lesion lies outside this brain
    square = phantom(lesion=(90, 110, 18))
    same, kept = take_off_skull(square, outline, brain)
    assert same is square
    assert kept is outline


def test_no_brain_is_found_in_a_blank_picture():
    assert brain_mask(np.zeros((256, 256), np.uint8)) is None
