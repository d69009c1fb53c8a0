"""A chart shows the numbers it was given, where they are."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET

import pytest

from tests.samples.page_sections import demo_sections
from tumorlens.report.charts.svg_chart import draw_chart
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
