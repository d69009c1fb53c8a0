"""What a study's document says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.samples.drawn_study import known_study
from tumorlens.report.study.document import STUDY_SCHEMA, study_to_json


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
    json.dumps(document, allow_nan=False)


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
