"""Sign-in by a real OpenID provider, which runs beside the test."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from flask.testing import FlaskClient

from tests.samples.orthanc import free_port
from tumorlens import SeriesClassifier
from tumorlens.errors import SettingError
from tumorlens.settings import Settings
from tumorlens.web.access import CLIENT_SECRET
from tumorlens.web.app import create_app
from tumorlens.web.app_state import state_of
from tumorlens.web.uploads.store import Store


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Address of a provider at which anybody may sign in as anybody."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while True:
                assert process.poll() is None
                try:
                    requests.get(f"{address}/jwks", timeout=10)
                    break
                except requests.ConnectionError:
                    time.sleep(0.2)
            yield address
        finally:
            process.kill()


@pytest.fixture
def client(
    classifier: SeriesClassifier,
    store: Store,
    issuer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> FlaskClient:
    monkeypatch.setenv(CLIENT_SECRET, "a secret of this server")
    settings = Settings(host="0.0.0.0", oidc_issuer=issuer, oidc_client_id="tumorlens")
    app = create_app(classifier, store, settings)
    # Nobody has an account yet, and still nobody gets in without one.
    state_of(app).access.check_host(settings.host)
    return app.test_client()


def name(issuer: str, subject: str, **claims: str) -> None:
    requests.put(f"{issuer}/users/{subject}", json=claims, timeout=10)


def come_back(client: FlaskClient, subject: str, **parameters: str) -> str:
    """Go to the provider and sign in there; return where it sends the browser."""
    left = client.get("/login/oidc", query_string=parameters)
    assert left.status_code == 303
    signed = requests.post(
        left.location, data={"sub": subject}, allow_redirects=False, timeout=10
    )
    back = urlsplit(signed.headers["Location"])
    return f"{back.path}?{back.query}"


def sign_in(client: FlaskClient, subject: str, **parameters: str) -> Any:
    return client.get(come_back(client, subject, **parameters))


def test_who_signs_in_gets_an_account_that_sees_and_sends_nothing(
    client: FlaskClient, store: Store, issuer: str
) -> None:
    assert client.get("/").location == "/login?next=/"
    assert "Sign in at 127.0.0.1" in client.get("/login").text
    name(issuer, "s1", preferred_username="anna")
    page = sign_in(client, "s1", next="/scans/none")
    assert page.status_code == 200
    # The browser goes on from this page: its own, so that it sends the session.
    assert 'content="0; url=/scans/none"' in page.text
    assert "Log out anna" in client.get("/").text
    assert client.post("/analyses").status_code == 403
    (account,) = store.accounts.all()
    assert (account.role, account.subject) == ("viewer", f"{issuer} s1")
    # A role that somebody is given stays, and so does the account.
    store.accounts.set_role("anna", "reader")
    sign_in(client, "s1")
    assert client.post("/analyses").status_code != 403
    assert len(store.accounts.all()) == 1
    # No password opens it.
    sent = {"user": "anna", "password": ""}
    assert client.post("/login", data=sent).status_code == 401


def test_nobody_gets_the_account_of_another_by_its_name(
    client: FlaskClient, store: Store, issuer: str
) -> None:
    store.accounts.add("ben", "four drawn heads a day", "admin")
    name(issuer, "s2", preferred_username="ben")
    refused = sign_in(client, "s2")
    assert refused.status_code == 400
    assert "another user" in refused.text
    assert client.get("/").status_code == 303


def test_a_closed_account_stays_closed(
    client: FlaskClient, store: Store, issuer: str
) -> None:
    name(issuer, "s3", preferred_username="cleo")
    sign_in(client, "s3")
    store.accounts.disable("cleo")
    assert client.get("/").status_code == 303
    assert sign_in(client, "s3").status_code == 401
    assert client.get("/").status_code == 303


def test_a_return_that_this_browser_did_not_ask_for_is_refused(
    client: FlaskClient, issuer: str
) -> None:
    path = come_back(client, "s4")
    other = client.application.test_client()
    # Sent by somebody who wants the browser to be logged in as them.
    assert other.get(path).status_code == 401
    come_back(other, "s4")
    assert other.get(path).status_code == 401
    assert client.get(path.replace("code=", "code=x")).status_code == 401
    for _ in range(12):
        denied = client.get("/login/oidc/return?error=access_denied")
        assert denied.status_code == 401
    assert client.get("/login/oidc").status_code == 303
    assert client.get("/").status_code == 303


def test_the_cookie_of_a_sign_in_goes_nowhere_else(client: FlaskClient) -> None:
    cookie = client.get("/login/oidc").headers["Set-Cookie"]
    assert "Path=/login/oidc/return" in cookie
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    secure = client.get("/login/oidc", base_url="https://localhost")
    assert "Secure" in secure.headers["Set-Cookie"]


def test_a_provider_that_does_not_answer_is_named_as_the_cause(
    classifier: SeriesClassifier, store: Store
) -> None:
    settings = Settings(
        oidc_issuer=f"http://127.0.0.1:{free_port()}", oidc_client_id="tumorlens"
    )
    client = create_app(classifier, store, settings).test_client()
    refused = client.get("/login/oidc")
    assert refused.status_code == 502
    assert "sign-in service" in refused.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"oidc_issuer": "http://login.example.org"}, "https"),
        ({"oidc_client_id": None}, "--oidc-client-id"),
        ({"oidc_role": "admin"}, "'admin'"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    classifier: SeriesClassifier, store: Store, more: dict[str, Any], said: str
) -> None:
    rest = {"oidc_issuer": "https://login.example.org", "oidc_client_id": "tumorlens"}
    with pytest.raises(SettingError, match=said):
        create_app(classifier, store, Settings(**(rest | more)))


def test_without_a_provider_nobody_is_sent_there(
    classifier: SeriesClassifier, store: Store
) -> None:
    client = create_app(classifier, store, Settings()).test_client()
    for path in ("/login/oidc", "/login/oidc/return"):
        assert client.get(path).status_code == 404
