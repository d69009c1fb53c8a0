"""The page of shadow mode shows every figure, and names nobody."""

from __future__ import annotations

from html import unescape

import pytest

from tests.evaluation.test_shadow import CASES
from tumorlens.evaluation.shadow import measure_shadow
from tumorlens.report.evaluation.shadow import shadow_sections
from tumorlens.report.page import render_evaluation
from tumorlens.report.slice.document import RESEARCH_USE


@pytest.mark.parametrize("cases", [CASES, CASES[-1:], []])
def test_the_page_is_whole_with_labels_without_and_empty(cases: list) -> None:
    figures = measure_shadow(cases, cases)
    sections = shadow_sections(figures, {"done": len(cases), "failed": 1}, 9, 2)
    page = unescape(render_evaluation("Shadow mode", "Made today.", sections))
    assert RESEARCH_USE in page and "not for clinical use" in page
    assert "2 of 9 labels" in page
    assert "failed" in page
    assert ("No label has come yet." in page) is (cases is not CASES)


def test_rates_stand_with_their_intervals() -> None:
    figures = measure_shadow(CASES, CASES)
    week, labels, weeks, sequences, scanners, refusals = shadow_sections(
        figures, {}, 0, 0
    )
    rates = {row[0]: row[1:] for row in week.tables[1].rows}
    assert rates["Sensitivity"][1].startswith("66.7 % [")
    assert rates["Sensitivity, not judged counted as wrong"][1].startswith("50.0 % [")
    assert labels.tables[0].rows[0][:2] == ("glioma", "2")
    assert [row[0] for row in weeks.tables[0].rows] == ["2026-W47", "2026-W48"]
    assert weeks.charts[0].lines[0].y == [1.0, 0.5]
    assert {row[0] for row in sequences.tables[0].rows} == {"T1", "T2"}
    assert {row[0] for row in scanners.tables[0].rows} == {"drawn", "other"}
    assert refusals.tables[0].rows == [("unlike brain MRI", "1")]
