"""The API for slices: pictures in, predictions as JSON out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from tumorlens.errors import InputError
from tumorlens.inference.slice.explanation import Failure, Prediction
from tumorlens.report.slice.document import failure_to_json
from tumorlens.report.slice.overlay import encode_png, grey_png, render_overlay
from tumorlens.web.app_state import app_state
from tumorlens.web.intake import judge_pictures
from tumorlens.web.uploads.store import ANYONE
from tumorlens.web.uploads.upload import Upload
from tumorlens.web.views.responses import (
    overlay_kind,
    png_response,
    slice_report_pdf,
    upload_status,
)

blueprint = Blueprint("slices", __name__, url_prefix="/predictions")


@blueprint.post("")
def create() -> tuple[Response, int]:
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
    operating_point = request.form.get("operating_point") or None
    results = list(judge_pictures(uploads, ANYONE, operating_point))
    predictions = [_to_json(item) for item in results if isinstance(item, Upload)]
    failures = [failure_to_json(item) for item in results if isinstance(item, Failure)]
    return (
        jsonify(predictions=predictions, failures=failures),
        upload_status(results),
    )


@blueprint.get("/<analysis_id>")
def show(analysis_id: str) -> Response:
    """Give a prediction again: 200, or 404 once its time is over."""
    return jsonify(_to_json(_analysis(analysis_id)))


@blueprint.delete("/<analysis_id>")
def delete(analysis_id: str) -> tuple[str, int]:
    """Remove a prediction and its pictures at once: 204, or 404."""
    app_state().store.delete(analysis_id, ANYONE)
    return "", 204


@blueprint.get("/<analysis_id>/evidence.png")
def evidence(analysis_id: str) -> Response:
    """Give the evidence map, 8-bit grey, as large as the picture: 200, or 404."""
    return png_response(grey_png(_prediction(analysis_id).explanation.evidence))


@blueprint.get("/<analysis_id>/gradcam.png")
def gradcam(analysis_id: str) -> Response:
    """Give the Grad-CAM map, 8-bit grey, as large as the picture: 200, or 404."""
    return png_response(grey_png(_prediction(analysis_id).explanation.gradcam))


@blueprint.get("/<analysis_id>/overlay.png")
def overlay(analysis_id: str) -> Response:
    """Give the picture with the overlay ``kind``: 200, 404, or 422 for no such kind."""
    kind = overlay_kind()
    prediction = _prediction(analysis_id)
    rendered = render_overlay(prediction.pixels, prediction.explanation, kind)
    return png_response(encode_png(rendered))


@blueprint.get("/<analysis_id>/report.pdf")
def report(analysis_id: str) -> Response:
    """Give the report of one page: 200, or 404."""
    return slice_report_pdf(_analysis(analysis_id))


def _analysis(analysis_id: str) -> Upload:
    return app_state().store.get(analysis_id, ANYONE)


def _prediction(analysis_id: str) -> Prediction:
    return app_state().store.prediction(_analysis(analysis_id))


def _to_json(analysis: Upload) -> dict[str, Any]:
    def link(view: str) -> str:
        return url_for(f"api.slices.{view}", analysis_id=analysis.id)

    links = {
        "self": link("show"),
        "evidence": link("evidence"),
        "gradcam": link("gradcam"),
        "overlay": link("overlay"),
        "report": link("report"),
    }
    return {**analysis.document, "id": analysis.id, "links": links}
