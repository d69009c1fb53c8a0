"""The pages for slices: pictures in, a page for each slice out."""

from __future__ import annotations

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
from tumorlens.imaging.preprocess.framing import view_pixels
from tumorlens.imaging.study import PictureView, Series, Slice, Study
from tumorlens.inference.slice.prediction import Failure, Prediction
from tumorlens.report import words
from tumorlens.report.feedback import KEY as FEEDBACK
from tumorlens.report.slice.overlay import (
    OverlayKind,
    encode_png,
    overlay_layer,
    render_overlay,
    window_picture,
)
from tumorlens.taxonomy import info_of
from tumorlens.web.app_state import app_state
from tumorlens.web.errors import error_response, wants_json
from tumorlens.web.intake import PIXEL_ASPECT, judge_pictures, judge_slice
from tumorlens.web.security import (
    NOBODY,
    ensure_session_id,
    keep_session,
    session_id,
)
from tumorlens.web.uploads.upload import Upload
from tumorlens.web.views.examples import example_of
from tumorlens.web.views.presentation import (
    analysis_row,
    feedback_card,
    glance_rows,
    judged_part,
    measured_rates,
    overlay_colors,
    session_rows,
    shade_of,
)
from tumorlens.web.views.responses import (
    download_response,
    mark_result,
    marked_classes,
    overlay_kind,
    pin_result,
    png_response,
    slice_report_pdf,
    upload_status,
)

blueprint = Blueprint("slices", __name__, url_prefix="/analyses")

LEAST_FRAME = 32
"""Pixels of a frame's shorter side, at least: in smaller ones nothing can be told."""

FRAMED = "Only the part inside the frame that was drawn on the picture was judged."


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


@blueprint.get("/<analysis_id>")
def show(analysis_id: str) -> str:
    """Show one result: 200, or 404 once its time is over."""
    analysis, prediction = _load(analysis_id)
    decision = prediction.decision
    bundle = app_state().bundle
    point = bundle.operating_points.get(decision.operating_point)
    example = example_of(analysis.document)
    values = decision.probabilities or {}
    return render_template(
        "slice.html",
        analysis=analysis,
        prediction=prediction,
        bundle=bundle,
        point=point,
        rates=measured_rates(bundle, decision.operating_point) if point else (),
        glance=glance_rows(decision),
        probabilities=[(info_of(name), share) for name, share in values.items()],
        explained=info_of(prediction.explanation.explained),
        shade=shade_of(analysis.document),
        outlines=[
            " ".join(f"{x},{y}" for x, y in polygon.tolist())
            for polygon in prediction.explanation.outline
        ],
        feedback=feedback_card(
            analysis,
            analysis.document.get(FEEDBACK),
            marked_classes(analysis.document),
            refused=decision.is_refused,
        ),
        judged=judged_part(prediction.view, "framed" in analysis.document),
        frame=_box_of(prediction.view),
        example=example,
        example_trained=example and example.has_trained(bundle.provenance),
        scale=overlay_colors(),
        settings=app_state().settings,
        words=words,
    )


@blueprint.post("/<analysis_id>/frame")
def judge_frame(analysis_id: str) -> AnyResponse:
    """Judge a part of a picture again, as a result of its own: 303 to its page.

    The form's ``x0``, ``y0``, ``x1`` and ``y1`` are the edges in pixels of the
    picture, and ``inverted`` says that its air is white. 404, or 422 where the frame
    is too small or not within the picture.
    """
    analysis, prediction = _load(analysis_id)
    view = _frame(prediction)
    slice_ = Slice(
        prediction.pixels,
        prediction.source,
        prediction.index,
        prediction.spacing_mm,
        prediction.plane,
        sequence=prediction.sequence.header,
        pixel_aspect=_aspect(analysis, prediction),
        view=view,
    )
    study = Study((Series((slice_,)),), (FRAMED,))
    origin = {"framed": analysis.document.get("framed", analysis.id)}
    if PIXEL_ASPECT in analysis.document:
        origin[PIXEL_ASPECT] = analysis.document[PIXEL_ASPECT]
    point = prediction.decision.operating_point
    kept = judge_slice(study, ensure_session_id(), point, origin)
    return redirect(url_for("slices.show", analysis_id=kept.id), 303)


@blueprint.post("/<analysis_id>/feedback")
def mark(analysis_id: str) -> AnyResponse:
    """Keep whether a result is right, and what the picture shows: 303 to its page.

    404, or 422 where the form says neither yes nor no, or contradicts itself.
    """
    analysis = app_state().store.get(analysis_id, session_id() or NOBODY)
    mark_result(analysis)
    return redirect(url_for("slices.show", analysis_id=analysis_id), 303)


@blueprint.post("/<analysis_id>/feedback/delete")
def unmark(analysis_id: str) -> AnyResponse:
    """Take back what was said of a result: 303 to its page, or 404."""
    analysis = app_state().store.get(analysis_id, session_id() or NOBODY)
    app_state().store.mark(analysis, None)
    return redirect(url_for("slices.show", analysis_id=analysis_id), 303)


@blueprint.post("/<analysis_id>/pin")
def pin(analysis_id: str) -> AnyResponse:
    """Keep a result until it is unpinned: 303 to its page, 404, 429 or 507."""
    pin_result(app_state().store.get(analysis_id, session_id() or NOBODY))
    keep_session()
    return redirect(url_for("slices.show", analysis_id=analysis_id), 303)


@blueprint.post("/<analysis_id>/pin/delete")
def unpin(analysis_id: str) -> AnyResponse:
    """Let a result go by its age again: 303 to the start page, or 404."""
    store = app_state().store
    store.unpin(store.get(analysis_id, session_id() or NOBODY))
    return redirect(url_for("home.show"), 303)


@blueprint.get("/<analysis_id>/judged.png")
def judged(analysis_id: str) -> Response:
    """Give the part of the picture that was judged, in 8 bits: 200, or 404."""
    _, prediction = _load(analysis_id)
    if prediction.view is None:
        raise NotFound
    cut = view_pixels(prediction.pixels, prediction.view)
    return png_response(encode_png(window_picture(cut)))


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


def _frame(prediction: Prediction) -> PictureView:
    """Read the frame that the request draws.

    Raises
    ------
    InputError
        Where it is none, too small, or not within the picture (422).
    """
    edges = [request.form.get(name, type=int) for name in ("x0", "y0", "x1", "y1")]
    x0, y0, x1, y1 = (-1 if edge is None else edge for edge in edges)
    inside = 0 <= x0 < x1 <= prediction.width and 0 <= y0 < y1 <= prediction.height
    if not inside or min(x1 - x0, y1 - y0) < LEAST_FRAME:
        raise InputError(
            f"The frame is not within the picture, or smaller than {LEAST_FRAME} by "
            f"{LEAST_FRAME} pixels.",
            "Draw it around one head.",
        )
    corners = tuple(
        (float(x), float(y)) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    )
    one, two, three, four = corners
    return PictureView(
        (one, two, three, four), (y1 - y0, x1 - x0), "inverted" in request.form
    )


def _aspect(analysis: Upload, prediction: Prediction) -> float:
    """Height over width of a pixel, as it was when the whole picture was judged."""
    stated = analysis.document.get(PIXEL_ASPECT)
    if stated is None and prediction.spacing_mm is not None:
        down, across = prediction.spacing_mm
        stated = down / across
    return 1.0 if stated is None else float(stated)


def _box_of(view: PictureView | None) -> dict[str, int] | None:
    """Edges of the upright box around a view, in pixels of the picture."""
    if view is None:
        return None
    xs, ys = zip(*view.corners, strict=True)
    return {
        "x0": max(0, int(min(xs))),
        "y0": max(0, int(min(ys))),
        "x1": int(max(xs)),
        "y1": int(max(ys)),
    }


def _analyse(files: list[FileStorage]) -> AnyResponse:
    operating_point = request.form.get("operating_point") or None
    results = list(judge_pictures(files, ensure_session_id(), operating_point))
    uploads = [item for item in results if isinstance(item, Upload)]
    rows = [analysis_row(item) for item in uploads]
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
        named = list(reversed(session_rows(uploads, (), {})))
        page = render_template("slices.html", rows=named, failures=failures)
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
