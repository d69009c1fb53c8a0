"""The API for slices: pictures in, predictions as JSON out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from tumorlens.errors import InputError, TooSlowError
from tumorlens.inference.slice.prediction import Failure, Prediction
from tumorlens.report.feedback import KEY as FEEDBACK
from tumorlens.report.slice.document import failure_to_json
from tumorlens.report.slice.overlay import encode_png, grey_png, render_overlay
from tumorlens.web.app_state import app_state
from tumorlens.web.idempotency import answer_key
from tumorlens.web.intake import judge_pictures
from tumorlens.web.security import api_owner
from tumorlens.web.uploads.upload import Kind, Upload
from tumorlens.web.views.responses import (
    listed_page,
    mark_result,
    overlay_kind,
    pin_result,
    png_response,
    slice_report_pdf,
    upload_status,
)

_SERVER_FAULT = 500
_RETRY_SECONDS = 30

blueprint = Blueprint("slices", __name__, url_prefix="/predictions")


@blueprint.post("")
def create() -> Response:
    """Judge the files of the field ``file``.

    Answers 200 where at least one file could be judged, 400 for an unknown
    operating point, 413 for an upload over the limits, 422 where no file was
    sent or none could be judged, or the Idempotency-Key came with other files, 429
    and 503 where too much waits, 507 where the disk is full (500 for another fault
    of the server).
    """
    uploads = request.files.getlist("file")
    if not uploads:
        raise InputError(
            "The request has no file.",
            "Send multipart/form-data with one or more fields named 'file'.",
        )
    owner, state = api_owner(), app_state()
    operating_point = request.form.get("operating_point") or None
    key = answer_key(owner, uploads)
    with state.key_locks.hold(key):
        kept = None if key is None else state.store.answer(key)
        if kept is not None:
            results = [_result(item, owner) for item in kept["results"]]
        else:
            results = list(judge_pictures(uploads, owner, operating_point))
            if key is not None and upload_status(results) < _SERVER_FAULT:
                answer = {"results": [_kept(item) for item in results]}
                state.store.keep_answer(key, owner, answer)
    predictions = [_to_json(item) for item in results if isinstance(item, Upload)]
    failures = [failure_to_json(item) for item in results if isinstance(item, Failure)]
    response = jsonify(predictions=predictions, failures=failures)
    response.status_code = upload_status(results)
    if response.status_code == TooSlowError.http_status:
        response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response


def _kept(result: Upload | Failure) -> str | dict[str, str]:
    """Write down a result: the id of an upload, or a failure's fields."""
    return result.id if isinstance(result, Upload) else asdict(result)


def _result(kept: str | dict[str, str], owner: str) -> Upload | Failure:
    if isinstance(kept, str):
        return app_state().store.get(kept, owner)
    return Failure(**kept)


@blueprint.get("")
def list_all() -> Response:
    """List predictions of who is logged in, the newest first, page by page.

    Answers 200; 400 for a ``limit`` or ``pinned`` that is none, 404 for an ``after``
    that is not there any more, 405 without a log-in.
    """
    uploads, following = listed_page(Kind.PICTURE)
    return jsonify(predictions=[_to_json(item) for item in uploads], next=following)


@blueprint.get("/<analysis_id>")
def show(analysis_id: str) -> Response:
    """Give a prediction again: 200, or 404 once its time is over."""
    return jsonify(_to_json(_analysis(analysis_id)))


@blueprint.delete("/<analysis_id>")
def delete(analysis_id: str) -> tuple[str, int]:
    """Remove a prediction and its pictures at once: 204, or 404."""
    app_state().store.delete(analysis_id, api_owner())
    return "", 204


@blueprint.put("/<analysis_id>/feedback")
def mark(analysis_id: str) -> Response:
    """Keep whether a prediction is right, and what the picture shows.

    Answers 200 with the mark, 404, or 422 where it is none.
    """
    return jsonify(mark_result(_analysis(analysis_id)))


@blueprint.delete("/<analysis_id>/feedback")
def unmark(analysis_id: str) -> tuple[str, int]:
    """Take back what was said of a prediction: 204, or 404."""
    app_state().store.mark(_analysis(analysis_id), None)
    return "", 204


@blueprint.put("/<analysis_id>/pin")
def pin(analysis_id: str) -> tuple[str, int]:
    """Keep a prediction until it is unpinned: 204, 404, 429 for too many, or 507."""
    pin_result(_analysis(analysis_id))
    return "", 204


@blueprint.delete("/<analysis_id>/pin")
def unpin(analysis_id: str) -> tuple[str, int]:
    """Let a prediction go by its age again: 204, or 404."""
    app_state().store.unpin(_analysis(analysis_id))
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
    return app_state().store.get(analysis_id, api_owner())


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
    document = {FEEDBACK: None, **analysis.document}
    facts = {"id": analysis.id, "pinned": analysis.is_pinned, "links": links}
    return {**document, **facts}
