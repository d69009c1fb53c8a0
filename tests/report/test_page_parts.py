"""Figures in words."""

from tumorlens.report.page_parts import figure_text


def test_words():
    figure = {"value": 0.9123, "low": 0.9, "high": 0.95}
    assert figure_text(figure, digits=2) == "0.91 [0.90, 0.95]"
    assert figure_text(figure, percent=True) == "91.2 % [90.0, 95.0]"
    assert figure_text(None, digits=2) == "–"
    assert (
        figure_text({"value": -0.001, "low": -0.2, "high": 0.0}, digits=2)
        == "0.00 [-0.20, 0.00]"
    )


def test_an_interval_of_no_width_is_not_shown():
    figure = {"value": 0.5, "low": 0.5, "high": 0.5}
    assert figure_text(figure, digits=2) == "0.50"
    assert figure_text(figure, percent=True) == "50.0 %"
