"""Series of several people are never taken for one study."""

import pytest
from pydicom import Dataset

from tests.samples.drawn_study import T1, drawn
from tumorlens.errors import SeveralPeopleError
from tumorlens.imaging.study import Series
from tumorlens.inference.study.people import check_one_person


def named(*names):
    return [drawn(T1, count=2, name=name) for name in names]


def scanned(**values):
    header = Dataset()
    for keyword, value in values.items():
        setattr(header, keyword, value)
    series = drawn(T1, count=2)
    return Series(series.slices, headers=(header, header), frames=(0, 0))


@pytest.mark.parametrize(
    "names",
    [
        ("T1.nii.gz", "FLAIR.nii.gz"),
        ("BraTS2021_01657_t1.nii.gz", "BraTS2021_01657_flair.nii.gz"),
        ("TCGA-FG-6692_T1.nii.gz", "TCGA-FG-6692_T1Gd.nii.gz"),
        ("201_T1_SE.nii.gz", "301_T2_tr5000_te100.nii.gz"),
        (
            "x/sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
            "x/sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz",
        ),
        ("IXI013-T1.nii.gz", "FLAIR.nii.gz"),
    ],
)
def test_files_of_one_person_pass(names):
    check_one_person(named(*names))


@pytest.mark.parametrize(
    "names",
    [
        ("IXI013-HH-1212-T1.nii.gz", "IXI014-HH-1236-T1.nii.gz"),
        ("sub-01_T1w.nii.gz", "sub-02_FLAIR.nii.gz"),
        ("sub-ann_T1w.nii.gz", "sub-bob_FLAIR.nii.gz"),
        ("patient 1/T1.nii.gz", "patient 2/T1.nii.gz"),
        ("BraTS2021_01657_t1.nii.gz", "BraTS2021_01658_t1.nii.gz"),
    ],
)
def test_files_of_two_people_are_refused_by_their_names(names):
    with pytest.raises(SeveralPeopleError, match="two people") as caught:
        check_one_person(named(*names))
    assert names[0] in caught.value.message
    assert caught.value.hint


def test_files_of_two_visits_are_refused():
    names = ("sub-01_ses-1_T1w.nii.gz", "sub-01_ses-2_T1w.nii.gz")
    with pytest.raises(SeveralPeopleError, match="two visits"):
        check_one_person(named(*names))


def test_who_vouches_for_one_person_is_believed_about_names_alone():
    check_one_person(named("sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz"), trust_names=False)
    two = [scanned(PatientID="a"), scanned(PatientID="b")]
    with pytest.raises(SeveralPeopleError):
        check_one_person(two, trust_names=False)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"PatientID": "17"}, {"PatientID": "18"}, "2 patients"),
        ({"PatientName": "Ann^A"}, {"PatientName": "Bob^B"}, "2 patients"),
        (
            {"PatientID": "17", "StudyInstanceUID": "1.2"},
            {"PatientID": "17", "StudyInstanceUID": "1.3"},
            "2 studies",
        ),
    ],
)
def test_headers_of_several_people_or_studies_are_refused(one, other, words):
    with pytest.raises(SeveralPeopleError, match=words) as caught:
        check_one_person([scanned(**one), scanned(**other)])
    for value in (*one.values(), *other.values()):
        assert value not in str(caught.value).replace("2 ", "")


def test_headers_of_one_person_pass_and_an_empty_one_contradicts_nobody():
    same = {"PatientID": "17", "StudyInstanceUID": "1.2"}
    check_one_person([scanned(**same), scanned(**same), scanned()])


def test_dicom_and_other_files_are_taken_together_only_if_somebody_vouches():
    mixed = [scanned(PatientID="17"), *named("T1.nii.gz")]
    with pytest.raises(SeveralPeopleError, match="nothing says"):
        check_one_person(mixed)
    check_one_person(mixed, trust_names=False)
