"""Faults of a scan's spectrum, drawn at random."""

import numpy as np
import pytest

from tests.conftest import draw_phantom
from tumorlens.training.augment.kspace import scan_badly

HEAD = draw_phantom(lesion=(90, 110, 22), seed=0)


def test_a_seed_repeats_the_fault_and_others_differ():
    pictures = [scan_badly(HEAD, np.random.default_rng(seed)) for seed in range(12)]
    again = scan_badly(HEAD, np.random.default_rng(3))
    np.testing.assert_array_equal(pictures[3], again)
    assert len({item.tobytes() for item in pictures}) == 12


@pytest.mark.parametrize("seed", range(12))
def test_the_head_is_damaged_and_still_there(seed):
    bad = scan_badly(HEAD, np.random.default_rng(seed))
    assert bad.shape == HEAD.shape and bad.dtype == np.uint8
    assert not np.array_equal(bad, HEAD)
    assert np.corrcoef(bad.ravel(), HEAD.ravel())[0, 1] > 0.5


def test_every_fault_is_drawn():
    """Spikes lie everywhere in the picture, ghosts and motion leave air between."""
    air = HEAD < 5
    shares = [
        float((scan_badly(HEAD, np.random.default_rng(seed))[air] > 4).mean())
        for seed in range(24)
    ]
    assert min(shares) < 0.5 < max(shares)
