"""Results that are out of date are rejected by name."""

import pytest
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from tests.samples.dicom_findings import assert_valid, drawn_finding, drawn_headers
from tumorlens.errors import InputError
from tumorlens.report.dicom.finding import REPORT_CLASS, SentResult
from tumorlens.report.dicom.ko import SUPERSEDED, build_ko


def test_each_result_is_rejected_in_its_series(tmp_path):
    headers = drawn_headers()
    study = headers[0].StudyInstanceUID
    report = SentResult(study, generate_uid(), generate_uid())
    picture = SentResult(
        study, generate_uid(), generate_uid(), SecondaryCaptureImageStorage
    )
    note = build_ko(headers, [report, picture], drawn_finding())
    (title,) = note.ConceptNameCodeSequence
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113001", "DCM")
    named = {
        (
            item.ValueType,
            item.ReferencedSOPSequence[0].ReferencedSOPClassUID,
            item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID,
        )
        for item in note.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    assert named == {
        ("COMPOSITE", REPORT_CLASS, report.instance),
        ("IMAGE", SecondaryCaptureImageStorage, picture.instance),
    }
    (evidence,) = note.CurrentRequestedProcedureEvidenceSequence
    assert {item.SeriesInstanceUID for item in evidence.ReferencedSeriesSequence} == {
        report.series,
        picture.series,
    }
    texts = [item.get("TextValue") for item in note.ContentSequence]
    assert SUPERSEDED in texts
    assert note.StudyInstanceUID == study
    assert note.PatientID == headers[0].PatientID
    assert "research use only" in note.SeriesDescription
    assert_valid(note, tmp_path)
    # The headers of the series are others' too.
    assert headers[0].SOPInstanceUID != picture.instance and "Rows" in headers[0]


def test_nothing_to_reject_is_refused():
    with pytest.raises(InputError):
        build_ko(drawn_headers(), [], drawn_finding())
