"""What the API answers with, as JSON Schema."""

from __future__ import annotations

from typing import Any

from tumorlens.report.slice.document import SCHEMA
from tumorlens.taxonomy import CLASSES, TUMOR_CLASSES, Verdict

_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_CLASS = {"type": "string", "enum": [name.value for name in CLASSES]}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_PIXEL = {"type": "integer"}
_MILLIMETRES = {
    "type": ["array", "null"],
    "items": {"type": "number"},
    "minItems": 2,
    "maxItems": 2,
}


def prediction() -> dict[str, Any]:
    """Describe a prediction, with its links."""
    box = {
        "type": ["object", "null"],
        "description": "In pixels of the picture; x1 and y1 lie outside it.",
        "required": ["x0", "y0", "x1", "y1"],
        "properties": dict.fromkeys(("x0", "y0", "x1", "y1"), _PIXEL),
    }
    point = {"type": "array", "items": _PIXEL, "minItems": 2, "maxItems": 2}
    names = ("self", "evidence", "gradcam", "overlay", "report")
    properties: dict[str, Any] = {
        "schema": {"const": SCHEMA},
        "file": _TEXT,
        "slice": {"type": "integer", "minimum": 0},
        "status": {"const": "ok"},
        "predicted": {**_CLASS, "description": "The most probable class."},
        "decision": {
            "type": "string",
            "enum": [*_CLASS["enum"], *(item.value for item in Verdict)],
            "description": "What the operating point says.",
        },
        "probabilities": _by_class("object", "Calibrated; they sum to 1."),
        "p_tumor": {**_SHARE, "description": "Of any tumour."},
        "prediction_set": {"type": "array", "items": _CLASS, "minItems": 1},
        "domain_score": {
            **_SHARE,
            "description": "1 for a brain MRI like those the model knows.",
        },
        "slice_head": _by_class(
            ["object", "null"], "By the slice head alone, uncalibrated."
        ),
        "evidence_head": _by_class(
            ["object", "null"], "By the evidence head alone, uncalibrated."
        ),
        "brain_share": {
            **_SHARE,
            "description": "How much of the head's square is plainly brain.",
        },
        "operating_point": _TEXT,
        "reasons": {
            **_TEXTS,
            "description": "Why the decision is inconclusive or a refusal.",
        },
        "explained": {
            "type": "string",
            "enum": [name.value for name in TUMOR_CLASSES],
            "description": "The class that maps, outline and box speak of.",
        },
        "box": box,
        "outline": {"type": "array", "items": {"type": "array", "items": point}},
        "size_mm": _MILLIMETRES,
        "height": _PIXEL,
        "width": _PIXEL,
        "spacing_mm": _MILLIMETRES,
        "plane": {"type": ["string", "null"]},
        "notes": _TEXTS,
        "model_version": _TEXT,
        "ms": {"type": "number", "minimum": 0},
        "research_use_only": _TEXT,
        "id": _TEXT,
        "links": {
            "type": "object",
            "required": list(names),
            "properties": {
                name: {"type": "string", "format": "uri-reference"} for name in names
            },
        },
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def _by_class(kind: str | list[str], description: str) -> dict[str, Any]:
    return {
        "type": kind,
        "description": description,
        "required": [name.value for name in CLASSES],
        "properties": {name.value: _SHARE for name in CLASSES},
    }


def failure() -> dict[str, Any]:
    """Describe a file that could not be judged."""
    properties: dict[str, Any] = {
        "schema": {"const": SCHEMA},
        "file": _TEXT,
        "status": {"type": "string", "description": "Code of the error."},
        "message": _TEXT,
        "mend": {"type": "string", "description": "What to do about it."},
        "research_use_only": _TEXT,
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def problem() -> dict[str, Any]:
    """Describe an error of the API."""
    inner = {
        "type": "object",
        "required": ["code", "message", "mend"],
        "properties": {"code": _TEXT, "message": _TEXT, "mend": _TEXT},
    }
    return {"type": "object", "required": ["error"], "properties": {"error": inner}}
