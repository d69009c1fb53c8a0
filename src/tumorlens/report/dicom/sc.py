"""An overlay as a DICOM secondary capture, marked as research for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.imaging.limits import check_dimensions
from tumorlens.report import words
from tumorlens.report.dicom.finding import RESEARCH_ONLY, DicomFinding
from tumorlens.report.dicom.headers import (
    MANUFACTURER,
    SC_SERIES,
    finish,
    frame_numbers,
    guarded,
    key_header,
    new_series,
    whole_headers,
)
from tumorlens.report.series import sides_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NOTICE = "RESEARCH USE ONLY - NOT FOR CLINICAL USE"
PARTIAL = "PART OF THE SERIES - IMAGES ARE MISSING"
_LEAST_WIDTH = 512
"""Smaller pictures are enlarged, or the notice could not be read."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (255, 255, 255)


def build_sc(
    headers: Sequence[Dataset],
    index: int,
    overlay: NDArray[Any],
    finding: DicomFinding,
    frames: Sequence[int] = (),
) -> Dataset:
    """Write an overlay as a secondary capture (DICOM PS3.3 A.8).

    Parameters
    ----------
    headers
        Headers of the series, one for each slice, without pixel data.
    index
        Position in the series of the slice that is shown, from 0.
    overlay
        Shape (H, W, 3), uint8, RGB.
    finding
        What is said of the series.
    frames
        Frame of its file that each slice is, from 0; needed for multi-frame files.

    Returns
    -------
    Dataset
        Ready to save. The notice stands in a band below the picture, so that
        it hides nothing.

    Raises
    ------
    InputError
        Where the slice is not there or the overlay is no picture in RGB.
    """
    whole = whole_headers(headers)
    header = key_header(whole, index)
    if overlay.ndim != 3 or overlay.shape[2] != 3 or overlay.dtype != np.uint8:
        raise InputError(
            f"The overlay has the shape {overlay.shape} and the type {overlay.dtype}.",
            "Give (height, width, 3), uint8, in RGB.",
        )
    check_dimensions(overlay.shape[1], overlay.shape[0], "The overlay")
    captions = [_caption(finding), *([PARTIAL] if finding.missing else [])]
    pixels = burn_in(overlay, *captions)
    with guarded("secondary capture"):
        numbers = frame_numbers(whole, frames, index)
        return _write(header, index, numbers, pixels, finding)


def _caption(finding: DicomFinding) -> str:
    """Say the finding on one line, in ASCII."""
    return words.with_probability(finding.headline, finding.p_tumor)


def burn_in(overlay: NDArray[np.uint8], *captions: str) -> NDArray[np.uint8]:
    """Add a band with the notice and captions below a picture.

    Parameters
    ----------
    overlay
        Shape (H, W, 3), uint8.
    captions
        Lines of plain ASCII.

    Returns
    -------
    ndarray
        Shape (H', W', 3), uint8; W' is W, or a multiple of it that the notice
        fits in.
    """
    times = -(-_LEAST_WIDTH // overlay.shape[1])
    picture = overlay.repeat(times, axis=0).repeat(times, axis=1)
    width = picture.shape[1]
    # Fitted by the notice's own width, with a margin at both ends.
    scale = 0.92 * width / cv2.getTextSize(NOTICE, _FONT, 1.0, 2)[0][0]
    line = round(34 * scale)
    lines = (NOTICE, *captions)
    band = np.zeros((len(lines) * line + line // 2, width, 3), np.uint8)
    thick = max(1, round(1.6 * scale))
    for row, text in enumerate(lines):
        spot = (width // 25, (row + 1) * line)
        cv2.putText(band, text, spot, _FONT, scale, _WHITE, thick, cv2.LINE_AA)
    return np.concatenate([picture, band])


def _write(
    header: Dataset,
    index: int,
    numbers: list[int],
    pixels: NDArray[np.uint8],
    finding: DicomFinding,
) -> Dataset:
    from highdicom import CoordinateSystemNames, PhotometricInterpretationValues
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset as NewDataset

    image = SCImage(
        pixel_array=pixels,
        photometric_interpretation=PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=CoordinateSystemNames.PATIENT,
        study_instance_uid=header.StudyInstanceUID,
        instance_number=index + 1,
        patient_orientation=("L", "P"),
        specific_character_set=header.get("SpecificCharacterSet"),
        **new_series(finding, SC_SERIES, "overlay"),
    )
    # highdicom wants an orientation; the source says which, or nobody knows.
    image.PatientOrientation = _orientation(header)
    image.copy_patient_and_study_information(header)
    # Type 2C, for want of a body part that has sides (PS3.3 C.7.3.1).
    image.Laterality = ""
    image.BurnedInAnnotation = "YES"
    image.ConversionType = "WSD"
    told = (f"Overlay by {MANUFACTURER}.", RESEARCH_ONLY, *finding.missing)
    # A short text has 1,024 letters at most (PS3.5, 6.2).
    image.DerivationDescription = " ".join(told)[:1024]
    source = NewDataset()
    source.ReferencedSOPClassUID = header.SOPClassUID
    source.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if numbers:
        source.ReferencedFrameNumber = numbers
    image.SourceImageSequence = [source]
    finish(image, header)
    return image


def _orientation(header: Dataset) -> list[str]:
    """Name where rows and columns lead: PS3.3 C.7.6.1.1.1."""
    cosines = header.get("ImageOrientationPatient")
    if not cosines or len(cosines) != 6:
        return []
    ways = ([float(item) for item in cosines[start : start + 3]] for start in (0, 3))
    return [sides_of(way)[0] for way in ways]
