"""What the descriptions of single pictures and of whole scans have in common."""

from __future__ import annotations

from typing import Any

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.settings import Settings

PROBLEM = {"$ref": "#/components/schemas/Problem"}


def json_answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe an answer in JSON."""
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }


def id_parameter(description: str) -> dict[str, Any]:
    """Describe the id in an address."""
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": description,
    }


def upload_body(
    bundle: Bundle, settings: Settings, media: str, most: int, description: str
) -> dict[str, Any]:
    """Describe a form of files and an operating point.

    Parameters
    ----------
    bundle
        The model, for its operating points.
    settings
        For the one that is used unless a request asks for another.
    media, most, description
        Kind of the files, how many there may be, and what they are.
    """
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {
                "type": "array",
                "items": {"type": "string", "contentMediaType": media},
                "minItems": 1,
                "maxItems": most,
                "description": description,
            },
            "operating_point": {
                "type": "string",
                "enum": list(bundle.operating_points),
                "default": settings.operating_point or bundle.default_operating_point,
            },
        },
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}


def upload_refusals() -> dict[str, Any]:
    """Describe the answers to an upload that both kinds may get."""
    return {
        "400": json_answer("No such operating point.", PROBLEM),
        "403": json_answer("Sent by a page of another site.", PROBLEM),
        "413": json_answer("The upload passes a limit.", PROBLEM),
    }
