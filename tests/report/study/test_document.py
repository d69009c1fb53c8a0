"""What a study's document says, and its sentences."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.samples.drawn_study import FLAIR, T1, T1C, known_study
from tumorlens.inference.slice.prediction import SequenceEstimate
from tumorlens.report.study.document import (
    STUDY_SCHEMA,
    counted_sentence,
    file_names,
    place_sentence,
    sequence_name,
    series_answer,
    study_notes,
    study_to_json,
)


def test_it_says_of_the_study_what_a_series_says_of_itself() -> None:
    document = study_to_json(known_study(), ("A note.",))
    assert document["schema"] == STUDY_SCHEMA
    assert document["status"] == "ok"
    assert document["decision"] == "glioma"
    assert document["p_tumor"] == pytest.approx(0.9375)
    assert document["notes"] == ["A note."]
    assert document["run"] == [4, 6]
    assert document["lesion"]["side"] == "right"
    assert len(document["slice_p_tumor"]) == document["grid"]["slices"] == 9
    assert document["summary"][0].startswith("Judged together: T1 and")
    json.dumps(document, allow_nan=False)
    assert known_study().to_dict() == study_to_json(known_study())


def test_it_says_which_sequences_count_and_how() -> None:
    document = study_to_json(known_study())
    assert document["sequences"] == {
        "counted": ["T1", "T1 with contrast"],
        "shown_by": ["T1 with contrast"],
        "missing": ["FLAIR"],
    }
    weights = document["weights"]
    assert weights["is_learned"] is True
    assert weights["sequences"] == ["T1", "T1 with contrast"]
    assert weights["weights"] == [0.25, 0.75]
    assert weights["auroc"]["value"] == 0.9


def test_each_series_says_what_it_adds_or_why_it_does_not() -> None:
    first, second, third = study_to_json(known_study())["series"]
    assert (first["file"], first["sequence"]) == ("a/t1.nii.gz", "T1")
    assert first["counts"] is True
    assert first["reason"] is None
    assert first["alone"]["p_tumor"] == pytest.approx(0.9375)
    assert first["slice_p_tumor"][4] == 0.4
    assert second["p_tumor_there"] == 0.9
    assert second["sequence_by"]["pixels"] == "T1 with contrast"
    assert third["counts"] is False
    assert third["reason"] == "It does not count."
    assert third["alone"] is None
    assert third["slice_p_tumor"] is None


def test_without_a_place_or_weights_these_are_null() -> None:
    document = study_to_json(replace(known_study(), weights=None))
    assert document["weights"] is None
    assert document["grid"]["affine_ras"] is None


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ((T1C,), "By itself only T1 with contrast shows a tumour there."),
        ((T1C, T1), "Each of them shows a tumour there by itself too."),
        ((), "None of them shows a tumour there by itself."),
    ],
)
def test_it_says_which_sequences_show_the_finding(shown, said) -> None:
    text = counted_sentence(replace(known_study(), shown_by=shown))
    assert text == f"Judged together: T1 and T1 with contrast. {said}"


def test_one_sequence_counts_alone() -> None:
    study = known_study()
    one = replace(study, series=study.series[:1])
    assert counted_sentence(one) == "T1 counts alone."
    unknown = replace(study.series[0], sequence=SequenceEstimate())
    nobody = replace(study, series=(unknown,))
    assert counted_sentence(nobody) == (
        "One series counts, of a sequence that nobody knows."
    )
    assert sequence_name(unknown) == "sequence not known"
    none = replace(study, series=study.series[2:])
    assert counted_sentence(none) == "No series counts."


def test_a_series_says_what_it_adds() -> None:
    first, second, third = known_study().series
    assert "93.8 %" in series_answer(first)
    assert place_sentence(second) == "Tumour in the slices that decide: 90.0 %."
    assert place_sentence(replace(second, p_tumor_there=None)) == "Counts."
    assert series_answer(third) == "not judged"
    assert place_sentence(third) == "Does not count. It does not count."
    assert sequence_name(third) == FLAIR.value


def test_files_are_named_with_as_few_folders_as_tell_them_apart() -> None:
    study = known_study()
    assert file_names(study) == ["t1.nii.gz", "t1c.nii.gz", "flair.nii.gz"]
    first, *rest = study.series
    alike = replace(study, series=(replace(first, source="b/t1c.nii.gz"), *rest))
    assert file_names(alike) == ["b/t1c.nii.gz", "a/t1c.nii.gz", "a/flair.nii.gz"]
    same = replace(study, series=(first, first))
    assert file_names(same) == ["a/t1.nii.gz", "a/t1.nii.gz"]


def test_notes_name_no_file() -> None:
    first, second = study_notes(known_study())
    assert first == counted_sentence(known_study())
    assert second == "FLAIR: does not count. It does not count."
    assert "nii" not in first + second
