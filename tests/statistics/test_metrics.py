"""Figures of merit against values worked out by hand."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.calibration import calibration_curve

from tumorlens.statistics.metrics import auroc, calibration_error


def test_auroc_is_the_share_of_pairs_that_mann_and_whitney_count():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 10, 300).astype(float)
    positive = rng.random(300) < 0.3
    won = mannwhitneyu(scores[positive], scores[~positive]).statistic
    pairs = positive.sum() * (~positive).sum()
    assert auroc(scores, positive) == pytest.approx(won / pairs)


def test_auroc_without_both_kinds_is_not_a_number():
    assert np.isnan(auroc(np.array([1.0, 2.0]), np.array([True, True])))


def test_calibration_error_of_honest_and_of_boastful_probabilities():
    labels = np.array([0] * 70 + [1] * 30)
    honest = np.tile([0.7, 0.3], (100, 1))
    boastful = np.tile([1.0, 0.0], (100, 1))
    assert calibration_error(honest, labels) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error(boastful, labels) == pytest.approx(0.3)


def test_calibration_error_is_the_area_beside_scikit_learns_curve():
    rng = np.random.default_rng(5)
    powers = np.exp(rng.normal(0.0, 1.5, (500, 4)))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    labels = rng.integers(0, 4, 500)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    shares, means = calibration_curve(right, confidence, n_bins=15)
    counts = np.histogram(confidence, np.linspace(0.0, 1.0, 16))[0]
    error = np.average(np.abs(shares - means), weights=counts[counts > 0])
    assert calibration_error(probabilities, labels) == pytest.approx(error)
