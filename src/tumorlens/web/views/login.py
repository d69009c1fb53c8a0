"""The page on which people log in: by password, token, passkey or OpenID provider.

Tested in `tests/web/test_access.py`, `tests/web/test_passkeys.py` and
`tests/web/test_oidc.py`.
"""

from __future__ import annotations

from flask import (
    Blueprint,
    Response,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.jobs.database import Account
from tumorlens.web.app_state import app_state
from tumorlens.web.oidc import OidcLogin, oidc_login

blueprint = Blueprint("login", __name__)


@blueprint.get("/login")
def show() -> str:
    """Show where to log in; 200."""
    provider = oidc_login()
    return render_template(
        "login.html",
        # Made one of this server's only when it is gone to.
        next=request.args.get("next", ""),
        knows_people=app_state().access.knows_people,
        provider=None if provider is None else provider.provider,
    )


@blueprint.post("/login")
def enter() -> AnyResponse:
    """Log in with the field ``token``, or with ``user``, ``password`` and ``code``.

    Answers 303 to the page that was asked for, 401 for what is not valid, 429 after
    too many of that.
    """
    access, address = app_state().access, request.remote_addr or ""
    name = request.form.get("user", "").strip()
    if name:
        password, code = request.form.get("password", ""), request.form.get("code", "")
        access.log_in(password, address, name, code)
    else:
        access.log_in(request.form.get("token", "").strip(), address)
    return redirect(_local(request.form.get("next")), 303)


@blueprint.post("/login/passkey/options")
def passkey_options() -> Response:
    """Give what a browser asks a passkey for: 200, JSON."""
    options = app_state().passkeys.request_options()
    return Response(options, content_type="application/json")


@blueprint.post("/login/passkey")
def enter_by_passkey() -> Response:
    """Log in with ``credential`` of a JSON body, which a passkey has made.

    Answers 200 with the page to go to in ``next``, 401 for what opens no account, 429
    after too many of that.
    """
    sent = request.get_json()
    fields = sent if isinstance(sent, dict) else {}
    state = app_state()
    state.access.log_in_account(
        lambda: state.passkeys.opened(fields.get("credential")),
        request.remote_addr or "",
        "The passkey",
    )
    path = fields.get("next")
    return jsonify(next=_local(path if isinstance(path, str) else None))


@blueprint.get("/login/oidc")
def leave_for_provider() -> AnyResponse:
    """Lead to the OpenID provider: 303; 404 without one, 502 where it is silent."""
    return _provider().begin(request.args.get("next", ""))


@blueprint.get("/login/oidc/return")
def enter_by_provider() -> Response:
    """Log in who comes back from the OpenID provider.

    Answers 200 with a page that leads on, 401 for who did not sign in there, 400 where
    the name is another account's, 404 without a provider, 502 where it is silent.
    """
    provider, paths = _provider(), [""]

    def find() -> Account | None:
        account, paths[0] = provider.finish()
        return account

    app_state().access.log_in_account(find, None, "The sign-in")
    # A redirect would be followed without the session's cookie: to the browser it is
    # still the other site that asks.
    page = make_response(render_template("signed_in.html", next=_local(paths[0])))
    provider.forget(page)
    return page


@blueprint.post("/logout")
def leave() -> AnyResponse:
    """End the browser's session: 303 to the page for logging in."""
    session.clear()
    return redirect(url_for("login.show"), 303)


def _provider() -> OidcLogin:
    provider = oidc_login()
    if provider is None:
        raise NotFound
    return provider


def _local(path: str | None) -> str:
    """Return a path of this server alone, whatever an address asks for."""
    home = url_for("home.show")
    if path is None or not path.startswith("/") or path[1:2] in {"/", "\\"}:
        return home
    if min(path) < " ":
        # A browser drops tabs and line ends: what is left may begin with two slashes.
        return home
    return request.script_root + path
