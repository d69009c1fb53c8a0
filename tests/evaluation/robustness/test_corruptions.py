"""Damaged pictures: more at each strength, the same each time, in the same units."""

import numpy as np
import pytest

from tests.conftest import draw_phantom
from tumorlens.evaluation.robustness.corruptions import CORRUPTIONS, STRENGTHS, corrupt


@pytest.fixture(scope="module")
def head():
    return draw_phantom(lesion=(90, 110, 18)).astype(np.float32)


def test_every_kind_has_five_strengths():
    assert len(CORRUPTIONS) == 11
    assert all(len(levels) == len(STRENGTHS) for _, levels in CORRUPTIONS.values())


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_same_seed_damages_alike_and_leaves_the_picture_itself(head, kind):
    before = head.copy()
    first, again = (corrupt(head, kind, 3, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(head, before)
    assert first.dtype == np.float32 and first.flags.c_contiguous


@pytest.mark.parametrize("kind", sorted(set(CORRUPTIONS) - {"crop"}))
def test_each_strength_is_further_from_the_picture(head, kind):
    gaps = [
        float(np.abs(corrupt(head, kind, strength, seed=2) - head).mean())
        for strength in STRENGTHS
    ]
    assert gaps[0] > 0.0
    assert gaps == sorted(gaps)
    assert gaps[-1] > 1.5 * gaps[0]


def test_a_crop_is_a_part_of_the_picture(head):
    sides = [corrupt(head, "crop", strength, seed=1).shape for strength in STRENGTHS]
    assert sides == sorted(sides, reverse=True)
    smallest = corrupt(head, "crop", 5, seed=1)
    rows, columns = smallest.shape
    windows = np.lib.stride_tricks.sliding_window_view(head, (rows, columns))
    assert any(
        np.allclose(window, smallest, atol=1e-3) for row in windows for window in row
    )


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_units_do_not_matter(head, kind):
    plain = corrupt(head, kind, 2, seed=3)
    scaled = corrupt(40.0 * head - 700.0, kind, 2, seed=3)
    step = 255.0 / 64.0 if kind == "JPEG" else 0.1
    np.testing.assert_allclose((scaled + 700.0) / 40.0, plain, atol=step)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_constant_picture_and_one_that_is_not_square_pass(kind):
    flat = np.full((64, 96), 7.0, np.float32)
    assert np.isfinite(corrupt(flat, kind, 5, seed=0)).all()
    wide = draw_phantom(120, 200).astype(np.float32)
    damaged = corrupt(wide, kind, 4, seed=0)
    assert kind == "crop" or damaged.shape == wide.shape


def test_noise_is_rician_so_that_air_turns_grey(head):
    damaged = corrupt(head, "noise", 5, seed=0)
    air = damaged[:20, :20]
    bright = float(np.percentile(head, 99.5)) - float(head.min())
    # The mean of a Rayleigh distribution of that width.
    assert air.mean() == pytest.approx(0.16 * bright * np.sqrt(np.pi / 2), rel=0.1)
