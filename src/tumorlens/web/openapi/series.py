"""What the API's description says of whole scans."""

from __future__ import annotations

from typing import Any

from tumorlens.imaging.limits import MAX_ENTRIES
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.slice import words
from tumorlens.settings import Settings
from tumorlens.web.openapi.parts import (
    PROBLEM,
    id_parameter,
    json_answer,
    upload_body,
    upload_refusals,
)

_SCAN = {"$ref": "#/components/schemas/Scan"}
_ID = "As the answer to the upload says."
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
            "parameters": [id_parameter(_ID)],
            "get": {
                "operationId": "showScan",
                "summary": "How far a scan is, and its series",
                "responses": {
                    "200": json_answer("The scan's state.", _SCAN),
                    "404": json_answer(_GONE, PROBLEM),
                },
            },
            "delete": {
                "operationId": "deleteScan",
                "summary": "Stop judging a scan, and remove it, its files and its "
                "pictures' predictions at once",
                "responses": {
                    "204": {"description": "Removed."},
                    "404": json_answer(_GONE, PROBLEM),
                },
            },
        },
        series: {
            "parameters": [id_parameter(_ID), _index()],
            "get": {
                "operationId": "showScanFinding",
                "summary": "The finding of a series",
                "responses": {
                    "200": json_answer(
                        "The finding.", {"$ref": "#/components/schemas/ScanFinding"}
                    ),
                    "404": json_answer("No such scan or series.", PROBLEM),
                    "409": json_answer("It is not judged yet, or never was.", PROBLEM),
                },
            },
        },
        f"{series}/evidence.nii.gz": {
            "parameters": [id_parameter(_ID), _index()],
            "get": {
                "operationId": "scanEvidence",
                "summary": "Where tumour was seen, as NIfTI in the series' space",
                "responses": {
                    "200": {
                        "description": "Voxels of uint8, scaled to 0 to 1; mm, RAS. "
                        "Where the scan's file states no place, neither does this.",
                        "content": {"application/gzip": {}},
                    },
                    "404": json_answer(
                        "No such scan or series, its slices are no regular stack, or "
                        "nothing in it could be judged.",
                        PROBLEM,
                    ),
                    "409": json_answer("It is not judged yet, or never was.", PROBLEM),
                },
            },
        },
        f"{one}/report.pdf": {
            "parameters": [id_parameter(_ID)],
            "get": {
                "operationId": "scanReport",
                "summary": "The findings of all series as a PDF",
                "responses": {
                    "200": {
                        "description": "A4 pages; each series from a new page on.",
                        "content": {"application/pdf": {}},
                    },
                    "404": json_answer(
                        "No such scan, or it ended before all was judged.", PROBLEM
                    ),
                    "409": json_answer("It is still being judged.", PROBLEM),
                },
            },
        },
    }


def _create(bundle: Bundle, settings: Settings) -> dict[str, Any]:
    return {
        "operationId": "createScan",
        "summary": "Have a whole scan judged in the background",
        "description": (
            f"At most {settings.scan_mb} MB. The answer comes before anything is "
            "read: ask at its address until the state is 'done', 'failed' or "
            "'stopped'. Files, pictures and results are removed "
            f"{words.minutes(settings.retention_minutes)} after they were sent."
        ),
        "requestBody": upload_body(
            bundle,
            settings,
            "application/*",
            MAX_ENTRIES,
            "One zip, DICOM, NIfTI or NRRD file, or the DICOM files of a study; "
            "repeat the field for several.",
        ),
        "responses": {
            "202": {
                **json_answer("Taken; it waits for its turn.", _SCAN),
                "headers": {
                    "Location": {
                        "description": "Where to ask how far it is.",
                        "schema": {"type": "string", "format": "uri-reference"},
                    }
                },
            },
            **upload_refusals(),
            "422": json_answer("No file was sent.", PROBLEM),
            "500": json_answer("It cannot be kept; the message says why.", PROBLEM),
            "503": json_answer(
                "Too many scans are waiting, or too large ones.", PROBLEM
            ),
        },
    }


def _index() -> dict[str, Any]:
    return {
        "name": "index",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
        "description": "Of the series, from 0.",
    }
