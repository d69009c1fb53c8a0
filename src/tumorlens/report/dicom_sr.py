"""A finding as a DICOM structured report (TID 1500, Comprehensive 3D SR)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tumorlens.report import dicom_codes as codes
from tumorlens.report.dicom_finding import RESEARCH_ONLY, DicomFinding
from tumorlens.report.dicom_headers import (
    MANUFACTURER,
    SR_SERIES,
    finish,
    guarded,
    key_header,
    new_series,
    whole_headers,
)
from tumorlens.report.scan_words import NOTHING_JUDGED
from tumorlens.taxonomy import decision_title

if TYPE_CHECKING:
    from highdicom import sr
    from pydicom.dataset import Dataset

_AXES = (codes.WIDTH, codes.HEIGHT, codes.DEPTH)


def build_sr(headers: Sequence[Dataset], finding: DicomFinding) -> Dataset:
    """Write a finding as a measurement report (DICOM PS3.16 TID 1500).

    Parameters
    ----------
    headers
        Of the series, one for each slice, without pixel data.
    finding
        What is said of it.

    Returns
    -------
    Dataset
        Ready to save: unverified, preliminary, in the study of the series.

    Raises
    ------
    InputError
        Where the headers cannot be referred to, or a key slice is not there.
    """
    whole = whole_headers(headers)
    keys = [key_header(whole, index) for index in finding.key_slices] or whole[:1]
    with guarded("structured report"):
        return _write(whole, keys, finding)


def _write(whole: list[Dataset], keys: list[Dataset], finding: DicomFinding) -> Dataset:
    from highdicom.sr import Comprehensive3DSR
    from pydicom.dataset import Dataset as NewDataset

    report = Comprehensive3DSR(
        evidence=list({item.SOPInstanceUID: item for item in whole}.values()),
        content=_content(keys, finding),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **new_series(finding, SR_SERIES, "report"),
    )
    scheme = NewDataset()
    scheme.CodingSchemeDesignator = codes.OWN_SCHEME
    scheme.CodingSchemeName = "TumorLens"
    report.CodingSchemeIdentificationSequence = [scheme]
    finish(report, whole[0])
    return report


def _content(keys: list[Dataset], finding: DicomFinding) -> Dataset:
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
        imaging_measurements=[_group(keys, finding)],
        title=known.DCM.ImagingMeasurementReport,
    )
    root: Dataset = report[0]
    for words in _comments(finding):
        root.ContentSequence.append(
            sr.TextContentItem(
                codes.COMMENT.concept(), words, sr.RelationshipTypeValues.CONTAINS
            )
        )
    return root


def _comments(finding: DicomFinding) -> Iterator[str]:
    yield RESEARCH_ONLY
    yield f"Decision: {decision_title(finding.decision)}."
    if finding.not_judged is not None:
        yield NOTHING_JUDGED
    elif finding.p_tumor is None:
        yield "No probability is stated, since the series was refused."
    yield from finding.reasons


def _group(
    keys: list[Dataset], finding: DicomFinding
) -> sr.MeasurementsAndQualitativeEvaluations:
    from highdicom import sr
    from pydicom.uid import generate_uid

    place = codes.site(finding.decision).concept()
    presence = sr.QualitativeEvaluation(
        codes.DECISION.concept(), codes.presence(finding.decision).concept()
    )
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(), "Finding 1"),
        finding_type=codes.finding_type(finding.decision).concept(),
        algorithm_id=sr.AlgorithmIdentification(
            finding.algorithm,
            finding.version,
            parameters=[f"operating point: {finding.operating_point}"],
        ),
        finding_sites=[sr.FindingSite(place)],
        measurements=[*_probabilities(finding), *_sizes(keys[0], finding)],
        qualitative_evaluations=[presence],
        source_images=[
            sr.SourceImageForMeasurementGroup(item.SOPClassUID, item.SOPInstanceUID)
            for item in {item.SOPInstanceUID: item for item in keys}.values()
        ],
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


def _sizes(key: Dataset, finding: DicomFinding) -> Iterator[sr.Measurement]:
    """Write the box's sides, each with the middle of what was measured."""
    import numpy as np
    from highdicom import sr

    points = None
    frame = key.get("FrameOfReferenceUID")
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
