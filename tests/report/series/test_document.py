"""A scan's finding as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.samples.drawn_series import (
    WHY_NOT,
    drawn_series,
    known_prediction,
    unjudged_prediction,
)
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.series.by_slices import predict_by_slices
from tumorlens.report.series.document import (
    SERIES_SCHEMA,
    lesion_from_json,
    series_to_json,
)
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.taxonomy import Answer


def test_the_document_is_plain_json_without_patient_data(tiny_bundle: Path) -> None:
    classifier = load_classifier(tiny_bundle, threads=1)
    finding = predict_by_slices(classifier, drawn_series(range(4, 8)))
    text = json.dumps(series_to_json(finding), allow_nan=False)
    document = json.loads(text)
    assert document["schema"] == SERIES_SCHEMA
    assert document["research_use_only"] == RESEARCH_USE
    assert document["decision"] == "glioma"
    assert document["lesion"]["side"] == "right"
    assert document["slice_p_tumor"][0] is None
    assert document["p_tumor_by_plane"] == {"axial": document["p_tumor"]}
    assert document["size_measured"] is False
    assert "SECRET" not in text


def test_a_scan_of_which_nothing_was_judged_has_a_reason_and_no_number() -> None:
    document = series_to_json(unjudged_prediction())
    assert document["not_judged"] == WHY_NOT
    assert document["headline"] == "Not judged: no slice shows enough brain"
    for name in ("p_tumor", "probabilities", "predicted", "kinds", "lesion", "raw"):
        assert document[name] is None
    assert series_to_json(known_prediction())["not_judged"] is None


def test_a_refused_series_keeps_its_numbers_apart() -> None:
    refused = replace(known_prediction(), finding=Answer.NOT_BRAIN_MRI, kinds=())
    document = series_to_json(refused)
    assert document["decision"] == document["finding"] == "not_brain_mri"
    for name in ("p_tumor", "probabilities", "predicted", "kinds"):
        assert document[name] is None
    assert document["raw"]["predicted"] == "glioma"
    assert document["raw"]["p_tumor"] == 0.9375
    assert series_to_json(known_prediction())["raw"] is None


def test_how_the_files_were_read_stands_beside_the_finding() -> None:
    assert series_to_json(known_prediction())["notes"] == []
    assert series_to_json(known_prediction(), ("A note.",))["notes"] == ["A note."]


def test_a_sequence_that_the_model_does_not_know_is_told() -> None:
    assert series_to_json(known_prediction())["sequence_caveat"] is None
    foreign = replace(known_prediction(), sequence=MRSequence.FLAIR)
    assert "do not hold here" in series_to_json(foreign)["sequence_caveat"]


def test_a_lesion_comes_back() -> None:
    lesion = known_prediction().lesion
    document = json.loads(json.dumps(series_to_json(known_prediction())))
    assert lesion_from_json(document["lesion"]) == lesion
