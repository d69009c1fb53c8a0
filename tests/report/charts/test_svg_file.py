"""Errors as line drawings in one file."""

import xml.etree.ElementTree as ET

from tumorlens.report.charts.svg_file import draw_sketches

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
