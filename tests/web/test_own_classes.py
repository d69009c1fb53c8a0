"""Page and API with a model of a user's own classes: its names, in its own order."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.cli.analysis.test_own_classes import NAMES, OWN
from tests.conftest import build_tiny_bundle
from tests.samples.series_uploads import (
    dark_nifti,
    finish,
    judged,
    nifti,
    two_series,
)
from tests.samples.uploads import form
from tests.web.conftest import png
from tumorlens import SeriesClassifier, load_series_classifier
from tumorlens.cli.main import main
from tumorlens.data.manifest import class_names, read_manifest
from tumorlens.inference.series.decision import NOT_CALIBRATED
from tumorlens.settings import Settings
from tumorlens.taxonomy import is_tumor
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store

PREDICTIONS, SCANS = "/api/v1/predictions", "/api/v1/scans"


@pytest.fixture(scope="module")
def own_classifier(tmp_path_factory: pytest.TempPathFactory) -> SeriesClassifier:
    folder = tmp_path_factory.mktemp("own")
    build_tiny_bundle(folder, OWN)
    return load_series_classifier(folder, threads=1)


@pytest.fixture
def app(own_classifier: SeriesClassifier, store: Store, settings: Settings) -> Flask:
    return create_app(own_classifier, store, settings)


@pytest.fixture
def sent(client: FlaskClient, lesion_png: bytes, color_png: bytes) -> Any:
    return client.post(PREDICTIONS, **form(("a.png", lesion_png), ("b.png", color_png)))


def test_the_api_answers_in_its_names_and_says_which_are_tumours(sent: Any) -> None:
    one, refused = sent.json["predictions"]
    assert list(one["probabilities"]) == NAMES
    assert sum(one["probabilities"].values()) == pytest.approx(1.0)
    assert one["tumor_classes"] == NAMES[:2]
    assert (one["decision"], one["kinds"]) == ("astro_cytoma", ["astro_cytoma"])
    assert one["headline"] == "Tumour: astro cytoma"
    tumors = [one["probabilities"][name] for name in NAMES[:2]]
    assert one["p_tumor"] == pytest.approx(sum(tumors))
    assert (refused["decision"], refused["probabilities"]) == ("not_brain_mri", None)
    assert set(refused["raw"]["probabilities"]) == set(NAMES)


def test_the_four_classes_of_another_model_stay_out_of_its_description(
    client: FlaskClient, sent: Any
) -> None:
    document = client.get("/api/v1/openapi.json").json
    assert document is not None
    validate(document)
    assert "glioma" not in str(document["components"]["schemas"])
    schema = {
        "$ref": "#/components/schemas/Predictions",
        "components": document["components"],
    }
    checker = Draft202012Validator(schema)
    answer = sent.json
    checker.validate(answer)
    answer["predictions"][0]["decision"] = "glioma"
    assert not checker.is_valid(answer)


def test_a_kept_result_is_given_again_as_it_was(client: FlaskClient, sent: Any) -> None:
    for made in sent.json["predictions"]:
        assert client.get(made["links"]["self"]).json == made
        for kind in ("evidence", "overlay", "report"):
            assert client.get(made["links"][kind]).status_code == 200


def test_the_page_has_its_names_and_a_form_to_mark_it(
    client: FlaskClient, lesion_png: bytes
) -> None:
    start = client.get("/").text
    assert "astro cytoma, lymphoma, abscess and healthy" in start
    assert "meningioma and pituitary tumour" not in start
    made = client.post("/analyses", **form(("a.png", lesion_png)))
    page = client.get(made.headers["Location"]).text
    assert "Tumour: astro cytoma" in page
    assert "verdict-tumor" in page
    for title in ("Astro cytoma", "Lymphoma", "Abscess", "Healthy"):
        assert title in page
    assert "Pituitary" not in page
    assert options(page) == ["", *NAMES]
    # The start page lists it now.
    assert "chip-tumor" in client.get("/").text


def test_the_table_of_all_results_has_its_columns(
    client: FlaskClient, lesion_png: bytes
) -> None:
    client.get("/")
    client.post("/analyses", **form(("a.png", lesion_png)))
    text = client.get("/analyses/all.csv").data.decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert "p_glioma" not in row
    assert sum(float(row[f"p_{name}"]) for name in NAMES) == pytest.approx(1, abs=1e-5)
    assert client.get("/analyses/all.pdf").data[:5] == b"%PDF-"


def test_a_series_is_judged_in_its_names(client: FlaskClient) -> None:
    sent = client.post(SCANS, **form(("head.nii.gz", nifti())))
    assert sent.status_code == 202
    address = sent.json["links"]["self"]
    assert finish(client, address)["state"] == "done"
    found = client.get(f"{address}/series/0").json
    assert found is not None
    assert (found["decision"], found["kinds"]) == ("astro_cytoma", ["astro_cytoma"])
    assert list(found["probabilities"]) == NAMES
    assert found["tumor_classes"] == NAMES[:2]
    assert NOT_CALIBRATED in found["reasons"]
    document = client.get("/api/v1/openapi.json").json
    assert document is not None
    schema = {
        "$ref": "#/components/schemas/ScanFinding",
        "components": document["components"],
    }
    checker = Draft202012Validator(schema)
    checker.validate(found)
    assert not checker.is_valid({**found, "tumor_classes": ["glioma"]})


def test_the_page_of_a_series_has_its_names_and_a_form_to_mark_it(
    client: FlaskClient,
) -> None:
    place = judged(client, ("head.nii.gz", nifti()))
    page = client.get(place).text
    assert "Tumour: astro cytoma" in page
    assert "verdict-tumor" in page
    for title in ("Astro cytoma", "Lymphoma", "Abscess", "Healthy"):
        assert title in page
    assert NOT_CALIBRATED in page.replace("\u00a0", " ")
    assert "Glioma" not in page
    assert options(page) == ["", *NAMES]
    assert client.get(f"{place}/report.pdf").data[:5] == b"%PDF-"
    assert "chip-tumor" in client.get("/").text
    text = client.get("/analyses/all.csv").data.decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["kind"] == "series" and "p_glioma" not in row
    assert sum(float(row[f"p_{name}"]) for name in NAMES) == pytest.approx(1, abs=1e-5)


def test_a_dark_series_has_no_classes_and_breaks_no_page(client: FlaskClient) -> None:
    place = judged(client, ("dark.nii.gz", dark_nifti()))
    assert "Not judged" in client.get(place).text
    assert "tumor_classes" not in client.get(f"{place}/series/0/finding.json").json
    assert client.get("/analyses/all.csv").status_code == 200


def test_all_series_of_an_upload_are_judged_together(client: FlaskClient) -> None:
    place = judged(client, ("both.zip", two_series()))
    found = client.get(f"{place}/study.json").json
    assert found is not None and found["tumor_classes"] == NAMES[:2]
    assert "Tumour: astro cytoma" in found["headline"]


def test_readers_mark_its_results_in_its_names(client: FlaskClient, sent: Any) -> None:
    scan = client.post(SCANS, **form(("head.nii.gz", nifti()))).json["links"]["self"]
    finish(client, scan)
    document = client.get("/api/v1/openapi.json").json
    assert document is not None
    schema = {
        "$ref": "#/components/schemas/Feedback",
        "components": document["components"],
    }
    of_slice = sent.json["predictions"][0]["links"]["self"]
    for result, listed in ((of_slice, of_slice), (f"{scan}/series/0", scan)):
        mark = f"{result}/feedback"
        answer = client.put(mark, json={"correct": True})
        assert answer.status_code == 200
        assert answer.json["finding"] == "astro_cytoma"
        Draft202012Validator(schema).validate(answer.json)
        for finding in ("glioma", "other", "no_tumor"):
            refused = client.put(mark, json={"correct": False, "finding": finding})
            assert refused.status_code == 422
            assert "lymphoma, abscess, healthy" in refused.json["error"]["mend"]
        answer = client.put(mark, json={"correct": False, "finding": "abscess"})
        assert answer.json["finding"] == "abscess"
        shown = client.get(listed).json
        assert shown is not None
        assert shown.get("series", [shown])[0]["feedback"] == answer.json


def test_a_refused_series_can_be_marked_in_its_names(client: FlaskClient) -> None:
    scan = client.post(SCANS, **form(("dark.nii.gz", dark_nifti()))).json["links"]
    finish(client, scan["self"])
    mark = f"{scan['self']}/series/0/feedback"
    answer = client.put(mark, json={"correct": False, "finding": "lymphoma"})
    assert answer.json["finding"] == "lymphoma"
    assert client.put(mark, json={"correct": True}).json["finding"] is None


def test_marks_are_handed_on_as_a_manifest_in_its_names(
    client: FlaskClient, store: Store, sent: Any, color_png: bytes, tmp_path: Path
) -> None:
    address = sent.json["predictions"][0]["links"]["self"]
    client.put(f"{address}/feedback", json={"correct": False, "finding": "abscess"})
    again = client.post(PREDICTIONS, **form(("c.png", color_png)))
    address = again.json["predictions"][0]["links"]["self"]
    client.put(f"{address}/feedback", json={"correct": False, "finding": "lymphoma"})
    folder = str(store.folder)
    out = tmp_path / "marked"
    assert main(["data", "from-feedback", "--store", folder, "--out", str(out)]) == 0
    records = read_manifest(out / "feedback.csv", may_be_own=True)
    assert [record.label for record in records] == ["abscess", "lymphoma"]
    assert [is_tumor(name) for name in class_names(records)] == [True, False]


def test_no_tumour_is_a_decision_of_its_description(client: FlaskClient) -> None:
    dark = png(np.full((256, 256), 60, np.uint8))
    sent = client.post(PREDICTIONS, **form(("d.png", dark))).json
    assert sent["predictions"][0]["decision"] == "no_tumor"
    document = client.get("/api/v1/openapi.json").json
    assert document is not None
    schema = {
        "$ref": "#/components/schemas/Predictions",
        "components": document["components"],
    }
    Draft202012Validator(schema).validate(sent)


def options(page: str) -> list[str]:
    """List what a page offers a reader to say that a result shows."""
    choice = page.split('id="true-finding"')[1].split("</select>")[0]
    return re.findall(r'<option value="([^"]*)"', choice)
