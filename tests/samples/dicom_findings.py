"""Drawn headers and findings for the tests of what goes back out as DICOM."""

import shutil
import subprocess

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, generate_uid

from tumorlens.report.dicom.finding import DicomFinding
from tumorlens.taxonomy import Answer, TumorClass

ROWS, COLUMNS, SLICES = 40, 48, 5
SPACING = (0.9, 0.8)
STEP = 3.0
ORIGIN = (-20.0, 10.0, 5.0)


def drawn_headers(**changes):
    """Five axial slices; a keyword set to None is left out."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    headers = []
    for number in range(SLICES):
        header = Dataset()
        header.SOPClassUID = MRImageStorage
        header.SOPInstanceUID = generate_uid()
        header.StudyInstanceUID = study
        header.SeriesInstanceUID = series
        header.FrameOfReferenceUID = frame
        header.Modality = "MR"
        header.SpecificCharacterSet = "ISO_IR 100"
        header.PatientName = "Drawn^Patient"
        header.PatientID = "DRAWN-1"
        header.PatientBirthDate = "19700101"
        header.PatientSex = "O"
        header.StudyDate = "20200102"
        header.StudyTime = "101112"
        header.StudyID = "7"
        header.AccessionNumber = "A7"
        header.ReferringPhysicianName = ""
        header.SeriesNumber = 3
        header.InstanceNumber = number + 1
        header.Rows, header.Columns = ROWS, COLUMNS
        header.PixelSpacing = list(SPACING)
        header.SliceThickness = STEP
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.ImagePositionPatient = [*ORIGIN[:2], ORIGIN[2] + STEP * number]
        for keyword, value in changes.items():
            if value is None:
                delattr(header, keyword)
            else:
                setattr(header, keyword, value)
        headers.append(header)
    return headers


def drawn_finding(**changes):
    facts = {
        "finding": Answer.TUMOR,
        "kinds": (TumorClass.GLIOMA,),
        "headline": "Tumour: glioma",
        "p_tumor": 0.97,
        "p_class": 0.93,
        "algorithm": "evidence-net",
        "version": "1.2.3",
        "operating_point": "balanced",
        "key_slices": (2,),
        "size_mm": (20.0, 31.5, 12.0),
        "centroid": (-5.0, 20.0, 11.0),
        "reasons": ("The two heads agree.",),
    }
    return DicomFinding(**{**facts, **changes})


def assert_valid(dataset, folder):
    """Ask dciodvfy, of dicom3tools, whether an object keeps the standard."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    path = folder / "object.dcm"
    dataset.save_as(path, enforce_file_format=True)
    done = subprocess.run(
        ["dciodvfy", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert [line for line in lines if line.startswith("Error")] == []
