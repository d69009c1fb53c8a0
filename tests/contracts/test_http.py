"""HTTP: every address with its methods, the OpenAPI document, and answers' keys.

The app is the one that `tumorlens serve` hands to its server, so that no module
behind the command is named here.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import waitress
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import encode_multipart

from tests.contracts.conftest import RECORDED, Compare
from tests.contracts.shapes import shape
from tumorlens.cli.main import main

API = "/api/v1"
PROSE = ("description", "summary", "title")
PATIENCE_SECONDS = 120.0
"""Far above what a scan takes, for machines that do other work meanwhile."""


class _Server:
    """Stands where waitress does: gathers what the app says instead of serving it."""

    effective_port = 5000

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._app: Flask | None = None
        self.found: dict[str, Any] = {}

    def take(self, app: Flask, **_: object) -> _Server:
        self._app = app
        return self

    def run(self) -> None:
        assert self._app is not None
        client = self._app.test_client()
        self.found["paths"] = _paths(self._app)
        self.found["openapi"] = client.get(f"{API}/openapi.json").json
        self.found["answers"] = dict(_answers(client, self._files))

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def http(picture: Path, volume: Path) -> dict[str, Any]:
    """Paths, OpenAPI document and answers of the app that is served."""
    files = {"picture": picture.read_bytes(), "scan": volume.read_bytes()}
    server = _Server(files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waitress, "create_server", server.take)
        model = str(RECORDED / "bundle-of-slices")
        words = ("serve", "--no-open", "--model", model, "--threads", "1")
        assert main(list(words)) == 0
    return server.found


def test_addresses_and_methods(http: dict[str, Any], compare: Compare) -> None:
    compare("http-paths", http["paths"])


def test_openapi_document(http: dict[str, Any], compare: Compare) -> None:
    document = http["openapi"]
    # The version is that of the package.
    info = {key: text for key, text in document["info"].items() if key != "version"}
    compare("openapi", _without_prose(document | {"info": info}))


def _without_prose(value: Any) -> Any:
    """Leave out what only people read; fields may have the same names."""
    if isinstance(value, dict):
        return {
            key: _without_prose(item)
            for key, item in value.items()
            if not (key in PROSE and isinstance(item, str))
        }
    return (
        [_without_prose(item) for item in value] if isinstance(value, list) else value
    )


def test_keys_of_answers(http: dict[str, Any], compare: Compare) -> None:
    compare("http-answers", http["answers"])


def _paths(app: Flask) -> dict[str, list[str]]:
    """Say which methods each address takes; names inside angles do not count."""
    found: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        assert rule.methods is not None
        found.setdefault(rule.rule, set()).update(rule.methods - {"HEAD", "OPTIONS"})
    return {path: sorted(methods) for path, methods in found.items()}


def _answers(
    client: FlaskClient, files: dict[str, bytes]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask as programs do; yield what was asked, with status, type and keys."""
    for path in ("/healthz", "/readyz"):
        yield path, _told(client.get(path))
    predictions, scans = f"{API}/predictions", f"{API}/scans"
    judged = _post(client, predictions, ("head.png", files["picture"]))
    yield "a picture", _told(judged)
    links = judged.json["predictions"][0]["links"]
    for name, link in links.items():
        yield f"a picture's {name}", _told(client.get(link))
    both = (("head.png", files["picture"]), ("text.png", b"text"))
    yield "a picture and text", _told(_post(client, predictions, *both))
    yield "text", _told(_post(client, predictions, ("text.png", b"text")))
    yield "nothing", _told(_post(client, predictions))
    point = {"operating_point": "none"}
    wrong = _post(client, predictions, ("head.png", files["picture"]), **point)
    yield "an operating point that is none", _told(wrong)
    yield "a picture removed", _told(client.delete(links["self"]))
    yield "a picture that is gone", _told(client.get(links["self"]))
    yield "an address that is none", _told(client.get(f"{API}/nothing"))
    yield "a method that is none", _told(client.put(predictions))

    accepted = _post(client, scans, ("head.nii.gz", files["scan"]))
    # How far it is by now is anybody's guess.
    yield "a scan", _told(accepted) | {"keys": sorted(accepted.json)}
    status = _finished(client, accepted.headers["Location"])
    yield "a scan's status", _told(status)
    for name, link in status.json["links"].items():
        yield f"a scan's {name}", _told(client.get(link))
    for name, link in status.json["series"][0]["links"].items():
        yield f"a series' {name}", _told(client.get(link))
    broken = _post(client, scans, ("text.nii", b"text"))
    failed = _finished(client, broken.headers["Location"])
    yield "a scan that cannot be read", _told(failed)
    yield "a scan removed", _told(client.delete(accepted.headers["Location"]))


def _post(
    client: FlaskClient, path: str, *files: tuple[str, bytes], **fields: str
) -> Any:
    values: MultiDict[str, Any] = MultiDict(fields)
    for name, data in files:
        values.add("file", FileStorage(io.BytesIO(data), name))
    # Encoded here: the client would leave a temporary file open with large ones.
    boundary, body = encode_multipart(values)
    kind = f"multipart/form-data; boundary={boundary}"
    return client.post(path, data=body, content_type=kind)


def _finished(client: FlaskClient, place: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        answer = client.get(place)
        if answer.json["state"] in {"done", "failed", "stopped"}:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"The scan at {place} is not over.")


def _told(answer: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"status": answer.status_code, "type": answer.mimetype}
    if answer.is_json:
        told["keys"] = shape(answer.json)
    if "Location" in answer.headers:
        told["location"] = True
    return told
