"""DICOM files of a series in, DICOM files of the findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.predict import Classifier
from tumorlens.engine.scan import judge_scan
from tumorlens.engine.scan_results import ScanFinding
from tumorlens.imaging.dicom_series import gather_series
from tumorlens.imaging.study import Series
from tumorlens.pacs.worker import Analysis
from tumorlens.report.dicom_finding import DicomFinding
from tumorlens.report.dicom_sc import build_sc
from tumorlens.report.dicom_seg import build_seg
from tumorlens.report.dicom_sr import build_sr
from tumorlens.report.overlay import OverlayKind, render_overlay

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def analysis_with(classifier: Classifier, operating_point: str | None) -> Analysis:
    """Make the analysis that a node's worker runs.

    Parameters
    ----------
    classifier
        From `load_classifier`.
    operating_point
        None for the bundle's own.

    Returns
    -------
    Callable
        Gives for each series a structured report; a secondary capture of its
        most suspicious slice; and, where a lesion is outlined, a segmentation.
        Raises `InputError` where nothing in the files is MRI of a head.
    """

    def analyse(files: Sequence[Path]) -> list[bytes]:
        # The sender's names are not known here, and not wanted.
        named = (
            (f"image {place}", path.read_bytes()) for place, path in enumerate(files)
        )
        study, _ = gather_series(named)
        return [
            _to_bytes(item)
            for series in study.series
            for item in results_of(classifier, series, operating_point)
        ]

    return analyse


def results_of(
    classifier: Classifier, series: Series, operating_point: str | None
) -> Iterator[Dataset]:
    """Judge one series, and write what was found as DICOM.

    Parameters
    ----------
    classifier, operating_point
        As for `judge_scan`.
    series
        With the headers of its slices.

    Yields
    ------
    Dataset
        SR; SC where any slice could be judged; SEG where a lesion is outlined.
    """
    found = judge_scan(classifier, series, operating_point)
    finding = dicom_finding(found, classifier.bundle.name)
    yield build_sr(series.headers, finding)
    if found.key_slices:
        key = found.key_slices[0]
        slice_ = series.slices[key]
        (shown,) = classifier.predict_slices([slice_], found.operating_point)
        drawn = render_overlay(slice_.pixels, shown.explanation, OverlayKind.EVIDENCE)
        yield build_sc(series.headers, key, drawn, finding)
    mask = lesion_mask(found)
    if mask is not None:
        segmented = build_seg(series.headers, mask, finding)
        if segmented is not None:
            yield segmented


def dicom_finding(found: ScanFinding, algorithm: str) -> DicomFinding:
    """Say of a scan what goes into DICOM.

    Parameters
    ----------
    found
        From `judge_scan`.
    algorithm
        Name of the model.

    Returns
    -------
    DicomFinding
        With size and centroid only where the model's error of them was measured.
    """
    size, centroid = None, None
    # In a report they look like a measurement: they stay out where nobody has
    # checked how far off they are, and the reasons cannot say so.
    if found.lesion is not None and found.size_measured:
        centroid = found.lesion.centroid
        if found.lesion.size_mm is not None:
            through, down, across = found.lesion.size_mm
            size = (across, down, through)
    return DicomFinding(
        decision=found.decision,
        p_tumor=found.p_tumor,
        p_class=found.probabilities[found.predicted],
        algorithm=algorithm,
        version=found.model_version,
        operating_point=found.operating_point,
        key_slices=found.key_slices,
        size_mm=size,
        centroid=centroid,
        reasons=found.reasons,
    )


def lesion_mask(found: ScanFinding) -> NDArray[np.uint8] | None:
    """Lay the lesion over the whole scan, shape (D, H, W), 1 inside."""
    lesion = found.lesion
    if lesion is None or lesion.mask is None or found.evidence is None:
        return None
    if found.affine_ras is None:
        return None
    z0, y0, x0, z1, y1, x1 = lesion.box
    mask = np.zeros(found.evidence.shape, np.uint8)
    mask[z0:z1, y0:y1, x0:x1] = lesion.mask
    return mask


def _to_bytes(dataset: Dataset) -> bytes:
    from pydicom import dcmwrite

    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()
