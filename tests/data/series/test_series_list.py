"""Lists of whole scans: written, read back, and refused where they are wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.samples.dicom_studies import write_series
from tumorlens.calibration.series import deal_series
from tumorlens.data.dicom_patients import dicom_patient
from tumorlens.data.manifest import Record
from tumorlens.data.series.series_list import (
    COLUMNS,
    ScanPart,
    ScanRecord,
    read_scans,
    write_scans,
)
from tumorlens.data.series.sources import collect_scans
from tumorlens.errors import DatasetError, MissingFileError, TumorLensError
from tumorlens.taxonomy import TumorClass


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{number}.png" for number in range(4)]
    for path in found:
        path.touch()
    return found


def write(path: Path, *rows: dict[str, object]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_what_is_written_is_read_back(files: list[Path], tmp_path: Path) -> None:
    stack = ScanRecord(
        "one",
        TumorClass.GLIOMA,
        "anna",
        "set",
        (ScanPart(files[0], 3), ScanPart(files[1], 5, files[2])),
        7.0,
    )
    whole = ScanRecord("two", None, "bert", "set", (ScanPart(files[3]),))
    path = tmp_path / "scans.csv"
    write_scans([stack, whole], path)
    assert read_scans(path) == [stack, whole]
    assert whole.tumor
    assert not whole.outlined
    assert stack.outlined


GOOD = {"scan": "a", "label": "no_tumor", "patient": "p", "file": "0.png"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "knee"}, "line 2: the label 'knee'"),
        ({"patient": ""}, "of no patient"),
        ({"file": "gone.png"}, "gone.png"),
        ({"slice": "x"}, "slice 'x'"),
        ({"gap_mm": "-1"}, "gap '-1'"),
        ({"gap_mm": "wide"}, "gap 'wide'"),
        ({"mask": "gone.png"}, "gone.png"),
    ],
)
def test_a_wrong_value_is_named(
    files: list[Path], tmp_path: Path, change: dict[str, str], said: str
) -> None:
    path = write(tmp_path / "scans.csv", {**GOOD, **change})
    with pytest.raises(DatasetError, match=said):
        read_scans(path)


def test_a_stack_of_two_kinds_or_without_places_is_refused(
    files: list[Path], tmp_path: Path
) -> None:
    other = {**GOOD, "slice": "1", "patient": "q"}
    path = write(tmp_path / "scans.csv", {**GOOD, "slice": "0"}, other)
    with pytest.raises(DatasetError, match="two kinds"):
        read_scans(path)
    path = write(tmp_path / "scans.csv", {**GOOD, "slice": "1"}, {**GOOD, "slice": "1"})
    with pytest.raises(DatasetError, match="or twice"):
        read_scans(path)


def test_lists_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_scans(tmp_path / "none.csv")
    empty = write(tmp_path / "empty.csv")
    with pytest.raises(DatasetError, match="no rows"):
        read_scans(empty)
    odd = tmp_path / "odd.csv"
    odd.write_text("file\n0.png\n")
    with pytest.raises(DatasetError, match="no column scan"):
        read_scans(odd)
    with pytest.raises(TumorLensError, match="none of the sets"):
        collect_scans(tmp_path)


def test_slices_of_a_set_form_its_scans(tmp_path: Path) -> None:
    lgg = tmp_path / "lgg"
    lgg.mkdir()
    rows = [("id", "patient", "slice", "mask_px", "gap_to_tumor_slice")]
    gaps = [3, 2, 1, 0, 0, 1, 2, 3]
    # Listed backwards: places, not the order of the rows, order a stack.
    for place in reversed(range(8)):
        drawn = 50 if gaps[place] == 0 else 0
        rows.append((f"s{place}", "P1", str(place), str(drawn), str(gaps[place])))
    (lgg / "lgg.csv").write_text("\n".join(",".join(row) for row in rows))
    whole, free, thin = collect_scans(tmp_path)
    assert [part.place for part in whole.parts] == list(range(8))
    assert [part.place for part in whole.parts if part.mask] == [3, 4]
    assert whole.label is TumorClass.GLIOMA
    assert [part.place for part in free.parts] == [0, 1, 6, 7]
    assert not free.tumor
    assert [part.place for part in thin.parts] == [0, 1, 3, 4, 6, 7]
    assert thin.tumor
    assert not thin.outlined
    assert whole.patient == free.patient == thin.patient == "lgg:P1"


def test_a_dicom_scan_is_of_the_patient_that_its_slices_name(tmp_path: Path) -> None:
    files = write_series(tmp_path / "dicom/volunteer")
    write_series(tmp_path / "dicom/brainix/T1", slices=2)
    healthy, ill = collect_scans(tmp_path)
    assert (healthy.name, ill.name) == ("dicom:volunteer", "dicom:brainix")
    trained = [Record(file, None, dicom_patient(file), fold=1) for file in files]
    assert deal_series([healthy], trained, [0, 1, 2]) == [1]
