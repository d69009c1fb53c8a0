"""Figures of merit against values worked out by hand; draws of whole patients."""

import cv2
import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

from tumorlens.errors import DatasetError
from tumorlens.imaging.preprocess.slice import Crop
from tumorlens.statistics import (
    Resampling,
    auroc,
    auroc_figure,
    calibration_error,
    center_map,
    figure,
    mean_figure,
    pointing,
    read_outline,
    share_figure,
    without_bias,
)


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


def test_a_map_equal_to_the_outline_is_perfect():
    inside = np.zeros((20, 30), bool)
    inside[5:10, 8:16] = True
    assert pointing(inside.astype(np.float32), inside) == (1.0, 1.0)


def test_a_map_beside_the_outline_scores_nothing():
    inside = np.zeros((20, 30), bool)
    inside[5:10, 8:16] = True
    assert pointing(np.roll(inside, 15, axis=1).astype(np.float32), inside) == (0, 0)


def test_a_map_of_zeros_points_nowhere():
    inside = np.ones((4, 4), bool)
    assert pointing(np.zeros((4, 4), np.float32), inside) == (0.0, 0.0)


def test_dice_counts_the_map_down_to_half_of_its_peak():
    inside = np.array([[True, True, False, False]])
    heat = np.array([[0.8, 0.1, 0.4, 0.39]], np.float32)
    assert pointing(heat, inside) == (1.0, pytest.approx(0.5))


def test_the_centre_map_peaks_in_the_middle_of_the_head():
    heat = center_map(Crop(10, 20, 40), 100, 90)
    assert heat.shape == (100, 90)
    assert np.unravel_index(heat.argmax(), heat.shape) == (40, 30)
    assert heat.max() == pytest.approx(1.0)


def test_an_outline_of_another_size_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(DatasetError, match=r"mask\.png"):
        read_outline(tmp_path / "mask.png", (8, 9))


GROUPS = [f"p{row // 4}" for row in range(200)]


def slowly(statistic, groups):
    """Any statistic of rows, draw by draw: the reference."""
    keys, rows = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(rows == key) for key in range(len(keys))]
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, len(keys), (400, len(keys)))
    found = [statistic(np.concatenate([members[key] for key in row])) for row in drawn]
    low, high = np.percentile(found, (2.5, 97.5))
    return statistic(np.arange(len(rows))), low, high


def test_a_mean_is_that_of_the_slow_bootstrap():
    values = np.random.default_rng(0).random(200)
    found = Resampling(GROUPS).average(values, np.ones(200, bool))
    slow = slowly(lambda rows: values[rows].mean(), GROUPS)
    assert tuple(found.values()) == pytest.approx(slow, abs=0.02)


def test_an_auroc_is_that_of_the_slow_bootstrap():
    rng = np.random.default_rng(1)
    positive = np.repeat(rng.random(50) < 0.5, 4)
    scores = np.round(rng.normal(positive, 1.0), 1)
    found = figure(Resampling(GROUPS).auroc(scores, positive))
    slow = slowly(lambda rows: roc_auc_score(positive[rows], scores[rows]), GROUPS)
    assert found["value"] == pytest.approx(roc_auc_score(positive, scores))
    assert tuple(found.values()) == pytest.approx(slow, abs=0.03)


def test_patients_are_drawn_not_slices():
    hits = np.repeat([False, True], 100)
    two = Resampling(["a"] * 100 + ["b"] * 100).share(hits, np.ones(200, bool))
    assert two == {"value": 0.5, "low": 0.0, "high": 1.0}


def test_a_perfect_share_of_few_patients_still_has_an_interval():
    hits = np.ones(200, bool)
    found = Resampling(GROUPS).share(hits, hits)
    exact = binomtest(50, 50).proportion_ci(method="exact")
    assert found["value"] == 1.0
    assert (found["low"], found["high"]) == pytest.approx((exact.low, exact.high))


def test_a_single_patient_does_not_say_how_patients_differ():
    hits = np.arange(8) < 6
    found = Resampling(["a"] * 8).share(hits, np.ones(8, bool))
    assert found == {"value": 0.75, "low": 0.0, "high": 1.0}


def test_a_share_of_nothing_is_none():
    nobody = np.zeros(200, bool)
    assert Resampling(GROUPS).share(~nobody, nobody) is None


def test_an_auroc_of_one_kind_is_none():
    assert figure(Resampling(GROUPS).auroc(np.ones(200), np.ones(200, bool))) is None


def test_a_share_by_patient_is_drawn_by_patient():
    groups = ["a"] * 30 + ["b", "c", "d"]
    hits = np.array([True] * 30 + [False, True, False])
    found = Resampling(groups).share_by_patient(hits, np.ones(33, bool))
    assert found["value"] == 0.5
    assert found["low"] == 0.0
    assert found["high"] == 1.0
    # All slices of one patient: the exact interval of one, not of thirty.
    alone = Resampling(groups).share_by_patient(hits, np.arange(33) < 30)
    assert alone["value"] == 1.0
    assert alone["low"] == pytest.approx(0.025)


def test_a_mean_leaves_out_what_is_not_a_number():
    found = mean_figure(np.array([1.0, np.nan, 0.0, 1.0]), ["a", "b", "c", "d"])
    assert found is not None
    assert found["value"] == 2.0 / 3.0
    assert found["low"] < found["value"] < found["high"]


def test_nothing_to_measure_is_none():
    assert mean_figure(np.array([np.nan]), ["a"]) is None
    assert mean_figure(np.zeros(0), []) is None
    assert auroc_figure(np.zeros(0), np.zeros(0, bool), []) is None
    assert auroc_figure(np.ones(2), np.ones(2, bool), ["a", "b"]) is None


def test_a_share_of_none_is_as_sure_as_there_are_patients():
    patients = [f"p{row // 3}" for row in range(30)]
    found = share_figure(np.zeros(30, bool), patients)
    exact = binomtest(0, 10).proportion_ci(method="exact")
    assert found is not None
    assert (found["low"], found["high"]) == pytest.approx((exact.low, exact.high))
    every = share_figure(np.where(np.arange(30) < 15, 1.0, np.nan), patients)
    assert every == pytest.approx(
        {"value": 1.0, "low": 0.025 ** (1.0 / 5.0), "high": 1.0}
    )
    some = np.arange(30) < 10
    assert share_figure(some, patients) == mean_figure(some, patients)
    assert share_figure(np.zeros(0), []) is None


def test_an_error_that_noise_makes_larger_lies_inside_its_interval():
    rng = np.random.default_rng(3)
    gaps = rng.normal(0.0, 1.0, (200, 15))
    gaps -= 0.7 * gaps.mean(axis=0)
    draws = np.abs(Resampling(GROUPS).sums(gaps)).sum(axis=1)
    assert figure(draws)["low"] > draws[0]
    found = figure(without_bias(draws))
    assert found["value"] == draws[0]
    assert found["low"] < draws[0] < found["high"]
    assert (without_bias(draws) >= 0.0).all()
    alone = without_bias(draws[:1])
    assert alone.tolist() == draws[:1].tolist()
