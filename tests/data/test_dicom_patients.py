"""DICOM files tell whose they are, without saying who that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples.dicom_files import saved, slice_file
from tests.samples.pictures import blank_png
from tumorlens.data.dicom_patients import dicom_patient
from tumorlens.data.manifest import read_manifest
from tumorlens.data.split import split_into_folds
from tumorlens.imaging.read import read_study


def written(path: Path, **tags: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(slice_file(**tags)))
    return path


def test_slices_of_one_person_share_a_name_that_does_not_hold_the_id(tmp_path):
    one = dicom_patient(written(tmp_path / "1", PatientID="4711", position=0.0))
    two = dicom_patient(written(tmp_path / "2", PatientID=" 4711", position=6.0))
    other = dicom_patient(written(tmp_path / "3", PatientID="4712"))
    assert one == two != other
    assert one.startswith("dicom:") and "4711" not in one and "Secret" not in one


def test_one_id_of_two_hospitals_is_two_people(tmp_path):
    names = {
        dicom_patient(written(tmp_path / site, PatientID="1", IssuerOfPatientID=site))
        for site in ("north", "south")
    }
    assert len(names) == 2


def test_without_an_id_the_study_counts(tmp_path):
    one, two, other = (
        dicom_patient(written(tmp_path / str(row), PatientID="", StudyInstanceUID=uid))
        for row, uid in enumerate(("1.2.3", "1.2.3", "1.2.4"))
    )
    assert one == two != other
    assert dicom_patient(written(tmp_path / "none")) == ""


@pytest.mark.parametrize("data", [b"", blank_png(64), saved(slice_file())[:150]])
def test_what_tells_nothing_names_nobody(data, tmp_path):
    path = tmp_path / "slice.dcm"
    path.write_bytes(data)
    assert dicom_patient(path) == ""
    assert dicom_patient(tmp_path / "missing") == ""


def test_folders_of_dicom_are_dealt_by_patient(tmp_path):
    for patient in ("a", "b", "c", "d"):
        for row in range(5):
            label = "glioma" if row % 2 else "no_tumor"
            path = tmp_path / label / f"{patient}{row}.dcm"
            written(path, PatientID=patient, position=6.0 * row)
    records = read_manifest(tmp_path)
    assert len({record.patient for record in records}) == 4
    folds = {}
    for record in split_into_folds(records, 2):
        whose = str(read_study(record.path).series[0].headers[0].PatientID)
        folds.setdefault(whose, set()).add(record.fold)
    assert [len(found) for found in folds.values()] == [1, 1, 1, 1]
