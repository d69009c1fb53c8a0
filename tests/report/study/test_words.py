"""Sentences on a study agree with its numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.samples.drawn_study import FLAIR, T1, T1C, known_study
from tumorlens.inference.slice.prediction import SequenceEstimate
from tumorlens.report.study.words import (
    counted_sentence,
    file_names,
    place_sentence,
    sequence_name,
    series_answer,
    study_notes,
)


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
