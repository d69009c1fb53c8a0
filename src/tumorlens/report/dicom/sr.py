"""A finding as a DICOM structured report (TID 1500, Comprehensive 3D SR).

Results that are out of date are named by another document of that kind: a key object
selection that rejects them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from tumorlens.errors import InputError
from tumorlens.report.dicom import codes
from tumorlens.report.dicom.finding import (
    REPORT_CLASS,
    RESEARCH_ONLY,
    DicomFinding,
    SentResult,
)
from tumorlens.report.dicom.headers import (
    KO_SERIES,
    MANUFACTURER,
    SR_SERIES,
    finish,
    frame_numbers,
    guarded,
    key_header,
    new_series,
    whole_headers,
)
from tumorlens.report.words import NOT_CLEAR
from tumorlens.taxonomy import Answer

if TYPE_CHECKING:
    from highdicom import sr
    from pydicom.dataset import Dataset


_AXES = (codes.WIDTH, codes.HEIGHT, codes.DEPTH)


REPLACES = "It replaces an earlier report: more images of the series have come."
"""Stands in a report that names an earlier one."""

PARTIAL = "The report is of a part of the series: nothing is said of the rest."
"""Stands in a report of images that are not known to be all of their series."""
_LONGEST_DESCRIPTION = 128
"""Letters of the completion flag's description (PS3.3 C.17.2)."""


def build_sr(
    headers: Sequence[Dataset],
    finding: DicomFinding,
    earlier: Sequence[SentResult] = (),
    frames: Sequence[int] = (),
) -> Dataset:
    """Write a finding as a measurement report (DICOM PS3.16 TID 1500).

    Parameters
    ----------
    headers
        Headers of the series, one for each slice, without pixel data.
    finding
        What is said of it.
    earlier
        Results of the same series that have been sent; this one replaces the reports
        among them (PS3.3 C.17.2, Predecessor Documents Sequence).
    frames
        Frame of its file that each slice is, from 0; needed for multi-frame files.

    Returns
    -------
    Dataset
        Ready to save: unverified, preliminary, in the study of the series; PARTIAL
        where the finding says that images are missing.

    Raises
    ------
    InputError
        Where the headers cannot be referred to, or a key slice is not there.
    """
    whole = whole_headers(headers)
    earlier = [item for item in earlier if item.sop_class == REPORT_CLASS]
    keys = {index: key_header(whole, index) for index in finding.key_slices or (0,)}
    with guarded("structured report"):
        sources = _sources(keys, whole, frames)
        return _write(whole, sources, finding, earlier)


def _sources(
    keys: dict[int, Dataset], whole: list[Dataset], frames: Sequence[int]
) -> list[sr.SourceImageForMeasurementGroup]:
    """Refer to the key slices' files, and to their frames where they have several."""
    from highdicom import sr

    files: dict[str, tuple[Dataset, list[int]]] = {}
    for index, header in keys.items():
        _, numbers = files.setdefault(header.SOPInstanceUID, (header, []))
        numbers += frame_numbers(whole, frames, index)
    return [
        sr.SourceImageForMeasurementGroup(header.SOPClassUID, uid, numbers or None)
        for uid, (header, numbers) in files.items()
    ]


def _write(
    whole: list[Dataset],
    sources: list[sr.SourceImageForMeasurementGroup],
    finding: DicomFinding,
    earlier: Sequence[SentResult],
) -> Dataset:
    from highdicom.sr import Comprehensive3DSR
    from pydicom.dataset import Dataset as NewDataset

    report = Comprehensive3DSR(
        evidence=list({item.SOPInstanceUID: item for item in whole}.values()),
        content=_content(whole[0], sources, finding, replaces=bool(earlier)),
        instance_number=1,
        is_complete=not finding.missing,
        is_final=False,
        is_verified=False,
        previous_versions=[_reference(item) for item in earlier] or None,
        **new_series(finding, SR_SERIES, "report"),
    )
    scheme = NewDataset()
    scheme.CodingSchemeDesignator = codes.OWN_SCHEME
    scheme.CodingSchemeName = "TumorLens"
    report.CodingSchemeIdentificationSequence = [scheme]
    if finding.missing:
        report.CompletionFlagDescription = finding.missing[0][:_LONGEST_DESCRIPTION]
    finish(report, whole[0])
    return report


def _reference(earlier: SentResult) -> Dataset:
    from pydicom.dataset import Dataset as NewDataset

    reference = NewDataset()
    reference.SOPClassUID = earlier.sop_class
    reference.StudyInstanceUID = earlier.study
    reference.SeriesInstanceUID = earlier.series
    reference.SOPInstanceUID = earlier.instance
    return reference


def _content(
    header: Dataset,
    sources: list[sr.SourceImageForMeasurementGroup],
    finding: DicomFinding,
    *,
    replaces: bool,
) -> Dataset:
    from highdicom import sr
    from pydicom.sr.codedict import codes as known
    from pydicom.uid import generate_uid

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[finding.algorithm, finding.version]),
        name=finding.algorithm,
        manufacturer_name=MANUFACTURER,
        model_name=finding.algorithm,
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(
                # A device (DCM 121007), as TID 1002 names observers.
                observer_type=known.DCM.Device,
                observer_identifying_attributes=device,
            )
        ),
        procedure_reported=known.LN.MRIUnspecifiedBodyRegion,
        imaging_measurements=[_group(header, sources, finding)],
        title=known.DCM.ImagingMeasurementReport,
    )
    root: Dataset = report[0]
    for words in (*_comments(finding), *([REPLACES] if replaces else [])):
        root.ContentSequence.append(
            sr.TextContentItem(
                codes.COMMENT.concept(), words, sr.RelationshipTypeValues.CONTAINS
            )
        )
    return root


def _comments(finding: DicomFinding) -> Iterator[str]:
    yield RESEARCH_ONLY
    if finding.missing:
        yield PARTIAL
    yield f"Finding: {finding.headline}."
    if finding.not_judged is not None:
        yield NOT_CLEAR
    elif finding.finding is Answer.NOT_BRAIN_MRI:
        yield "No probability is stated, since the series was refused."
    elif finding.p_tumor is None:
        yield "No probability is stated, since the series is not whole."
    yield from finding.reasons


def _group(
    header: Dataset,
    sources: list[sr.SourceImageForMeasurementGroup],
    finding: DicomFinding,
) -> sr.MeasurementsAndQualitativeEvaluations:
    from highdicom import sr
    from pydicom.uid import generate_uid

    place = codes.site(finding.kinds).concept()
    presence = sr.QualitativeEvaluation(
        codes.DECISION.concept(), codes.presence(finding.finding).concept()
    )
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(), "Finding 1"),
        finding_type=codes.finding_type(finding.finding, finding.kinds).concept(),
        algorithm_id=sr.AlgorithmIdentification(
            finding.algorithm,
            finding.version,
            parameters=[f"operating point: {finding.operating_point}"],
        ),
        finding_sites=[sr.FindingSite(place)],
        measurements=[*_probabilities(finding), *_sizes(header, finding)],
        qualitative_evaluations=[presence],
        source_images=sources,
    )


def _probabilities(finding: DicomFinding) -> Iterator[sr.Measurement]:
    from highdicom import sr

    for name, value in (
        (codes.TUMOR_PROBABILITY, finding.p_tumor),
        (codes.CERTAINTY, finding.p_class),
    ):
        if value is None:
            continue
        percent = round(100.0 * value, 2)
        yield sr.Measurement(name.concept(), percent, codes.PERCENT.concept())


def _sizes(header: Dataset, finding: DicomFinding) -> Iterator[sr.Measurement]:
    """Write the box's sides, each with the middle of what was measured."""
    import numpy as np
    from highdicom import sr

    points = None
    frame = header.get("FrameOfReferenceUID")
    if finding.centroid is not None and frame:
        points = [
            sr.CoordinatesForMeasurement3D(
                sr.GraphicTypeValues3D.POINT, np.array([finding.centroid]), frame
            )
        ]
    for name, value in zip(_AXES, finding.size_mm or (), strict=False):
        yield sr.Measurement(
            name.concept(),
            round(value, 2),
            codes.MM.concept(),
            referenced_coordinates=points,
        )


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
        return _write_rejection(whole[0], superseded, finding)


def _write_rejection(
    header: Dataset, superseded: Sequence[SentResult], finding: DicomFinding
) -> Dataset:
    from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
    from pydicom.sr.codedict import codes as known

    rejected = [_rejected_reference(header, item) for item in superseded]
    about = new_series(finding, KO_SERIES, "superseded results")
    note = KeyObjectSelectionDocument(
        evidence=rejected,
        content=KeyObjectSelection(
            document_title=known.DCM.RejectedForQualityReasons,
            referenced_objects=rejected,
            description=SUPERSEDED,
        ),
        instance_number=1,
        **about,
    )
    note.Manufacturer = MANUFACTURER
    finish(note, header)
    return note


def _rejected_reference(header: Dataset, result: SentResult) -> Dataset:
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
