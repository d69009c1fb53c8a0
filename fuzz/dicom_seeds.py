"""DICOM files to start from that nobody ships."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.samples.coded_dicom import (
    JPEG_2000,
    JPEG_LOSSLESS,
    JPEG_LS,
    high_throughput,
    recoded,
)
from tests.samples.dicom_files import deflated, head, saved, slice_file


def compressed() -> list[bytes]:
    """Compress an MR slice by gdcm, in each syntax that it writes, and one by HTJ2K."""
    with tempfile.TemporaryDirectory() as folder:
        found = [
            recoded(syntax, Path(folder))
            for syntax in (JPEG_LOSSLESS, JPEG_LS, JPEG_2000)
        ]
    return [*found, *(saved(high_throughput(kind)) for kind in ("grey", "colour"))]


def series() -> list[bytes]:
    """Draw three slices that lie above each other."""
    return [saved(slice_file(head(40), position=z)) for z in (0.0, 4.0, 8.0)]


def drawn() -> list[bytes]:
    """Draw a rescaled slice, an enhanced file of two frames, and a deflated one."""
    scaled = slice_file(head(40), RescaleSlope=2, RescaleIntercept=-3)
    scaled.SeriesDescription, scaled.EchoTime = "AX T1 POST GD", 10
    made = slice_file(head(40).repeat(2, 0), NumberOfFrames=2, Rows=40)
    frames = []
    for height in (0, 5):
        place, frame = Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, height]
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return [saved(scaled), saved(made), deflated(slice_file(head(40)))]
