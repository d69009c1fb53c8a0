"""The start page says what happens to the data, and lists what was analysed."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from tests.samples.uploads import form, text_of
from tumorlens import SeriesClassifier
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store


@pytest.fixture
def page(client: FlaskClient, lesion_png: bytes) -> str:
    """The address of a slice's page."""
    response = client.post("/analyses", **form(("my head.png", lesion_png)))
    return str(response.location)


def test_home_says_what_happens_to_the_data(client: FlaskClient) -> None:
    text = text_of(client.get("/").text)
    assert "removed 60 minutes after they were read" in text
    assert "nowhere else" in text
    assert "Nothing yet" in text


def test_every_page_says_research_use_only(client: FlaskClient, page: str) -> None:
    for path in ("/", page, "/nothing"):
        text = text_of(client.get(path).text)
        assert RESEARCH_USE in text


def test_no_page_asks_for_anything_inline_or_elsewhere(
    client: FlaskClient, page: str
) -> None:
    for path in ("/", page, "/nothing"):
        html = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", html)
        assert not re.search(r"\s(style|on\w+)=", html)
        assert not re.search(r'(src|href|action)="(https?:)?//', html)


def test_the_example_is_analysed_with_one_click(client: FlaskClient) -> None:
    assert client.get("/example.png").mimetype == "image/png"
    html = client.post("/analyses/example", follow_redirects=True).text
    assert "drawn example.png" in html


def test_the_list_grows_and_shrinks(
    client: FlaskClient, lesion_png: bytes, store: Store
) -> None:
    pages = [
        client.post("/analyses", **form((f"{n}.png", lesion_png))).location
        for n in range(3)
    ]
    assert client.get("/").text.count('class="analysis"') == 3
    assert client.post(f"{pages[0]}/delete").location == "/"
    assert client.get(pages[0]).status_code == 404
    assert client.get("/").text.count('class="analysis"') == 2
    client.post("/analyses/delete")
    assert "Nothing yet" in client.get("/").text
    assert not list((store.folder / "files").iterdir())


def test_the_operating_point_set_at_the_start_is_chosen(
    classifier: SeriesClassifier, store: Store, lesion_png: bytes
) -> None:
    settings = Settings(operating_point="balanced")
    client = create_app(classifier, store, settings).test_client()
    assert re.search(r'value="balanced" checked', client.get("/").text)
    html = client.post(
        "/analyses", **form(("a.png", lesion_png)), follow_redirects=True
    ).text
    assert "“balanced”" in html
