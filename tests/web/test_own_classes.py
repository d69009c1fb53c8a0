"""Page and API with a model of a user's own classes: its names, in its own order."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.cli.analysis.test_predict_own_classes import NAMES, OWN
from tests.conftest import build_tiny_bundle
from tests.samples.series_uploads import nifti
from tests.samples.uploads import form
from tumorlens import SeriesClassifier, load_series_classifier
from tumorlens.errors import BundleError
from tumorlens.imaging.read import read
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store

PREDICTIONS, SCANS = "/api/v1/predictions", "/api/v1/scans"


@pytest.fixture(scope="module")
def own_classifier(tmp_path_factory: pytest.TempPathFactory) -> SeriesClassifier:
    folder = tmp_path_factory.mktemp("own")
    build_tiny_bundle(folder, OWN)
    return load_series_classifier(folder, threads=1, own_classes=True)


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


def test_the_page_has_its_names_and_no_form_to_mark_it(
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
    assert "Is this right?" not in page
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


def test_what_it_cannot_do_is_refused_with_a_reason(
    client: FlaskClient, sent: Any, own_classifier: SeriesClassifier, tmp_path: Path
) -> None:
    answer = client.post(SCANS, **form(("head.nii.gz", nifti())))
    assert answer.status_code == 422
    assert "judges no series" in answer.json["error"]["message"]
    assert client.post("/examples/healthy-series").status_code == 422
    mark = f"{sent.json['predictions'][0]['links']['self']}/feedback"
    answer = client.put(mark, json={"correct": True})
    assert answer.status_code == 422
    assert "cannot be marked" in answer.json["error"]["message"]
    path = tmp_path / "head.nii.gz"
    path.write_bytes(nifti())
    with pytest.raises(BundleError, match="classes of its own"):
        own_classifier.predict(read(path).series[0])
