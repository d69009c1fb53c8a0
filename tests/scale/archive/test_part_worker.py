"""What a worker makes of a part: rows, the same however parts are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from tests.samples.archives import UNTIMED, draw_pictures
from tests.samples.dicom_studies import write_series

pytest.importorskip("pyarrow", reason="the extra 'archive' is not installed")

from tumorlens.imaging.dicom.header import quiet
from tumorlens.scale.archive import part_worker
from tumorlens.scale.archive.ledger import PartTask
from tumorlens.scale.archive.part_worker import (
    PartWorker,
    acquisition_of,
)
from tumorlens.scale.archive.sources import ArchiveFile


@pytest.fixture(scope="module")
def worker(tiny_bundle: Path) -> PartWorker:
    """A worker with the tiny bundle."""
    return PartWorker(str(tiny_bundle), 1, None, maps=False)


def judged(worker: PartWorker, *units: list[Path]) -> list[dict[str, Any]]:
    files = tuple(
        tuple(ArchiveFile(str(path), path.name) for path in unit) for unit in units
    )
    table = worker.judge(PartTask(0, files)).table.drop_columns(list(UNTIMED))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_a_part_has_the_rows_of_its_units(worker: PartWorker, tmp_path: Path) -> None:
    series = write_series(tmp_path / "series", slices=6)
    pictures = sorted(draw_pictures(tmp_path / "pictures", 5).glob("*.png"))
    units = [[pictures[0]], series, *([path] for path in pictures[1:])]
    alone = [row for unit in units for row in judged(worker, unit)]
    assert judged(worker, *units) == alone
    assert len(alone) == 11


def test_a_series_too_large_to_be_held_is_judged_file_by_file(
    worker: PartWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = write_series(tmp_path / "series", slices=3)
    monkeypatch.setattr(part_worker, "MAX_STUDY_PIXELS", 100_000)
    rows = judged(worker, series)
    assert [row["file"] for row in rows] == ["0.dcm", "1.dcm", "2.dcm"]
    assert {row["slice"] for row in rows} == {0}
    assert {row["status"] for row in rows} == {"ok"}


def test_files_that_cannot_be_used_stand_behind_their_series(
    worker: PartWorker, tmp_path: Path
) -> None:
    series = write_series(tmp_path / "series", slices=4)
    series[1].write_bytes(series[1].read_bytes()[:900])
    series[2].write_text("replaced")
    rows = judged(worker, series)
    assert [(row["file"], row["status"]) for row in rows] == [
        ("0.dcm", "ok"),
        ("3.dcm", "ok"),
        ("1.dcm", "damaged_file"),
        ("2.dcm", "bad_input"),
    ]


def test_a_series_of_which_nothing_can_be_used_is_all_failures(
    worker: PartWorker, tmp_path: Path
) -> None:
    series = write_series(tmp_path / "series", slices=3)
    for path in series:
        item = dcmread(path)
        item.Modality = "CT"
        item.save_as(path)
    rows = judged(worker, series)
    assert [row["status"] for row in rows] == ["bad_input"] * 3


def test_an_acquisition_says_nothing_of_the_patient() -> None:
    header = Dataset()
    header.PatientName, header.PatientID = "Drawn^Head", "drawn-1"
    header.PatientBirthDate, header.StudyDate = "19700101", "20261130"
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2", "1.2.3"
    header.Manufacturer, header.ManufacturerModelName = "DRAWN\n", " Scanner 7 "
    header.MagneticFieldStrength = "15000"
    assert acquisition_of(header) == {
        "study": "1.2",
        "series": "1.2.3",
        "month": "2026-11",
        "manufacturer": "DRAWN",
        "scanner": "Scanner 7",
        "field_strength": 1.5,
    }


def test_an_empty_header_leaves_all_cells_empty() -> None:
    assert set(acquisition_of(Dataset()).values()) == {None}
    header = Dataset()
    with quiet():
        header.StudyDate = "2026"
    assert acquisition_of(header)["month"] is None


def test_the_model_is_named_with_a_digest(worker: PartWorker) -> None:
    name, digest = worker.model().rsplit(" ", 1)
    assert name == "tiny 0.0.1"
    assert len(digest) == 18
