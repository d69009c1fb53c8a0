"""Heads as another sequence would show them: what is bright, what dark, what stays."""

import numpy as np

from tests.samples.heads import disc
from tumorlens.training.augment.contrast import (
    enhances,
    invert_contrast,
    t2_of_flair,
    without_agent,
)

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
