"""The outline of the evidence as a DICOM segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.report.dicom import codes
from tumorlens.report.dicom.finding import DicomFinding
from tumorlens.report.dicom.headers import (
    MANUFACTURER,
    SEG_SERIES,
    finish,
    frame_count,
    guarded,
    new_series,
    whole_headers,
)

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom.dataset import Dataset

_GEOMETRY = (
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
)


def build_seg(
    headers: Sequence[Dataset],
    mask: NDArray[Any],
    finding: DicomFinding,
    frames: Sequence[int] = (),
) -> Dataset | None:
    """Write a mask as a binary segmentation (DICOM PS3.3 A.51).

    Parameters
    ----------
    headers
        Headers of the series, one for each slice, without pixel data.
    mask
        Shape (D, H, W), bool or integers; what is not 0 is marked. Slices in
        the order of the headers, rows and columns as in the file.
    finding
        What the mask is evidence of.
    frames
        Frame of its file that each slice is, from 0; needed for a multi-frame file.

    Returns
    -------
    Dataset or None
        Ready to save; None where nothing is marked. Slices without a mark are
        left out, as DICOM allows.

    Raises
    ------
    InputError
        Where the mask does not fit the headers, or these do not say where
        their slices lie.
    """
    whole = whole_headers(headers)
    several = frame_count(whole[0]) > 1
    if several:
        _check_frames(whole, frames)
    else:
        _check_geometry(whole)
    shape = (len(whole), int(whole[0].Rows), int(whole[0].Columns))
    if mask.shape != shape or mask.dtype.kind not in "bui":
        raise InputError(
            f"The mask has the shape {mask.shape} and the type {mask.dtype}; the "
            f"series has the shape {shape}.",
            "Give a mask of whole numbers in the grid of the series.",
        )
    marked = (mask != 0).astype(np.uint8)
    if not marked.any():
        return None
    with guarded("segmentation"):
        if several:
            whole, marked = whole[:1], _in_file(marked, frames, frame_count(whole[0]))
        return _write(whole, marked, finding)


def _check_frames(whole: list[Dataset], frames: Sequence[int]) -> None:
    if len({item.SOPInstanceUID for item in whole}) > 1:
        raise InputError(
            "The slices come from several multi-frame files.",
            "Segmentations are written for one multi-frame file, or for a series with "
            "one file for each slice.",
        )
    numbers = set(frames)
    if len(numbers) < len(whole) or not numbers <= set(range(frame_count(whole[0]))):
        raise InputError(
            "It is not known which frames of the file the slices are.",
            "Give each slice's frame.",
        )


def _in_file(
    marked: NDArray[np.uint8], frames: Sequence[int], count: int
) -> NDArray[np.uint8]:
    """Put slices where their frames are in the file."""
    placed = np.zeros((count, *marked.shape[1:]), np.uint8)
    placed[list(frames)] = marked
    return placed


def _check_geometry(whole: list[Dataset]) -> None:
    for number, header in enumerate(whole):
        for keyword in _GEOMETRY:
            if header.get(keyword) in (None, ""):
                raise InputError(
                    f"Slice {number} has no {keyword}.",
                    "A segmentation needs to know where each slice lies.",
                )
    if len({item.SOPInstanceUID for item in whole}) < len(whole):
        raise InputError(
            "Several slices come from one multi-frame file.",
            "Segmentations are written for series with one file for each slice.",
        )
    for keyword in ("FrameOfReferenceUID", "Rows", "Columns"):
        if len({str(item[keyword].value) for item in whole}) > 1:
            raise InputError(
                f"The slices differ in {keyword}.", "Give slices of one grid."
            )
    for keyword, count in (("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        with guarded("segmentation"):
            rows = np.array([[float(x) for x in item[keyword].value] for item in whole])
        fits = rows.shape == (len(whole), count) and bool(np.isfinite(rows).all())
        if not fits or not np.allclose(rows, rows[0], atol=1e-4):
            raise InputError(
                f"The slices differ in {keyword}, or it is broken.",
                "Give parallel slices of one grid.",
            )


def _write(
    whole: list[Dataset], marked: NDArray[np.uint8], finding: DicomFinding
) -> Dataset:
    from highdicom.seg import Segmentation, SegmentationTypeValues

    if frame_count(whole[0]) < 2:
        thickness = _thickness(whole)
        for header in whole:
            # highdicom takes it from here; MR files may leave it out.
            header.SliceThickness = thickness
    segmentation = Segmentation(
        source_images=whole,
        pixel_array=marked,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(finding)],
        instance_number=1,
        device_serial_number=finding.version[:64],
        content_label="EVIDENCE",
        content_description="Evidence outline, research use only",
        **new_series(finding, SEG_SERIES, "evidence"),
    )
    finish(segmentation, whole[0])
    return segmentation


def _thickness(whole: list[Dataset]) -> float:
    """Take the header's thickness, else the distance to the next slice, else 1 mm."""
    stated = whole[0].get("SliceThickness")
    if stated is not None and stated != "" and 0 < float(stated) < 1000:
        return float(stated)
    if len(whole) < 2:
        return 1.0
    step = np.subtract(whole[1].ImagePositionPatient, whole[0].ImagePositionPatient)
    return round(float(np.linalg.norm(step)), 4) or 1.0


def _segment(finding: DicomFinding) -> SegmentDescription:
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription

    return SegmentDescription(
        segment_number=1,
        segment_label="Evidence outline",
        segmented_property_category=codes.ABNORMAL_STRUCTURE.concept(),
        segmented_property_type=codes.NEOPLASM.concept(),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=finding.algorithm,
            family=codes.ARTIFICIAL_INTELLIGENCE.concept(),
            version=finding.version,
            source=MANUFACTURER,
        ),
        anatomic_regions=[codes.site(finding.kinds).concept()],
    )
