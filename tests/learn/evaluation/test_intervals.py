"""Figures in words."""

from tumorlens.learn.evaluation.intervals import in_words


def test_words():
    figure = {"value": 0.9123, "low": 0.9, "high": 0.95}
    assert in_words(figure) == "0.91 [0.90, 0.95]"
    assert in_words(figure, percent=True) == "91.2 % [90.0, 95.0]"
    assert in_words(None) == "–"
    assert in_words({"value": -0.001, "low": -0.2, "high": 0.0}) == "0.00 [-0.20, 0.00]"
