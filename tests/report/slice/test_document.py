"""Predictions as JSON documents and rows of a table."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tumorlens.imaging.study import MRSequence
from tumorlens.inference.slice.decision import ClinicalUse
from tumorlens.inference.slice.prediction import Failure, Prediction, SequenceEstimate
from tumorlens.report.slice.document import (
    CSV_COLUMNS,
    RESEARCH_USE,
    SCHEMA,
    answers_from_json,
    csv_row,
    failure_to_json,
    prediction_from_json,
    prediction_to_json,
)
from tumorlens.taxonomy import (
    CLASSES,
    Answer,
    Finding,
    Lesion,
    TumorClass,
    Verdict,
)


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


def test_other_lesions_and_the_sequence_come_back(prediction: Prediction) -> None:
    document = prediction_to_json(prediction)
    assert (document["p_other"], document["p_vascular"]) == (None, None)
    assert document["sequence_by"] == {
        "pixels": None,
        "header": None,
        "file_name": None,
    }
    decision = replace(
        prediction.decision,
        kinds=(Lesion.OTHER,),
        prediction_set=(TumorClass.GLIOMA, Lesion.OTHER),
        other_lesions={Lesion.OTHER: 0.5, Lesion.VASCULAR: 0.03125},
    )
    told = SequenceEstimate(MRSequence.T2, 0.75, MRSequence.T2, MRSequence.T1)
    explanation = replace(prediction.explanation, explained=Lesion.OTHER)
    full = replace(
        prediction, decision=decision, sequence=told, explanation=explanation
    )
    document = json.loads(json.dumps(prediction_to_json(full)))
    assert (document["decision"], document["p_other"]) == ("other", 0.5)
    assert document["sequence"] == "T2"
    again = prediction_from_json(
        document, full.pixels, explanation.evidence, explanation.gradcam
    )
    assert (again.decision, again.sequence) == (decision, told)
    assert again.explanation.explained is Lesion.OTHER


def test_a_document_of_an_earlier_version_is_read(prediction: Prediction) -> None:
    added = ("p_other", "p_vascular", "sequence", "sequence_probability", "sequence_by")
    document = prediction_to_json(prediction)
    older = {key: value for key, value in document.items() if key not in added}
    explanation = prediction.explanation
    again = prediction_from_json(
        older, prediction.pixels, explanation.evidence, explanation.gradcam
    )
    assert again.decision == prediction.decision
    assert again.sequence == SequenceEstimate()


def test_clinical_columns_are_named_with_what_stood_without_them(
    prediction: Prediction,
) -> None:
    assert "clinical" not in prediction_to_json(prediction)
    alone = dict(zip(CLASSES, (0.25, 0.25, 0.25, 0.25), strict=True))
    use = ClinicalUse(("age",), ("sex",), ("side",), ("age",), alone, Verdict.UNCERTAIN)
    document = prediction_to_json(replace(prediction, clinical=use))
    assert document["clinical"] == {
        "used": ["age"],
        "missing": ["sex"],
        "unknown": ["side"],
        "outside": ["age"],
        "by_image_alone": {
            "decision": "uncertain",
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
        decision=replace(prediction.decision, finding=Answer.NOT_BRAIN_MRI, kinds=()),
        explanation=replace(prediction.explanation, outline=(), box=None, size_mm=None),
    )
    document = prediction_to_json(bare)
    assert document["decision"] == document["finding"] == "not_brain_mri"
    for key in ("predicted", "kinds", "probabilities", "p_tumor", "prediction_set"):
        assert document[key] is None
    assert document["raw"]["predicted"] == document["raw"]["explained"] == "glioma"
    assert document["raw"]["p_tumor"] == pytest.approx(1 - 0.0625)
    assert document["domain_score"] == 0.97
    assert document["box"] is None
    assert document["outline"] == []
    assert document["spacing_mm"] is None
    again = prediction_from_json(
        document, bare.pixels, bare.explanation.evidence, bare.explanation.gradcam
    )
    assert again.decision == bare.decision
    assert again.decision.probabilities is None


def test_a_refused_row_holds_no_class_and_no_probability(
    prediction: Prediction,
) -> None:
    decision = replace(prediction.decision, finding=Answer.NOT_BRAIN_MRI, kinds=())
    row = dict(
        zip(CSV_COLUMNS, csv_row(replace(prediction, decision=decision)), strict=True)
    )
    assert (row["status"], row["decision"]) == ("ok", "not_brain_mri")
    assert (row["finding"], row["domain_score"]) == ("not_brain_mri", "0.970000")
    empty = ["predicted", "kinds", *(name for name in row if name.startswith("p_"))]
    assert {row[name] for name in empty} == {""}


def test_an_open_kind_is_listed_likeliest_first(prediction: Prediction) -> None:
    kinds = (TumorClass.MENINGIOMA, TumorClass.GLIOMA)
    open_ = replace(prediction, decision=replace(prediction.decision, kinds=kinds))
    document = prediction_to_json(open_)
    assert (document["decision"], document["finding"]) == ("tumor", "tumor")
    assert document["kinds"] == ["meningioma", "glioma"]
    assert document["headline"] == "Tumour: meningioma or glioma"
    assert csv_row(open_)[-3:] == ["tumor", "meningioma glioma", "float32"]


@pytest.mark.parametrize(
    ("decision", "finding", "kinds"),
    [
        ("glioma", Answer.TUMOR, (TumorClass.GLIOMA,)),
        ("no_tumor", Answer.NO_TUMOR, ()),
        ("inconclusive", Answer.UNCERTAIN, ()),
        ("not_brain_mri", Answer.NOT_BRAIN_MRI, ()),
    ],
)
def test_answers_are_read_out_of_a_document_of_version_0_1(
    prediction: Prediction, decision: str, finding: Answer, kinds: tuple[Finding, ...]
) -> None:
    document = {**prediction_to_json(prediction), "decision": decision}
    for name in ("finding", "kinds", "headline", "raw"):
        del document[name]
    assert answers_from_json(document) == (finding, kinds)
    nothing = np.zeros((0, 0), np.float32)
    again = prediction_from_json(document, nothing, nothing, nothing)
    assert again.decision.finding is finding


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_never_written(
    prediction: Prediction, value: float
) -> None:
    values = {**prediction.decision.raw_probabilities, TumorClass.GLIOMA: value}
    broken = replace(
        prediction, decision=replace(prediction.decision, raw_probabilities=values)
    )
    with pytest.raises(ValueError, match="cannot stand in a report"):
        prediction_to_json(broken)


def test_a_failure_says_what_is_wrong_and_what_to_do() -> None:
    document = failure_to_json(Failure("a.jpg", "empty_file", "Empty.", "Mend it."))
    assert document["file"] == "a.jpg"
    assert document["status"] == "empty_file"
    assert document["message"] == "Empty."
    assert document["mend"] == "Mend it."
    assert document["headline"] == "Not judged: Empty"
    assert (document["finding"], document["kinds"]) == (None, None)


PROMISED = (
    "file,slice,status,predicted,decision,p_glioma,p_meningioma,p_pituitary,"
    "p_no_tumor,p_tumor,domain_score,box_x0,box_y0,box_x1,box_y1,ms,p_other,p_vascular,"
    "sequence,notes,finding,kinds,model_precision"
)


def test_the_columns_are_the_promised_ones() -> None:
    assert ",".join(CSV_COLUMNS) == PROMISED


def test_every_cell_of_a_prediction(prediction: Prediction) -> None:
    assert ",".join(csv_row(prediction)) == (
        "scan 1.png,0,ok,glioma,glioma,0.750000,0.125000,0.062500,0.062500,"
        "0.937500,0.970000,50,10,70,20,12.35,,,,Only the first frame was used.,"
        "tumor,glioma,float32"
    )


def test_no_box_leaves_four_empty_cells(prediction: Prediction) -> None:
    bare = replace(prediction, explanation=replace(prediction.explanation, box=None))
    assert csv_row(bare)[11:-4] == ["", "", "", "", "12.35", "", "", ""]


def test_a_failure_is_a_row_with_its_code() -> None:
    row = csv_row(Failure("b.png", "damaged_file", "Broken.", "Copy it again."))
    assert len(row) == len(CSV_COLUMNS)
    assert row[0] == "b.png"
    assert row[2] == "damaged_file"
    assert not any(row[3:])


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_name_is_no_formula(prediction: Prediction, start: str) -> None:
    name = f"{start}1+2.png"
    assert csv_row(replace(prediction, source=name))[0] == f"'{name}"
    assert csv_row(Failure(name, "bad_input", "No.", ""))[0] == f"'{name}"
    assert csv_row(replace(prediction, source="a-1.png"))[0] == "a-1.png"


def test_other_lesions_and_the_sequence_follow(prediction: Prediction) -> None:
    lesions = {Lesion.OTHER: 0.25, Lesion.VASCULAR: 0.03125}
    decision = replace(prediction.decision, other_lesions=lesions)
    told = SequenceEstimate(MRSequence.T2, 0.875, MRSequence.T2)
    found = csv_row(replace(prediction, decision=decision, sequence=told))
    assert found[16:-4] == ["0.250000", "0.031250", "T2"]
