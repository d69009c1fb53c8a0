"""The tests of the maps in a few rows, read off what a bundle keeps."""

from __future__ import annotations

from tests.samples.evaluation_page import measured_maps
from tumorlens.report.evaluation.explanations import MAPS, map_rows


def test_both_maps_stand_side_by_side() -> None:
    rows = list(map_rows(measured_maps()))
    assert all(len(row) == 1 + len(MAPS) for row in rows)
    assert [row[1][:5] for row in rows] == [
        *("0.500", "0.200", "0.200", "0.060", "0.300", "0.800")
    ]
    # All weights shuffled is the last stage, not the first.
    assert rows[3][2].startswith("0.070")


def test_without_outlines_the_rest_is_shown() -> None:
    titles = [row[0] for row in map_rows(measured_maps(outlines=False))]
    assert len(titles) == 5
    assert not any("outline" in title for title in titles)
