"""The OpenAPI document is valid, names every route, and every answer is as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import BaseModel, ValidationError

from tests.samples.series_uploads import dark_nifti, finish, nifti, packed
from tests.samples.uploads import form
from tumorlens import SeriesClassifier
from tumorlens.imaging.limits import MAX_ENTRIES
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.openapi import models
from tumorlens.web.uploads.store import Store

PREDICTIONS, SCANS = "/api/v1/predictions", "/api/v1/scans"


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    found = client.get("/api/v1/openapi.json").json
    assert isinstance(found, dict)
    return found


@pytest.fixture
def answers(
    client: FlaskClient, lesion_png: bytes, color_png: bytes
) -> list[tuple[str, str, Any]]:
    """Path, method and answer of whatever the API answers in JSON."""
    pictures = [("a.png", lesion_png), ("b.png", color_png), ("c.png", b"no")]
    found = []
    for sent in (pictures, pictures[2:], []):
        found.append((PREDICTIONS, "post", client.post(PREDICTIONS, **form(*sent))))
    made = found[0][2].json["predictions"][0]["links"]["self"]
    one, series = f"{SCANS}/{{id}}", f"{SCANS}/{{id}}/series/{{index}}"
    found += [
        (f"{PREDICTIONS}/{{id}}", "get", client.get(made)),
        (f"{PREDICTIONS}/{{id}}", "get", client.get(f"{PREDICTIONS}/x")),
        (SCANS, "post", client.post(SCANS)),
        (one, "get", client.get(f"{SCANS}/x")),
        ("/healthz", "get", client.get("/healthz")),
        ("/readyz", "get", client.get("/readyz")),
    ]
    for name, data in (
        ("a.nii.gz", nifti()),
        ("b.zip", packed(("a.png", lesion_png))),
        ("c.zip", b"PK\3\4"),
        ("d.nii.gz", dark_nifti()),
    ):
        begun = client.post(SCANS, **form((name, data)))
        place = begun.headers["Location"]
        finish(client, place)
        status = client.get(place)
        found += [(SCANS, "post", begun), (one, "get", status)]
        for item in status.json["series"]:
            found.append((series, "get", client.get(item["links"]["finding"])))
    return found


def test_it_is_valid_and_names_every_route(
    document: dict[str, Any], app: Flask
) -> None:
    validate(document)
    told = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    real = {
        (re.sub(r"<(?:\w+:)?(?:\w+_)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("api.", "health."))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert told == real


def test_answers_are_as_it_says(
    document: dict[str, Any], answers: list[tuple[str, str, Any]]
) -> None:
    for path, method, answer in answers:
        responses = document["paths"][path][method]["responses"]
        told = responses[str(answer.status_code)]["content"]["application/json"]
        schema = {**told["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(answer.json)


def test_answers_have_the_fields_of_their_types_and_no_others(
    document: dict[str, Any], answers: list[tuple[str, str, Any]]
) -> None:
    seen = set()
    for path, method, answer in answers:
        responses = document["paths"][path][method]["responses"]
        told = responses[str(answer.status_code)]["content"]["application/json"]
        schema = told["schema"]
        names = [
            item["$ref"].rsplit("/", 1)[1] for item in schema.get("oneOf", [schema])
        ]
        seen.add(next(name for name in names if _fits(name, answer.data)))
    assert seen == {
        "Health",
        "Prediction",
        "Predictions",
        "Problem",
        "Scan",
        "ScanFinding",
    }


def _fits(name: str, data: bytes) -> bool:
    model: type[BaseModel] = getattr(models, name)
    try:
        # Beside its state, a server that is ready names its model.
        extra = "allow" if name == "Health" else "forbid"
        model.model_validate_json(data, strict=True, extra=extra)
    except ValidationError:
        return False
    return True


def test_limits_and_operating_points_are_those_of_the_server(
    document: dict[str, Any], classifier: SeriesClassifier, store: Store
) -> None:
    def form_of(whole: dict[str, Any], path: str) -> dict[str, Any]:
        body = whole["paths"][path]["post"]["requestBody"]["content"]
        properties: dict[str, Any] = body["multipart/form-data"]["schema"]["properties"]
        return properties

    assert form_of(document, PREDICTIONS)["file"]["maxItems"] == 5
    assert form_of(document, SCANS)["file"]["maxItems"] == MAX_ENTRIES
    assert "At most 2 MB" in document["paths"][PREDICTIONS]["post"]["description"]
    point = form_of(document, SCANS)["operating_point"]
    assert point["enum"] == ["screening", "balanced"]
    assert point["default"] == "screening"
    settings = Settings(operating_point="balanced", scan_mb=7)
    other = create_app(classifier, store, settings).test_client()
    whole = other.get("/api/v1/openapi.json").json
    assert whole is not None
    assert form_of(whole, SCANS)["operating_point"]["default"] == "balanced"
    assert "At most 7 MB" in whole["paths"][SCANS]["post"]["description"]


def test_a_server_that_starts_does_not_load_pydantic() -> None:
    code = "import sys, tumorlens.web.app; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
