"""The start page, its examples, and what concerns all results of a session."""

from __future__ import annotations

import csv
import io

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.errors import MissingFileError
from tumorlens.inference.slice.prediction import Failure
from tumorlens.report import words
from tumorlens.web.app_state import app_state
from tumorlens.web.errors import error_response
from tumorlens.web.intake import judge_pictures, queue_study
from tumorlens.web.security import NOBODY, ensure_session_id, session_id
from tumorlens.web.uploads.upload import Kind, Upload
from tumorlens.web.views.examples import EXAMPLES, Example, examples_note
from tumorlens.web.views.presentation import (
    measured_rates,
    result_cells,
    result_columns,
    session_rows,
)
from tumorlens.web.views.responses import (
    download_response,
    reports_pdf,
    upload_status,
)

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def show() -> str:
    """Show where to put pictures, and what was analysed in this session; 200."""
    # The cookie comes with the page: uploads that start together have to share it.
    owner = ensure_session_id()
    store, bundle = app_state().store, app_state().bundle
    pictures, scans = store.owned(owner), store.owned(owner, Kind.SCAN)
    return render_template(
        "home.html",
        settings=app_state().settings,
        bundle=bundle,
        chosen_point=app_state().operating_point,
        rates={name: measured_rates(bundle, name) for name in bundle.operating_points},
        rows=session_rows(pictures, scans, store.copies(pictures)),
        deletion=store.deletion(owner),
        examples=[
            (item, item.has_trained(bundle.provenance)) for item in EXAMPLES.values()
        ],
        examples_note=examples_note(bundle.provenance),
        words=words,
    )


@blueprint.get("/weights-licence")
def weights_licence() -> Response:
    """Say on which datasets and licences the weights rest: 200, or 404."""
    text = app_state().bundle.weights_licence()
    if text is None:
        raise NotFound
    return Response(text, content_type="text/plain; charset=utf-8")


@blueprint.post("/examples/<name>")
def judge_example(name: str) -> AnyResponse:
    """Judge one of the examples: 303 to its page, or 404."""
    example = EXAMPLES.get(name)
    if example is None:
        raise NotFound
    point = request.form.get("operating_point") or None
    origin = {"example": name}
    if example.is_series:
        with example.path.open("rb") as file:
            sent = [FileStorage(file, example.sent_as)]
            scan = queue_study(sent, ensure_session_id(), point, origin)
        return redirect(url_for("series.show", scan_id=scan.id), 303)
    return _judge_picture(example, point, origin)


@blueprint.get("/analyses/all.csv")
def download_csv() -> Response:
    """Give a table of all results of this session: a row a slice or series; 200."""
    table = io.StringIO()
    classes = app_state().bundle.classes
    # A model of other classes may have judged some of them, before a restart.
    writer = csv.DictWriter(table, result_columns(classes), extrasaction="ignore")
    writer.writeheader()
    pictures, scans = _results()
    writer.writerows(result_cells(pictures, scans, classes))
    data = table.getvalue().encode("utf-8-sig")
    return download_response(data, "text/csv", "tumorlens.csv")


@blueprint.get("/analyses/all.pdf")
def download_pdf() -> Response:
    """Give all reports of this session as one file: 200, or 404 without any."""
    pictures, scans = _results()
    reported = [item for item in scans if item.document["has_report"]]
    if not (pictures or reported):
        raise MissingFileError(
            "There is no report to give.", "Analyse a picture or a series first."
        )
    data = reports_pdf(pictures, reported)
    return download_response(data, "application/pdf", "tumorlens.pdf")


@blueprint.post("/analyses/delete")
def delete_all() -> AnyResponse:
    """Remove everything of this session: 303 to the start page, which can undo it."""
    owner = session_id()
    if owner is not None:
        app_state().store.delete_all(owner)
    return redirect(url_for("home.show", _anchor="done"), 303)


@blueprint.post("/analyses/undo")
def undo_deletion() -> AnyResponse:
    """Bring back what was deleted last: 303 to the start page, or 404 if too late."""
    app_state().store.undo_deletion(session_id() or NOBODY)
    return redirect(url_for("home.show", _anchor="done"), 303)


def _results() -> tuple[list[Upload], list[Upload]]:
    """List the session's pictures and scans, the oldest first."""
    owner, store = session_id() or NOBODY, app_state().store
    pictures, scans = store.owned(owner), store.owned(owner, Kind.SCAN)
    return list(reversed(pictures)), list(reversed(scans))


def _judge_picture(
    example: Example, point: str | None, origin: dict[str, str]
) -> AnyResponse:
    sent = [FileStorage(io.BytesIO(example.path.read_bytes()), example.sent_as)]
    (result,) = judge_pictures(sent, ensure_session_id(), point, origin)
    if isinstance(result, Failure):
        status = upload_status([result])
        return error_response(status, result.code, result.message, result.hint)
    return redirect(url_for("slices.show", analysis_id=result.id), 303)
