"""The start page, and what concerns all analyses of a session."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.report import words
from tumorlens.web.app_state import app_state
from tumorlens.web.security import ensure_session_id, session_id
from tumorlens.web.uploads.upload import Kind
from tumorlens.web.views.example import example_png
from tumorlens.web.views.presentation import analysis_row, upload_row
from tumorlens.web.views.responses import png_response

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def show() -> str:
    """Show where to put pictures, and what was analysed in this session; 200."""
    # The cookie comes with the page: uploads that start together have to share it.
    owner = ensure_session_id()
    store = app_state().store
    return render_template(
        "home.html",
        settings=app_state().settings,
        bundle=app_state().bundle,
        chosen_point=app_state().operating_point,
        rows=[analysis_row(item) for item in store.owned(owner)],
        uploads=[upload_row(item) for item in store.owned(owner, Kind.SCAN)],
        words=words,
    )


@blueprint.get("/example.png")
def example() -> Response:
    """Give the drawn example; 200."""
    return png_response(example_png())


@blueprint.post("/analyses/delete")
def delete_all() -> AnyResponse:
    """Remove everything of this session: 303 to the start page."""
    owner = session_id()
    if owner is not None:
        app_state().store.delete_all(owner)
    return redirect(url_for("home.show"), 303)
