"""The pages for people."""

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
    send_file,
    url_for,
)
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.errors import InputError
from tumorlens.inference.slice.results import Failure, Prediction
from tumorlens.report import words
from tumorlens.report.slice.overlay import (
    OverlayKind,
    color_scale,
    encode_png,
    overlay_layer,
    render_overlay,
    window_picture,
)
from tumorlens.taxonomy import CLASSES, INFO
from tumorlens.web.app_state import desk
from tumorlens.web.errors import answer, wants_json
from tumorlens.web.session_id import ensure_visitor, visitor
from tumorlens.web.uploads.analysis_record import Analysis
from tumorlens.web.views.api import read_kind, status_of
from tumorlens.web.views.example import example_png
from tumorlens.web.views.rows import analysis_row, scan_row

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def home() -> str:
    """Show where to put pictures, and what was analysed in this session."""
    # The cookie comes with the page: uploads that start together have to share it.
    owner = ensure_visitor()
    analyses = desk().store.owned(owner)
    return render_template(
        "home.html",
        settings=desk().settings,
        bundle=desk().bundle,
        chosen_point=desk().operating_point,
        rows=[analysis_row(item) for item in analyses],
        scans=[scan_row(item) for item in desk().store.scans.owned(owner)],
        words=words,
    )


@blueprint.get("/example.png")
def example_picture() -> Response:
    """Give the drawn example."""
    return Response(example_png(), mimetype="image/png")


@blueprint.post("/analyses")
def analyse() -> AnyResponse:
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
    return _answer(uploads)


@blueprint.post("/analyses/example")
def analyse_example() -> AnyResponse:
    """Judge the drawn example; answers as `analyse` does."""
    drawn = FileStorage(io.BytesIO(example_png()), "drawn example.png")
    return _answer([drawn])


@blueprint.get("/analyses/<analysis_id>")
def result(analysis_id: str) -> str:
    """Show one result; 404 once its time is over."""
    analysis, prediction = _load(analysis_id)
    decision = prediction.decision
    bundle = desk().bundle
    return render_template(
        "result.html",
        analysis=analysis,
        prediction=prediction,
        bundle=bundle,
        point=bundle.operating_points.get(decision.operating_point),
        probabilities=[(INFO[name], decision.probabilities[name]) for name in CLASSES],
        explained=INFO[prediction.explanation.explained],
        outlines=[
            " ".join(f"{x},{y}" for x, y in polygon.tolist())
            for polygon in prediction.explanation.outline
        ],
        scale=[f"#{r:02x}{g:02x}{b:02x}" for r, g, b in color_scale()[::32].tolist()],
        settings=desk().settings,
        words=words,
    )


@blueprint.get("/analyses/<analysis_id>/picture.png")
def picture(analysis_id: str) -> Response:
    """Give the picture, in 8 bits; or 404."""
    _, prediction = _load(analysis_id)
    return _png(encode_png(window_picture(prediction.pixels)))


@blueprint.get("/analyses/<analysis_id>/layer-<kind>.png")
def layer(analysis_id: str, kind: str) -> Response:
    """Give an overlay without the picture under it; or 404."""
    if kind not in set(OverlayKind):
        raise NotFound
    _, prediction = _load(analysis_id)
    return _png(encode_png(overlay_layer(prediction.explanation, OverlayKind(kind))))


@blueprint.get("/analyses/<analysis_id>/overlay.png")
def download_overlay(analysis_id: str) -> Response:
    """Give the picture with the overlay ``kind`` as a file; 404, or 422."""
    kind = read_kind()
    _, prediction = _load(analysis_id)
    drawn = render_overlay(prediction.pixels, prediction.explanation, kind)
    return _download(encode_png(drawn), prediction, f"{kind}.png", "image/png")


@blueprint.get("/analyses/<analysis_id>/report.json")
def download_json(analysis_id: str) -> Response:
    """Give the prediction as a JSON file; or 404."""
    analysis, prediction = _load(analysis_id)
    data = jsonify(analysis.document).get_data()
    return _download(data, prediction, "json", "application/json")


@blueprint.get("/analyses/<analysis_id>/report.pdf")
def download_pdf(analysis_id: str) -> Response:
    """Give the report of one page as a file; or 404."""
    analysis, prediction = _load(analysis_id)
    # Imported late: it would take a third of the server's start.
    from tumorlens.report.slice.pdf import render_pdf

    data = render_pdf(prediction, desk().bundle, analysis.date)
    return _download(data, prediction, "pdf", "application/pdf")


@blueprint.post("/analyses/<analysis_id>/delete")
def delete(analysis_id: str) -> AnyResponse:
    """Remove one analysis (303 to the start page); or 404."""
    desk().store.delete(analysis_id, visitor() or "nobody")
    return redirect(url_for("pages.home"), 303)


@blueprint.post("/analyses/delete")
def delete_all() -> AnyResponse:
    """Remove everything of this session (303 to the start page)."""
    owner = visitor()
    if owner is not None:
        desk().store.delete_all(owner)
        desk().store.scans.delete_all(owner)
    return redirect(url_for("pages.home"), 303)


def _load(analysis_id: str) -> tuple[Analysis, Prediction]:
    analysis = desk().store.get(analysis_id, visitor() or "nobody")
    return analysis, desk().store.prediction(analysis)


def _answer(uploads: list[FileStorage]) -> AnyResponse:
    point = request.form.get("operating_point") or None
    results = list(desk().analyse(uploads, ensure_visitor(), point))
    made = [analysis_row(item) for item in results if isinstance(item, Analysis)]
    failed = [item for item in results if isinstance(item, Failure)]
    status = status_of(results)
    response: AnyResponse
    if wants_json():
        response = jsonify(analyses=made, failures=failed)
    elif len(results) == 1:
        if made:
            return redirect(made[0]["url"], 303)
        return answer(status, failed[0].code, failed[0].message, failed[0].hint)
    else:
        page = render_template("results.html", rows=made, failures=failed)
        response = Response(page)
    response.status_code = status
    return response


def _png(data: bytes) -> Response:
    return Response(data, mimetype="image/png")


def _download(data: bytes, prediction: Prediction, end: str, kind: str) -> Response:
    stem = PurePath(prediction.source).stem or "picture"
    name = f"{stem}.tumorlens.{end}"
    return send_file(io.BytesIO(data), kind, as_attachment=True, download_name=name)
