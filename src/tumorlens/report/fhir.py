"""A finding as FHIR R4: a transaction of DiagnosticReport, Observation, ImagingStudy.

Each is checked by `fhir.resources` before it is written. That package's R4B models
serve for R4: the two releases have the same elements for these resources.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tumorlens.errors import InputError, MissingExtraError
from tumorlens.report.dicom import codes
from tumorlens.report.dicom.finding import RESEARCH_ONLY, DicomFinding
from tumorlens.report.dicom.headers import guarded, whole_headers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "LN": "http://loinc.org",
    "UCUM": "http://unitsofmeasure.org",
}
_MRI = codes.Term("25056-3", "LN", "MRI unspecified body region")
_NAMES = uuid.UUID("3a7f7b58-6a52-5f0f-9b1d-6d2a1a4f6c11")
"""Names of what is written are made in it, so that they are the same every time."""


def fhir_bundle(
    headers: Sequence[Dataset],
    finding: DicomFinding,
    *,
    when: datetime | None = None,
    part: int = 0,
) -> str:
    """Write a finding as a FHIR transaction.

    Parameters
    ----------
    headers
        Headers of the series, one for each slice, without pixel data.
    finding
        What is said of it.
    when
        Time of the report; by default now.
    part
        Which finding of a series that had to be split, from 0.

    Returns
    -------
    str
        JSON of a Bundle. Its report is ``preliminary``, or ``partial`` where images are
        missing. Sent again, it replaces what was sent of the same series before.

    Raises
    ------
    InputError
        The headers cannot be referred to.
    MissingExtraError
        `fhir.resources` is not installed.
    """
    require_fhir()
    from fhir.resources.R4B.bundle import Bundle
    from pydantic import ValidationError

    whole = whole_headers(headers)
    with guarded("FHIR report"):
        document = _bundle(whole, finding, when or datetime.now(UTC), part)
    try:
        bundle = Bundle.model_validate(document)
    except ValidationError:
        # The model's own words quote the header.
        raise InputError(
            "A FHIR report cannot be made of these headers: they break FHIR's rules.",
            "Export the series again from where it was stored.",
        ) from None
    return str(bundle.model_dump_json(indent=2)) + "\n"


def require_fhir() -> None:
    """Make sure that FHIR reports can be written.

    Raises
    ------
    MissingExtraError
        `fhir.resources` is not installed.
    """
    if find_spec("fhir") is None or find_spec("fhir.resources") is None:
        raise MissingExtraError("A FHIR report", "fhir")


def _bundle(
    whole: list[Dataset], finding: DicomFinding, when: datetime, part: int
) -> dict[str, Any]:
    series = f"{whole[0].SeriesInstanceUID} {part}"
    resources = {
        name: (f"urn:uuid:{uuid.uuid5(_NAMES, f'{series} {name}')}", resource)
        for name, resource in (
            ("ImagingStudy", _imaging_study(whole)),
            ("Observation", _observation(whole[0], finding, when)),
            ("DiagnosticReport", _report(whole[0], finding, when)),
        )
    }
    _, report = resources["DiagnosticReport"]
    report["imagingStudy"] = [{"reference": resources["ImagingStudy"][0]}]
    report["result"] = [{"reference": resources["Observation"][0]}]
    entries = []
    for name, (url, resource) in resources.items():
        system, value = "urn:ietf:rfc:3986", url
        if name == "ImagingStudy":
            study = resource["identifier"][0]
            system, value = study["system"], study["value"]
        else:
            resource["identifier"] = [{"system": system, "value": value}]
        request = {"method": "PUT", "url": f"{name}?identifier={system}|{value}"}
        entries.append({"fullUrl": url, "resource": resource, "request": request})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _imaging_study(whole: list[Dataset]) -> dict[str, Any]:
    header = whole[0]
    files = {str(item.SOPInstanceUID): str(item.SOPClassUID) for item in whole}
    return {
        "resourceType": "ImagingStudy",
        "identifier": [
            {"system": "urn:dicom:uid", "value": f"urn:oid:{header.StudyInstanceUID}"}
        ],
        "status": "available",
        "subject": _subject(header),
        "series": [
            {
                "uid": str(header.SeriesInstanceUID),
                "modality": {"system": _SYSTEMS["DCM"], "code": "MR"},
                "numberOfInstances": len(files),
                "instance": [
                    {
                        "uid": uid,
                        "sopClass": {
                            "system": "urn:ietf:rfc:3986",
                            "code": f"urn:oid:{kind}",
                        },
                    }
                    for uid, kind in files.items()
                ],
            }
        ],
    }


def _report(header: Dataset, finding: DicomFinding, when: datetime) -> dict[str, Any]:
    sentences = [
        RESEARCH_ONLY,
        f"{finding.headline.rstrip('.')}.",
        *finding.reasons,
    ]
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "status": "partial" if finding.missing else "preliminary",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
                        "code": "RAD",
                    }
                ]
            }
        ],
        "code": _concept(_MRI),
        "subject": _subject(header),
        "issued": when.isoformat(timespec="milliseconds"),
        "conclusion": " ".join(dict.fromkeys(sentences)),
    }
    if codes.presence(finding.finding) is codes.PRESENT:
        report["conclusionCode"] = [
            _concept(codes.finding_type(finding.finding, finding.kinds))
        ]
    return report


def _observation(
    header: Dataset, finding: DicomFinding, when: datetime
) -> dict[str, Any]:
    components = [
        {
            "code": _concept(name),
            "valueQuantity": {
                "value": round(100.0 * value, 2),
                "unit": "%",
                "system": _SYSTEMS["UCUM"],
                "code": "%",
            },
        }
        for name, value in (
            (codes.TUMOR_PROBABILITY, finding.p_tumor),
            (codes.CERTAINTY, finding.p_class),
        )
        if value is not None
    ]
    observation: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "preliminary",
        "code": _concept(codes.finding_type(finding.finding, finding.kinds)),
        "subject": _subject(header),
        "effectiveDateTime": when.isoformat(timespec="milliseconds"),
        "valueCodeableConcept": _concept(codes.presence(finding.finding)),
        "bodySite": _concept(codes.site(finding.kinds)),
        "method": {
            "coding": _concept(codes.ARTIFICIAL_INTELLIGENCE)["coding"],
            "text": f"{finding.algorithm} {finding.version}, operating point "
            f"{finding.operating_point}",
        },
        "note": [{"text": text} for text in (RESEARCH_ONLY, *finding.missing)],
    }
    if components:
        observation["component"] = components
    return observation


def _subject(header: Dataset) -> dict[str, Any]:
    """Refer to the patient by the hospital's number, without the name."""
    number = str(header.get("PatientID") or "").strip()
    return {"type": "Patient", "identifier": {"value": number or "unknown"}}


def _concept(term: codes.Term) -> dict[str, Any]:
    if term.scheme not in _SYSTEMS:
        return {"text": term.meaning}
    coding = {
        "system": _SYSTEMS[term.scheme],
        "code": term.value,
        "display": term.meaning,
    }
    return {"coding": [coding], "text": term.meaning}
