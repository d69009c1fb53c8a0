"""A prediction as a JSON document, and back again; and as a row of a CSV table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import MRSequence, PictureView, Plane
from tumorlens.inference.bundle.facts import FLOAT32
from tumorlens.inference.slice.decision import ClinicalUse, Decision
from tumorlens.inference.slice.prediction import (
    Box,
    Explanation,
    Failure,
    MapSource,
    Prediction,
    SequenceEstimate,
)
from tumorlens.report.words import failure_headline, headline
from tumorlens.taxonomy import (
    CLASSES,
    Answer,
    ClassName,
    Finding,
    Lesion,
    OwnClass,
    Verdict,
    answer_of,
    is_no_lesion,
    own_classes,
    parse_decided,
    parse_finding,
)

SCHEMA = "tumorlens-prediction/1"
_WITNESSES = ("pixels", "header", "file_name")
_LESION_KEYS = {f"p_{name.value}": name for name in Lesion}
RESEARCH_USE = (
    "For research use only. TumorLens is not a medical device: do not use it to "
    "diagnose, to treat or to decide about anyone's care."
)


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """Turn a prediction into a JSON object (schema ``tumorlens-prediction/1``).

    Parameters
    ----------
    prediction
        Prediction for one slice.

    Returns
    -------
    dict
        Plain JSON values. Probabilities and scores are 0 to 1, `box` and
        `outline` are pixels of the picture, `size_mm` and `spacing_mm` are mm,
        `ms` is milliseconds. The maps are left out: they are pictures. Of a refused
        picture `predicted`, `kinds` and everything that names a class or gives a
        probability is null, and what the network gave stands under `raw`, which is
        null otherwise. Where the classes are a user's own, `tumor_classes` names those
        that are tumours; else there is no such key.

    Raises
    ------
    ValueError
        Where a number is not finite; JSON has no such number.
    """
    decision, explanation = prediction.decision, prediction.explanation
    box = explanation.box
    use = prediction.clinical
    numbers = _numbers(prediction)
    raw = None
    if decision.is_refused:
        raw, numbers = numbers, dict.fromkeys(numbers)
    return {
        "schema": SCHEMA,
        "file": prediction.source,
        "slice": prediction.index,
        "status": "ok",
        "predicted": numbers["predicted"],
        "decision": decision.label.value,
        "finding": decision.finding.value,
        "kinds": None
        if decision.is_refused
        else [name.value for name in decision.kinds],
        "headline": headline(prediction),
        "probabilities": numbers["probabilities"],
        "p_tumor": numbers["p_tumor"],
        **{name: numbers[name] for name in _LESION_KEYS},
        "prediction_set": numbers["prediction_set"],
        "domain_score": _finite(decision.domain_score),
        "slice_head": numbers["slice_head"],
        "evidence_head": numbers["evidence_head"],
        "brain_share": _finite(decision.brain_share),
        "operating_point": decision.operating_point,
        "reasons": list(decision.reasons),
        "explained": numbers["explained"],
        "box": None if box is None else _box_to_json(box),
        "outline": [polygon.tolist() for polygon in explanation.outline],
        "size_mm": _pair(explanation.size_mm),
        "height": prediction.height,
        "width": prediction.width,
        "spacing_mm": _pair(prediction.spacing_mm),
        "plane": None if prediction.plane is None else prediction.plane.value,
        **sequence_to_json(prediction.sequence),
        "notes": list(prediction.notes),
        "view": None if prediction.view is None else _view_to_json(prediction.view),
        "model_version": prediction.model_version,
        "model_precision": prediction.model_precision,
        "ms": round(_finite(prediction.milliseconds), 3),
        "raw": raw,
        **tumor_classes_of(decision.raw_probabilities),
        "research_use_only": RESEARCH_USE,
        **(
            {}
            if use is None
            else {"clinical": _clinical_to_json(use, decision.is_refused)}
        ),
    }


def _numbers(prediction: Prediction) -> dict[str, Any]:
    """Give all that names a class or is a probability, of a refused picture too."""
    decision = prediction.decision
    return {
        "predicted": decision.raw_predicted.value,
        "probabilities": _probabilities(decision.raw_probabilities),
        "p_tumor": _finite(decision.raw_p_tumor),
        **{
            key: None
            if name not in decision.other_lesions
            else _finite(decision.other_lesions[name])
            for key, name in _LESION_KEYS.items()
        },
        "prediction_set": [name.value for name in decision.prediction_set],
        "slice_head": _by_class(decision.slice_head, decision.raw_probabilities),
        "evidence_head": _by_class(decision.evidence_head, decision.raw_probabilities),
        "explained": prediction.explanation.explained.value,
    }


def prediction_from_json(
    document: Mapping[str, Any],
    pixels: NDArray[np.float32],
    evidence: MapSource,
    gradcam: MapSource,
) -> Prediction:
    """Turn the document of `prediction_to_json` back into the prediction.

    Parameters
    ----------
    document
        What `prediction_to_json` returned, perhaps through a file.
    pixels
        Shape (H, W), float32: the picture, which the document leaves out.
    evidence, gradcam
        Shape (H, W), float32, 0 to 1: the maps, left out too; or calls that draw them.

    Returns
    -------
    Prediction
        Equal to the first one, but for the rounding of `ms`, and `head`, which
        is 0.
    """
    box = document["box"]
    plane = document["plane"]
    return Prediction(
        source=document["file"],
        index=document["slice"],
        height=document["height"],
        width=document["width"],
        spacing_mm=_read_pair(document["spacing_mm"]),
        plane=None if plane is None else Plane(plane),
        decision=_decision_from_json(document),
        explanation=Explanation(
            evidence=evidence,
            gradcam=gradcam,
            explained=parse_finding(
                _numbers_of(document)["explained"], classes_of(document)
            ),
            outline=tuple(
                np.array(polygon, np.int32).reshape(-1, 2)
                for polygon in document["outline"]
            ),
            box=None if box is None else Box(**box),
            size_mm=_read_pair(document["size_mm"]),
        ),
        model_version=document["model_version"],
        # Before there were faster graphs, all answered in float32.
        model_precision=document.get("model_precision", FLOAT32),
        milliseconds=document["ms"],
        pixels=pixels,
        notes=tuple(document["notes"]),
        view=view_from_json(document.get("view")),
        clinical=_clinical_from_json(document),
        sequence=_sequence_from_json(document),
    )


def _view_to_json(view: PictureView) -> dict[str, Any]:
    """Say what of the picture was judged: corners are pixels, from the upper left."""
    return {
        "corners": [[_finite(x), _finite(y)] for x, y in view.corners],
        "height": view.shape[0],
        "width": view.shape[1],
        "inverted": view.inverted,
    }


def view_from_json(document: Mapping[str, Any] | None) -> PictureView | None:
    """Read what of the picture was judged; None where the whole picture was.

    Parameters
    ----------
    document
        The value of ``view`` in a document; documents of earlier versions hold none.
    """
    if document is None:
        return None
    one, two, three, four = ((float(x), float(y)) for x, y in document["corners"])
    shape = int(document["height"]), int(document["width"])
    return PictureView((one, two, three, four), shape, bool(document["inverted"]))


def failure_to_json(failure: Failure) -> dict[str, Any]:
    """Turn a failure into a JSON object.

    Parameters
    ----------
    failure
        A file or slice that could not be judged.
    """
    return {
        "schema": SCHEMA,
        "file": failure.source,
        "status": failure.code,
        "finding": None,
        "kinds": None,
        "headline": failure_headline(failure),
        "message": failure.message,
        "mend": failure.hint,
        "research_use_only": RESEARCH_USE,
    }


def _numbers_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where a document keeps what the network gave."""
    # Documents of version 0.1 hold it in one place, refused or not.
    return document.get("raw") or document


def tumor_classes_of(values: Iterable[ClassName]) -> dict[str, list[str]]:
    """Give the key `tumor_classes` of a document; nothing of it for the four."""
    tumors = [x.value for x in values if isinstance(x, OwnClass) and x.is_tumor]
    return {"tumor_classes": tumors} if tumors else {}


def classes_of(document: Mapping[str, Any]) -> Sequence[ClassName]:
    """Give the classes that a document of a slice speaks of: the four, or others.

    Parameters
    ----------
    document
        Document of `prediction_to_json`, of version 0.1 too.
    """
    if "tumor_classes" not in document:
        return CLASSES
    tumors = document["tumor_classes"]
    names = _numbers_of(document)["probabilities"]
    return own_classes({name: name in tumors for name in names})


def _decision_from_json(document: Mapping[str, Any]) -> Decision:
    numbers, classes = _numbers_of(document), classes_of(document)
    finding, kinds = answers_from_json(document)
    return Decision(
        raw_probabilities=_read_probabilities(numbers, classes),
        finding=finding,
        kinds=kinds,
        operating_point=document["operating_point"],
        prediction_set=tuple(
            parse_finding(name, classes) for name in numbers["prediction_set"]
        ),
        domain_score=document["domain_score"],
        reasons=tuple(document["reasons"]),
        # Documents of earlier versions hold none of these.
        slice_head=_read_by_class(numbers.get("slice_head"), classes),
        evidence_head=_read_by_class(numbers.get("evidence_head"), classes),
        brain_share=document.get("brain_share", 1.0),
        other_lesions={
            name: numbers[key]
            for key, name in _LESION_KEYS.items()
            if numbers.get(key) is not None
        },
    )


def answers_from_json(
    document: Mapping[str, Any],
) -> tuple[Answer, tuple[Finding, ...]]:
    """Read both answers out of a document for a slice or a series.

    Parameters
    ----------
    document
        Document of `prediction_to_json` or `series_to_json`, of version 0.1 too.

    Returns
    -------
    finding, kinds
        See `Decision`.
    """
    if "finding" in document:
        classes = classes_of(document)
        kinds = tuple(parse_finding(name, classes) for name in document["kinds"] or ())
        return Answer(document["finding"]), kinds
    # Documents of version 0.1 hold the decision alone.
    label = parse_decided(document["decision"])
    finding = answer_of(label)
    if finding is Answer.TUMOR and not isinstance(label, Verdict):
        return finding, (label,)
    return finding, ()


def sequence_to_json(estimate: SequenceEstimate) -> dict[str, Any]:
    """Write of which sequence a slice or series is, and who says so."""
    said = {name: getattr(estimate, name) for name in _WITNESSES}
    return {
        "sequence": None if estimate.sequence is None else estimate.sequence.value,
        "sequence_probability": None
        if estimate.probability is None
        else _finite(estimate.probability),
        "sequence_by": {
            name: None if item is None else item.value for name, item in said.items()
        },
    }


def _sequence_from_json(document: Mapping[str, Any]) -> SequenceEstimate:
    # Documents of earlier versions do not say it.
    said = {"sequence": document.get("sequence"), **document.get("sequence_by", {})}
    known = {name: MRSequence(value) for name, value in said.items() if value}
    probability: float | None = document.get("sequence_probability")
    return SequenceEstimate(
        known.get("sequence"),
        probability,
        *(known.get(name) for name in _WITNESSES),
    )


def _clinical_to_json(use: ClinicalUse, refused: bool) -> dict[str, Any]:
    """Name the columns and say what stood without them; no value is written."""
    values = use.probabilities
    p_tumor = 1.0 - sum(values[name] for name in values if is_no_lesion(name))
    return {
        "used": list(use.used),
        "missing": list(use.missing),
        "unknown": list(use.unknown),
        "outside": list(use.outside),
        "by_image_alone": {
            "decision": use.label.value,
            "probabilities": None if refused else _probabilities(values),
            "p_tumor": None if refused else _finite(p_tumor),
        },
    }


def _clinical_from_json(document: Mapping[str, Any]) -> ClinicalUse | None:
    if "clinical" not in document:
        return None
    alone = document["clinical"]["by_image_alone"]
    numbers = _numbers_of(document) if alone["probabilities"] is None else alone
    classes = classes_of(document)
    document = document["clinical"]
    return ClinicalUse(
        used=tuple(document["used"]),
        missing=tuple(document["missing"]),
        unknown=tuple(document["unknown"]),
        outside=tuple(document["outside"]),
        probabilities=_read_probabilities(numbers, classes),
        label=parse_decided(alone["decision"], classes),
    )


def _probabilities(values: Mapping[ClassName, float]) -> dict[str, float]:
    return {name.value: _finite(values[name]) for name in _names(values)}


def _names(values: Iterable[ClassName]) -> Sequence[ClassName]:
    """Give classes in their order: the four, or a user's own."""
    names = tuple(values)
    return names if isinstance(names[0], OwnClass) else CLASSES


def _read_probabilities(
    document: Mapping[str, Any], classes: Sequence[ClassName]
) -> dict[ClassName, float]:
    return {name: document["probabilities"][name] for name in classes}


def _by_class(
    head: tuple[float, ...], classes: Iterable[ClassName]
) -> dict[str, float] | None:
    if not head:
        return None
    pairs = zip(_names(classes), head, strict=True)
    return {name.value: _finite(value) for name, value in pairs}


def _read_by_class(
    head: Mapping[str, float] | None, classes: Sequence[ClassName]
) -> tuple[float, ...]:
    return () if head is None else tuple(head[name] for name in classes)


def _finite(value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} cannot stand in a report")
    return number


def _pair(values: tuple[float, float] | None) -> list[float] | None:
    return None if values is None else [_finite(value) for value in values]


def _read_pair(values: list[float] | None) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])


def _box_to_json(box: Box) -> dict[str, int]:
    return {"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1}


def csv_columns(classes: Sequence[ClassName] = CLASSES) -> tuple[str, ...]:
    """Name the columns, in their fixed order, for the four classes or a user's own."""
    return (
        "file",
        "slice",
        "status",
        "predicted",
        "decision",
        *(f"p_{name}" for name in classes),
        "p_tumor",
        "domain_score",
        "box_x0",
        "box_y0",
        "box_x1",
        "box_y1",
        "ms",
        *(f"p_{name}" for name in Lesion),
        "sequence",
        "notes",
        "finding",
        "kinds",
        "model_precision",
    )


CSV_COLUMNS = csv_columns()
"""The columns for the four classes."""


def csv_row(
    result: Prediction | Failure, classes: Sequence[ClassName] = CLASSES
) -> list[str]:
    """Turn a result into the cells of one row, in the order of `csv_columns`.

    Parameters
    ----------
    result
        A prediction, whose `status` is ``ok``; or a failure, whose `status` is
        its code and whose other cells but `file` are empty.
    classes
        The bundle's.

    Returns
    -------
    list of str
        Probabilities and the domain score with six decimals, 0 to 1; the box in
        pixels, empty where there is none; ms with two decimals. Probabilities of
        other lesions are empty for a model that knows none, the sequence where
        nobody tells it; of a refused picture all probabilities, `predicted` and
        `kinds`. Kinds are parted by spaces.
    """
    if isinstance(result, Failure):
        row = {"file": spreadsheet_text(result.source), "status": result.code}
        return [row.get(column, "") for column in csv_columns(classes)]
    return csv_cells(prediction_to_json(result), classes)


def spreadsheet_text(text: str) -> str:
    """Keep a spreadsheet from taking a name that somebody gave for a formula.

    Parameters
    ----------
    text
        What is to stand in a cell of a CSV file.

    Returns
    -------
    str
        The text; behind an apostrophe where it starts like a formula.
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def csv_cells(
    document: Mapping[str, Any], classes: Sequence[ClassName] = CLASSES
) -> list[str]:
    """Turn the document of a prediction into a row, as `csv_row` does.

    Parameters
    ----------
    document
        Document of `prediction_to_json`, of version 0.1 too.
    classes
        The bundle's.
    """
    box = document["box"]
    if "finding" in document:
        finding, kinds = document["finding"], document["kinds"] or ()
    else:
        answer, kinds = answers_from_json(document)
        finding = answer.value
    return [
        spreadsheet_text(document["file"]),
        str(document["slice"]),
        document["status"],
        document["predicted"] or "",
        document["decision"],
        *(_cell((document["probabilities"] or {}).get(name)) for name in classes),
        _cell(document["p_tumor"]),
        f"{document['domain_score']:.6f}",
        *(["", "", "", ""] if box is None else map(str, box.values())),
        f"{document['ms']:.2f}",
        *(_cell(document.get(key)) for key in _LESION_KEYS),
        document.get("sequence") or "",
        " ".join(document["notes"]),
        finding,
        " ".join(kinds),
        document.get("model_precision", FLOAT32),
    ]


def _cell(share: float | None) -> str:
    return "" if share is None else f"{share:.6f}"
