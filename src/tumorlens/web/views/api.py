"""The API for programs: pictures in, JSON out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from tumorlens.errors import InputError
from tumorlens.inference.slice.results import Failure
from tumorlens.report.slice.document import failure_to_json
from tumorlens.report.slice.overlay import (
    OverlayKind,
    encode_png,
    grey_png,
    render_overlay,
)
from tumorlens.web.app_state import desk
from tumorlens.web.uploads.store import ANYONE
from tumorlens.web.uploads.upload import Upload
from tumorlens.web.views import series_api as scan_api

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
blueprint.register_blueprint(scan_api.blueprint)


@blueprint.post("/predictions")
def predict() -> tuple[Response, int]:
    """Judge the files of the field ``file``.

    Answers 200 where at least one file could be judged, 400 for an unknown
    operating point, 413 for an upload over the limits, 422 where no file was
    sent or none could be judged (500 where that is the server's fault).
    """
    uploads = request.files.getlist("file")
    if not uploads:
        raise InputError(
            "The request has no file.",
            "Send multipart/form-data with one or more fields named 'file'.",
        )
    point = request.form.get("operating_point") or None
    results = list(desk().analyse(uploads, ANYONE, point))
    made = [_to_json(item) for item in results if isinstance(item, Upload)]
    failed = [failure_to_json(item) for item in results if isinstance(item, Failure)]
    return jsonify(predictions=made, failures=failed), status_of(results)


@blueprint.get("/predictions/<analysis_id>")
def show(analysis_id: str) -> Response:
    """Give a prediction again; 404 once its time is over."""
    return jsonify(_to_json(desk().store.get(analysis_id, ANYONE)))


@blueprint.delete("/predictions/<analysis_id>")
def delete(analysis_id: str) -> tuple[str, int]:
    """Remove a prediction and its pictures at once: 204, or 404."""
    desk().store.delete(analysis_id, ANYONE)
    return "", 204


@blueprint.get("/predictions/<analysis_id>/evidence.png")
def evidence(analysis_id: str) -> Response:
    """Give the evidence map, 8-bit grey, as large as the picture; or 404."""
    found = desk().store.prediction(desk().store.get(analysis_id, ANYONE))
    return _png(grey_png(found.explanation.evidence))


@blueprint.get("/predictions/<analysis_id>/gradcam.png")
def gradcam(analysis_id: str) -> Response:
    """Give the Grad-CAM map, 8-bit grey, as large as the picture; or 404."""
    found = desk().store.prediction(desk().store.get(analysis_id, ANYONE))
    return _png(grey_png(found.explanation.gradcam))


@blueprint.get("/predictions/<analysis_id>/overlay.png")
def overlay(analysis_id: str) -> Response:
    """Give the picture with the overlay ``kind``; 404, or 422 for no such kind."""
    kind = read_kind()
    found = desk().store.prediction(desk().store.get(analysis_id, ANYONE))
    return _png(encode_png(render_overlay(found.pixels, found.explanation, kind)))


@blueprint.get("/predictions/<analysis_id>/report.pdf")
def report(analysis_id: str) -> Response:
    """Give the report of one page; or 404."""
    analysis = desk().store.get(analysis_id, ANYONE)
    found = desk().store.prediction(analysis)
    # Imported late: it would take a third of the server's start.
    from tumorlens.report.slice.pdf import render_pdf

    data = render_pdf(found, desk().bundle, analysis.date)
    return Response(data, mimetype="application/pdf")


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Describe the API (OpenAPI 3.1)."""
    # Imported late: only this view needs pydantic.
    from tumorlens.web.openapi.document import openapi_document

    return jsonify(openapi_document(desk().bundle, desk().settings))


def status_of(results: list[Upload | Failure]) -> int:
    """Choose the HTTP status that sums up a request's results."""
    codes = {item.code for item in results if isinstance(item, Failure)}
    if len(codes) == 0 or any(isinstance(item, Upload) for item in results):
        return 200
    return 500 if codes & {"internal_error", "cannot_write"} else 422


def read_kind() -> OverlayKind:
    """Read which overlay the address asks for; evidence by default.

    Raises
    ------
    InputError
        Where there is no such overlay.
    """
    text = request.args.get("kind", OverlayKind.EVIDENCE.value)
    try:
        return OverlayKind(text)
    except ValueError:
        known = ", ".join(OverlayKind)
        raise InputError(
            f"There is no overlay {text[:40]!r}.", f"Give one of: {known}."
        ) from None


def _png(data: bytes) -> Response:
    return Response(data, mimetype="image/png")


def _to_json(analysis: Upload) -> dict[str, Any]:
    def link(view: str) -> str:
        return url_for(f"api.{view}", analysis_id=analysis.id)

    links = {
        "self": link("show"),
        "evidence": link("evidence"),
        "gradcam": link("gradcam"),
        "overlay": link("overlay"),
        "report": link("report"),
    }
    return {**analysis.document, "id": analysis.id, "links": links}
