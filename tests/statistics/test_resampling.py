"""Statistics of all draws at once, against each draw worked out by itself."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from tumorlens.statistics.resampling import (
    Resampling,
    auroc_figure,
    figure,
    mean_figure,
    share_figure,
    without_bias,
)

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
