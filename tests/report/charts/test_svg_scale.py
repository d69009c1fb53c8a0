"""Axes end at whole ticks, and ticks read as people write them."""

from __future__ import annotations

import math

import pytest

from tumorlens.report.charts.svg_scale import make_scale, nice_step


@pytest.mark.parametrize(
    ("length", "step"),
    [(1.0, 0.2), (0.5, 0.1), (100, 20), (7, 2), (12, 2.5), (0.011, 0.0025), (3e6, 1e6)],
)
def test_steps_are_round(length: float, step: float) -> None:
    assert nice_step(length) == pytest.approx(step)


def test_free_ends_widen_to_whole_ticks() -> None:
    scale = make_scale([0.13, 0.87, math.nan, math.inf], None, (0, 100))
    assert (scale.low, scale.high) == pytest.approx((0.0, 1.0))
    assert scale.ticks == pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1.0))
    assert [scale.label(tick) for tick in scale.ticks][1] == "0.2"


def test_fixed_ends_stay() -> None:
    scale = make_scale([5.0], (0.05, 0.95), (100, 0))
    assert (scale.low, scale.high) == (0.05, 0.95)
    assert scale(0.05) == 100
    assert scale(0.95) == pytest.approx(0)
    assert min(scale.ticks) >= 0.05
    assert max(scale.ticks) <= 0.95


@pytest.mark.parametrize("values", [[], [math.nan], [3.0], [0.0], [-2.0, -2.0]])
def test_no_values_and_equal_values_still_make_an_axis(values: list[float]) -> None:
    scale = make_scale(values, None, (0, 100))
    assert scale.low < scale.high
    assert len(scale.ticks) >= 2
    for value in values:
        if math.isfinite(value):
            assert 0 < scale(value) < 100


def test_labels_have_the_decimals_of_the_step() -> None:
    scale = make_scale([-1.0, 0.25], (-1.0, 0.25), (0, 100))
    assert scale.step == pytest.approx(0.25)
    assert [scale.label(tick) for tick in scale.ticks] == [
        "−1.00",
        "−0.75",
        "−0.50",
        "−0.25",
        "0.00",
        "0.25",
    ]
    thousands = make_scale([0.0, 12_000.0], None, (0, 100))
    assert thousands.label(thousands.ticks[-1]) == "12,500"
