"""A drawn series of enhanced MR: all slices in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from tests.samples.dicom_studies import write_series


def _group(**values: object) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def write_enhanced(
    folder: Path, pixels: list[np.ndarray], places: list[int] | None = None
) -> Path:
    """Write frames of 12 bits, 6 mm apart.

    Parameters
    ----------
    pixels
        Of each frame.
    places
        Where each frame lies along the patient, in slices; in order by default.
    """
    places = list(range(len(pixels))) if places is None else places
    (path,) = write_series(folder, slices=1, pixels=pixels[0])
    made = dcmread(path)
    for keyword in (
        *("EchoTime", "EchoTrainLength", "RepetitionTime", "ScanningSequence"),
        *("SequenceVariant", "ScanOptions", "MRAcquisitionType", "PixelSpacing"),
        *("SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"),
    ):
        delattr(made, keyword)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    made.NumberOfFrames = len(pixels)
    dimensions = generate_uid()
    made.DimensionOrganizationSequence = _group(DimensionOrganizationUID=dimensions)
    made.DimensionIndexSequence = _group(
        DimensionIndexPointer=0x00209057,
        FunctionalGroupPointer=0x00209111,
        DimensionOrganizationUID=dimensions,
    )
    share_of_each = Dataset()
    share_of_each.PixelMeasuresSequence = _group(
        PixelSpacing=[0.8, 0.8], SliceThickness=6
    )
    share_of_each.PlaneOrientationSequence = _group(
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0]
    )
    share_of_each.MREchoSequence = _group(EffectiveEchoTime=10.0)
    made.SharedFunctionalGroupsSequence = Sequence([share_of_each])
    frames = []
    for place in places:
        frame = Dataset()
        frame.FrameContentSequence = _group(
            DimensionIndexValues=[place + 1],
            StackID="1",
            InStackPositionNumber=place + 1,
        )
        frame.PlanePositionSequence = _group(
            ImagePositionPatient=[-96.0, -96.0, 6.0 * place]
        )
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = Sequence(frames)
    made.PixelData = np.stack(pixels).tobytes()
    dcmwrite(path, made, enforce_file_format=True)
    return path
