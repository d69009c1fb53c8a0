"""A finding as the DICOM writers need it: plain values, filled in by the caller.

Tested in `tests/report/dicom/test_sr.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tumorlens.imaging.study import Point
from tumorlens.taxonomy import Answer, Finding

RESEARCH_ONLY = "For research use only, not for clinical use."
"""Stands as text in every object that is written."""

REPORT_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"
"""SOP class of the reports, Comprehensive 3D SR (DICOM PS3.6, annex A)."""


@dataclass(frozen=True)
class SentResult:
    """A result that has been sent, and that a new one may take the place of.

    Parameters
    ----------
    study, series, instance
        UIDs of the object.
    sop_class
        UID of its kind; by default that of a report.
    """

    study: str
    series: str
    instance: str
    sop_class: str = REPORT_CLASS


@dataclass(frozen=True)
class DicomFinding:
    """What is said of one series.

    Parameters
    ----------
    finding, kinds
        Both answers: whether there is a tumour, and the kinds that are not ruled out.
    headline
        Both in plain words.
    p_tumor
        Calibrated probability of any tumour, 0 to 1; None where the series was
        refused.
    p_class
        Calibrated probability of the likeliest kind, or that there is no tumour, 0 to
        1, whichever is greater; None likewise.
    algorithm, version
        Name and version of the model.
    operating_point
        Name of the operating point.
    key_slices
        Positions in the series of the slices that show the finding, from 0.
    size_mm
        Sides of the box around the outline in mm: across a row, down a column
        and, where known, through the slices; None without spacing or outline.
    centroid
        Middle of the outlined spot in the patient, LPS mm; None where the
        place is not known.
    reasons
        Full sentences: why the finding is uncertain, the kind open or the series
        refused, and what of the series was left out or not given.
    not_judged
        Why nothing could be judged, one of the reasons; None where anything was.
    missing
        Full sentences, each one of the reasons: why the images are not known to be
        all of the series. Empty for a whole series.
    """

    finding: Answer
    kinds: tuple[Finding, ...]
    headline: str
    p_tumor: float | None
    p_class: float | None
    algorithm: str
    version: str
    operating_point: str
    key_slices: tuple[int, ...] = ()
    size_mm: tuple[float, ...] | None = None
    centroid: Point | None = None
    reasons: tuple[str, ...] = field(default=())
    not_judged: str | None = None
    missing: tuple[str, ...] = field(default=())
