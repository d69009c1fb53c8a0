"""The API's description (OpenAPI 3.1), written by hand."""

from __future__ import annotations

from typing import Any

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.slice import words
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.overlay import OverlayKind
from tumorlens.settings import Settings
from tumorlens.web.openapi import schemas
from tumorlens.web.openapi import series_schemas as scan_schemas
from tumorlens.web.openapi.parts import (
    PROBLEM,
    id_parameter,
    json_answer,
    upload_body,
    upload_refusals,
)
from tumorlens.web.openapi.series import scan_paths

_TEXT = {"type": "string"}
_ID = "As the prediction says."


def openapi_document(bundle: Bundle, settings: Settings) -> dict[str, Any]:
    """Describe the API of this server.

    Parameters
    ----------
    bundle
        The model, for its operating points.
    settings
        For limits and retention.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TumorLens",
            "version": "1",
            "description": RESEARCH_USE,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(bundle, settings),
        "components": {
            "schemas": {
                "Prediction": schemas.prediction(),
                "Failure": schemas.failure(),
                "Problem": schemas.problem(),
                "Scan": scan_schemas.status(),
                "ScanFinding": scan_schemas.finding(),
            }
        },
    }


def _paths(bundle: Bundle, settings: Settings) -> dict[str, Any]:
    one = "/api/v1/predictions/{id}"
    return {
        "/api/v1/predictions": {"post": _predict(bundle, settings)},
        one: {
            "parameters": [id_parameter(_ID)],
            "get": {
                "operationId": "showPrediction",
                "summary": "A prediction again",
                "responses": _responses(
                    json_answer(
                        "The prediction.", {"$ref": "#/components/schemas/Prediction"}
                    )
                ),
            },
            "delete": {
                "operationId": "deletePrediction",
                "summary": "Remove a prediction and its pictures at once",
                "responses": {
                    "204": {"description": "Removed."},
                    "404": json_answer(
                        "No such prediction, or its time is over.", PROBLEM
                    ),
                },
            },
        },
        f"{one}/evidence.png": _picture(
            "evidence", "Evidence map, 8-bit grey: 0 to 255 for 0 to 1"
        ),
        f"{one}/gradcam.png": _picture(
            "gradcam", "Grad-CAM map, 8-bit grey: 0 to 255 for 0 to 1"
        ),
        f"{one}/overlay.png": _picture(
            "overlay", "The picture with an overlay", [_kind_parameter()]
        ),
        f"{one}/report.pdf": _picture(
            "report", "Report of one A4 page", media="application/pdf"
        ),
        **scan_paths(bundle, settings),
        "/api/v1/openapi.json": {
            "get": {
                "operationId": "describe",
                "summary": "This document",
                "responses": {"200": json_answer("OpenAPI 3.1.", {"type": "object"})},
            }
        },
        "/healthz": _state("health", "200 while the server answers at all"),
        "/readyz": _state("readiness", "200 with a verified model and a store", True),
    }


def _predict(bundle: Bundle, settings: Settings) -> dict[str, Any]:
    both = {
        "type": "object",
        "required": ["predictions", "failures"],
        "properties": {
            "predictions": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Prediction"},
            },
            "failures": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Failure"},
            },
        },
    }
    none_judged = {"oneOf": [both, PROBLEM]}
    return {
        "operationId": "predict",
        "summary": "Judge one or several pictures",
        "description": (
            f"At most {settings.upload_mb} MB and {settings.files_per_upload} files. "
            "Pictures and results are removed after "
            f"{words.minutes(settings.retention_minutes)}. "
            "A file of several slices gives one prediction for each."
        ),
        "requestBody": upload_body(
            bundle,
            settings,
            "image/*",
            settings.files_per_upload,
            "Pictures; repeat the field for several.",
        ),
        "responses": {
            "200": json_answer("At least one file could be judged.", both),
            **upload_refusals(),
            "422": json_answer(
                "No file was sent, or none could be judged.", none_judged
            ),
            "500": json_answer("The server's fault; its log says more.", none_judged),
        },
    }


def _responses(good: dict[str, Any]) -> dict[str, Any]:
    return {
        "200": good,
        "404": json_answer("No such prediction, or its time is over.", PROBLEM),
    }


def _picture(
    name: str,
    summary: str,
    parameters: list[dict[str, Any]] | None = None,
    media: str = "image/png",
) -> dict[str, Any]:
    responses = _responses({"description": f"{summary}.", "content": {media: {}}})
    if parameters:
        responses["422"] = json_answer("No such overlay.", PROBLEM)
    return {
        "parameters": [id_parameter(_ID), *(parameters or [])],
        "get": {"operationId": name, "summary": summary, "responses": responses},
    }


def _state(name: str, summary: str, may_fail: bool = False) -> dict[str, Any]:
    body = {"type": "object", "required": ["status"], "properties": {"status": _TEXT}}
    responses = {"200": json_answer(f"{summary}.", body)}
    if may_fail:
        responses["503"] = json_answer("It cannot work at present.", body)
    return {"get": {"operationId": name, "summary": summary, "responses": responses}}


def _kind_parameter() -> dict[str, Any]:
    kinds = [kind.value for kind in OverlayKind]
    return {
        "name": "kind",
        "in": "query",
        "schema": {"type": "string", "enum": kinds, "default": kinds[0]},
    }
