"""The pages for slices: pictures in, a page for each slice out."""

from __future__ import annotations

import io
from pathlib import PurePath

from flask import (
    Blueprint,
    Response,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.errors import InputError
from tumorlens.inference.slice.explanation import Failure, Prediction
from tumorlens.report import words
from tumorlens.report.slice.overlay import (
    OverlayKind,
    encode_png,
    overlay_layer,
    render_overlay,
    window_picture,
)
from tumorlens.taxonomy import INFO
from tumorlens.web.app_state import app_state
from tumorlens.web.errors import error_response, wants_json
from tumorlens.web.intake import judge_pictures
from tumorlens.web.security import NOBODY, ensure_session_id, session_id
from tumorlens.web.uploads.upload import Upload
from tumorlens.web.views.example import example_png
from tumorlens.web.views.presentation import analysis_row, overlay_colors
from tumorlens.web.views.responses import (
    download_response,
    overlay_kind,
    png_response,
    slice_report_pdf,
    upload_status,
)

blueprint = Blueprint("slices", __name__, url_prefix="/analyses")


@blueprint.post("")
def create() -> AnyResponse:
    """Judge the files of a form.

    Answers a single picture with a redirect to its page (303), several with a
    list (200); to a script that asks for JSON, the list as JSON. 400 for an
    unknown operating point, 413 over the limits, 422 where there was no file or
    none could be judged.
    """
    # A form that was sent with no file chosen holds one file without a name.
    files = request.files.getlist("file")
    uploads = [item for item in files if item.filename]
    if not uploads:
        raise InputError("No picture was chosen.", "Choose one or several pictures.")
    return _analyse(uploads)


@blueprint.post("/example")
def create_from_example() -> AnyResponse:
    """Judge the drawn example; answers as `create` does."""
    drawn = FileStorage(io.BytesIO(example_png()), "drawn example.png")
    return _analyse([drawn])


@blueprint.get("/<analysis_id>")
def show(analysis_id: str) -> str:
    """Show one result: 200, or 404 once its time is over."""
    analysis, prediction = _load(analysis_id)
    decision = prediction.decision
    bundle = app_state().bundle
    values = decision.probabilities or {}
    return render_template(
        "slice.html",
        analysis=analysis,
        prediction=prediction,
        bundle=bundle,
        point=bundle.operating_points.get(decision.operating_point),
        probabilities=[(INFO[name], share) for name, share in values.items()],
        explained=INFO[prediction.explanation.explained],
        outlines=[
            " ".join(f"{x},{y}" for x, y in polygon.tolist())
            for polygon in prediction.explanation.outline
        ],
        scale=overlay_colors(),
        settings=app_state().settings,
        words=words,
    )


@blueprint.get("/<analysis_id>/picture.png")
def picture(analysis_id: str) -> Response:
    """Give the picture, in 8 bits: 200, or 404."""
    _, prediction = _load(analysis_id)
    return png_response(encode_png(window_picture(prediction.pixels)))


@blueprint.get("/<analysis_id>/layer-<kind>.png")
def layer(analysis_id: str, kind: str) -> Response:
    """Give an overlay without the picture under it: 200, or 404."""
    if kind not in set(OverlayKind):
        raise NotFound
    _, prediction = _load(analysis_id)
    drawn = overlay_layer(prediction.explanation, OverlayKind(kind))
    return png_response(encode_png(drawn))


@blueprint.get("/<analysis_id>/overlay.png")
def download_overlay(analysis_id: str) -> Response:
    """Give the picture with the overlay ``kind`` as a file: 200, 404 or 422."""
    kind = overlay_kind()
    _, prediction = _load(analysis_id)
    drawn = render_overlay(prediction.pixels, prediction.explanation, kind)
    return _download(encode_png(drawn), prediction, f"{kind}.png", "image/png")


@blueprint.get("/<analysis_id>/report.json")
def download_json(analysis_id: str) -> Response:
    """Give the prediction as a JSON file: 200, or 404."""
    analysis, prediction = _load(analysis_id)
    data = jsonify(analysis.document).get_data()
    return _download(data, prediction, "json", "application/json")


@blueprint.get("/<analysis_id>/report.pdf")
def download_pdf(analysis_id: str) -> Response:
    """Give the report of one page as a file: 200, or 404."""
    analysis, prediction = _load(analysis_id)
    data = slice_report_pdf(analysis).get_data()
    return _download(data, prediction, "pdf", "application/pdf")


@blueprint.post("/<analysis_id>/delete")
def delete(analysis_id: str) -> AnyResponse:
    """Remove one analysis: 303 to the start page, or 404."""
    app_state().store.delete(analysis_id, session_id() or NOBODY)
    return redirect(url_for("home.show"), 303)


def _load(analysis_id: str) -> tuple[Upload, Prediction]:
    analysis = app_state().store.get(analysis_id, session_id() or NOBODY)
    return analysis, app_state().store.prediction(analysis)


def _analyse(uploads: list[FileStorage]) -> AnyResponse:
    operating_point = request.form.get("operating_point") or None
    results = list(judge_pictures(uploads, ensure_session_id(), operating_point))
    rows = [analysis_row(item) for item in results if isinstance(item, Upload)]
    failures = [item for item in results if isinstance(item, Failure)]
    status = upload_status(results)
    response: AnyResponse
    if wants_json():
        response = jsonify(analyses=rows, failures=[_to_json(x) for x in failures])
    elif len(results) == 1:
        if rows:
            return redirect(rows[0]["url"], 303)
        (failure,) = failures
        return error_response(status, failure.code, failure.message, failure.hint)
    else:
        page = render_template("slices.html", rows=rows, failures=failures)
        response = Response(page)
    response.status_code = status
    return response


def _to_json(failure: Failure) -> dict[str, str]:
    return {
        "source": failure.source,
        "code": failure.code,
        "message": failure.message,
        "mend": failure.hint,
    }


def _download(
    data: bytes, prediction: Prediction, name_end: str, mimetype: str
) -> Response:
    stem = PurePath(prediction.source).stem or "picture"
    return download_response(data, mimetype, f"{stem}.tumorlens.{name_end}")
