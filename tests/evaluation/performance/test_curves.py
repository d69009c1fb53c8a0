"""Curves of made-up sets, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve

from tests.samples.scored_slices import made_set, random_set
from tumorlens.evaluation.performance.curves import curve_figures
from tumorlens.evaluation.performance.figures import set_figures
from tumorlens.report.evaluation.performance import curve_sections

NONE = "no_tumor"


@pytest.fixture(scope="module")
def scored_slices():
    return random_set(3)


@pytest.fixture(scope="module")
def curves(scored_slices):
    return curve_figures(scored_slices)


def test_the_roc_is_that_of_scikit_learn(scored_slices, curves):
    false, found, _ = roc_curve(scored_slices.tumor, scored_slices.p_tumor)
    roc = curves["roc"]["tumor"]
    assert roc["y"] == pytest.approx(np.interp(roc["x"], false, found), abs=0.02)
    assert all(
        low <= value <= high
        for low, value, high in zip(roc["low"], roc["y"], roc["high"], strict=True)
    )


def test_the_average_precision_is_that_of_scikit_learn(scored_slices, curves):
    found = curves["precision_recall"]["tumor"]
    wanted = average_precision_score(scored_slices.tumor, scored_slices.p_tumor)
    assert found["average_precision"]["value"] == pytest.approx(wanted)
    assert found["prevalence"] == pytest.approx(0.75)


def test_acting_on_the_truth_is_worth_the_share_of_tumours():
    truth = np.eye(4)[[0, 3, 3, 3]]
    said = [(f"p{row}", name, name) for row, name in enumerate(["glioma", *[NONE] * 3])]
    curve = curve_figures(made_set(said, probabilities=truth))["decision"]
    assert curve["y"] == [0.25] * len(curve["x"])


def test_the_net_benefit_weighs_false_alarms_by_the_odds():
    said = [("a", "glioma", "glioma"), ("b", NONE, "glioma")]
    curve = curve_figures(made_set(said))["decision"]
    at = curve["x"].index(0.75)
    # One of two found, less one of two false alarms at odds of three to one.
    assert curve["y"][at] == pytest.approx(0.5 - 0.5 * 3)
    assert curve["all"][at] == pytest.approx(curve["y"][at])


def test_reliability_counts_every_slice_once(scored_slices, curves):
    bins = curves["reliability"]["most_probable"]["bins"]
    assert sum(row["slices"] for row in bins) == len(scored_slices.records)
    right = sum(row["slices"] * row["right"]["value"] for row in bins)
    wanted = (scored_slices.probabilities.argmax(axis=1) == scored_slices.labels).sum()
    assert right == pytest.approx(wanted)


def test_one_kind_alone_has_no_roc_but_a_reliability():
    scored_slices = made_set([("a", "glioma", "glioma"), ("b", "glioma", NONE)])
    found = curve_figures(scored_slices)
    assert found["roc"] == {}
    assert "decision" not in found
    ids = [item.id for item in curve_sections({"curves": found})]
    assert ids == ["calibration"]


def test_the_sections_show_the_operating_points(scored_slices, curves):
    metrics = {**set_figures(scored_slices), "curves": curves}
    first, *_ = curve_sections(metrics)
    points = first.charts[0].lines[-1]
    assert points.name == "Operating points"
    assert len(points.x) == 2
