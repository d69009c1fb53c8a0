"""What a hostile page, a foreign name or another browser gets: nothing."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.samples.uploads import form
from tumorlens import SeriesClassifier
from tumorlens.errors import SettingError
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.security import is_loopback
from tumorlens.web.uploads.store import Store


def test_every_answer_carries_the_headers(client: FlaskClient) -> None:
    for path in ("/", "/healthz", "/nothing", "/static/style.css", "/api/v1/nothing"):
        with client.get(path) as response:
            headers = response.headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
    assert client.get("/").headers["Cache-Control"] == "no-store"


def test_the_cookie_is_kept_from_scripts_and_other_sites(client: FlaskClient) -> None:
    cookie = client.get("/").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[x"},
        {"Origin": "http://localhost:9999"},
    ],
)
@pytest.mark.parametrize("path", ["/analyses/delete", "/api/v1/predictions"])
def test_a_form_of_another_site_is_refused(
    client: FlaskClient, headers: dict[str, str], path: str
) -> None:
    assert client.post(path, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}, {}],
)
def test_the_app_s_own_forms_and_programs_are_served(
    client: FlaskClient, headers: dict[str, str], lesion_png: bytes
) -> None:
    response = client.post("/analyses", headers=headers, **form(("h.png", lesion_png)))
    assert response.status_code == 303


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1", "[::1]:80"])
def test_the_machine_s_own_names_are_answered(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/v1/openapi.json", "/static/style.css"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "[", "a b", "@"])
def test_a_name_pointed_here_by_others_is_not_answered(
    client: FlaskClient, path: str, host: str
) -> None:
    response = client.get(path, headers={"Host": host})
    assert response.status_code == 400
    assert "--allowed-hosts" in response.text


def test_names_can_be_allowed(classifier: SeriesClassifier, store: Store) -> None:
    settings = Settings(allowed_hosts="lens.example, other.example")
    client = create_app(classifier, store, settings).test_client()
    for name, status in (("lens.example", 200), ("other.example", 200), ("x.org", 400)):
        assert client.get("/", headers={"Host": name}).status_code == status


def test_open_to_the_network_any_name_is_answered(
    classifier: SeriesClassifier, store: Store
) -> None:
    client = create_app(classifier, store, Settings(host="0.0.0.0")).test_client()
    assert client.get("/", headers={"Host": "lens.example"}).status_code == 200


def test_loopback_is_told_from_the_network() -> None:
    assert all(
        map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"))
    )
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.2", "lens.example")))


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host"])
def test_a_proxy_opens_no_door(
    app: Flask, classifier: SeriesClassifier, store: Store, name: str
) -> None:
    headers = {name: "192.0.2.1"}
    for path in ("/", "/api/v1/openapi.json", "/healthz", "/static/style.css"):
        with app.test_client().get(path, headers=headers) as response:
            assert response.status_code == 403
            assert "proxy" in response.text
    wanted = create_app(classifier, store, Settings(insecure_no_login=True))
    assert wanted.test_client().get("/", headers=headers).status_code == 200


def test_a_trusted_proxy_says_how_the_server_is_reached(
    classifier: SeriesClassifier, store: Store, lesion_png: bytes
) -> None:
    settings = Settings(
        insecure_no_login=True, trusted_proxies=1, allowed_hosts="lens.example"
    )
    client = create_app(classifier, store, settings).test_client()
    headers = {
        "X-Forwarded-Host": "lens.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/mri",
        "Sec-Fetch-Site": "same-origin",
    }
    response = client.post("/analyses", headers=headers, **form(("h.png", lesion_png)))
    assert response.status_code == 303
    assert response.location.startswith("/mri/analyses/")
    assert response.headers["Strict-Transport-Security"].startswith("max-age=")
    assert "Secure" in response.headers["Set-Cookie"]
    # Only the proxy itself is believed, not what it was told.
    headers["X-Forwarded-Host"] = "lens.example, evil.example"
    assert client.get("/", headers=headers).status_code == 400


def test_another_browser_sees_and_deletes_nothing(
    app: Flask, client: FlaskClient, lesion_png: bytes
) -> None:
    page = client.post("/analyses", **form(("h.png", lesion_png))).location
    other = app.test_client()
    other.get("/")
    for end in ("", "/picture.png", "/layer-evidence.png", "/report.pdf"):
        assert client.get(page + end).status_code == 200
        assert other.get(page + end).status_code == 404
    assert other.post(f"{page}/delete").status_code == 404
    other.post("/analyses/delete")
    assert client.get(page).status_code == 200


def test_a_forged_cookie_is_no_cookie(
    app: Flask, client: FlaskClient, lesion_png: bytes
) -> None:
    page = client.post("/analyses", **form(("h.png", lesion_png))).location
    name = app.config["SESSION_COOKIE_NAME"]
    cookie = client.get_cookie(name)
    assert cookie is not None
    forger = app.test_client()
    forger.set_cookie(name, cookie.value[:-2] + "xx")
    assert forger.get(page).status_code == 404


def test_an_operating_point_that_the_model_lacks_stops_the_start(
    classifier: SeriesClassifier, store: Store
) -> None:
    with pytest.raises(SettingError, match="'best'"):
        create_app(classifier, store, Settings(operating_point="best"))
