"""Augmentation: repeatable, in range, outline and picture together."""

import cv2
import numpy as np

from tests.samples.heads import disc
from tumorlens.data.skull_stripping import brain_mask
from tumorlens.training.augment.slice import (
    augment,
    bend,
    change_intensity,
    enhances,
    invert_contrast,
    stretch,
    t2_of_flair,
    take_off_skull,
    warp,
    without_agent,
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


BRAIN = disc(90)
VENTRICLES = disc(20)
TUMOR = disc(14, (160, 90))


def head(*, tumor, ventricles=30, brain=100):
    """Draw a brain with some texture, fluid in its middle, and a tumour."""
    rng = np.random.default_rng(0)
    square = np.where(BRAIN > 0, brain + rng.normal(0, 8, BRAIN.shape), 0)
    square = np.where(VENTRICLES > 0, ventricles, square)
    square = np.where(TUMOR > 0, tumor + rng.normal(0, 8, BRAIN.shape), square)
    return square.clip(0, 255).astype(np.uint8)


def test_only_what_is_brighter_than_its_surroundings_enhances():
    assert enhances(head(tumor=200), TUMOR, BRAIN)
    assert not enhances(head(tumor=100), TUMOR, BRAIN)
    assert not enhances(head(tumor=50), TUMOR, BRAIN)


def test_without_the_agent_the_tumour_is_no_longer_bright_and_the_rest_stays():
    square = head(tumor=200)
    levels = []
    for seed in range(20):
        shown = without_agent(square, TUMOR, BRAIN, np.random.default_rng(seed))
        levels.append(float(np.median(shown[TUMOR > 0])))
        far = (BRAIN > 0) & (disc(30, (160, 90)) == 0)
        assert np.median(np.abs(shown[far].astype(int) - square[far])) <= 2
    assert max(levels) < 120
    assert min(levels) < 100  # at times darker than the brain
    assert np.ptp(levels) > 5


def test_a_tumour_whose_surroundings_are_unknown_stays_as_it_is():
    square = head(tumor=200)
    nothing = np.zeros_like(BRAIN)
    rng = np.random.default_rng(0)
    assert without_agent(square, TUMOR, nothing, rng) is square
    assert not enhances(square, TUMOR, nothing)


def test_inverting_makes_fluid_bright_and_leaves_air_dark():
    shown = invert_contrast(head(tumor=60))
    assert shown[128, 128] > shown[BRAIN > 0].mean()
    assert shown[90, 160] > shown[40, 128]
    assert not shown[BRAIN == 0].any()


def test_t2_shows_the_fluid_of_a_flair_bright_and_keeps_its_lesions():
    flair, t1 = head(tumor=190, ventricles=20), head(tumor=80, ventricles=15)
    shown = t2_of_flair(flair, t1, BRAIN)
    assert shown is not None
    assert np.median(shown[VENTRICLES > 0]) > 190
    assert np.median(shown[TUMOR > 0]) > 180
    tissue = (BRAIN > 0) & (VENTRICLES == 0) & (TUMOR == 0)
    assert np.median(shown[tissue]) < 150


def test_t2_is_not_made_where_t1_shows_no_fluid():
    flat = np.where(BRAIN > 0, np.uint8(100), np.uint8(0))
    assert t2_of_flair(flat, flat, BRAIN) is None
    assert t2_of_flair(flat, head(tumor=80), np.zeros_like(BRAIN)) is None
