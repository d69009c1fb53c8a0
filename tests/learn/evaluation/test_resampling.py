"""Statistics of all draws at once, against each draw worked out by itself."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from tumorlens.learn.evaluation.resampling import Resampling, figure
from tumorlens.learn.metrics import auroc, bootstrap, bootstrap_statistic

GROUPS = [f"p{row // 4}" for row in range(200)]


def test_a_mean_is_that_of_the_general_bootstrap():
    values = np.random.default_rng(0).random(200)
    found = Resampling(GROUPS).average(values, np.ones(200, bool))
    assert tuple(found.values()) == pytest.approx(bootstrap(values, GROUPS), abs=0.02)


def test_an_auroc_is_that_of_the_general_bootstrap():
    rng = np.random.default_rng(1)
    positive = np.repeat(rng.random(50) < 0.5, 4)
    scores = np.round(rng.normal(positive, 1.0), 1)
    found = figure(Resampling(GROUPS).auroc(scores, positive))
    slow = bootstrap_statistic(lambda rows: auroc(scores[rows], positive[rows]), GROUPS)
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
