"""The page on which people log in, with a password or a token.

Tested in `tests/web/test_access.py`.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.web.app_state import app_state

blueprint = Blueprint("login", __name__)


@blueprint.get("/login")
def show() -> str:
    """Show where to log in; 200."""
    return render_template(
        "login.html",
        # Made one of this server's only when it is gone to.
        next=request.args.get("next", ""),
        knows_people=app_state().access.knows_people,
    )


@blueprint.post("/login")
def enter() -> AnyResponse:
    """Log in with the field ``token``, or with ``user`` and ``password``.

    Answers 303 to the page that was asked for, 401 for what is not valid, 429 after
    too many of that.
    """
    access, address = app_state().access, request.remote_addr or ""
    name = request.form.get("user", "").strip()
    if name:
        access.log_in(request.form.get("password", ""), address, name)
    else:
        access.log_in(request.form.get("token", "").strip(), address)
    return redirect(_local(request.form.get("next")), 303)


@blueprint.post("/logout")
def leave() -> AnyResponse:
    """End the browser's session: 303 to the page for logging in."""
    session.clear()
    return redirect(url_for("login.show"), 303)


def _local(path: str | None) -> str:
    """Return a path of this server alone, whatever an address asks for."""
    home = url_for("home.show")
    if path is None or not path.startswith("/") or path[1:2] in {"/", "\\"}:
        return home
    return request.script_root + path
