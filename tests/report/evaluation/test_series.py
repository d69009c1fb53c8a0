"""What was measured on whole scans, as rows."""

from __future__ import annotations

from tumorlens.report.evaluation.performance import series_figure_rows

FIGURE = {"value": 0.9, "low": 0.8, "high": 0.95}
COUNTS = {"tumor": 12, "no_tumor": 0}
POINTS = {"screening": {"sensitivity": FIGURE, "specificity": None, "scans": COUNTS}}
OUTLINES = {"scans": 7, "dice": FIGURE, "size_error": FIGURE, "peak_inside": None}
FIGURES = {
    "learned": {
        "auroc": FIGURE,
        "calibration_error": FIGURE,
        "operating_points": POINTS,
        "by_source": {"cheng": POINTS, "mine": POINTS},
        "measured": {
            "screening": {
                "all": {"labelled_lesions": FIGURE | {"slices": 9}},
                "FLAIR": {"same_scanner": FIGURE | {"slices": 5}},
            }
        },
        "kinds": {"cheng": {"glioma": {"right": FIGURE, "scans": 8}}},
    },
    "set_by_hand": {"auroc": FIGURE, "calibration_error": None},
    "planes": {
        kind: {
            "operating_points": {
                "screening": {**POINTS["screening"], "sensitivity": None}
            }
        }
        for kind in ("acquired", "all")
    },
    "outlines": {
        "fitted": OUTLINES,
        "half_of_peak": OUTLINES,
        "by_source": {"lgg": OUTLINES},
    },
}


def test_every_figure_that_there_is_has_a_row() -> None:
    rows = dict(series_figure_rows(FIGURES))
    assert rows["AUROC"] == "0.900 [0.800, 0.950]"
    assert rows["Calibration error of the rule set by hand"] == "–"
    assert "sensitivity at `screening` (12 series)" in rows
    assert "mine: sensitivity at `screening` (12 series)" in rows
    # Nothing was measured where no scan of the kind was there.
    assert not any("specificity" in title or "planes" in title for title in rows)
    clear = "FLAIR: tumour-free parts from the same scanners called free of tumour"
    assert rows[f"{clear} at `screening` (5 series)"] == "0.900 [0.800, 0.950]"
    assert not any(title.startswith("all:") for title in rows)
    stacks = "`cheng`, stacks of tumour slices"
    assert f"{stacks}: likeliest kind right, glioma (8 series)" in rows
    assert "Lesion at the fitted level (7 outlines): Dice, mean" in rows
    assert len(series_figure_rows({**FIGURES, "outlines": None})) == len(rows) - 9
