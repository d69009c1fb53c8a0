"""`train --clinical` and `predict --clinical`, as people run them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import build_tiny_bundle
from tests.samples.clinical import (
    OWN,
    OWN_LABELS,
    SECRET,
    draw_patients,
    drop_column,
    relabel,
)
from tumorlens.cli.main import main
from tumorlens.data.manifest import read_manifest, write_manifest
from tumorlens.inference.bundle.bundle import CLINICAL_FILE, load_bundle
from tumorlens.inference.clinical import load_clinical_model
from tumorlens.report.slice.document import RESEARCH_USE, prediction_from_json

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def invoke(*arguments):
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        exit_code = main([str(item) for item in arguments])
    return SimpleNamespace(
        exit_code=exit_code, output=output.getvalue(), errors=errors.getvalue()
    )


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    return draw_patients(tmp_path_factory.mktemp("patients")).parent


@pytest.fixture(scope="module")
def table(patients):
    return drop_column(patients / "table.csv", "copy")


@pytest.fixture(scope="module")
def trained(patients, table, tiny_bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "run"
    result = invoke(
        *("train", "--data", patients / "manifest.csv", "--clinical", table),
        *("--model", tiny_bundle, "--out", out, "--permutations", "2"),
    )
    assert result.exit_code == 0, result.output + result.errors
    return SimpleNamespace(folder=out, output=result.output)


def report_of(trained):
    return json.loads((trained.folder / "clinical" / "metrics.json").read_text())


def test_age_is_found_to_add_what_the_image_cannot_see(trained):
    report = report_of(trained)
    difference = report["by_patient"]["Log loss"]["difference"]
    assert difference["high"] < 0.0
    assert report["by_patient"]["4-class accuracy"]["difference"]["value"] > 0.0
    weights = report["model_weights"]
    age = weights["weights"][weights["features"].index("age")]
    assert age[weights["classes"].index("meningioma")] == max(age)
    assert report["patients"] == 21
    assert report["classes"]["glioma"] == {"patients": 7, "without_row": 1}
    assert report["research_use_only"] == RESEARCH_USE
    assert set(report["subgroups"]) == {"age", "sex"}


def test_what_is_left_out_is_said(trained):
    for name in ("name", "birth_date", "scanner"):
        assert f"The column '{name}' is left out" in trained.output
    assert "Difference" in trained.output
    assert RESEARCH_USE in trained.output
    assert [column["name"] for column in report_of(trained)["columns"]] == [
        *("age", "sex", "noise"),
    ]


def test_the_page_stands_alone(trained):
    page = (trained.folder / "clinical" / "report.html").read_text()
    assert "What the columns add" in page
    assert "By sex" in page
    assert "http://" not in page and "https://" not in page


def test_a_copy_of_the_diagnosis_is_warned_about(patients, tiny_bundle, tmp_path):
    result = invoke(
        *("train", "--data", patients / "manifest.csv", "--model", tiny_bundle),
        *("--clinical", patients / "table.csv", "--out", tmp_path / "run"),
        *("--permutations", "0"),
    )
    assert result.exit_code == 0, result.output + result.errors
    assert "Warning: The column 'copy' alone tells" in result.output
    assert "see the warnings" in result.output


def test_the_bundle_keeps_the_model_as_plain_numbers(trained, tiny_bundle):
    bundle = load_bundle(trained.folder / "bundle")
    model = load_clinical_model(bundle)
    assert [column.name for column in model.columns] == ["age", "sex", "noise"]
    before = load_bundle(tiny_bundle)
    assert bundle.files["model.onnx"] == before.files["model.onnx"]
    assert CLINICAL_FILE not in before.files, "the bundle built on stays as it was"


def predict(trained, table, out, *paths):
    return invoke(
        *("predict", *paths, "--model", trained.folder / "bundle", "--threads", "1"),
        *("--clinical", table, "--json", out),
    )


def test_predict_counts_the_columns_and_says_what_stood_without(
    trained, patients, table, tmp_path
):
    out = tmp_path / "out.json"
    result = predict(trained, table, out, patients)
    assert result.exit_code == 0, result.errors
    assert "3 of 24 slices have no row in" in result.errors
    documents = {
        item["file"].split("/")[-2]: item for item in json.loads(out.read_text())
    }
    right = alone = 0
    for patient, item in documents.items():
        if item["clinical"]["used"]:
            label = patient.rstrip("0123456789")
            right += item["predicted"] == label
            probabilities = item["clinical"]["by_image_alone"]["probabilities"]
            alone += max(probabilities, key=probabilities.get) == label
    assert right > alone
    unknown = documents["glioma7"]["clinical"]
    assert unknown["used"] == []
    assert unknown["missing"] == ["age", "sex", "noise"]
    assert (
        unknown["by_image_alone"]["probabilities"]
        == documents["glioma7"]["probabilities"]
    )
    assert documents["glioma3"]["clinical"]["missing"] == ["age"]


def test_classes_of_a_user_s_own_learn_columns_and_are_served_with_them(
    patients, table, tmp_path
):
    (tmp_path / "own").mkdir()
    build_tiny_bundle(tmp_path / "own", OWN)
    manifest = relabel(patients / "manifest.csv")
    result = invoke(
        *("train", "--data", manifest, "--clinical", table, "--permutations", "0"),
        *("--model", tmp_path / "own", "--out", tmp_path / "run"),
    )
    assert result.exit_code == 0, result.output + result.errors
    report = json.loads((tmp_path / "run/clinical/metrics.json").read_text())
    assert report["by_patient"]["Log loss"]["difference"]["high"] < 0.0
    weights = report["model_weights"]
    assert weights["classes"] == ["astro", "meningeal", "healthy"]
    age = weights["weights"][weights["features"].index("age")]
    assert age[1] == max(age)
    page = (tmp_path / "run/clinical/report.html").read_text()
    assert "meningeal" in page and "lioma" not in page
    run = SimpleNamespace(folder=tmp_path / "run")
    assert predict(run, table, tmp_path / "out.json", patients).exit_code == 0
    documents = json.loads((tmp_path / "out.json").read_text())
    right = alone = 0
    nothing = np.zeros((8, 8), np.float32)
    for item in documents:
        assert list(item["probabilities"]) == list(OWN)
        label = OWN_LABELS[item["file"].split("/")[-2].rstrip("0123456789")]
        image = item["clinical"]["by_image_alone"]
        probabilities = image["probabilities"]
        assert list(probabilities) == list(OWN)
        tumors = probabilities["astro"] + probabilities["meningeal"]
        assert image["p_tumor"] == pytest.approx(tumors, abs=1e-6)
        alone += max(probabilities, key=probabilities.get) == label
        right += item["predicted"] == label
        use = prediction_from_json(item, nothing, nothing, nothing).clinical
        assert use.probabilities == probabilities
        assert use.label == image["decision"]
    assert right > alone


def test_no_value_of_anybody_is_written_anywhere(trained, patients, table, tmp_path):
    out = tmp_path / "out.json"
    result = predict(trained, table, out, patients)
    written = [trained.output, result.output, result.errors, out.read_text()]
    written += [
        path.read_text()
        for path in trained.folder.rglob("*")
        if path.suffix in (".json", ".html")
    ]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = {row["age"] for row in rows} | {row["noise"] for row in rows} - {"NA"}
    for value in (SECRET, "1950-01", *(values - {"NA"})):
        assert not any(value in text for text in written)


def test_a_category_never_seen_and_a_column_that_is_not_there(
    trained, patients, tmp_path
):
    table, out = tmp_path / "t.csv", tmp_path / "out.json"
    table.write_text(f"file,sex,age\n{patients / 'glioma0'},other,700\n")
    assert predict(trained, table, out, patients / "glioma0").exit_code == 0
    use = json.loads(out.read_text())[0]["clinical"]
    assert use["used"] == use["outside"] == ["age"]
    assert use["unknown"] == ["sex"]
    assert use["missing"] == ["noise"]


def test_predict_without_a_table_is_as_before(trained, patients, tmp_path):
    out = tmp_path / "out.json"
    result = invoke(
        *("predict", patients / "glioma0", "--model", trained.folder / "bundle"),
        *("--json", out),
    )
    assert result.exit_code == 0
    assert "clinical" not in json.loads(out.read_text())[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient,age\nglioma0,50\n", "column 'file'"),
        ("file,weight\nglioma0,50\n", "none of the model's clinical columns"),
        ("file,age\nglioma0,50\nglioma1,old\n", "line 3"),
        ("file;age\nglioma0;50\n", "no column 'patient' or 'file'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_at_once(
    trained, patients, tmp_path, text, words
):
    table = tmp_path / "t.csv"
    table.write_text(text)
    result = predict(trained, table, tmp_path / "out.json", patients)
    assert result.exit_code == 2
    assert words in result.errors
    assert "Traceback" not in result.errors
    assert not (tmp_path / "out.json").exists()


def test_a_bundle_without_columns_says_what_to_run(patients, table, tiny_bundle):
    result = invoke(*("predict", patients, "--model", tiny_bundle, "--clinical", table))
    assert result.exit_code == 2
    assert "train --clinical" in result.errors


@pytest.mark.parametrize(
    "options",
    [
        ("--model", "BUNDLE"),
        ("--permutations", "3"),
        ("--clinical", "TABLE", "--model", "BUNDLE", "--epochs", "3"),
        ("--clinical", "TABLE", "--model", "BUNDLE", "--resume"),
        ("--clinical", "TABLE", "--folds", "2", "--fold", "0"),
    ],
)
def test_options_that_do_not_go_together(
    patients, table, tiny_bundle, tmp_path, options
):
    named = {"BUNDLE": tiny_bundle, "TABLE": table}
    result = invoke(
        *("train", "--data", patients / "manifest.csv", "--out", tmp_path / "x"),
        *(named.get(item, item) for item in options),
    )
    assert result.exit_code == 2
    assert "--clinical" in result.errors


def test_serving_columns_needs_no_training_library(trained, patients, table, tmp_path):
    code = (
        "import sys; from tumorlens.cli.main import main; "
        "status = main(sys.argv[1:]); "
        "assert not {'sklearn', 'scipy', 'keras', 'tensorflow'} & set(sys.modules); "
        "sys.exit(status)"
    )
    arguments = ("predict", patients / "glioma0", "--clinical", table)
    arguments += ("--model", trained.folder / "bundle", "--json", tmp_path / "o.json")
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def test_a_network_is_trained_and_learns_the_columns_after(
    patients, table, drawn_set, tmp_path
):
    rows = [row for row in read_manifest(drawn_set) if row.split == "train"]
    rows += [
        row
        for row in read_manifest(patients / "manifest.csv")
        if row.patient[-1] in "2345678"
    ]
    write_manifest(rows, tmp_path / "all.csv")
    result = invoke(
        *("train", "--data", tmp_path / "all.csv", "--out", tmp_path / "run"),
        *("--network", "seed-cnn", "--epochs", "1", "--steps-per-epoch", "2"),
        *("--batch-size", "4", "--size", "64", "--early-size", "32"),
        *("--clinical", table, "--permutations", "1"),
    )
    assert result.exit_code == 0, result.output + result.errors
    assert load_clinical_model(load_bundle(tmp_path / "run" / "bundle")).columns
    report = json.loads((tmp_path / "run" / "clinical" / "metrics.json").read_text())
    assert report["patients"] == 15
    assert "NOT held out" in report["image_side"], "they set the calibration"


def test_after_a_cross_validation_everybody_is_held_out(
    patients, table, drawn_set, tmp_path
):
    rows = [
        replace(row, split="", fold=int(row.patient[-1]) % 2)
        for manifest in (drawn_set, patients / "manifest.csv")
        for row in read_manifest(manifest)
        # Both sets have patients of these names.
        if manifest != drawn_set or row.label == "pituitary"
    ]
    write_manifest(rows, tmp_path / "all.csv")
    result = invoke(
        *("train", "--data", tmp_path / "all.csv", "--out", tmp_path / "run"),
        *("--folds", "2", "--network", "seed-cnn", "--epochs", "1"),
        *("--steps-per-epoch", "2", "--batch-size", "4", "--size", "64"),
        *("--early-size", "32", "--clinical", table, "--permutations", "0"),
    )
    assert result.exit_code == 0, result.output + result.errors
    assert load_clinical_model(load_bundle(tmp_path / "run" / "bundle")).columns
    report = json.loads((tmp_path / "run" / "clinical" / "metrics.json").read_text())
    assert report["patients"] == 21
    assert "trained without them" in report["image_side"]
