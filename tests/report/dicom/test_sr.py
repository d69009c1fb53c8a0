"""Findings as structured reports."""

import io

import pydicom
import pytest
from highdicom.sr import srread
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from tests.samples.dicom_findings import assert_valid, drawn_finding, drawn_headers
from tumorlens.errors import InputError
from tumorlens.report.dicom.finding import REPORT_CLASS, RESEARCH_ONLY, SentResult
from tumorlens.report.dicom.headers import SR_SERIES
from tumorlens.report.dicom.sr import PARTIAL, SUPERSEDED, build_ko, build_sr
from tumorlens.taxonomy import TUMOR_CLASSES, Answer, Finding, Lesion, TumorClass

NOTHING: tuple[Finding, ...] = ()
ANSWERS = [
    *((Answer.TUMOR, (name,)) for name in (*TUMOR_CLASSES, Lesion.OTHER)),
    (Answer.TUMOR, TUMOR_CLASSES),
    (Answer.LESION, (Lesion.VASCULAR,)),
    *((name, NOTHING) for name in Answer if name.value not in ("tumor", "lesion")),
]


def _again(dataset):
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    return srread(file)


def _group(report):
    return report.content.get_image_measurement_groups()[0]


def _texts(item):
    for child in item.get("ContentSequence", ()):
        if child.ValueType == "TEXT":
            yield child.TextValue
        yield from _texts(child)


def _uids(item):
    for child in item.get("ContentSequence", ()):
        if child.ValueType == "IMAGE":
            yield child.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        yield from _uids(child)


def test_measurements_come_back():
    group = _group(_again(build_sr(drawn_headers(), drawn_finding())))
    found = {
        item.name.meaning: (item.value, item.unit.value)
        for item in group.get_measurements()
    }
    assert found == {
        "Probability of tumor": (97.0, "%"),
        "Certainty of Finding": (93.0, "%"),
        "Width": (20.0, "mm"),
        "Height": (31.5, "mm"),
        "Depth": (12.0, "mm"),
    }


@pytest.mark.parametrize(
    ("answer", "kinds", "code", "presence"),
    [
        (Answer.TUMOR, (TumorClass.GLIOMA,), "393564001", "Present"),
        (Answer.TUMOR, (TumorClass.MENINGIOMA,), "302820008", "Present"),
        (Answer.TUMOR, (TumorClass.PITUITARY,), "108369006", "Present"),
        (Answer.TUMOR, (Lesion.OTHER,), "108369006", "Present"),
        (Answer.TUMOR, TUMOR_CLASSES[:2], "108369006", "Present"),
        (Answer.LESION, (Lesion.VASCULAR,), "49755003", "Present"),
        (Answer.NO_TUMOR, NOTHING, "108369006", "Absent"),
        (Answer.UNCERTAIN, NOTHING, "108369006", "Undetermined"),
        (Answer.NOT_BRAIN_MRI, NOTHING, "108369006", "Undetermined"),
    ],
)
def test_both_answers_are_coded(answer, kinds, code, presence):
    finding = drawn_finding(finding=answer, kinds=kinds)
    group = _group(_again(build_sr(drawn_headers(), finding)))
    assert group.finding_type.value == code
    assert group.get_qualitative_evaluations()[0].value.meaning == presence


def test_pituitary_tumour_is_a_neoplasm_of_the_pituitary():
    finding = drawn_finding(kinds=(TumorClass.PITUITARY,))
    group = _group(_again(build_sr(drawn_headers(), finding)))
    assert group.finding_sites[0].value.meaning == "Pituitary"


def test_algorithm_reasons_and_research_notice_stand_in_the_text():
    words = list(_texts(_again(build_sr(drawn_headers(), drawn_finding()))))
    assert RESEARCH_ONLY in words
    assert "The two heads agree." in words
    assert "operating point: balanced" in words
    assert {"evidence-net", "1.2.3"} <= set(words)


def test_key_slices_and_the_whole_series_are_referenced():
    headers = drawn_headers()
    report = build_sr(headers, drawn_finding(key_slices=(2, 3)))
    assert list(_uids(report)) == [headers[2].SOPInstanceUID, headers[3].SOPInstanceUID]
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == headers[0].StudyInstanceUID
    kept = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert {item.ReferencedSOPInstanceUID for item in kept} >= {
        headers[2].SOPInstanceUID,
        headers[3].SOPInstanceUID,
    }


def test_patient_and_study_are_the_same_and_identifiers_are_new():
    headers = drawn_headers()
    report, other = (build_sr(headers, drawn_finding()) for _ in range(2))
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber"):
        assert report[keyword].value == headers[0][keyword].value
    assert report.SeriesInstanceUID != headers[0].SeriesInstanceUID
    assert report.SeriesNumber == SR_SERIES
    assert report.SOPInstanceUID != other.SOPInstanceUID
    assert report.VerificationFlag == "UNVERIFIED"


def test_headers_are_left_as_they_were():
    headers = drawn_headers(PatientID=None, StudyDate=None)
    before = [pydicom.Dataset(item) for item in headers]
    build_sr(headers, drawn_finding())
    assert headers == before


@pytest.mark.parametrize(
    "changes",
    [
        dict.fromkeys(
            (
                "PatientName",
                "PatientID",
                "PatientBirthDate",
                "PatientSex",
                "StudyDate",
                "StudyTime",
                "StudyID",
                "AccessionNumber",
                "ReferringPhysicianName",
                "SpecificCharacterSet",
                "FrameOfReferenceUID",
            )
        ),
        {"PatientSex": "X"},
        {"PatientName": "one name alone"},
    ],
)
def test_poor_headers_still_make_a_valid_report(changes, tmp_path):
    assert_valid(build_sr(drawn_headers(**changes), drawn_finding()), tmp_path)


@pytest.mark.parametrize(("answer", "kinds"), ANSWERS)
def test_report_keeps_the_standard(answer, kinds, tmp_path):
    finding = drawn_finding(finding=answer, kinds=kinds)
    assert_valid(build_sr(drawn_headers(), finding), tmp_path)


def test_without_place_or_size_it_keeps_the_standard(tmp_path):
    finding = drawn_finding(size_mm=None, centroid=None, key_slices=(), reasons=())
    assert_valid(build_sr(drawn_headers(), finding), tmp_path)


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID"])
def test_headers_without_identifiers_are_refused(keyword):
    with pytest.raises(InputError, match=keyword):
        build_sr(drawn_headers(**{keyword: None}), drawn_finding())


def test_no_headers_are_refused():
    with pytest.raises(InputError, match="no DICOM headers"):
        build_sr([], drawn_finding())


def test_a_key_slice_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no slice 9"):
        build_sr(drawn_headers(), drawn_finding(key_slices=(9,)))


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jörg"), ("ISO_IR 192", "Ωmega^Ж"), ("ISO_IR 144", "Ж^Я")],
)
def test_any_letter_survives(charset, name):
    headers = drawn_headers(SpecificCharacterSet=charset, PatientName=name)
    file = io.BytesIO()
    headers[0].save_as(file, implicit_vr=False, little_endian=True)
    file.seek(0)
    read = pydicom.dcmread(file, force=True)
    finding = drawn_finding(key_slices=(0,), reasons=("Brain share ≥ 4 %.",))
    report = _again(build_sr([read], finding))
    assert str(report.PatientName) == name
    assert "Brain share ≥ 4 %." in list(_texts(report))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyDate", "20201399"),
        ("StudyTime", "996099"),
        ("PatientBirthDate", "1970.01.01"),
        ("PatientSex", "weiblich"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")
def test_values_in_no_known_form_are_left_empty(keyword, value):
    headers = drawn_headers()
    for header in headers:
        header.add(pydicom.DataElement(keyword, "LO", value))
    report = build_sr(headers, drawn_finding())
    assert not report[keyword].value


@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")
def test_errors_do_not_name_the_patient():
    headers = drawn_headers(SOPClassUID="Drawn^Patient")
    with pytest.raises(InputError) as caught:
        build_sr(headers, drawn_finding())
    assert "Drawn" not in str(caught.value)


def test_a_series_of_which_nothing_was_judged_has_no_probability(tmp_path):
    why = "No slice shows enough brain to be judged."
    finding = drawn_finding(
        finding=Answer.NOT_BRAIN_MRI,
        kinds=(),
        headline="Not judged: no slice shows enough brain",
        p_tumor=None,
        p_class=None,
        key_slices=(),
        size_mm=None,
        centroid=None,
        reasons=(why,),
        not_judged=why,
    )
    report = build_sr(drawn_headers(), finding)
    assert_valid(report, tmp_path)
    group = _group(_again(report))
    assert group.get_measurements() == []
    assert group.get_qualitative_evaluations()[0].value.meaning == "Undetermined"
    texts = list(_texts(report))
    assert why in texts
    assert "Nothing in this series could be judged" in " ".join(texts)
    assert "%" not in " ".join(texts)


def test_a_series_that_was_refused_says_that_it_has_no_probability():
    finding = drawn_finding(
        finding=Answer.NOT_BRAIN_MRI, kinds=(), p_tumor=None, p_class=None
    )
    report = build_sr(drawn_headers(), finding)
    names = [item.name.meaning for item in _group(_again(report)).get_measurements()]
    assert names == ["Width", "Height", "Depth"]
    assert "No probability is stated" in " ".join(_texts(report))


def test_a_report_of_a_part_says_so_and_what_is_missing(tmp_path):
    missing = ("Four of 22 images have come.",)
    finding = drawn_finding(missing=missing, reasons=missing)
    report = build_sr(drawn_headers(), finding)
    assert report.CompletionFlag == "PARTIAL"
    assert report.CompletionFlagDescription == missing[0]
    assert {PARTIAL, missing[0]} <= set(_texts(report))
    assert_valid(report, tmp_path)
    whole = build_sr(drawn_headers(), drawn_finding())
    assert whole.CompletionFlag == "COMPLETE"
    assert PARTIAL not in set(_texts(whole))


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
