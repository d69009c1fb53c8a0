"""What the API's description says of whole scans."""

from __future__ import annotations

from typing import Any

from tumorlens.engine.bundle import Bundle
from tumorlens.imaging.limits import MAX_ENTRIES
from tumorlens.report import words
from tumorlens.settings import Settings

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_SCAN = {"$ref": "#/components/schemas/Scan"}
_GONE = "No such scan, or its time is over."


def scan_paths(bundle: Bundle, settings: Settings) -> dict[str, Any]:
    """Describe the addresses of scans.

    Parameters
    ----------
    bundle
        The model, for its operating points.
    settings
        For limits and retention.
    """
    one = "/api/v1/scans/{id}"
    series = f"{one}/series/{{index}}"
    return {
        "/api/v1/scans": {"post": _create(bundle, settings)},
        one: {
            "parameters": [_id()],
            "get": {
                "operationId": "showScan",
                "summary": "How far a scan is, and its series",
                "responses": {
                    "200": _json("The scan's state.", _SCAN),
                    "404": _json(_GONE, _PROBLEM),
                },
            },
            "delete": {
                "operationId": "deleteScan",
                "summary": "Stop judging a scan, and remove it and its files at once",
                "responses": {
                    "204": {"description": "Removed."},
                    "404": _json(_GONE, _PROBLEM),
                },
            },
        },
        series: {
            "parameters": [_id(), _index()],
            "get": {
                "operationId": "showScanFinding",
                "summary": "The finding of a series",
                "responses": {
                    "200": _json(
                        "The finding.", {"$ref": "#/components/schemas/ScanFinding"}
                    ),
                    "404": _json("No such scan or series.", _PROBLEM),
                    "409": _json("It is not judged yet, or never was.", _PROBLEM),
                },
            },
        },
        f"{series}/evidence.nii.gz": {
            "parameters": [_id(), _index()],
            "get": {
                "operationId": "scanEvidence",
                "summary": "Where tumour was seen, as NIfTI in the series' space",
                "responses": {
                    "200": {
                        "description": "Voxels of uint8, scaled to 0 to 1; mm, RAS.",
                        "content": {"application/gzip": {}},
                    },
                    "404": _json(
                        "No such scan or series, or its place in the patient is "
                        "not known.",
                        _PROBLEM,
                    ),
                    "409": _json("It is not judged yet, or never was.", _PROBLEM),
                },
            },
        },
    }


def _create(bundle: Bundle, settings: Settings) -> dict[str, Any]:
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {
                "type": "array",
                "items": {"type": "string", "contentMediaType": "application/*"},
                "minItems": 1,
                "maxItems": MAX_ENTRIES,
                "description": (
                    "One zip, DICOM, NIfTI or NRRD file, or the DICOM files of a "
                    "study; repeat the field for several."
                ),
            },
            "operating_point": {
                "type": "string",
                "enum": list(bundle.operating_points),
                "default": settings.operating_point or bundle.default_operating_point,
            },
        },
    }
    return {
        "operationId": "createScan",
        "summary": "Have a whole scan judged in the background",
        "description": (
            f"At most {settings.scan_mb} MB. The answer comes before anything is "
            "read: ask at its address until the state is 'done', 'failed' or "
            "'stopped'. Files, pictures and results are removed "
            f"{words.minutes(settings.retention_minutes)} after they were sent."
        ),
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}},
        },
        "responses": {
            "202": {
                **_json("Taken; it waits for its turn.", _SCAN),
                "headers": {
                    "Location": {
                        "description": "Where to ask how far it is.",
                        "schema": {"type": "string", "format": "uri-reference"},
                    }
                },
            },
            "400": _json("No such operating point.", _PROBLEM),
            "403": _json("Sent by a page of another site.", _PROBLEM),
            "413": _json("The upload passes a limit.", _PROBLEM),
            "422": _json("No file was sent.", _PROBLEM),
            "500": _json("It cannot be kept; the message says why.", _PROBLEM),
            "503": _json("Too many scans are waiting.", _PROBLEM),
        },
    }


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }


def _id() -> dict[str, Any]:
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "As the answer to the upload says.",
    }


def _index() -> dict[str, Any]:
    return {
        "name": "index",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
        "description": "Of the series, from 0.",
    }
