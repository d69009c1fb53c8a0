"""Results that are out of date, named by a key object selection that rejects them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from tumorlens.errors import InputError
from tumorlens.report.dicom.finding import REPORT_CLASS, DicomFinding, SentResult
from tumorlens.report.dicom.headers import (
    KO_SERIES,
    MANUFACTURER,
    finish,
    guarded,
    new_series,
    whole_headers,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUPERSEDED = (
    "These results of TumorLens are out of date: the series was judged anew, with more "
    "images or once it was known to be whole. Use the newer results of the study."
)
"""Description of the selection (PS3.16 TID 2010)."""


def build_ko(
    headers: Sequence[Dataset], superseded: Sequence[SentResult], finding: DicomFinding
) -> Dataset:
    """Reject results that newer ones replace (IHE Imaging Object Change Management).

    Parameters
    ----------
    headers
        Headers of the series, one for each slice, without pixel data.
    superseded
        Results of the same study that have been sent.
    finding
        What is said of the series now, and by which model.

    Returns
    -------
    Dataset
        Ready to save: a Key Object Selection Document (DICOM PS3.3 A.35.4) with the
        title Rejected for Quality Reasons (DCM 113001). An archive that knows the
        profile no longer shows what it names; others show the note.

    Raises
    ------
    InputError
        Nothing is superseded, or the headers cannot be referred to.
    """
    if not superseded:
        raise InputError("There is no result to reject.", "Name at least one.")
    whole = whole_headers(headers)
    with guarded("key object selection"):
        return _write(whole[0], superseded, finding)


def _write(
    header: Dataset, superseded: Sequence[SentResult], finding: DicomFinding
) -> Dataset:
    from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
    from pydicom.sr.codedict import codes

    rejected = [_reference(header, item) for item in superseded]
    about = new_series(finding, KO_SERIES, "superseded results")
    note = KeyObjectSelectionDocument(
        evidence=rejected,
        content=KeyObjectSelection(
            document_title=codes.DCM.RejectedForQualityReasons,
            referenced_objects=rejected,
            description=SUPERSEDED,
        ),
        instance_number=1,
        **about,
    )
    note.Manufacturer = MANUFACTURER
    finish(note, header)
    return note


def _reference(header: Dataset, result: SentResult) -> Dataset:
    """Stand in for a result in the archive: its names, and the series' patient."""
    item = deepcopy(header)
    item.StudyInstanceUID = result.study
    item.SeriesInstanceUID = result.series
    item.SOPInstanceUID = result.instance
    item.SOPClassUID = result.sop_class
    # highdicom refers to what has rows as an image, and to other objects as composites.
    for keyword in ("Rows", "Columns"):
        if result.sop_class == REPORT_CLASS:
            item.pop(keyword, None)
        else:
            setattr(item, keyword, 1)
    return item
