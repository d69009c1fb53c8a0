"""What the API answers with for whole scans, as JSON Schema."""

from __future__ import annotations

from typing import Any

from tumorlens.report.series.document import SCAN_SCHEMA
from tumorlens.taxonomy import CLASSES, Verdict
from tumorlens.web.uploads.series_status import STATUS_SCHEMA
from tumorlens.web.uploads.upload import State

_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_MAYBE_SHARE = {**_SHARE, "type": ["number", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_CLASS = {"type": "string", "enum": [name.value for name in CLASSES]}
_DECISIONS = [*_CLASS["enum"], *(item.value for item in Verdict)]
_ADDRESS = {"type": ["string", "null"], "format": "uri-reference"}


def status() -> dict[str, Any]:
    """Describe how far a scan is."""
    return _object(
        {
            "schema": {"const": STATUS_SCHEMA},
            "id": _TEXT,
            "file": _TEXT,
            "state": {"type": "string", "enum": [item.value for item in State]},
            "made": {"type": "string", "format": "date-time"},
            "progress": _object(
                {
                    "done": {**_COUNT, "description": "Slices judged."},
                    "total": {**_COUNT, "description": "0 where not known."},
                    "fraction": {
                        "type": ["number", "null"],
                        "minimum": 0,
                        "maximum": 1,
                        "description": "null where not known.",
                    },
                }
            ),
            "error": {
                "description": "Why it failed.",
                "oneOf": [
                    {"type": "null"},
                    _object({"code": _TEXT, "message": _TEXT, "mend": _TEXT}),
                ],
            },
            "notes": {"type": "array", "items": _TEXT},
            "operating_point": _TEXT,
            "series": {"type": "array", "items": _series()},
            "predictions": {
                "type": "array",
                "items": {"type": "string", "format": "uri-reference"},
                "description": "Addresses of single pictures that form no series.",
            },
            "research_use_only": _TEXT,
            "links": _object(
                {
                    "self": {"type": "string", "format": "uri-reference"},
                    "report": _ADDRESS,
                }
            ),
        }
    )


def _series() -> dict[str, Any]:
    return _object(
        {
            "index": _COUNT,
            "state": {"enum": [State.WAITING.value, State.DONE.value]},
            "plane": _MAYBE_TEXT,
            "sequence": _MAYBE_TEXT,
            "slices": {"type": "integer", "minimum": 1},
            "height": {"type": "integer", "minimum": 1},
            "width": {"type": "integer", "minimum": 1},
            "spacing_mm": _numbers(2, "Between rows and between columns."),
            "decision": {"enum": [*_DECISIONS, None]},
            "p_tumor": {
                **_MAYBE_SHARE,
                "description": "null before it is judged, or where nothing could be.",
            },
            "not_judged": {
                **_MAYBE_TEXT,
                "description": "Why nothing could be judged.",
            },
            "links": _object({"finding": _ADDRESS, "evidence": _ADDRESS}),
        }
    )


def finding() -> dict[str, Any]:
    """Describe the finding of a series (``tumorlens-scan/1``)."""
    return _object(
        {
            "schema": {"const": SCAN_SCHEMA},
            "file": _TEXT,
            "status": {"const": "ok"},
            "plane": _MAYBE_TEXT,
            "sequence": _MAYBE_TEXT,
            "sequence_caveat": {
                **_MAYBE_TEXT,
                "description": "A sentence where the model was not trained on the "
                "sequence.",
            },
            "slices": _COUNT,
            "without_brain": _COUNT,
            "refused": _COUNT,
            "not_judged": {
                **_MAYBE_TEXT,
                "description": "Why nothing could be judged; null where anything was.",
            },
            "predicted": {"enum": [*_CLASS["enum"], None]},
            "decision": {"type": "string", "enum": _DECISIONS},
            "probabilities": {
                "description": "They sum to 1; null where nothing could be judged.",
                "oneOf": [
                    {"type": "null"},
                    _object({name.value: _SHARE for name in CLASSES}),
                ],
            },
            "p_tumor": {
                **_MAYBE_SHARE,
                "description": "Of any tumour in the scan; null likewise.",
            },
            "p_tumor_by_plane": {
                "type": "object",
                "additionalProperties": _SHARE,
                "description": "Of each plane that was judged.",
            },
            "operating_point": _TEXT,
            "reasons": {"type": "array", "items": _TEXT},
            "notes": {
                "type": "array",
                "items": _TEXT,
                "description": "How the files were read.",
            },
            "run": {
                "type": ["array", "null"],
                "items": _COUNT,
                "minItems": 2,
                "maxItems": 2,
                "description": "First and last-plus-one slice that decided.",
            },
            "key_slices": {"type": "array", "items": _COUNT},
            "slice_p_tumor": {
                "type": "array",
                "items": _MAYBE_SHARE,
                "description": "null where a slice was not judged.",
            },
            "lesion": {"oneOf": [{"type": "null"}, _lesion()]},
            "size_measured": {"type": "boolean"},
            "model_version": _TEXT,
            "seconds": {"type": "number", "minimum": 0},
            "research_use_only": _TEXT,
        }
    )


def _lesion() -> dict[str, Any]:
    return _object(
        {
            "box": {"type": "array", "items": _COUNT, "minItems": 6, "maxItems": 6},
            "voxels": _COUNT,
            "peak": {"type": "array", "items": _COUNT, "minItems": 3, "maxItems": 3},
            "size_mm": _numbers(3, "Along slices, rows and columns."),
            "centroid_lps_mm": _numbers(3, "Left, posterior, superior."),
            "side": _MAYBE_TEXT,
            "location": _TEXT,
        }
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
    }


def _numbers(count: int, description: str) -> dict[str, Any]:
    return {
        "type": ["array", "null"],
        "items": {"type": "number"},
        "minItems": count,
        "maxItems": count,
        "description": f"In mm. {description}",
    }
