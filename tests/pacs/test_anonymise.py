"""Nothing that says who is on an image comes through, however deep it lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from tests.samples.dicom_studies import change, write_series
from tumorlens.errors import DamagedFileError, InputError
from tumorlens.pacs.anonymise import Anonymiser

PLANTED = "Planted"
BRAINIX = Path(os.environ.get("TUMORLENS_DATA", "../shared/data"), "dicom/brainix/T1")
NAMES = (
    "PatientName",
    "PatientID",
    "OtherPatientNames",
    "PatientAddress",
    "PatientComments",
    "ReferringPhysicianName",
    "OperatorsName",
    "InstitutionName",
    "StationName",
    "DeviceSerialNumber",
    "ProtocolName",
    "StudyDescription",
    "SeriesDescription",
    "ImageComments",
    "AccessionNumber",
    "StudyID",
    "AdmissionID",
    "RequestedProcedureDescription",
)


def plant(path: Path) -> Path:
    """Write names wherever a scanner may, and deeper."""
    item = dcmread(path)
    for number, keyword in enumerate(NAMES):
        setattr(item, keyword, f"{PLANTED}{number}"[:16])
    item.PatientBirthDate, item.PatientSex = "19701224", "F"
    item.AcquisitionDateTime = "20261124101112"
    block = item.private_block(0x0029, f"{PLANTED} private", create=True)
    block.add_new(0x01, "LO", f"{PLANTED} secret")
    request, inner, image = Dataset(), Dataset(), Dataset()
    inner.PersonName = f"{PLANTED}^Deep"
    inner.InstitutionName = f"{PLANTED} House"
    request.PerformingPhysicianIdentificationSequence = [inner]
    request.ScheduledProcedureStepDescription = f"{PLANTED} step"
    item.RequestAttributesSequence = [request]
    image.ReferencedSOPClassUID = item.SOPClassUID
    image.ReferencedSOPInstanceUID = item.SOPInstanceUID
    image.PurposeOfReferenceCodeSequence = [Dataset()]
    image.PurposeOfReferenceCodeSequence[0].CodeMeaning = "Localizer"
    image.OperatorsName = f"{PLANTED}^Nested"
    item.ReferencedImageSequence = [image]
    item.preamble = f"{PLANTED} preamble".encode().ljust(128, b"\0")
    item.file_meta.SourceApplicationEntityTitle = PLANTED
    item.save_as(path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [plant(path) for path in write_series(tmp_path / "a", slices=3)]


def elements(item: Dataset) -> Iterator[str]:
    for element in item:
        if element.VR == "SQ":
            for below in element.value:
                yield from elements(below)
        else:
            yield str(element.value)


def test_nothing_that_was_planted_comes_through(
    files: list[Path],
) -> None:
    anonymiser = Anonymiser()
    before = [dcmread(path) for path in files]
    made = [anonymiser.anonymise(path.read_bytes(), path.name) for path in files]
    for data in (data for _, data in made):
        assert PLANTED.encode() not in data
        assert b"19701224" not in data and b"20261124" not in data
        for item in before:
            for uid in (item.SOPInstanceUID, item.SeriesInstanceUID):
                assert uid.encode() not in data
    after = [dcmread(BytesIO(data)) for _, data in made]
    assert {item.PatientIdentityRemoved for item in after} == {"YES"}
    assert after[0].DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert not any(element.tag.is_private for item in after for element in item)
    # What is seen, and where it lies, is as it was.
    for old, new in zip(before, after, strict=True):
        assert new.PixelData == old.PixelData
        assert new.ImagePositionPatient == old.ImagePositionPatient


def test_files_of_a_series_stay_together_and_refer_to_one_another(
    files: list[Path],
) -> None:
    anonymiser = Anonymiser()
    made = [anonymiser.anonymise(path.read_bytes(), path.name) for path in files]
    after = [dcmread(BytesIO(data)) for _, data in made]
    assert len({item.PatientID for item in after}) == 1
    assert len({item.SeriesInstanceUID for item in after}) == 1
    assert len({item.SOPInstanceUID for item in after}) == 3
    assert len({place.parent for place, _ in made}) == 1
    for item in after:
        (image,) = item.ReferencedImageSequence
        assert image.ReferencedSOPInstanceUID == item.SOPInstanceUID
        assert image.ReferencedSOPClassUID == item.SOPClassUID
    # Another call makes other names: nobody finds the way back.
    again = dcmread(
        BytesIO(Anonymiser().anonymise(files[0].read_bytes(), files[0].name)[1])
    )
    assert again.PatientID != after[0].PatientID
    assert again.StudyInstanceUID != after[0].StudyInstanceUID


def test_patients_are_told_apart(files: list[Path], tmp_path: Path) -> None:
    (other,) = write_series(tmp_path / "b", slices=1)
    change(other, PatientID="another")
    anonymiser = Anonymiser()
    found = {
        str(dcmread(BytesIO(anonymiser.anonymise(path.read_bytes(), "")[1])).PatientID)
        for path in (*files, other)
    }
    assert len(found) == 2


def test_what_may_show_a_name_or_cannot_be_read_is_refused(
    files: list[Path], tmp_path: Path
) -> None:
    burnt_in, capture, cut = files
    change(burnt_in, BurnedInAnnotation="YES")
    change(capture, SOPClassUID=SecondaryCaptureImageStorage)
    anonymiser = Anonymiser()
    for path in (burnt_in, capture):
        with pytest.raises(InputError, match="text in its pixels"):
            anonymiser.anonymise(path.read_bytes(), path.name)
    for data in (b"no DICOM", cut.read_bytes()[:900]):
        with pytest.raises(DamagedFileError):
            anonymiser.anonymise(data, "a file")


def test_a_scanners_files_lose_what_names_the_patient() -> None:
    found = sorted(BRAINIX.glob("*.dcm"))[:2]
    if not found:
        pytest.skip("the data sets are not on this machine")
    anonymiser = Anonymiser()
    for path in found:
        old = dcmread(path)
        new = dcmread(BytesIO(anonymiser.anonymise(path.read_bytes(), "")[1]))
        values = set(elements(new))
        for keyword in ("PatientName", "PatientID", "SOPInstanceUID", "StudyDate"):
            assert str(old[keyword].value) not in values
        assert (new.pixel_array == old.pixel_array).all()
