"""All series of one study become one finding, and each says what it adds."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from tests.samples.drawn_study import (
    FLAIR,
    SHOWN,
    STUDY_MODEL,
    T1,
    T1C,
    T2,
    drawn,
    moved,
    tilted,
    with_study_model,
)
from tumorlens.errors import InputError, SeveralPeopleError
from tumorlens.imaging.study import Series, Study
from tumorlens.inference.series.classifier import load_series_classifier
from tumorlens.inference.series.decision import log_odds
from tumorlens.inference.study import classifier as words
from tumorlens.inference.study.classifier import (
    StudyClassifier,
    check_one_person,
    load_study_classifier,
)
from tumorlens.inference.study.combination import NO_PLACE
from tumorlens.taxonomy import TumorClass, Verdict


@pytest.fixture(scope="module")
def plain(tiny_bundle: Path) -> StudyClassifier:
    """A model that has not learned to weigh sequences; it knows T1 and T1C."""
    return load_study_classifier(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def learned(
    tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> StudyClassifier:
    """One that has."""
    folder = tmp_path_factory.mktemp("learned") / "bundle"
    shutil.copytree(tiny_bundle, folder)
    return load_study_classifier(with_study_model(folder), threads=1)


def odds(values: tuple[float | None, ...]) -> np.ndarray:
    return log_odds(np.array([np.nan if x is None else x for x in values]))


def test_one_series_says_what_it_says_alone(
    plain: StudyClassifier, tiny_bundle: Path
) -> None:
    alone = load_series_classifier(tiny_bundle, threads=1).predict(drawn(T1))
    found = plain.predict([drawn(T1)])
    assert found.combined.decision is alone.decision is TumorClass.GLIOMA
    assert found.combined.p_tumor == pytest.approx(alone.p_tumor)
    assert odds(found.combined.slice_p_tumor) == pytest.approx(
        odds(alone.slice_p_tumor), nan_ok=True
    )
    assert found.combined.lesion == alone.lesion
    assert found.weights is None
    assert found.counted == found.shown_by == (T1,)
    assert found.missing == (T1C,)
    assert words.ONE_ALONE.format(name="T1") in found.combined.reasons


def test_sequences_are_weighed_as_the_bundle_says(learned: StudyClassifier) -> None:
    found = learned.predict([drawn(T1), drawn(T1C, range(5, 6))])
    assert found.is_learned
    assert found.weights == STUDY_MODEL.sums[2]
    first, second = (odds(item.slice_p_tumor) for item in found.series)
    wanted = 0.25 * first + 0.75 * second - 0.5
    shown = odds(found.combined.slice_p_tumor)
    assert shown == pytest.approx(np.clip(wanted, *odds((0.0, 1.0))), nan_ok=True)
    assert np.isfinite(shown).sum() == 7
    assert any("0.90 (0.88 to 0.93)" in text for text in found.combined.reasons)


def test_a_model_that_has_not_learned_it_weighs_alike_and_says_so(
    plain: StudyClassifier,
) -> None:
    found = plain.predict([drawn(T1), drawn(T1C, range(0))])
    assert not found.is_learned
    assert found.weights is not None
    assert found.weights.weights == (0.5, 0.5)
    first, second = (odds(item.slice_p_tumor) for item in found.series)
    assert odds(found.combined.slice_p_tumor) == pytest.approx(
        (first + second) / 2, nan_ok=True
    )
    names = "T1 and T1 with contrast"
    assert words.EQUAL.format(names=names) in found.combined.reasons


def test_it_says_which_sequence_shows_the_finding(plain: StudyClassifier) -> None:
    found = plain.predict([drawn(T1, range(0)), drawn(T1C)])
    assert found.combined.decision is not TumorClass.NO_TUMOR
    assert found.shown_by == (T1C,)
    there = [item.p_tumor_there for item in found.series]
    assert there[0] is not None
    assert there[1] is not None
    assert there[0] < 0.5 < there[1]
    clear = plain.predict([drawn(T1, range(0)), drawn(T1C, range(0))])
    assert clear.combined.decision is TumorClass.NO_TUMOR
    assert clear.shown_by == ()


def test_the_evidence_is_that_of_the_place(learned: StudyClassifier) -> None:
    # It begins 10 mm higher: its slices 2 to 4 lie where 4 to 6 of the first do.
    second = moved(drawn(T1C, range(2, 5)), (0.0, 0.0, 10.0))
    found = learned.predict([drawn(T1), second])
    evidence = found.combined.evidence
    assert evidence is not None
    assert evidence[5, 110, 90] > 80
    assert evidence[5, 110, 160] < 20
    lesion = found.combined.lesion
    assert lesion is not None
    assert lesion.peak[0] in SHOWN
    by_itself = found.series[1].slice_p_tumor
    assert by_itself[5] is not None
    assert by_itself[5] > 0.9


def test_sequences_that_were_not_measured_do_not_count(
    plain: StudyClassifier,
) -> None:
    found = plain.predict([drawn(T1, range(0)), drawn(FLAIR), drawn(T2)])
    assert found.combined.decision is TumorClass.NO_TUMOR
    assert [item.counts for item in found.series] == [True, False, False]
    assert found.series[1].prediction is None
    assert found.series[1].reason == words.NOT_MEASURED.format(sequence="FLAIR")
    with pytest.raises(InputError, match="holds FLAIR, T2; the model was measured"):
        plain.predict([drawn(FLAIR), drawn(T2)])


def test_a_sequence_without_a_weight_does_not_count_beside_others(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    without = replace(STUDY_MODEL, sums=STUDY_MODEL.sums[:1])
    model = load_study_classifier(with_study_model(folder, without), threads=1)
    found = model.predict([drawn(T1), drawn(T1C)])
    assert found.counted == (T1,)
    assert found.series[1].prediction is not None
    assert "not learned" in found.series[1].reason
    # Alone it is all there is.
    assert model.predict([drawn(T1C)]).counted == (T1C,)


def test_a_series_of_unknown_sequence_counts_alone_only(
    plain: StudyClassifier,
) -> None:
    unknown = drawn(None, name="image.nii.gz")
    beside = plain.predict([unknown, drawn(T1)])
    assert [item.counts for item in beside.series] == [False, True]
    assert beside.series[0].reason == words.NOT_KNOWN
    alone = plain.predict([unknown])
    assert alone.series[0].counts
    assert alone.counted == ()
    assert alone.combined.decision is TumorClass.GLIOMA


def test_a_file_s_name_says_its_sequence(plain: StudyClassifier) -> None:
    named = [
        drawn(None, name="T1_study/p_t1.nii.gz"),
        drawn(None, name="T1_study/p_t1ce.nii.gz"),
    ]
    assert plain.predict(named).counted == (T1, T1C)


def test_two_series_of_one_sequence_count_as_their_mean(
    plain: StudyClassifier,
) -> None:
    found = plain.predict([drawn(T1), drawn(T1, range(0))])
    assert found.weights is None
    first = plain.predict([drawn(T1)]).combined.slice_p_tumor
    second = plain.predict([drawn(T1, range(0))]).combined.slice_p_tumor
    assert odds(found.combined.slice_p_tumor) == pytest.approx(
        (odds(first) + odds(second)) / 2, nan_ok=True
    )


def unplaced(series: Series) -> Series:
    slices = tuple(replace(item, placement=None) for item in series.slices)
    return replace(series, slices=slices)


def test_a_series_without_a_place_says_what_it_says_alone(
    plain: StudyClassifier, tiny_bundle: Path
) -> None:
    series = unplaced(drawn(T1))
    alone = load_series_classifier(tiny_bundle, threads=1).predict(series)
    found = plain.predict([series]).combined
    assert found.decision is alone.decision is TumorClass.GLIOMA
    assert found.p_tumor == pytest.approx(alone.p_tumor)
    assert found.slice_p_tumor == pytest.approx(alone.slice_p_tumor, nan_ok=True)
    assert found.evidence is not None
    assert alone.evidence is not None
    # Only slices that were judged have evidence here.
    assert np.abs(found.evidence[2:].astype(int) - alone.evidence[2:]).max() <= 2


def test_a_second_series_without_a_place_does_not_count(plain: StudyClassifier) -> None:
    found = plain.predict([unplaced(drawn(T1)), unplaced(drawn(T1C))])
    assert sum(item.counts for item in found.series) == 1
    (other,) = (item for item in found.series if not item.counts)
    assert other.reason == NO_PLACE
    assert found.combined.decision is TumorClass.GLIOMA


def test_what_cannot_be_matched_does_not_count_but_is_not_silent(
    plain: StudyClassifier,
) -> None:
    crossed = tilted(drawn(T1C), 40.0)
    found = plain.predict([drawn(T1, range(0)), crossed])
    assert [item.counts for item in found.series] == [True, False]
    assert "40 degrees" in found.series[1].reason
    alone = found.series[1].prediction
    assert alone is not None
    assert alone.decision is TumorClass.GLIOMA
    assert found.combined.decision is Verdict.UNCERTAIN
    said = words.CONTRADICTED.format(name="T1 with contrast")
    assert found.combined.reasons[0] == said
    quiet = plain.predict([drawn(T1, range(0)), tilted(drawn(T1C, range(0)), 40.0)])
    assert quiet.combined.decision is TumorClass.NO_TUMOR


def test_an_outline_is_not_judged(plain: StudyClassifier) -> None:
    outline = drawn(None, name="patient 7/seg.nii.gz")
    slices = tuple(
        replace(item, pixels=np.where(item.pixels > 200, 4.0, 0.0).astype(np.float32))
        for item in outline.slices
    )
    # Nobody asks whose it is.
    scan = drawn(T1, name="patient 8/T1.nii.gz")
    found = plain.predict([scan, replace(outline, slices=slices)])
    assert found.series[1].prediction is None
    assert found.series[1].reason == words.DRAWN


def test_a_series_without_brain_does_not_count(plain: StudyClassifier) -> None:
    slices = tuple(
        replace(item, pixels=np.full_like(item.pixels, 0.5))
        for item in drawn(T1C).slices
    )
    empty = replace(drawn(T1C), slices=slices)
    found = plain.predict([drawn(T1), empty])
    assert found.series[1].reason == words.EMPTY
    assert found.counted == (T1,)
    nothing = plain.predict([empty])
    assert nothing.counted == ()
    assert nothing.combined.p_tumor is None
    assert nothing.combined.not_judged is not None


def test_several_people_are_refused(plain: StudyClassifier) -> None:
    two = [drawn(T1, name="sub-01_T1w.nii"), drawn(T1, name="sub-02_T1w.nii")]
    with pytest.raises(SeveralPeopleError):
        plain.predict(two)
    assert plain.predict(two, trust_names=False).counted == (T1,)


def test_progress_counts_the_slices_of_all_series(plain: StudyClassifier) -> None:
    told: list[tuple[int, int]] = []
    plain.predict(
        [drawn(T1), drawn(T1C), drawn(T2)], progress=lambda *x: told.append(x)
    )
    assert told[-1] == (18, 18)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_tumour_in_one_sequence_is_never_outvoted_in_silence(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    deaf = replace(STUDY_MODEL.sums[2], weights=(1.0, 0.0))
    sums = (*STUDY_MODEL.sums[:2], deaf)
    model = with_study_model(folder, replace(STUDY_MODEL, sums=sums))
    study = load_study_classifier(model, threads=1)
    found = study.predict([drawn(T1, range(0)), drawn(T1C)])
    assert found.counted == (T1, T1C)
    assert found.combined.p_tumor is not None
    assert found.combined.p_tumor < 0.3
    assert found.combined.decision is Verdict.UNCERTAIN
    said = words.OUTVOTED.format(name="T1 with contrast")
    assert found.combined.reasons[0] == said


def test_series_that_were_judged_before_need_not_be_judged_again(
    plain: StudyClassifier, tiny_bundle: Path
) -> None:
    series = [drawn(T1), drawn(T1C, range(5, 6))]
    told: list[tuple[int, int]] = []
    before = load_series_classifier(tiny_bundle, threads=1).predict(series[0])
    found = plain.predict(series, progress=lambda *x: told.append(x), seen={0: before})
    assert told[-1] == (9, 9)
    anew = plain.predict(series)
    assert found.combined.p_tumor == anew.combined.p_tumor
    assert found.series[0].slice_p_tumor == anew.series[0].slice_p_tumor


def test_what_was_read_is_judged_without_its_single_pictures(
    plain: StudyClassifier,
) -> None:
    picture = drawn(T1C, count=1)
    found = plain.predict(Study((drawn(T1), picture)))
    assert [item.slices for item in found.series] == [9]
    with pytest.raises(InputError, match="single pictures"):
        plain.predict(Study((picture,)))


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
