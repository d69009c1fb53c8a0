"""Drawn series, and patience, for the tests of node and DICOMweb."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tests.conftest import draw_phantom
from tests.samples.drawn_head import drawn_head_png
from tumorlens.imaging.read import read_study


def head() -> np.ndarray:
    """Take the head that the web app draws as its example."""
    (slice_,) = read_study(drawn_head_png()).slices
    return (4.0 * slice_.pixels).astype(np.uint16)


def write_series(
    folder: Path,
    study: str | None = None,
    slices: int = 6,
    pixels: np.ndarray | None = None,
) -> list[Path]:
    """Write an axial series of a drawn head, or of other pixels of 12 bits."""
    folder.mkdir(parents=True)
    study, series = study or generate_uid(), generate_uid()
    frame = generate_uid()
    pixels = head() if pixels is None else pixels
    made = []
    for place in range(slices):
        item = Dataset()
        item.file_meta = FileMetaDataset()
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item.SOPClassUID = MRImageStorage
        item.SOPInstanceUID = generate_uid()
        item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
        item.StudyInstanceUID, item.SeriesInstanceUID = study, series
        item.FrameOfReferenceUID = frame
        item.PatientName, item.PatientID = "Drawn^Head", "drawn-1"
        item.PatientBirthDate = item.PatientSex = ""
        item.StudyDate, item.StudyTime, item.StudyID = "20260101", "101010", "1"
        item.AccessionNumber = item.ReferringPhysicianName = ""
        item.Modality, item.Manufacturer = "MR", "drawn"
        item.SeriesNumber, item.InstanceNumber = 1, place + 1
        item.ScanningSequence, item.SequenceVariant = "SE", "NONE"
        item.ScanOptions, item.MRAcquisitionType = "", "2D"
        item.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        item.EchoTime, item.EchoTrainLength, item.RepetitionTime = 10, 1, 500
        item.PixelSpacing, item.SliceThickness = [0.8, 0.8], 6.0
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.ImagePositionPatient = [-96.0, -96.0, 6.0 * place]
        item.Rows, item.Columns = pixels.shape
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit = 16, 12, 11
        item.PixelRepresentation = 0
        item.PixelData = pixels.tobytes()
        path = folder / f"{place}.dcm"
        dcmwrite(path, item, enforce_file_format=True)
        made.append(path)
    return made


def ill_head() -> np.ndarray:
    """What the tiny bundle calls a glioma, in 12 bits."""
    return 16 * draw_phantom(lesion=(90, 110, 22)).astype(np.uint16)


def change(path: Path, **values: object) -> Path:
    """Set attributes of a file, by keyword."""
    item = dcmread(path)
    for keyword, value in values.items():
        setattr(item, keyword, value)
    item.save_as(path)
    return path


def wait_for(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.3)
