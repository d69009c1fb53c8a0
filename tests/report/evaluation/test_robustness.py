"""Damage and refusal in a few rows, read off what a bundle keeps."""

from __future__ import annotations

from tests.samples.evaluation_page import figure
from tumorlens.report.evaluation.robustness import damage_rows, refusal_rows


def test_the_costliest_damage_is_named() -> None:
    kinds = {
        name: {"drop": figure(drop), "strengths": [{}] * 5}
        for name, drop in (("blur", 2), ("crop", 9), ("noise", -1))
    }
    rows = dict(
        damage_rows(
            {
                "drop": figure(3),
                "sensitivity_drop": figure(4),
                "specificity_drop": None,
                "kinds": kinds,
            }
        )
    )
    assert rows["The same for the costliest kind (crop)"] == "9.000 [8.980, 9.020]"
    (mean,) = (row for row in rows if "3 kinds at 5 strengths" in row)
    assert rows[mean].startswith("3.000")
    assert rows["Tumour specificity lost to image damage, percentage points"] == "–"


def test_new_kinds_stand_beside_all() -> None:
    rows = list(
        refusal_rows(
            {
                "all": {"pictures": 30, "auroc": figure(0.9), "refused": figure(0.8)},
                "new": {"pictures": 10, "auroc": figure(0.7), "refused": figure(0.6)},
                "slices": 12,
                "passed": figure(0.99),
            }
        )
    )
    assert [row[1][:5] for row in rows] == ["0.900", "0.800", "0.700", "0.600", "0.990"]
    assert "30 images" in rows[0][0] and "10 images" in rows[2][0]
