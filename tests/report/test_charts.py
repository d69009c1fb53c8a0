"""A chart shows the numbers it was given, where they are; so do pictures of a card."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET

import pytest

from tests.samples.evaluation_page import demo_sections
from tumorlens.report.charts import draw_chart, draw_sketches, make_scale, nice_step
from tumorlens.report.page_parts import Chart, Line

CHARTS = [chart for section in demo_sections() for chart in section.charts]


def parsed(*lines: Line, **options) -> ET.Element:
    chart = Chart("Title", "x", "y", lines, **options)
    return ET.fromstring(draw_chart(chart, "c"))


def found(root: ET.Element, name: str, kind: str) -> list[ET.Element]:
    return [node for node in root.iter(name) if node.get("class") == kind]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.title[:20])
def test_every_chart_is_valid_and_names_itself(chart: Chart) -> None:
    root = ET.fromstring(draw_chart(chart, "c"))
    title, told = root.find("title"), root.find("desc")
    assert title is not None
    assert told is not None
    assert title.text == chart.title
    assert chart.lines[0].name in (told.text or "")
    assert root.get("aria-labelledby") == f"{title.get('id')} {told.get('id')}"


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.title[:20])
def test_no_number_that_is_none_reaches_the_drawing(chart: Chart) -> None:
    text = draw_chart(chart, "c").split("</desc>")[1]
    assert "nan" not in text
    assert "inf" not in text


def test_a_point_lies_where_its_numbers_say() -> None:
    root = parsed(
        Line("a", (0, 0.5, 1), (0, 0.25, 1), "points"), x_range=(0, 1), y_range=(0, 1)
    )
    dots = found(root, "circle", "dot")
    x = [float(dot.get("cx", "")) for dot in dots]
    y = [float(dot.get("cy", "")) for dot in dots]
    assert x[1] == pytest.approx((x[0] + x[2]) / 2, abs=0.1)
    assert y[0] - y[1] == pytest.approx((y[0] - y[2]) / 4, abs=0.1)


def test_a_line_breaks_where_a_number_is_missing() -> None:
    root = parsed(Line("a", (0, 1, 2, 3, 4), (1, 2, math.nan, 3, 4)))
    drawn = found(root, "path", "line")[0].get("d", "")
    assert drawn.count("M") == 2
    assert drawn.count("L") == 2


def test_a_band_spans_low_to_high() -> None:
    root = parsed(
        Line("a", (0, 1), (0.5, 0.5), low=(0.25, 0.25), high=(0.75, 0.75)),
        y_range=(0, 1),
    )
    corners = (found(root, "polygon", "band")[0].get("points") or "").split()
    heights = [float(corner.split(",")[1]) for corner in corners]
    assert len(set(heights)) == 2
    grid = sorted(
        float((path.get("d") or "").split()[1].split("H")[0])
        for path in found(root, "path", "grid")
    )
    assert max(heights) - min(heights) == pytest.approx(
        (grid[-1] - grid[0]) / 2, abs=0.2
    )


def test_bars_of_two_series_stand_beside_each_other_from_zero() -> None:
    root = parsed(Line("a", (1, 2), (5, 3), "bars"), Line("b", (1, 2), (4, 2), "bars"))
    bars = [bar for bar in found(root, "rect", "bar") if bar.get("width") != "13"]
    spans = sorted(
        (float(bar.get("x", "")), float(bar.get("x", "")) + float(bar.get("width", "")))
        for bar in bars
    )
    assert len(spans) == 4
    for before, after in itertools.pairwise(spans):
        assert before[1] <= after[0]
    feet = {
        round(float(bar.get("y", "")) + float(bar.get("height", ""))) for bar in bars
    }
    assert len(feet) == 1


def test_series_differ_by_more_than_colour() -> None:
    root = parsed(*(Line(str(n), (0, 1), (n, n)) for n in range(4)))
    assert (
        len({line.get("stroke-dasharray") for line in found(root, "path", "line")}) == 4
    )


def test_one_series_needs_no_legend_and_several_have_one() -> None:
    def words(root: ET.Element) -> list[str]:
        return [node.text or "" for node in root.iter("text")]

    assert "alone" not in words(parsed(Line("alone", (0, 1), (0, 1))))
    two = words(parsed(Line("one", (0, 1), (0, 1)), Line("other", (0, 1), (1, 0))))
    assert {"one", "other"} <= set(two)


def test_thousands_of_equal_steps_stay_small() -> None:
    steps = [n / 50_000 for n in range(50_000)]
    flat = Line("a", steps, [0.5] * 50_000)
    assert len(draw_chart(Chart("", "", "", (flat,)), "c")) < 60_000


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


SQUARE = [[10.0, 10.0], [90.0, 10.0], [90.0, 90.0]]


def sketch(**changes):
    return {
        "source": "cheng",
        "true": "glioma",
        "said": "no_tumor",
        "sure": 0.97,
        "slices": 12,
        "width": 100,
        "height": 80,
        "head": [SQUARE],
        "drawn": [SQUARE],
        "marked": [],
        **changes,
    }


def test_every_sketch_is_drawn_and_told():
    svg = draw_sketches("Errors <of> a set", [sketch(), sketch(true="pituitary")] * 2)
    root = ET.fromstring(svg)
    space = {"s": "http://www.w3.org/2000/svg"}
    assert len(root.findall("s:g", space)) == 4
    assert len(root.findall(".//s:path", space)) == 8  # what is empty has no path
    assert root.find("s:title", space).text == "Errors <of> a set"
    told = root.find("s:desc", space).text
    assert "Truth pituitary tumour" in told
    assert "said no tumour, 0.97; 12 slices are so" in told


def test_a_line_fills_its_cell():
    svg = draw_sketches("One", [sketch()])
    assert "M16.0 16.0L144.0 16.0L144.0 144.0Z" in svg
