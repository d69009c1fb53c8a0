"""An app serves both kinds of bundle alike, and parts no number from its unit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.samples.series_uploads import finish, judged
from tests.samples.uploads import form
from tests.samples.volume_bundle import build_volume_bundle
from tests.samples.volumes import LESION, draw_head, save_volume
from tumorlens import SeriesClassifier, load_series_classifier
from tumorlens.settings import Settings
from tumorlens.web.app import create_app, unbroken
from tumorlens.web.uploads.store import Store


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> SeriesClassifier:
    folder = build_volume_bundle(tmp_path_factory.mktemp("volumes"))
    return load_series_classifier(folder, threads=1)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("scan") / "head.nii.gz"
    return save_volume(draw_head(LESION), path).read_bytes()


@pytest.fixture
def client(
    volumes: SeriesClassifier, store: Store, settings: Settings
) -> Iterator[FlaskClient]:
    return create_app(volumes, store, settings).test_client()


def test_the_api_gives_what_a_model_of_volumes_says(
    client: FlaskClient, volumes: SeriesClassifier, head: bytes, tmp_path: Path
) -> None:
    response = client.post("/api/v1/scans", **form(("head.nii.gz", head)))
    status = finish(client, str(response.headers["Location"]))
    assert status["state"] == "done"
    assert status["progress"]["fraction"] == 1.0
    links = status["series"][0]["links"]
    finding = client.get(links["finding"]).json
    assert finding is not None
    assert finding["p_tumor"] > 0.9
    assert finding["predicted"] == "glioma"
    assert set(finding["slice_p_tumor"]) == {None}
    assert finding["model_version"] == volumes.bundle.version
    assert client.get(links["evidence"]).status_code == 200


def test_the_page_shows_what_a_model_of_volumes_says(
    client: FlaskClient, head: bytes
) -> None:
    page = judged(client, ("head.nii.gz", head))
    text = client.get(page).text
    assert "Most suspicious spot" in text
    assert "its slices have no probability of their own" in text
    assert "not judged" not in text
    assert client.get(f"{page}/report.pdf").status_code == 200


def test_a_single_picture_is_refused_with_what_to_do(
    client: FlaskClient, lesion_png: bytes
) -> None:
    response = client.post("/api/v1/predictions", **form(("head.png", lesion_png)))
    assert response.status_code == 422
    assert response.json is not None
    assert "whole series, not single pictures" in response.text
    assert "model of slices" in response.text


def test_pictures_sent_as_a_scan_are_refused_with_what_to_do(
    client: FlaskClient, lesion_png: bytes
) -> None:
    response = client.post("/api/v1/scans", **form(("head.png", lesion_png)))
    status = finish(client, str(response.headers["Location"]))
    assert status["state"] == "failed"
    assert "model of slices" in status["error"]["mend"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("of 81, 52 % (41 % to 63 %) were", "of 81, 52~% (41~% to 63~%) were"),
        ("about 38 × 40 × 30 mm (across", "about 38 × 40 × 30~mm (across"),
        ("< 0.1 %", "< 0.1~%"),
        ("in 220 patients, 3 mmHg", "in 220 patients, 3 mmHg"),
    ],
)
def test_a_unit_is_not_parted_from_its_number(text: str, kept: str) -> None:
    assert unbroken(text) == kept.replace("~", "\N{NO-BREAK SPACE}")
