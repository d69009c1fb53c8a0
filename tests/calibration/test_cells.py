"""Cells come to mean what radiologists drew, whatever the network's own scale."""

import numpy as np
import pytest

from tumorlens.calibration.cells import fit_cells
from tumorlens.inference.slice.explanation import cell_probabilities
from tumorlens.taxonomy import NO_TUMOR_INDEX


def drawn(rng, slices, grid=10, scale=2.0, shift=3.0):
    """Odds of known probability, stretched and shifted as a network might."""
    true = rng.normal(-1.5, 1.5, (slices, grid, grid))
    inside = rng.random(true.shape) < 1 / (1 + np.exp(-true))
    evidence = np.zeros((slices, grid, grid, 4), np.float32)
    evidence[..., 0] = scale * true + shift
    evidence[..., NO_TUMOR_INDEX] = 0.0
    return evidence, inside.astype(np.float32), np.zeros(slices, np.int64)


def test_scale_and_bias_are_found_again():
    found = fit_cells(*drawn(np.random.default_rng(1), 400))
    assert found.scale == pytest.approx(0.5, rel=0.05)
    assert found.bias == pytest.approx(-1.5, abs=0.05)


def test_slices_without_outline_or_tumour_do_not_count():
    rng = np.random.default_rng(2)
    evidence, outlined, labels = drawn(rng, 60)
    alone = fit_cells(evidence, outlined, labels)
    more = np.concatenate([evidence, rng.normal(0, 9, evidence.shape)])
    shares = np.concatenate([outlined, np.full_like(outlined, np.nan)])
    shares[-1] = 1.0
    classes = np.concatenate([labels, labels])
    classes[-1] = NO_TUMOR_INDEX
    assert fit_cells(more.astype(np.float32), shares, classes) == alone


def test_without_outlines_nothing_is_fitted():
    evidence, outlined, labels = drawn(np.random.default_rng(3), 3)
    assert fit_cells(evidence, np.full_like(outlined, np.nan), labels) is None
    assert fit_cells(None, outlined, labels) is None


def test_an_over_eager_network_is_held_back():
    """Where every tenth cell is tumour, cells average a tenth after the fit."""
    rng = np.random.default_rng(4)
    evidence, _, labels = drawn(rng, 200)
    outlined = (rng.random(evidence.shape[:3]) < 0.1).astype(np.float32)
    found = fit_cells(evidence, outlined, labels)
    shares = [cell_probabilities(item, 0, found) for item in evidence]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.02)
