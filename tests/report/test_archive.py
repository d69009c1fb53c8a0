"""A page of an archive: what it counts, and the way down to a series."""

from __future__ import annotations

import re

from tumorlens.report.archive import render_archive

COUNTS = {
    "month": [
        {"month": None, "decision": None, "slices": 0, "failed": 3},
        {"month": "2026-01", "decision": "glioma", "slices": 30, "failed": 0},
        {"month": "2026-01", "decision": "no_tumor", "slices": 10, "failed": 0},
        {"month": "2026-02", "decision": "not_brain_mri", "slices": 1234, "failed": 0},
    ],
    "field_strength": [
        {"field_strength": 1.5, "decision": "glioma", "slices": 30, "failed": 0}
    ],
    "plane": [],
}
SERIES = [
    {
        **{"month": "2026-01", "scanner": scanner, "decision": "glioma"},
        **{"series": f"1.2.{number}", "slices": 5, "file": "<b>.dcm", "slice": 2},
        **{"p_tumor": 0.987, "maps": maps},
    }
    for number, (scanner, maps) in enumerate(
        (("A", "00000/x"), ("A", None), (None, None))
    )
]
TOTALS = {"rows": 1277, "slices": 1274, "failed": 3, "series": 9}


def page(**changed):
    given = {
        "totals": TOTALS,
        "counts": COUNTS,
        "histogram": [1, 2, 3, 4],
        "series": SERIES,
        "left_out": {("2026-01", "A", "glioma"): 7},
        "link": lambda stem: f"maps/{stem}.overlay.png",
        "subtitle": "results & more",
    }
    return render_archive(**(given | changed))


def test_counts_stand_by_value_and_decision():
    html = page()
    assert "results &amp; more" in html
    assert "<dd>1,274</dd>" in html
    assert ">2026-02</th>" in html
    assert "not brain MRI 1,234" in html
    assert ">1.5</th>" in html
    # Bars are as long as their share of the largest value.
    widths = [float(text) for text in re.findall(r"--w: ([\d.]+)", html)]
    assert widths[:3] == [2.43, 0.81, 100.0]
    assert "By plane" not in html
    assert "<svg" in html


def test_series_are_folded_by_month_scanner_and_decision():
    html = page()
    folds = re.findall(r"<summary>(.*?)</summary>", html)
    assert [fold.removesuffix(" series or single images") for fold in folds] == [
        *("2026-01: 10", "A: 9", "glioma: 9"),
        *("not stated: 1", "glioma: 1"),
    ]
    assert html.count('href="maps/00000/x.overlay.png"') == 1
    assert "7 more" in html
    assert "<b>.dcm" not in html
    assert "&lt;b&gt;.dcm" in html


def test_an_archive_without_results_says_so():
    html = page(counts={"month": []}, series=[], left_out={}, histogram=[0, 0])
    assert "No slice was judged." in html


def test_the_page_loads_nothing():
    html = page()
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert not re.findall(r'(?:src|href)="https?:', html)
