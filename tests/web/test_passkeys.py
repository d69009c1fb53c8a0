"""Authenticator apps and passkeys: what opens an account, and what no longer does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyotp
import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.samples.authenticator import PRESENT, Authenticator, text
from tests.samples.serving import serving
from tumorlens import SeriesClassifier
from tumorlens.jobs.accounts import AccountStore
from tumorlens.jobs.store import open_database
from tumorlens.settings import Settings
from tumorlens.web import access, passkeys
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store

PASSWORD = "four drawn heads a day"


@pytest.fixture
def anna(app: Flask, store: Store) -> FlaskClient:
    """The browser of a reader who has just logged in."""
    store.accounts.add("anna", PASSWORD, "viewer")
    client = app.test_client()
    assert by_password(client) == 303
    return client


def by_password(client: FlaskClient, code: str = "") -> int:
    sent = {"user": "anna", "password": PASSWORD, "code": code}
    return client.post("/login", data=sent).status_code


def add_passkey(client: FlaskClient, key: Authenticator) -> Any:
    options = client.post("/account/passkeys/options").json
    return client.post("/account/passkeys", json={"credential": key.create(options)})


def by_passkey(client: FlaskClient, key: Authenticator, **more: str) -> Any:
    options = client.post("/login/passkey/options").json
    return client.post("/login/passkey", json={"credential": key.get(options), **more})


def is_in(client: FlaskClient) -> bool:
    return client.get("/").status_code == 200


def test_an_app_is_added_and_asked_for_from_then_on(
    app: Flask, anna: FlaskClient
) -> None:
    elsewhere = app.test_client()
    assert by_password(elsewhere) == 303
    page = anna.get("/account/code").text
    key = re.findall(r"Key: <code>(\w+)</code>", page)[0]
    wrong = anna.post("/account/code", data={"code": "000000x"})
    assert wrong.status_code == 401
    code = pyotp.TOTP(key).now()
    added = anna.post("/account/code", data={"code": code})
    assert (added.status_code, added.location) == (303, "/account")
    assert "A code is asked for" in anna.get("/account").text
    # Sessions that a password alone had opened have ended.
    assert not is_in(elsewhere)
    fresh = app.test_client()
    assert by_password(fresh) == 401
    # The code that was shown as proof opens nothing again.
    assert by_password(fresh, code) == 401
    assert by_password(fresh, pyotp.TOTP(key).at(time.time() + 30)) == 303
    assert fresh.post("/account/code/remove").status_code == 303
    assert by_password(app.test_client()) == 303


def test_the_picture_holds_what_an_app_reads(anna: FlaskClient) -> None:
    page = anna.get("/account/code").text
    key = re.findall(r"Key: <code>(\w+)</code>", page)[0]
    size = int(re.findall(r'viewBox="-4 -4 (\d+)', page)[0])
    picture = np.full((size, size), 255, np.uint8)
    for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", page):
        picture[int(y) + 4, int(x) + 4] = 0
    large = cv2.resize(picture, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    text, *_ = cv2.QRCodeDetector().detectAndDecode(large)
    read = pyotp.parse_uri(text)
    assert (read.secret, read.name, read.issuer) == (key, "anna", "TumorLens")


def test_a_passkey_opens_the_account_and_the_password_alone_does_not(
    app: Flask, anna: FlaskClient
) -> None:
    key = Authenticator()
    assert add_passkey(anna, key).json == {"next": "/account"}
    assert "last used never" in anna.get("/account").text
    # Once is enough.
    assert add_passkey(anna, key).status_code == 400
    fresh = app.test_client()
    assert by_password(fresh) == 401
    entered = by_passkey(fresh, key, next="/scans/none")
    assert (entered.status_code, entered.json) == (200, {"next": "/scans/none"})
    assert "Log out anna" in fresh.get("/").text
    assert by_passkey(fresh, key, next="//evil.example").json == {"next": "/"}


def test_what_is_no_answer_to_the_question_opens_nothing(
    app: Flask, anna: FlaskClient
) -> None:
    key = Authenticator()
    add_passkey(anna, key)
    client = app.test_client()
    options = client.post("/login/passkey/options").json
    assert options is not None
    sent = {"credential": key.get(options)}
    cookie = client.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert cookie is not None
    assert client.post("/login/passkey", json=sent).status_code == 200
    # Heard on the way, with the cookie: the question was answered already.
    thief = app.test_client()
    thief.set_cookie(cookie.key, cookie.value)
    assert thief.post("/login/passkey", json=sent).status_code == 401
    # Of another page, or without a person, or another key.
    other = Authenticator("https://evil.example")
    other._id, other._key = key._id, key._key
    assert by_passkey(thief, other).status_code == 401
    key.flags = PRESENT
    assert by_passkey(thief, key).status_code == 401
    assert by_passkey(thief, Authenticator()).status_code == 401
    for nonsense in (
        {},
        [],
        {"credential": 3},
        {"credential": {"id": ["x"]}},
        {"credential": {"id": "\ud800"}},
        {"credential": {"id": text(key._id)}},
    ):
        thief.post("/login/passkey/options")
        assert thief.post("/login/passkey", json=nonsense).status_code == 401
    deep = {"data": "[" * 50_000, "content_type": "application/json"}
    assert thief.post("/login/passkey", **deep).status_code == 400
    assert not is_in(thief)


def test_a_copy_of_a_key_is_noticed_by_its_count(app: Flask, anna: FlaskClient) -> None:
    key = Authenticator()
    key.uses = 5
    add_passkey(anna, key)
    key.uses = 6
    assert by_passkey(app.test_client(), key).status_code == 200
    assert by_passkey(app.test_client(), key).status_code == 401


def test_a_question_is_not_valid_for_long(
    app: Flask, anna: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Authenticator()
    add_passkey(anna, key)
    client = app.test_client()
    options = client.post("/login/passkey/options").json
    assert options is not None
    monkeypatch.setattr(passkeys, "_SECONDS", -1.0)
    sent = {"credential": key.get(options)}
    assert client.post("/login/passkey", json=sent).status_code == 401


def test_changes_take_a_log_in_of_just_now(
    anna: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_FRESH_SECONDS", -1.0)
    assert anna.get("/account").location == "/login?next=/account"
    assert anna.get("/account/code").location == "/login?next=/account"
    for path in ("code", "code/remove", "passkeys", "passkeys/options"):
        assert anna.post(f"/account/{path}", json={}).status_code == 401
    assert anna.post("/account/passkeys/remove").status_code == 401
    assert is_in(anna)


def test_what_was_added_is_removed_again(
    app: Flask, anna: FlaskClient, store: Store
) -> None:
    add_passkey(anna, Authenticator())
    (passkey,) = store.accounts.passkeys("anna")
    removed = anna.post("/account/passkeys/remove", data={"id": passkey.id})
    assert removed.status_code == 303
    assert store.accounts.passkeys("anna") == []
    assert by_password(app.test_client()) == 303


def test_a_token_has_no_account(client: FlaskClient, store: Store) -> None:
    _, token = store.tokens.add("anna", ("admin",), 1)
    header = {"Authorization": f"Bearer {token}"}
    assert client.get("/account", headers=header).status_code == 403


def test_a_server_can_want_a_second_factor_of_everybody(
    classifier: SeriesClassifier, store: Store
) -> None:
    store.accounts.add("anna", PASSWORD, "reader")
    app = create_app(classifier, store, Settings(second_factor=True))
    client = app.test_client()
    assert by_password(client) == 303
    assert client.get("/").location == "/account"
    assert client.post("/api/v1/predictions").status_code == 403
    assert "before you go on" in client.get("/account").text
    add_passkey(client, Authenticator())
    assert is_in(client)


@pytest.fixture(scope="module")
def site(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that knows an account; by name, as passkeys want it."""
    folder = tmp_path_factory.mktemp("passkeys") / "store"
    with closing(open_database(folder, None)) as database:
        AccountStore(database).add("anna", PASSWORD, "reader")
    options = ("--model", str(tiny_bundle), "--port", "0", "--store", str(folder))
    with serving(*options) as (_, address):
        yield address.replace("127.0.0.1", "localhost")


def test_a_browser_adds_a_passkey_and_logs_in_with_it(page: Any) -> None:
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    authenticator = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": authenticator})
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).first.click()
    page.get_by_role("link", name="Your account").click()
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_text("last used never").wait_for()
    page.get_by_role("button", name="Log out anna").click()
    page.get_by_role("button", name="Log in with a passkey").click()
    page.get_by_role("button", name="Log out anna").wait_for()
