"""Findings as FHIR: what a server takes, and what a reader finds in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from fhir.resources.R4B.bundle import Bundle

from tests.samples.dicom_findings import drawn_finding, drawn_headers
from tumorlens.errors import InputError
from tumorlens.report.fhir import fhir_bundle
from tumorlens.taxonomy import Answer

WHEN = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)


def resources(**changes):
    text = fhir_bundle(drawn_headers(), drawn_finding(**changes), when=WHEN)
    bundle = json.loads(text)
    return {
        item["resource"]["resourceType"]: item["resource"] for item in bundle["entry"]
    }


def test_a_tumour_is_reported_with_its_images():
    headers = drawn_headers()
    text = fhir_bundle(headers, drawn_finding(), when=WHEN)
    bundle = Bundle.model_validate_json(text)
    assert bundle.type == "transaction"
    entries = json.loads(text)["entry"]
    by_url = {item["fullUrl"]: item["resource"] for item in entries}
    (report,) = (x for x in by_url.values() if x["resourceType"] == "DiagnosticReport")
    assert report["status"] == "preliminary"
    assert report["conclusion"].startswith("For research use only")
    assert "Tumour: glioma." in report["conclusion"]
    (code,) = report["conclusionCode"]
    assert code["coding"][0]["code"] == "393564001"
    study = by_url[report["imagingStudy"][0]["reference"]]
    uid = headers[0].StudyInstanceUID
    assert study["identifier"][0]["value"] == f"urn:oid:{uid}"
    (series,) = study["series"]
    assert series["uid"] == headers[0].SeriesInstanceUID
    assert [item["uid"] for item in series["instance"]] == [
        header.SOPInstanceUID for header in headers
    ]
    observation = by_url[report["result"][0]["reference"]]
    assert observation["valueCodeableConcept"]["coding"][0]["code"] == "52101004"
    values = [x["valueQuantity"]["value"] for x in observation["component"]]
    assert values == [97.0, 93.0]
    # The patient is a number, not a name.
    assert study["subject"]["identifier"]["value"] == "DRAWN-1"
    assert "Drawn^Patient" not in text and "Patient, Drawn" not in text


def test_sent_again_it_replaces_what_was_sent_before():
    headers = drawn_headers()
    first, second = (
        [item["request"] for item in json.loads(text)["entry"]]
        for text in (
            fhir_bundle(headers, drawn_finding(), when=WHEN),
            fhir_bundle(headers, drawn_finding(finding=Answer.NO_TUMOR, kinds=())),
        )
    )
    assert first == second
    assert {item["method"] for item in first} == {"PUT"}
    assert len({item["url"] for item in first}) == 3


def test_a_part_is_partial_and_says_what_is_missing():
    missing = ("Four of 22 images have come.",)
    found = resources(
        finding=Answer.UNCERTAIN,
        kinds=(),
        p_tumor=None,
        p_class=None,
        missing=missing,
        reasons=missing,
    )
    assert found["DiagnosticReport"]["status"] == "partial"
    assert missing[0] in found["DiagnosticReport"]["conclusion"]
    assert "conclusionCode" not in found["DiagnosticReport"]
    observation = found["Observation"]
    assert missing[0] in [note["text"] for note in observation["note"]]
    assert "component" not in observation
    assert observation["valueCodeableConcept"]["coding"][0]["code"] == "373068000"


@pytest.mark.parametrize("finding", Answer)
def test_each_finding_is_valid(finding):
    assert set(resources(finding=finding, kinds=())) == {
        "ImagingStudy",
        "Observation",
        "DiagnosticReport",
    }


def test_a_patient_without_a_number_is_unknown():
    text = fhir_bundle(drawn_headers(PatientID=""), drawn_finding())
    assert '"value": "unknown"' in text or '"value":"unknown"' in text


def test_headers_that_name_nothing_are_refused():
    with pytest.raises(InputError):
        fhir_bundle([], drawn_finding())
