"""Counts over an archive's results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tumorlens.errors import MissingFileError, SettingError
from tumorlens.taxonomy import Verdict

pytest.importorskip("pyarrow", reason="the extra 'archive' is not installed")

from tumorlens.scale.archive.parquet import (
    part_path,
    table_of,
    write_part,
)
from tumorlens.scale.archive.query import archive_overview, query_archive


def row(month: str | None, series: str, p_tumor: float, **more: Any) -> dict[str, Any]:
    decision = "glioma" if p_tumor >= 0.5 else "no_tumor"
    return {
        "file": f"{series}.dcm",
        "status": "ok",
        "decision": decision,
        "p_tumor": p_tumor,
        "month": month,
        "series": series,
        **more,
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two parts of rows."""
    parts = [
        [
            row("2026-02", "s2", 0.9, scanner="X", field_strength=3.0),
            row("2026-02", "s2", 0.7, scanner="X", field_strength=3.0),
            row("2026-01", "s1", 0.1, scanner="Y", field_strength=1.5),
        ],
        [
            row("2026-01", "s3", 0.3, scanner="X", field_strength=3.0),
            row(None, "s4", 0.99) | {"decision": Verdict.NOT_BRAIN_MRI.value},
            {"file": "bad.png", "status": "damaged_file"},
        ],
    ]
    (tmp_path / "_state").mkdir()
    for number, rows in enumerate(parts):
        place = tmp_path / part_path(number)
        write_part(table_of(rows), place, tmp_path / "_state", {})
    return tmp_path


def test_decisions_by_month(results: Path) -> None:
    found = query_archive(results, ["month", "decision"], {})
    assert [
        (x["month"], x["decision"], x["slices"], x["failed"], x["series"])
        for x in found.groups
    ] == [
        (None, None, 0, 1, 0),
        (None, "not_brain_mri", 1, 0, 1),
        ("2026-01", "no_tumor", 2, 0, 2),
        ("2026-02", "glioma", 2, 0, 1),
    ]
    assert found.groups[3]["mean_p_tumor"] == pytest.approx(0.8)
    # A probability of what the model does not know means nothing.
    assert found.groups[1]["max_p_tumor"] is None


def test_series_by_their_highest_probability(results: Path) -> None:
    found = query_archive(results, ["series", "scanner"], {})
    assert [x["series"] for x in found.groups] == ["s2", "s3", "s1", None, "s4"]
    assert found.groups[0] == {
        "series": "s2",
        "scanner": "X",
        "rows": 2,
        "slices": 2,
        "failed": 0,
        "mean_p_tumor": pytest.approx(0.8),
        "max_p_tumor": 0.9,
    }


def test_rows_are_chosen_by_value_and_probability(results: Path) -> None:
    def names(where: dict[str, str], least: float | None = None) -> list[str]:
        found = query_archive(results, ["series"], where, least)
        return [x["series"] for x in found.groups]

    assert names({"scanner": "X", "month": "2026-01"}) == ["s3"]
    assert names({"field_strength": "1.5"}) == ["s1"]
    assert names({"month": "", "status": "ok"}) == ["s4"]
    assert names({}, 0.3) == ["s2", "s3"]
    assert names({"scanner": "Z"}) == []


def test_what_is_no_column_or_value_is_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no column 'hospital'"):
        query_archive(results, ["hospital"], {})
    with pytest.raises(SettingError, match="'high' is no value of the column p_tumor"):
        query_archive(results, ["month"], {"p_tumor": "high"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match="holds no results"):
        query_archive(tmp_path / "empty", ["month"], {})


def test_an_overview_counts_and_picks_series(results: Path) -> None:
    found = archive_overview(results, {})
    assert found.totals == {"rows": 6, "slices": 5, "failed": 1, "series": 4}
    months = {(x["month"], x["decision"]): x["slices"] for x in found.counts["month"]}
    assert months["2026-02", "glioma"] == 2
    assert [x["decision"] for x in found.counts["decision"]] == [
        None,
        "glioma",
        "no_tumor",
        "not_brain_mri",
    ]
    # 0.1, 0.3, 0.7 and 0.9, each at the lower end of its bin or a hair below.
    assert sum(found.histogram) == 4
    assert sum(found.histogram[13:15]) == 1
    assert [(x["month"], x["scanner"], x["series"]) for x in found.series] == [
        (None, None, "s4"),
        ("2026-01", "X", "s3"),
        ("2026-01", "Y", "s1"),
        ("2026-02", "X", "s2"),
    ]
    best = found.series[3]
    assert (best["slices"], best["p_tumor"], best["file"]) == (2, 0.9, "s2.dcm")
    assert found.left_out == {}


def test_an_overview_lists_the_highest_and_counts_the_others(tmp_path: Path) -> None:
    rows = [
        row("2026-03", f"s{number}", 0.5 + number / 100, scanner="X", slice=number)
        for number in range(12)
    ]
    rows += [row("2026-03", "s11", 0.95, scanner="X", maps="00000/a", slice=99)]
    # A picture without a series stands for itself.
    rows += [row("2026-03", "s", 0.94, scanner="X") | {"series": None, "file": "p.png"}]
    place = tmp_path / part_path(0)
    (tmp_path / "_state").mkdir()
    write_part(table_of(rows), place, tmp_path / "_state", {})
    found = archive_overview(tmp_path, {}, listed=3)
    assert [x["series"] for x in found.series] == ["s11", "p.png", "s10"]
    assert found.left_out == {("2026-03", "X", "glioma"): 10}
    assert (found.series[0]["maps"], found.series[0]["slice"]) == ("00000/a", 99)
    assert found.series[0]["slices"] == 2
    chosen = archive_overview(tmp_path, {"series": "s3"}, listed=3)
    assert chosen.totals["slices"] == 1
    assert [x["series"] for x in chosen.series] == ["s3"]
    assert archive_overview(tmp_path, {}, 0.93).totals["slices"] == 2
    nobody = archive_overview(tmp_path, {"scanner": "Z"})
    assert (nobody.totals["rows"], nobody.series) == (0, [])
