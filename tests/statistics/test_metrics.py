"""Figures of merit against values worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tumorlens.statistics.metrics import auroc, calibration_error


def test_auroc_agrees_with_scikit_learn_ties_included():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 10, 300).astype(float)
    positive = rng.random(300) < 0.3
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_auroc_without_both_kinds_is_not_a_number():
    assert np.isnan(auroc(np.array([1.0, 2.0]), np.array([True, True])))


def test_calibration_error_of_honest_and_of_boastful_probabilities():
    labels = np.array([0] * 70 + [1] * 30)
    honest = np.tile([0.7, 0.3], (100, 1))
    boastful = np.tile([1.0, 0.0], (100, 1))
    assert calibration_error(honest, labels) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error(boastful, labels) == pytest.approx(0.3)
