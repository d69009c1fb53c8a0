"""What is said of a series, as DICOM files: a report, a picture, a segmentation.

Tested in `tests/pacs/test_analysis.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.imaging.study import MRSequence, Series
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.report.dicom.codes import uncoded_kinds
from tumorlens.report.dicom.finding import DicomFinding, SentResult
from tumorlens.report.dicom.sc import build_sc
from tumorlens.report.dicom.seg import build_seg
from tumorlens.report.dicom.sr import build_sr
from tumorlens.report.slice.overlay import heat_layer, lay_over, window_picture
from tumorlens.report.words import PART_MISSING, series_headline
from tumorlens.taxonomy import Answer, is_tumor

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RESULT_KINDS = ("sr", "sc", "seg")
"""Kinds of the results of a series, in their order; the last may be missing."""

NONE_IN_A_PART = (
    "The images that came show no tumour, but the series is not whole: that says "
    "nothing of the rest."
)
"""Stands in the report of a part of a series, in place of the decision."""


@dataclass(frozen=True)
class Judged:
    """One series and what goes back of it.

    Parameters
    ----------
    finding
        Finding of the series.
    results
        Whole DICOM files: SR; SC of the most suspicious slice, or of the middle
        one where none could be judged; SEG where a lesion is outlined.
    headers
        Headers of its slices.
    prediction
        The whole prediction, which knows nothing of images that were not there.
    sequence
        MR sequence that the headers name; None where they name none.
    """

    finding: DicomFinding
    results: tuple[bytes, ...]
    headers: Sequence[Dataset] = field(repr=False)
    prediction: SeriesPrediction = field(repr=False)
    sequence: MRSequence | None = None


def results_of(
    series: Series,
    prediction: SeriesPrediction,
    algorithm: str,
    earlier: Sequence[SentResult] = (),
    notes: Sequence[str] = (),
    unseen: tuple[str, ...] = (),
) -> Judged:
    """Write what is said of a series as DICOM.

    Parameters
    ----------
    series, prediction
        Series that was read from DICOM, and its prediction; of a study the series
        whose slices are the grid.
    algorithm
        Name of the model.
    earlier
        Results that the new ones replace.
    notes
        Full sentences that the report gives beside the prediction's own.
    unseen
        Full sentences on images that were not there: the report is PARTIAL.

    Raises
    ------
    InputError
        The series has no headers that can be referred to.
    """
    finding = dicom_finding(prediction, algorithm)
    if unseen:
        finding = _of_a_part(finding, unseen)
    finding = replace(finding, reasons=(*finding.reasons, *notes, *unseen))
    outline = None
    try:
        outline = _outline(series, prediction, finding)
    except InputError as error:
        # The report is worth having without it.
        reason = f"There is no segmentation. {error.message}"
        finding = replace(finding, reasons=(*finding.reasons, reason))
    results = [build_sr(series.headers, finding, earlier, series.frames)]
    picture = _picture(series, prediction, finding)
    results += [item for item in (picture, outline) if item is not None]
    files = tuple(map(to_bytes, results))
    return Judged(finding, files, series.headers, prediction, series.sequence)


def _of_a_part(finding: DicomFinding, unseen: tuple[str, ...]) -> DicomFinding:
    """Say nothing of images that were not there."""
    finding = replace(finding, missing=unseen)
    if finding.finding not in (Answer.NO_TUMOR, Answer.LESION):
        return finding
    # A low probability would be read as the absence of a tumour, too.
    return replace(
        finding,
        finding=Answer.UNCERTAIN,
        kinds=(),
        headline=PART_MISSING,
        p_tumor=None,
        p_class=None,
        reasons=(*finding.reasons, NONE_IN_A_PART),
    )


def _picture(
    series: Series, prediction: SeriesPrediction, finding: DicomFinding
) -> Dataset:
    # Who looks at pictures only must not take a missing one for a clear series.
    key = prediction.key_slices[0] if prediction.key_slices else len(series.slices) // 2
    grey = window_picture(series.slices[key].pixels)
    drawn = np.repeat(grey[..., np.newaxis], 3, axis=2)
    # The slices of a DICOM series are all of one size, so that there is evidence.
    if prediction.key_slices and prediction.evidence is not None:
        drawn = lay_over(grey, heat_layer(prediction.evidence[key]))
    return build_sc(series.headers, key, drawn, finding, series.frames)


def _outline(
    series: Series, prediction: SeriesPrediction, finding: DicomFinding
) -> Dataset | None:
    mask = lesion_mask(prediction)
    if mask is None:
        return None
    return build_seg(series.headers, mask, finding, series.frames)


def dicom_finding(prediction: SeriesPrediction, algorithm: str) -> DicomFinding:
    """Say of a series what goes into DICOM.

    Parameters
    ----------
    prediction
        Prediction of `SeriesClassifier.predict`.
    algorithm
        Name of the model.

    Returns
    -------
    DicomFinding
        Finding, with size and centroid only where the model's error was measured,
        and without probabilities where the series was refused.
    """
    size, centroid = None, None
    caveat = prediction.sequence_caveat
    # In a report they look like a measurement: they stay out where nobody has
    # checked how far off they are, and the reasons cannot say so.
    if prediction.lesion is not None and prediction.size_measured:
        centroid = prediction.lesion.centroid
        if prediction.lesion.size_mm is not None:
            through, down, across = prediction.lesion.size_mm
            size = (across, down, through)
    reasons = (*prediction.reasons, *uncoded_kinds(prediction.kinds))
    return DicomFinding(
        finding=prediction.finding,
        kinds=prediction.kinds,
        headline=series_headline(prediction),
        p_tumor=prediction.p_tumor,
        p_class=_p_class(prediction),
        algorithm=algorithm,
        version=f"{prediction.model_version} {prediction.model_precision}",
        operating_point=prediction.operating_point,
        key_slices=prediction.key_slices,
        size_mm=size,
        centroid=centroid,
        reasons=reasons if caveat is None else (*reasons, caveat),
        not_judged=prediction.not_judged,
    )


def _p_class(prediction: SeriesPrediction) -> float | None:
    """Give the probability of the likeliest kind, or that there is no tumour."""
    values, p_tumor = prediction.probabilities, prediction.p_tumor
    if values is None or p_tumor is None:
        return None
    # Several classes of a user's own may be free of tumour.
    kinds = [share for name, share in values.items() if is_tumor(name)]
    return max(*kinds, 1.0 - p_tumor)


def lesion_mask(prediction: SeriesPrediction) -> NDArray[np.uint8] | None:
    """Lay the lesion over the whole series, shape (D, H, W), 1 inside."""
    lesion = prediction.lesion
    if lesion is None or lesion.mask is None or prediction.evidence is None:
        return None
    if prediction.affine_ras is None:
        return None
    z0, y0, x0, z1, y1, x1 = lesion.box
    mask = np.zeros(prediction.evidence.shape, np.uint8)
    mask[z0:z1, y0:y1, x0:x1] = lesion.mask
    return mask


def to_bytes(dataset: Dataset) -> bytes:
    """Write a data set as a whole DICOM file."""
    from pydicom import dcmwrite

    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()
