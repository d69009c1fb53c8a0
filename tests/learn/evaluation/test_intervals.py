"""Figures with their intervals, as JSON and in words."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tumorlens.learn.evaluation.intervals import (
    in_words,
    mean_figure,
    share_figure,
    statistic_figure,
)


def test_a_mean_leaves_out_what_is_not_a_number():
    found = mean_figure(np.array([1.0, np.nan, 0.0, 1.0]), ["a", "b", "c", "d"])
    assert found is not None
    assert found["value"] == 2.0 / 3.0
    assert found["low"] < found["value"] < found["high"]


def test_nothing_to_measure_is_none():
    assert mean_figure(np.array([np.nan]), ["a"]) is None
    assert mean_figure(np.zeros(0), []) is None
    assert statistic_figure(lambda rows: 1.0, []) is None
    assert statistic_figure(lambda rows: float("nan"), ["a", "b"]) is None


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


def test_a_statistic_has_its_interval():
    values = np.arange(20.0)
    found = statistic_figure(
        lambda rows: float(np.median(values[rows])), [str(row) for row in range(20)]
    )
    assert found is not None and found["low"] < found["value"] < found["high"]


def test_words():
    figure = {"value": 0.9123, "low": 0.9, "high": 0.95}
    assert in_words(figure) == "0.91 [0.90, 0.95]"
    assert in_words(figure, percent=True) == "91.2 % [90.0, 95.0]"
    assert in_words(None) == "–"
    assert in_words({"value": -0.001, "low": -0.2, "high": 0.0}) == "0.00 [-0.20, 0.00]"
