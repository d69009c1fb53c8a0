"""Figures in words."""

from tumorlens.statistics.intervals import in_words


def test_words():
    figure = {"value": 0.9123, "low": 0.9, "high": 0.95}
    assert in_words(figure) == "0.91 [0.90, 0.95]"
    assert in_words(figure, percent=True) == "91.2 % [90.0, 95.0]"
    assert in_words(None) == "–"
    assert in_words({"value": -0.001, "low": -0.2, "high": 0.0}) == "0.00 [-0.20, 0.00]"


def test_an_interval_of_no_width_is_not_shown():
    figure = {"value": 0.5, "low": 0.5, "high": 0.5}
    assert in_words(figure) == "0.50"
    assert in_words(figure, percent=True) == "50.0 %"
