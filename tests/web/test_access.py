"""Who may see and do what, once there are tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.samples.series_uploads import nifti
from tests.samples.uploads import form
from tumorlens import SeriesClassifier
from tumorlens.errors import QuotaError, SettingError
from tumorlens.settings import Settings
from tumorlens.web.access import ADMIN_TOKEN, Access, LoginError
from tumorlens.web.app import create_app
from tumorlens.web.app_state import state_of
from tumorlens.web.uploads.store import Store

PREDICTIONS, SCANS = "/api/v1/predictions", "/api/v1/scans"

Token = Callable[..., dict[str, str]]


@pytest.fixture
def token(store: Store) -> Token:
    """Make a token; give the header that shows it."""

    def make(user: str, *scopes: str) -> dict[str, str]:
        _, text = store.tokens.add(user, scopes or ("read", "write"), 1)
        return {"Authorization": f"Bearer {text}"}

    return make


def text_of(header: dict[str, str]) -> str:
    return header["Authorization"].removeprefix("Bearer ")


def log_in(client: FlaskClient, header: dict[str, str], **fields: str) -> Any:
    return client.post("/login", data={"token": text_of(header), **fields})


def test_from_the_first_token_on_everybody_is_asked(
    client: FlaskClient, token: Token, lesion_png: bytes
) -> None:
    assert client.get("/").status_code == 200
    anna = token("anna")
    page = client.get("/scans/none")
    assert (page.status_code, page.location) == (303, "/login?next=/scans/none")
    for method, path in (
        ("GET", f"{PREDICTIONS}/x"),
        ("POST", PREDICTIONS),
        ("POST", SCANS),
        ("POST", "/analyses"),
        ("DELETE", f"{SCANS}/x"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/nothing"),
    ):
        refused = client.open(path, method=method)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    for path in ("/healthz", "/readyz", "/login", "/static/style.css"):
        with client.get(path) as answer:
            assert answer.status_code == 200
    wrong = client.get("/api/v1/openapi.json", headers={"Authorization": "Bearer x"})
    assert wrong.status_code == 401
    sent = form(("a.png", lesion_png))
    assert client.post(PREDICTIONS, headers=anna, **sent).status_code == 200


def test_one_user_never_sees_anothers_results(
    client: FlaskClient, token: Token, lesion_png: bytes
) -> None:
    anna, ben = token("anna"), token("ben")
    judged = client.post(PREDICTIONS, headers=anna, **form(("a.png", lesion_png)))
    links = judged.json["predictions"][0]["links"]  # type: ignore[index]
    scan = client.post(SCANS, headers=anna, **form(("a.nii.gz", nifti())))
    addresses = [*links.values(), scan.headers["Location"]]
    addresses.append(f"{scan.headers['Location']}/series/0")
    for address in addresses:
        assert client.get(address, headers=ben).status_code == 404
        assert client.get(address, headers=anna).status_code in {200, 409}
    assert client.delete(links["self"], headers=ben).status_code == 404
    # Another token of the same user opens the same.
    assert client.get(links["self"], headers=token("anna")).status_code == 200
    # A key is its sender's.
    key = {"Idempotency-Key": "k"}
    first = client.post(
        PREDICTIONS, headers=anna | key, **form(("a.png", lesion_png))
    ).json
    other = client.post(
        PREDICTIONS, headers=ben | key, **form(("b.png", lesion_png))
    ).json
    assert first is not None and other is not None
    assert other["predictions"][0]["file"] == "b.png"


def test_results_made_before_the_login_are_nobodys_then(
    client: FlaskClient, token: Token, lesion_png: bytes
) -> None:
    judged = client.post(PREDICTIONS, **form(("a.png", lesion_png)))
    address = judged.json["predictions"][0]["links"]["self"]  # type: ignore[index]
    assert client.get(address).status_code == 200
    assert client.get(address, headers=token("anna", "admin")).status_code == 404


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read", {"read"}),
        ("write", {"write"}),
        ("metrics", {"metrics"}),
        ("admin", {"read", "write", "metrics"}),
    ],
)
def test_a_token_allows_its_scopes_alone(
    client: FlaskClient, token: Token, lesion_png: bytes, scope: str, allowed: set[str]
) -> None:
    header = token("anna", scope)
    sent = form(("a.png", lesion_png))
    answers = {
        "read": client.get("/api/v1/openapi.json", headers=header),
        "write": client.post(PREDICTIONS, headers=header, **sent),
        "metrics": client.get("/metrics", headers=header),
    }
    for name, answer in answers.items():
        assert answer.status_code == (200 if name in allowed else 403)


def test_people_log_in_with_a_token_and_out_again(
    app: Flask, client: FlaskClient, token: Token, lesion_png: bytes
) -> None:
    anna = token("anna")
    assert log_in(client, {"Authorization": "Bearer wrong"}).status_code == 401
    entered = log_in(client, anna, next="/scans/none")
    assert (entered.status_code, entered.location) == (303, "/scans/none")
    page = client.post("/analyses", **form(("a.png", lesion_png)))
    assert page.status_code == 303
    assert "Log out anna" in client.get(page.location).text
    home = client.get("/").text
    assert "logged in as anna sees these results" in home
    assert "Only this browser" not in home
    # Pages and API show the same results.
    assert (
        client.get(page.location.replace("/analyses", PREDICTIONS)).status_code == 200
    )
    other = app.test_client()
    log_in(other, token("ben"))
    assert other.get(page.location).status_code == 404
    assert client.post("/logout").location == "/login"
    assert client.get(page.location).status_code == 303


def test_a_session_ends_with_its_token(
    client: FlaskClient, store: Store, token: Token
) -> None:
    log_in(client, token("anna"))
    assert client.get("/").status_code == 200
    store.tokens.revoke(store.tokens.all()[0].id)
    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "x",
        "",
    ],
)
def test_a_login_leads_nowhere_else(
    client: FlaskClient, token: Token, path: str
) -> None:
    assert log_in(client, token("anna"), next=path).location == "/"


def test_a_login_behind_a_prefix_leads_to_the_page_that_was_asked_for(
    classifier: SeriesClassifier, store: Store, token: Token
) -> None:
    app = create_app(classifier, store, Settings(trusted_proxies=1))
    client, anna = app.test_client(), token("anna")
    proxy = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Prefix": "/lens"}
    for path, end in (("/scans/none", "/lens/scans/none"), ("/", "/lens/")):
        asked = client.get(path, headers=proxy).location.removeprefix("/lens")
        page = client.get(asked, headers=proxy).text
        (wanted,) = re.findall(r'name="next" value="(.*?)"', page)
        sent = {"token": text_of(anna), "next": wanted}
        entered = client.post("/login", data=sent, headers=proxy)
        assert (entered.status_code, entered.location) == (303, end)
        client.post("/logout", headers=proxy)


def test_wrong_attempts_are_counted_also_once_there_were_very_many(
    app: Flask, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.accounts.add("anna", PASSWORD, "reader")
    monkeypatch.setattr("tumorlens.web.access._MOST_KEYS", 11)
    now = [1_000.0]
    access = Access(store.tokens, store.accounts, Settings(), clock=lambda: now[0])
    with app.test_request_context():
        with pytest.raises(LoginError):
            access.log_in("wrong", "192.0.2.1")
        now[0] += 3_600.0
        for number in range(10):
            with pytest.raises(LoginError):
                access.log_in("wrong", f"192.0.2.{number + 2}", "anna")
        # What the address did is forgotten, and the name is refused.
        with pytest.raises(QuotaError):
            access.log_in("wrong", "192.0.2.1", "anna")
        with pytest.raises(LoginError):
            access.log_in("wrong", "192.0.2.99")


def test_wrong_tokens_are_counted_by_address(client: FlaskClient, token: Token) -> None:
    anna = token("anna")
    for _ in range(10):
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
    refused = log_in(client, anna)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    # Programs are not locked out by somebody's guesses.
    assert client.get("/api/v1/openapi.json", headers=anna).status_code == 200


def test_the_first_token_can_come_from_the_environment(
    classifier: SeriesClassifier,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    lesion_png: bytes,
) -> None:
    outside = Settings(host="0.0.0.0")
    access = state_of(create_app(classifier, store, outside)).access
    with pytest.raises(SettingError, match="no log-in"):
        access.check_host(outside.host)
    access.check_host("127.0.0.1")
    monkeypatch.setenv(ADMIN_TOKEN, "short")
    with pytest.raises(SettingError, match="5 characters"):
        create_app(classifier, store, outside)
    monkeypatch.setenv(ADMIN_TOKEN, "a-long-random-token")
    app = create_app(classifier, store, outside)
    state_of(app).access.check_host(outside.host)
    client = app.test_client()
    header = {"Authorization": "Bearer a-long-random-token"}
    assert client.get("/api/v1/openapi.json").status_code == 401
    assert client.get("/api/v1/openapi.json", headers=header).status_code == 200
    # A proxy opens nothing now.
    forwarded = {"X-Forwarded-For": "192.0.2.1"}
    assert client.get("/api/v1/openapi.json", headers=forwarded).status_code == 401
    assert log_in(client, header).status_code == 303
    assert client.get("/metrics").status_code == 200
    monkeypatch.setenv(ADMIN_TOKEN, "another-random-token")
    other = create_app(classifier, store, outside).test_client()
    cookie = client.get_cookie(client.application.config["SESSION_COOKIE_NAME"])
    assert cookie is not None
    other.set_cookie(cookie.key, cookie.value)
    assert other.get("/").status_code == 303


def test_tokens_and_no_login_cannot_both_be_meant(
    classifier: SeriesClassifier, store: Store, token: Token
) -> None:
    token("anna")
    with pytest.raises(SettingError, match="nobody has to log in"):
        create_app(classifier, store, Settings(insecure_no_login=True))
    assert create_app(classifier, store, Settings(host="0.0.0.0"))


def test_the_session_cookie_goes_to_nobody_else(
    client: FlaskClient, token: Token
) -> None:
    plain = log_in(client, token("anna")).headers["Set-Cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=Strict" in plain
    sent = {"token": text_of(token("anna"))}
    secure = client.post("/login", data=sent, base_url="https://localhost")
    assert "Secure" in secure.headers["Set-Cookie"]


def test_a_users_scans_wait_by_his_own_quota(
    classifier: SeriesClassifier, store: Store, token: Token
) -> None:
    settings = Settings(client_scans=1)
    client = create_app(classifier, store, settings).test_client()
    anna, ben = token("anna"), token("ben")
    state_of(client.application).jobs.start = lambda: None  # type: ignore[method-assign]
    scan = nifti()
    first = client.post(SCANS, headers=anna, **form(("a.nii.gz", scan)))
    assert first.status_code == 202
    refused = client.post(SCANS, headers=anna, **form(("b.nii.gz", scan)))
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert (
        client.post(SCANS, headers=ben, **form(("b.nii.gz", scan))).status_code == 202
    )


PASSWORD = "four drawn heads a day"


def test_people_log_in_with_a_password(
    client: FlaskClient, store: Store, token: Token, lesion_png: bytes
) -> None:
    store.accounts.add("anna", PASSWORD, "reader")
    assert client.get("/").status_code == 303
    assert 'name="password"' in client.get("/login").text
    wrong = client.post("/login", data={"user": "anna", "password": PASSWORD + "!"})
    assert wrong.status_code == 401
    right = {"user": "anna", "password": PASSWORD}
    assert client.post("/login", data=right).status_code == 303
    page = client.post("/analyses", **form(("a.png", lesion_png)))
    assert page.status_code == 303
    # A token of the same user opens the same.
    address = page.location.replace("/analyses", PREDICTIONS)
    client.post("/logout")
    assert client.get(address, headers=token("anna")).status_code == 200
    client.post("/login", data=right)
    store.accounts.set_password("anna", PASSWORD + "!")
    assert client.get("/").status_code == 303


def test_a_role_allows_what_is_its(
    client: FlaskClient, store: Store, lesion_png: bytes
) -> None:
    store.accounts.add("vera", PASSWORD, "viewer")
    client.post("/login", data={"user": "vera", "password": PASSWORD})
    assert client.get("/").status_code == 200
    sent = form(("a.png", lesion_png))
    assert client.post("/analyses", **sent).status_code == 403
    assert client.get("/metrics").status_code == 403


def test_wrong_passwords_are_counted_by_name(app: Flask, store: Store) -> None:
    store.accounts.add("anna", PASSWORD, "reader")
    for number in range(10):
        place = {"REMOTE_ADDR": f"192.0.2.{number}"}
        sent = {"user": "anna", "password": "wrong"}
        answer = app.test_client().post("/login", data=sent, environ_base=place)
        assert answer.status_code == 401
    right = {"user": "anna", "password": PASSWORD}
    place = {"REMOTE_ADDR": "192.0.2.99"}
    refused = app.test_client().post("/login", data=right, environ_base=place)
    assert refused.status_code == 429
