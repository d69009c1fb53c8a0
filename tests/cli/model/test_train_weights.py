"""A model that starts from another one inherits who shaped it, and says so."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import tumorlens
from tests.cli.model.test_train import SMALL, invoke
from tests.conftest import LESIONS
from tests.samples.heads import draw_person
from tumorlens.cli.model.train import network_of_weights
from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.leakage import Parent, check_held_out
from tumorlens.inference.bundle.bundle import (
    DEFAULT_BUNDLE,
    WEIGHTS_FILE,
    load_bundle,
)
from tumorlens.report.model_card import model_card
from tumorlens.training.config import TrainingConfig
from tumorlens.training.fit import build_first

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="module")
def own_set(tmp_path_factory):
    """Other people than those of `drawn_set`: one of each class in each split."""
    folder = tmp_path_factory.mktemp("own")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "patient", "split"))
        number = 100
        for label in LESIONS:
            for split in ("train", "validation", "test"):
                name, number = f"own-{label}-{split}", number + 1
                cv2.imwrite(str(folder / f"{name}.png"), draw_person(number))
                writer.writerow((f"{name}.png", label, name, split))
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def parent(drawn_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent")
    result = invoke("train", "--data", drawn_set, "--out", folder, *SMALL)
    assert result.exit_code == 0, result.output
    return folder / "bundle", result.output


@pytest.fixture(scope="module")
def child(parent, own_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("child")
    weights = parent[0] / "model.weights.h5"
    result = invoke(
        *("train", "--data", own_set, "--out", folder, *SMALL),
        *("--weights", weights),
    )
    assert result.exit_code == 0, result.output
    return folder, result.output


def held_out(bundle, rows):
    return check_held_out(load_bundle(bundle), rows)


def test_too_few_patients_give_no_rates_and_no_thresholds(parent):
    folder, said = parent
    bundle = load_bundle(folder)
    for point in bundle.operating_points.values():
        assert (point.threshold, point.sensitivity, point.specificity) == (
            0.5,
            None,
            None,
        )
        assert point.measured == {}
    assert set(bundle.prediction_sets.thresholds.values()) == {0.0}
    facts = bundle.provenance["calibrated_on"]
    assert facts["how"] == "nothing"
    assert facts["too_few"] == dict.fromkeys(
        ("glioma", "meningioma", "pituitary", "no_tumor"), 1
    )
    assert "10 of each class are needed" in said
    assert "| not measured | not measured |" in model_card(bundle)


def test_they_are_the_parents_where_there_is_one(parent, child):
    folder, said = child
    bundle, old = load_bundle(folder / "bundle"), load_bundle(parent[0])
    assert bundle.calibration == old.calibration
    assert bundle.operating_points == old.operating_points
    assert bundle.provenance["calibrated_on"]["how"] == "parent"
    assert f"are those of {old.name} {old.version}" in said


def test_who_shaped_the_parent_is_not_held_out_for_the_child(
    parent, child, drawn_set, own_set
):
    bundle = child[0] / "bundle"
    theirs = [row for row in read_manifest(drawn_set) if row.split == "train"]
    disguised = [
        replace(row, patient=f"stranger {place}") for place, row in enumerate(theirs)
    ]
    fresh = [row for row in read_manifest(own_set) if row.split == "test"]
    assert held_out(bundle, fresh)["held_out"], held_out(bundle, fresh)["statement"]
    assert "the one that it started from" in held_out(bundle, fresh)["statement"]
    found = held_out(bundle, [*fresh, *theirs])
    assert not found["held_out"]
    assert found["shared_slices"] == len(theirs)
    found = held_out(bundle, [*fresh, *disguised])
    assert not found["held_out"]
    assert found["copies"] == len(disguised)


def test_measured_rates_are_shown_where_there_were_none(parent, own_set, tmp_path):
    copy = Path(shutil.copytree(parent[0], tmp_path / "bundle"))
    result = invoke(
        *("evaluate", "--data", own_set, "--split", "all"),
        *("--model", copy, "--record", "others"),
    )
    assert result.exit_code == 0, result.output
    bundle = load_bundle(copy)
    assert bundle.metrics["others"]["held_out"]
    rates = bundle.metrics["others"]["operating_points"]["screening"]
    point = bundle.operating_points["screening"]
    assert point.sensitivity is not None
    assert point.sensitivity.value == rates["sensitivity"]["value"]


def test_the_line_is_kept_by_a_run_that_outlives_its_parent(
    parent, child, tmp_path, own_set
):
    folder = tmp_path / "run"
    shutil.copytree(child[0], folder)
    kept = Parent.stored(folder)
    assert kept is not None and kept.bundle is not None
    facts = json.loads((folder / "parent.json").read_text())["facts"]
    assert facts["version"] == load_bundle(parent[0]).version
    result = invoke("export", folder, "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output
    line = load_bundle(tmp_path / "again").provenance["parents"]
    assert [item["version"] for item in line] == [facts["version"]]


def test_of_weights_that_nobody_knows_nothing_is_held_out(parent, own_set, tmp_path):
    weights = tmp_path / "found.weights.h5"
    shutil.copy(parent[0] / "model.weights.h5", weights)
    result = invoke(
        *("train", "--data", own_set, "--out", tmp_path / "run", *SMALL),
        *("--weights", weights),
    )
    assert result.exit_code == 0, result.output
    assert "nobody knows" in result.output
    bundle = tmp_path / "run/bundle"
    fresh = [row for row in read_manifest(own_set) if row.split == "test"]
    found = held_out(bundle, fresh)
    assert not found["held_out"]
    assert "nobody knows whose slices" in found["statement"]
    assert load_bundle(bundle).provenance["calibrated_on"]["how"] == "nothing"
    # It serves: nothing is ruled out, so no kind is named.
    prediction = tumorlens.load_classifier(bundle).predict(fresh[0].path)
    assert len(prediction.decision.prediction_set) == 4


def test_patients_of_the_parent_calibrate_nothing(parent, drawn_set, tmp_path):
    """The parent's own validation: it shaped what is to be judged."""
    result = invoke(
        *("train", "--data", drawn_set, "--out", tmp_path / "run", *SMALL),
        *("--weights", parent[0] / "model.weights.h5"),
    )
    assert result.exit_code == 0, result.output
    assert "8 of 8 slices to calibrate on have shaped the model" in result.output
    facts = load_bundle(tmp_path / "run/bundle").provenance["calibrated_on"]
    assert (facts["how"], facts["patients"]) == ("parent", 0)
    assert facts["too_few"]["glioma"] == 0


def test_a_damaged_note_of_the_parent_is_refused(child, tmp_path):
    folder = Path(shutil.copytree(child[0], tmp_path / "run"))
    (folder / "parent.json").write_text('{"sha256": "1"')
    result = invoke("export", folder, "--out", tmp_path / "again")
    assert result.exit_code != 0
    assert "does not say what the run started from" in result.output


def test_the_weights_that_ship_start_a_run_of_four_classes_and_of_others(
    own_set, tmp_path
):
    weights = DEFAULT_BUNDLE / WEIGHTS_FILE
    chosen = network_of_weights(weights, own_set)
    assert chosen == {"network": "evidence-net-sequences"}
    four = build_first(TrainingConfig(**chosen), weights)
    rows = (f"{own_set.parent / name}.png" for name in ("own-glioma-train",) * 2)
    table = "file,label,tumor\n" + "".join(
        f"{file},{label}\n"
        for file, label in zip(rows, ("cyst,no", "lymphoma,yes"), strict=True)
    )
    (tmp_path / "own.csv").write_text(table)
    assert network_of_weights(weights, tmp_path / "own.csv") == {}
    classes = {"cyst": False, "lymphoma": True}
    own = build_first(TrainingConfig(classes=classes), weights)
    below = [layer for layer in own.layers if layer.name not in ("logits", "evidence")]
    assert sum(bool(layer.get_weights()) for layer in below) > 40
    for layer in below:
        wanted = four.get_layer(layer.name).get_weights()
        for one, two in zip(layer.get_weights(), wanted, strict=True):
            np.testing.assert_array_equal(one, two)


def test_of_weights_that_nobody_knows_no_network_is_chosen(own_set, tmp_path):
    weights = tmp_path / "found.weights.h5"
    weights.write_bytes(b"weights")
    assert network_of_weights(weights, own_set) == {}
