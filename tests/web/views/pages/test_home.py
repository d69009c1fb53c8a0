"""The start page says what happens to the data, and lists what was analysed."""

from __future__ import annotations

import csv
import io
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pypdf import PdfReader

from tests.samples.uploads import form, text_of
from tumorlens import SeriesClassifier, load_series_classifier
from tumorlens.inference.bundle.bundle import LICENCE_FILE
from tumorlens.inference.bundle.facts import MeasuredShare
from tumorlens.report.slice.document import CSV_COLUMNS, RESEARCH_USE
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.app_state import state_of
from tumorlens.web.uploads.store import Store
from tumorlens.web.views.examples import EXAMPLES, FOLDER, examples_note
from tumorlens.web.views.presentation import measured_rates


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


def test_what_the_weights_rest_on_is_a_click_away_where_it_is_stated(
    client: FlaskClient, store: Store, tiny_bundle: Path, tmp_path: Path
) -> None:
    assert "/weights-licence" not in client.get("/").text
    assert client.get("/weights-licence").status_code == 404
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    (folder / LICENCE_FILE).write_text("They rest on drawings.", encoding="utf-8")
    classifier = load_series_classifier(folder, threads=1)
    stated = create_app(classifier, store, Settings()).test_client()
    assert 'href="/weights-licence"' in stated.get("/").text
    assert stated.get("/weights-licence").text == "They rest on drawings."
    description = stated.get("/api/v1/openapi.json").json["info"]["description"]
    assert "/weights-licence" in description


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


PICTURES = [name for name, item in EXAMPLES.items() if not item.is_series]


@pytest.mark.parametrize("name", PICTURES)
def test_an_example_is_judged_with_one_click_and_its_page_says_what_is_known(
    client: FlaskClient, name: str
) -> None:
    example = EXAMPLES[name]
    response = client.post(f"/examples/{name}", follow_redirects=True)
    assert response.status_code == 200
    text = text_of(response.text)
    assert example.sent_as in text
    assert example.known in text
    assert example.source.license in text
    assert "helped to train" not in text


def test_the_series_example_is_judged_like_any_scan(
    client: FlaskClient, store: Store
) -> None:
    page = client.post("/examples/healthy-series").location
    waited = time.monotonic() + 60
    while client.get(f"{page}/status").json["state"] != "done":  # type: ignore[index]
        assert time.monotonic() < waited
        time.sleep(0.05)
    text = text_of(client.get(page).text)
    assert "32 slices" in text
    assert EXAMPLES["healthy-series"].known in text


def test_there_is_no_other_example(client: FlaskClient) -> None:
    assert client.post("/examples/../app").status_code == 404
    assert client.post("/examples/photo").status_code == 404


def test_every_example_is_small_and_its_source_stands_beside_it() -> None:
    sources = (FOLDER / "SOURCES.md").read_text()
    files = {path.name for path in FOLDER.iterdir()} - {"SOURCES.md"}
    assert files == {item.file for item in EXAMPLES.values()} | {
        item.picture for item in EXAMPLES.values()
    }
    for name in files:
        assert f"`{name}`" in sources
    assert sum((FOLDER / name).stat().st_size for name in files) < 2**20


def test_examples_that_trained_the_model_say_that_they_prove_nothing() -> None:
    everyone = {"patients": {"train": [item.patient for item in EXAMPLES.values()]}}
    one = {"patients": {"train": [], "validation": [EXAMPLES["glioma"].patient]}}
    assert "All of these people helped to train" in examples_note(everyone)
    assert "1 of these people helped to train" in examples_note(one)
    assert "None of these people" in examples_note({})
    assert EXAMPLES["glioma"].has_trained(one)
    assert not EXAMPLES["pituitary"].has_trained(one)


def test_the_list_grows_and_shrinks(client: FlaskClient, lesion_png: bytes) -> None:
    pages = [
        client.post("/analyses", **form((f"{n}.png", lesion_png))).location
        for n in range(3)
    ]
    assert client.get("/").text.count('class="analysis"') == 3
    assert client.post(f"{pages[0]}/delete").location == "/"
    assert client.get(pages[0]).status_code == 404
    assert client.get("/").text.count('class="analysis"') == 2


def test_all_that_was_deleted_can_be_brought_back_at_once(
    client: FlaskClient, lesion_png: bytes
) -> None:
    pages = [
        client.post("/analyses", **form((f"{n}.png", lesion_png))).location
        for n in range(2)
    ]
    assert "Delete 2 results and their pictures?" in text_of(client.get("/").text)
    assert client.post("/analyses/delete").status_code == 303
    html = client.get("/").text
    assert "Nothing yet" in html
    assert "2 results deleted." in html
    assert client.get(pages[0]).status_code == 404
    assert client.post("/analyses/undo").status_code == 303
    assert client.get("/").text.count('class="analysis"') == 2
    assert client.get(pages[0]).status_code == 200
    assert client.post("/analyses/undo").status_code == 404


def test_nobody_brings_back_what_another_deleted(
    app: Flask, client: FlaskClient, lesion_png: bytes
) -> None:
    client.post("/analyses", **form(("a.png", lesion_png)))
    client.post("/analyses/delete")
    stranger = app.test_client()
    assert "deleted." not in stranger.get("/").text
    assert stranger.post("/analyses/undo").status_code == 404
    assert "Nothing yet" in client.get("/").text


def test_results_of_one_name_are_told_apart_and_copies_named(
    client: FlaskClient, lesion_png: bytes, color_png: bytes
) -> None:
    for data in (lesion_png, color_png, lesion_png):
        client.post("/analyses", **form(("1.png", data)))
    client.post("/analyses", **form(("a/1.png", color_png)))
    text = text_of(client.get("/").text)
    for name in ("1.png", "1.png (2)", "1.png (3)", "a/1.png"):
        assert f" {name} " in text
    assert text.count("same as") == 2
    assert "1.png (3) Tumour: glioma any tumour:" in text
    assert "same as 1.png Delete" in text
    assert "same as 1.png (2) Delete" in text


def test_the_table_of_all_has_a_row_a_result(
    client: FlaskClient, lesion_png: bytes, color_png: bytes
) -> None:
    client.post("/analyses", **form(("1.png", lesion_png)))
    client.post("/analyses", **form(("1.png", color_png)))
    response = client.get("/analyses/all.csv")
    assert "tumorlens.csv" in response.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(response.data.decode("utf-8-sig"))))
    assert [row["name"] for row in rows] == ["1.png", "1.png (2)"]
    assert [row["decision"] for row in rows] == ["glioma", "not_brain_mri"]
    assert float(rows[0]["p_tumor"]) > 0.5
    assert set(CSV_COLUMNS) < set(rows[0])


def test_one_pdf_holds_all_reports(
    client: FlaskClient, lesion_png: bytes, color_png: bytes
) -> None:
    assert client.get("/analyses/all.pdf").status_code == 404
    client.post("/analyses", **form(("a.png", lesion_png)))
    client.post("/analyses", **form(("b.png", color_png)))
    reader = PdfReader(io.BytesIO(client.get("/analyses/all.pdf").data))
    pages = [page.extract_text() for page in reader.pages]
    assert len(pages) == 3
    assert "2 results" in pages[0]
    assert "a.png" in pages[1]
    assert "b.png" in pages[2]


def test_the_same_scanners_figures_come_before_those_of_all_sets(
    tiny_bundle: Path,
) -> None:
    bundle = load_series_classifier(tiny_bundle, threads=1).bundle
    assert [rate.where for rate in measured_rates(bundle, "screening")] == ["All sets"]
    figures = {
        "model": {"operating_point": "screening"},
        "source_kinds": {
            "both": {
                "tumor_sensitivity": {"value": 0.9},
                "tumor_specificity": {"value": 0.5},
            }
        },
    }
    measured = replace(bundle, metrics={"cross_validation": figures})
    same, pooled = measured_rates(measured, "screening")
    assert same.where == "Same scanners"
    assert same.sentence == (
        "finds 90.0 % of tumour slices, calls 50.0 % of the others free of tumour"
    )
    assert pooled.where == "All sets"
    assert len(measured_rates(measured, "balanced")) == 1
    point = bundle.operating_points["screening"]
    share = MeasuredShare(0.5, 0.4, 0.6, slices=100, patients=10)
    groups = {"healthy_strangers": share, "same_scanner": share, "faint_lesions": share}
    grouped = replace(point, measured={"all": groups})
    measured = replace(bundle, operating_points={"screening": grouped})
    assert [
        (rate.where, rate.sentence) for rate in measured_rates(measured, "screening")
    ] == [
        ("Same scanner", "50.0 % called free of tumour"),
        ("Healthy strangers", "50.0 % called free of tumour"),
        ("Faint lesions", "50.0 % found"),
    ]


def test_rates_of_a_threshold_above_one_half_are_not_shown_without_a_word(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "a slice is not called free of tumour either, so that fewer are"
    points = state_of(app).bundle.operating_points
    for name, point in points.items():
        monkeypatch.setitem(points, name, replace(point, threshold=0.5))
    assert said not in text_of(client.get("/").text)
    high = replace(points["balanced"], threshold=0.569)
    monkeypatch.setitem(points, "balanced", high)
    assert f"from 56.9 % on; below it, from 50.0 % on, {said}" in text_of(
        client.get("/").text
    ).replace("\N{NO-BREAK SPACE}", " ")
    unknown = replace(high, sensitivity=None, specificity=None, measured={})
    monkeypatch.setitem(points, "balanced", unknown)
    assert said not in text_of(client.get("/").text)


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
