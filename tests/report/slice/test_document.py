"""The JSON document says all, says it in plain JSON, and can be read back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tumorlens.inference.slice.results import ClinicalUse, Failure, Prediction
from tumorlens.report.slice.document import (
    RESEARCH_USE,
    SCHEMA,
    failure_to_json,
    prediction_from_json,
    prediction_to_json,
)
from tumorlens.taxonomy import CLASSES, TumorClass, Verdict


def test_the_document_is_strict_json_and_names_every_class(
    prediction: Prediction,
) -> None:
    document = prediction_to_json(prediction)
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again == document
    assert list(document["probabilities"]) == [name.value for name in CLASSES]
    assert document["schema"] == SCHEMA
    assert document["research_use_only"] == RESEARCH_USE
    assert document["p_tumor"] == pytest.approx(1 - 0.0625)
    assert document["box"] == {"x0": 50, "y0": 10, "x1": 70, "y1": 20}
    assert document["size_mm"] == [10.0, 5.0]


def test_a_document_read_back_is_the_prediction(prediction: Prediction) -> None:
    text = json.dumps(prediction_to_json(prediction))
    explanation = prediction.explanation
    again = prediction_from_json(
        json.loads(text),
        prediction.pixels,
        explanation.evidence,
        explanation.gradcam,
    )
    assert again.decision == prediction.decision
    assert again.explanation.box == explanation.box
    assert np.array_equal(again.explanation.outline[0], explanation.outline[0])
    assert again.spacing_mm == prediction.spacing_mm
    assert again.plane == prediction.plane
    assert prediction_to_json(again) == prediction_to_json(prediction)


def test_clinical_columns_are_named_with_what_stood_without_them(
    prediction: Prediction,
) -> None:
    assert "clinical" not in prediction_to_json(prediction)
    alone = dict(zip(CLASSES, (0.25, 0.25, 0.25, 0.25), strict=True))
    use = ClinicalUse(
        ("age",), ("sex",), ("side",), ("age",), alone, Verdict.INCONCLUSIVE
    )
    document = prediction_to_json(replace(prediction, clinical=use))
    assert document["clinical"] == {
        "used": ["age"],
        "missing": ["sex"],
        "unknown": ["side"],
        "outside": ["age"],
        "by_image_alone": {
            "decision": "inconclusive",
            "probabilities": {name.value: 0.25 for name in CLASSES},
            "p_tumor": 0.75,
        },
    }
    nothing = np.zeros((0, 0), np.float32)
    text = json.dumps(document)
    again = prediction_from_json(json.loads(text), nothing, nothing, nothing)
    assert again.clinical == use


def test_a_document_of_an_earlier_version_is_still_read(
    prediction: Prediction,
) -> None:
    document = prediction_to_json(prediction)
    for name in ("slice_head", "evidence_head", "brain_share"):
        del document[name]
    nothing = np.zeros((0, 0), np.float32)
    again = prediction_from_json(document, nothing, nothing, nothing)
    assert again.decision.reasons == prediction.decision.reasons
    assert prediction_to_json(again)["slice_head"] is None


def test_a_refusal_without_box_spacing_or_plane(prediction: Prediction) -> None:
    bare = replace(
        prediction,
        spacing_mm=None,
        plane=None,
        decision=replace(prediction.decision, label=Verdict.NOT_BRAIN_MRI),
        explanation=replace(prediction.explanation, outline=(), box=None, size_mm=None),
    )
    document = prediction_to_json(bare)
    assert document["decision"] == "not_brain_mri"
    assert document["box"] is None
    assert document["outline"] == []
    assert document["spacing_mm"] is None
    again = prediction_from_json(
        document, bare.pixels, bare.explanation.evidence, bare.explanation.gradcam
    )
    assert again.decision.label is Verdict.NOT_BRAIN_MRI


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_never_written(
    prediction: Prediction, value: float
) -> None:
    probabilities = {**prediction.decision.probabilities, TumorClass.GLIOMA: value}
    broken = replace(
        prediction, decision=replace(prediction.decision, probabilities=probabilities)
    )
    with pytest.raises(ValueError, match="cannot stand in a report"):
        prediction_to_json(broken)


def test_a_failure_says_what_is_wrong_and_what_to_do() -> None:
    document = failure_to_json(Failure("a.jpg", "empty_file", "Empty.", "Mend it."))
    assert document["file"] == "a.jpg"
    assert document["status"] == "empty_file"
    assert document["message"] == "Empty."
    assert document["mend"] == "Mend it."
