"""An app with a tiny model and a store of its own for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from numpy.typing import NDArray

from tumorlens import SeriesClassifier, load_series_classifier
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# Far above what a step takes, for machines that do other work meanwhile.
PATIENCE_MS = 30_000

Drawn = Callable[..., NDArray[np.uint8]]


def png(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


@pytest.fixture(scope="session")
def classifier(tiny_bundle: Path) -> SeriesClassifier:
    return load_series_classifier(tiny_bundle, threads=1)


@pytest.fixture
def settings() -> Settings:
    return Settings(upload_mb=2, files_per_upload=5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store", 3600, 100 * 2**20)
    yield opened
    opened.close()


@pytest.fixture
def app(classifier: SeriesClassifier, store: Store, settings: Settings) -> Flask:
    return create_app(classifier, store, settings)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="session")
def lesion_png(phantom: Drawn) -> bytes:
    """A head with a bright lesion: glioma, says the tiny model."""
    return png(phantom(lesion=(90, 110, 22)))


@pytest.fixture(scope="session")
def color_png() -> bytes:
    """A colourful picture, which the tiny model refuses."""
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[..., 0] = 200
    picture[..., 2] = np.linspace(0, 255, 300)
    return png(picture)


@pytest.fixture(scope="session")
def bomb_png() -> bytes:
    """A valid PNG of 20,000 x 20,000 pixels in a few kilobytes."""
    picture = np.zeros((20_000, 20_000), np.uint8)
    return cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; skipped where it or Playwright is missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed (extra 'dev')"
    )
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt install chromium)")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, site: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A fresh browser session on the start page; nothing may go elsewhere.

    The module's fixture `site` gives the address. A test can ask for other
    options of the session by parametrizing this.
    """
    options = getattr(request, "param", {})
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    hosts: set[str] = set()
    faults: list[str] = []
    opened.on("request", lambda sent: hosts.add(urlsplit(sent.url).netloc))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.extend(_faults(said)))
    # Heard from the start: a window that opens before anyone listens is lost.
    opened.on("filechooser", lambda _: None)
    opened.goto(site)
    yield opened
    context.close()
    assert hosts == {urlsplit(site).netloc}
    assert faults == []


def _faults(said: Any) -> list[str]:
    # A refused picture is an answer with an error's status, and no fault.
    bad = said.type == "error" and "the server responded with" not in said.text
    return [said.text] if bad else []
