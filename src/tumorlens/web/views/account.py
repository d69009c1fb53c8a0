"""The page of one's own account: its authenticator app, and its passkeys.

All that changes it takes a log-in of the last ten minutes.

Tested in `tests/web/test_passkeys.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from flask import (
    Blueprint,
    Response,
    jsonify,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.jobs.accounts import code_address, new_code_key
from tumorlens.web.access import LoginError
from tumorlens.web.app_state import app_state

blueprint = Blueprint("account", __name__, url_prefix="/account")

_NEW_KEY = "new_code_key"


@blueprint.get("")
def show() -> AnyResponse | str:
    """Show what opens the account: 200; 303 to log in where that is long ago."""
    access, accounts = app_state().access, app_state().store.accounts
    try:
        account = access.account_at_hand()
    except LoginError:
        return redirect(url_for("login.show", next="/account"), 303)
    return render_template(
        "account.html",
        account=account,
        passkeys=accounts.passkeys(account.name),
        must_add=app_state().settings.second_factor
        and not accounts.has_second_factor(account),
        date=_date,
    )


@blueprint.get("/code")
def show_code() -> AnyResponse | str:
    """Show a new key for an authenticator app: 200; 303 to log in as above."""
    try:
        account = app_state().access.account_at_hand()
    except LoginError:
        return redirect(url_for("login.show", next="/account"), 303)
    key = session.get(_NEW_KEY)
    if not isinstance(key, str):
        key = session[_NEW_KEY] = new_code_key()
    modules = _qr_code(code_address(key, account.name))
    return render_template("account_code.html", key=key, modules=modules)


@blueprint.post("/code")
def add_code() -> AnyResponse:
    """Keep the key whose app shows the field ``code``.

    Answers 303 to the account's page; 401 for a wrong code, or without a log-in of the
    last ten minutes.
    """
    access, accounts = app_state().access, app_state().store.accounts
    account = access.account_at_hand()
    key, code = session.get(_NEW_KEY), request.form.get("code", "")
    changed = None
    if isinstance(key, str):
        changed = accounts.set_code_key(account.name, key, code)
    if changed is None:
        raise LoginError(
            "The code is wrong, or of more than half a minute ago.",
            "Go back and type what the app shows now; its clock has to be right.",
        )
    session.pop(_NEW_KEY)
    access.renew(changed)
    return redirect(url_for("account.show"), 303)


@blueprint.post("/code/remove")
def remove_code() -> AnyResponse:
    """Ask for no code any more: 303 to the account's page; 401 as above."""
    access = app_state().access
    name = access.account_at_hand().name
    access.renew(app_state().store.accounts.remove_code_key(name))
    return redirect(url_for("account.show"), 303)


@blueprint.post("/passkeys/options")
def passkey_options() -> Response:
    """Give what a browser asks a new passkey for: 200, JSON; 401 as above."""
    account = app_state().access.account_at_hand()
    options = app_state().passkeys.creation_options(account)
    return Response(options, content_type="application/json")


@blueprint.post("/passkeys")
def add_passkey() -> Response:
    """Add the passkey that is ``credential`` of a JSON body.

    Answers 200 with the page to go to in ``next``; 401 where it is none, or without a
    log-in of the last ten minutes; 400 where the account has it, or very many.
    """
    access = app_state().access
    account, sent = access.account_at_hand(), request.get_json()
    credential = sent.get("credential") if isinstance(sent, dict) else None
    changed = app_state().passkeys.add(account, credential)
    if changed is None:
        raise LoginError("This is no passkey that was asked for.", "Try again.")
    access.renew(changed)
    return jsonify(next=url_for("account.show"))


@blueprint.post("/passkeys/remove")
def remove_passkey() -> AnyResponse:
    """Remove the passkey ``id``: 303 to the account's page; 401 as above."""
    access = app_state().access
    name = access.account_at_hand().name
    passkey_id = request.form.get("id", "")
    access.renew(app_state().store.accounts.remove_factors(name, passkey_id))
    return redirect(url_for("account.show"), 303)


def _qr_code(text: str) -> list[list[bool]]:
    """Draw a text as rows of dark and light modules."""
    from reportlab.graphics.barcode.qrencoder import QRCode, QRErrorCorrectLevel

    code = QRCode(None, QRErrorCorrectLevel.M)
    code.addData(text)
    code.make()
    size = range(code.getModuleCount())
    return [[bool(code.isDark(row, column)) for column in size] for row in size]


def _date(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
