"""From a manifest to a served bundle, by the commands a user types."""

import csv
import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import tumorlens
from tumorlens.cli.main import main
from tumorlens.data.manifest import read_manifest, write_manifest
from tumorlens.evaluation.leakage import check_held_out
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.taxonomy import TumorClass

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SMALL = (
    *("--network", "seed-cnn", "--epochs", "1", "--steps-per-epoch", "2"),
    *("--batch-size", "4", "--size", "64", "--early-size", "32"),
)


@pytest.fixture(scope="module")
def run(drawn_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    result = invoke("train", "--data", drawn_set, "--out", folder / "a", *SMALL)
    assert result.exit_code == 0, result.output
    return folder / "a"


def invoke(*arguments):
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        exit_code = main([str(item) for item in arguments])
    return SimpleNamespace(exit_code=exit_code, output=output.getvalue())


def test_the_bundle_can_be_loaded_and_says_where_it_comes_from(run):
    bundle = load_bundle(run / "bundle")
    assert bundle.name == "seed-cnn"
    assert bundle.provenance["config"]["epochs"] == 1
    assert bundle.provenance["sets"]["train"]["patients"] == 8
    assert "glioma0" in bundle.provenance["patients"]["train"]
    assert bundle.metrics["validation"]["slices"] == 8
    assert bundle.provenance["training"]["seconds"] > 0


def test_the_bundle_knows_the_pictures_that_shaped_it_by_other_names(run, drawn_set):
    bundle = load_bundle(run / "bundle")
    strangers = [
        replace(row, patient=f"stranger {place}")
        for place, row in enumerate(read_manifest(drawn_set))
        if row.split in ("train", "validation")
    ]
    found = check_held_out(bundle, strangers)
    assert found["copies"] == len(strangers)
    assert not found["held_out"]


def test_the_bundle_serves(run, drawn_set):
    picture = next(drawn_set.parent.glob("glioma-0-0.png"))
    prediction = tumorlens.load_classifier(run / "bundle").predict(picture)
    assert sum(prediction.decision.probabilities.values()) == pytest.approx(1.0)


def test_evaluate_prints_intervals_and_writes_json(run, drawn_set, tmp_path):
    out = tmp_path / "figures.json"
    result = invoke(
        *("evaluate", "--data", drawn_set, "--split", "validation"),
        *("--model", run / "bundle", "--json", out),
    )
    assert result.exit_code == 0, result.output
    assert "4-class accuracy" in result.output
    figures = json.loads(out.read_text())[0]
    assert figures["slices"] == 8
    assert figures["accuracy"]["low"] <= figures["accuracy"]["value"]
    assert set(figures["by_source"]) == {"b"}
    assert 0 <= figures["dice_at_half_height"]["value"] <= 1


def test_recorded_figures_travel_with_the_bundle(run, drawn_set, tmp_path):
    copy = tmp_path / "bundle"
    copy.mkdir()
    for file in (run / "bundle").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    result = invoke(
        *("evaluate", "--data", drawn_set, "--split", "validation"),
        *("--model", copy, "--record", "drawn"),
    )
    assert result.exit_code == 0, result.output
    bundle = load_bundle(copy)
    assert bundle.metrics["drawn"]["slices"] == 8
    # Patients who tuned the model give no rates to show; see also
    # `test_measured_rates_are_shown_where_there_were_none`.
    assert bundle.metrics["drawn"]["operating_points"]["screening"]["sensitivity"]
    point = bundle.operating_points["screening"]
    assert point.sensitivity is None
    assert (
        point.threshold
        == load_bundle(run / "bundle").operating_points["screening"].threshold
    )


def test_export_makes_the_same_bundle_from_the_run(run, tmp_path):
    result = invoke("export", run, "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output
    first, second = load_bundle(run / "bundle"), load_bundle(tmp_path / "again")
    assert first.calibration == second.calibration
    assert first.operating_points == second.operating_points
    assert first.provenance["training"] == second.provenance["training"]


def test_a_second_run_in_the_same_folder_needs_resume(run, drawn_set):
    result = invoke("train", "--data", drawn_set, "--out", run, *SMALL)
    assert result.exit_code == 2
    assert "--resume" in result.output


def test_resume_refuses_another_manifest(run, drawn_set):
    with drawn_set.open(newline="") as file:
        rows = list(csv.reader(file))
    other = Path(drawn_set.parent) / "fewer.csv"
    with other.open("w", newline="") as file:
        csv.writer(file).writerows(rows[:-1])
    result = invoke("train", "--data", other, "--out", run, "--resume")
    assert result.exit_code == 2
    assert "fewer.csv" in result.output


def test_resume_takes_no_other_choices(run, drawn_set):
    result = invoke(
        "train", "--data", drawn_set, "--out", run, "--resume", "--epochs", "3"
    )
    assert result.exit_code == 2
    assert "epochs" in result.output


@pytest.mark.parametrize(
    ("option", "value"),
    [("--epochs", "0"), ("--size", "100"), ("--sampling", "x"), ("--network", "y")],
)
def test_a_value_that_cannot_be_is_named(drawn_set, tmp_path, option, value):
    result = invoke("train", "--data", drawn_set, "--out", tmp_path, option, value)
    assert result.exit_code == 2
    assert value in result.output
    assert "Traceback" not in result.output


def written_with(drawn_set, name, **values):
    """Write the drawn set once more, with some columns changed in every row."""
    rows = [replace(row, **values) for row in read_manifest(drawn_set)]
    write_manifest(rows, drawn_set.parent / name)
    return drawn_set.parent / name


def test_nothing_is_validated_on_what_trains_only(drawn_set, tmp_path):
    ends = written_with(drawn_set, "ends.csv", train_only=True)
    result = invoke("train", "--data", ends, "--out", tmp_path / "b", *SMALL)
    assert result.exit_code == 2
    assert "Reading 16 pictures to train on" in result.output
    assert "no row in the split 'validation'" in result.output


def test_a_manifest_without_splits_says_what_to_run(drawn_set, tmp_path):
    bare = written_with(drawn_set, "bare.csv", split="")
    result = invoke("train", "--data", bare, "--out", tmp_path / "b", *SMALL)
    assert result.exit_code == 2
    assert "tumorlens data split" in result.output


def test_a_validation_split_of_one_kind_is_named_before_training(drawn_set, tmp_path):
    rows = [
        replace(row, split="train")
        if row.split == "validation" and row.label is TumorClass.NO_TUMOR
        else row
        for row in read_manifest(drawn_set)
    ]
    path = drawn_set.parent / "tumours.csv"
    write_manifest(rows, path)
    result = invoke("train", "--data", path, "--out", tmp_path / "b", *SMALL)
    assert result.exit_code == 2
    assert "is free of tumour" in result.output
    assert "epoch" not in result.output
