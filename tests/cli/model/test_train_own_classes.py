"""Classes of a user's own go from a manifest to a bundle, its figures and answers."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import tumorlens
from tests.cli.model.test_train import SMALL, invoke
from tests.samples.heads import TINY, draw_person
from tumorlens.data.manifest import read_manifest, write_manifest
from tumorlens.errors import SettingError, TrainingError
from tumorlens.experiments.lineage import Parent
from tumorlens.experiments.packaging import inherited_from
from tumorlens.inference.bundle.bundle import load_bundle, read_document
from tumorlens.training.batches import augmented
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import load_samples
from tumorlens.training.fit import build_first, compile_model, train_step
from tumorlens.training.networks.registry import find_network, network_of

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHIPPED = Path(tumorlens.__file__).parent / "models/evidence-net"
TUMOR = {"metastasis": "yes", "lymphoma": "yes", "abscess": "no"}
NAMES = ["lymphoma", "metastasis", "abscess"]
IS_TUMOR = {name: TUMOR[name] == "yes" for name in NAMES}


@pytest.fixture(scope="module")
def own_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients of each class to validate on, two each to train and test on."""
    folder = tmp_path_factory.mktemp("set")
    with (folder / "set.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "tumor", "patient", "split", "mask"))
        for number in range(42):
            name, turn = list(TUMOR)[number % 3], number // 3
            split = "validation" if turn < 10 else ("train", "test")[turn % 2]
            picture, mask = draw_person(number, 192), ""
            if TUMOR[name] == "yes":
                outline = np.zeros_like(picture)
                cv2.circle(outline, (80, 90), 16, 255, -1)
                picture[outline > 0] = 250 if name == "metastasis" else 20
                mask = f"{number}-mask.png"
                cv2.imwrite(str(folder / mask), outline)
            cv2.imwrite(str(folder / f"{number}.png"), picture)
            row = (f"{number}.png", name, TUMOR[name], f"p{number}", split, mask)
            writer.writerow(row)
    return folder / "set.csv"


@pytest.fixture(scope="module")
def trained(own_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("run") / "run"
    result = invoke("train", "--data", own_set, "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    return out, result.output


def test_the_bundle_has_the_classes_and_says_which_are_tumours(trained: Any) -> None:
    out, said = trained
    assert "Metastasis: 2 pictures of 2 patients to train on, 10 of 10 kept" in said
    document = read_document(out / "bundle")
    assert document["classes"] == NAMES
    assert document["tumor_classes"] == NAMES[:2]
    assert document["provenance"]["config"]["classes"] == IS_TUMOR
    bundle = load_bundle(out / "bundle")
    assert bundle.provenance["calibrated_on"]["how"] == "validation"
    assert len(bundle.calibration.bias) == 3
    point = bundle.operating_points["screening"]
    assert point.sensitivity is not None and 0.0 < point.threshold <= 0.5
    assert bundle.study_model is None


def test_export_makes_the_same_bundle_from_the_run(
    trained: Any, tmp_path: Path
) -> None:
    result = invoke("export", trained[0], "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output
    first, again = load_bundle(trained[0] / "bundle"), load_bundle(tmp_path / "again")
    assert (again.classes, again.calibration) == (first.classes, first.calibration)


def test_evaluate_measures_by_the_classes(
    trained: Any, own_set: Path, tmp_path: Path
) -> None:
    result = invoke(
        *("evaluate", "--data", own_set, "--split", "test"),
        *("--model", trained[0] / "bundle", "--out", tmp_path / "report"),
        *("--json", tmp_path / "figures.json", "--record", "own"),
    )
    assert result.exit_code == 0, result.output
    assert "3-class accuracy" in result.output
    assert "recall, metastasis" in result.output
    assert "held out: no patient here" in result.output
    (figures,) = json.loads((tmp_path / "figures.json").read_text())
    assert figures["slices"] == 6
    assert list(figures["recall"]) == NAMES
    assert np.array(figures["confusion"]).shape == (3, 3)
    assert np.array(figures["confusion"]).sum(axis=1).tolist() == [2, 2, 2]
    page = (tmp_path / "report/report.html").read_text()
    assert "Metastasis" in page and "Glioma" not in page
    assert load_bundle(trained[0] / "bundle").metrics["own"]["slices"] == 6


def test_some_of_the_classes_are_measured_by_all_of_them(
    trained: Any, own_set: Path, tmp_path: Path
) -> None:
    rows = [
        row
        for row in read_manifest(own_set, may_be_own=True)
        if row.label != "lymphoma"
    ]
    path = own_set.parent / "some.csv"
    write_manifest(rows, path)
    result = invoke(
        *("evaluate", "--data", path, "--split", "test"),
        *("--model", trained[0] / "bundle", "--json", tmp_path / "figures.json"),
    )
    assert result.exit_code == 0, result.output
    (figures,) = json.loads((tmp_path / "figures.json").read_text())
    confusion = np.array(figures["confusion"])
    assert confusion.shape == (3, 3)
    assert confusion.sum(axis=1).tolist() == [0, 2, 2]


def test_robustness_and_comparison_are_of_the_classes(
    trained: Any, own_set: Path, tmp_path: Path
) -> None:
    words = ("evaluate", "--data", own_set, "--split", "test")
    bundle = trained[0] / "bundle"
    result = invoke(
        *(*words, "--model", bundle, "--compare", bundle, "--robustness", 6),
        *("--out", tmp_path / "report"),
    )
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "report/metrics.json").read_text())
    damaged = figures["robustness"]
    assert damaged["slices"] == 6
    for strengths in damaged["kinds"].values():
        assert len(strengths["strengths"]) == 5
    # The figures of the clean sample, too, are of the three classes.
    right = np.trace(np.array(figures["confusion"])) / 6
    assert damaged["clean"]["accuracy"]["value"] == pytest.approx(right)
    assert figures["faithfulness"]["slices"] == 2, "one of each kind of tumour"
    (compared,) = figures["comparisons"]
    assert compared["figures"]["3-class accuracy, by slice"]["p"] == 1.0
    assert "Recall, metastasis" in compared["figures"]
    page = (tmp_path / "report/report.html").read_text()
    assert "Metastasis" in page and "Glioma" not in page and "4-class" not in page
    result = invoke(*words, "--model", bundle, "--compare", SHIPPED)
    assert result.exit_code == 2
    assert "Compare models of the same classes" in result.output


def test_the_bundle_answers_for_a_picture(
    trained: Any, own_set: Path, tmp_path: Path
) -> None:
    picture = own_set.parent / "0.png"
    result = invoke(
        *("predict", picture, "--model", trained[0] / "bundle"),
        *("--csv", tmp_path / "out.csv"),
    )
    assert result.exit_code == 0, result.output
    header = (tmp_path / "out.csv").read_text().splitlines()[0]
    assert "predicted,decision,p_lymphoma,p_metastasis,p_abscess,p_tumor" in header


def test_rows_of_other_classes_are_refused(
    trained: Any, own_set: Path, drawn_set: Path, tmp_path: Path
) -> None:
    bundle = trained[0] / "bundle"
    words = ("evaluate", "--split", "all", "--data")
    result = invoke(*words, drawn_set, "--model", bundle)
    assert result.exit_code == 2
    assert "knows lymphoma, metastasis, abscess" in result.output
    result = invoke(*words, own_set)
    assert result.exit_code == 2
    assert "The rows are of the classes lymphoma, metastasis" in result.output
    result = invoke("baseline", "--data", own_set)
    assert result.exit_code == 2
    assert "knows the four classes alone" in result.output


@pytest.mark.parametrize("network", ["cnn3d", "evidence-net-sequences"])
def test_networks_of_other_outputs_are_named(
    network: str, own_set: Path, tmp_path: Path
) -> None:
    result = invoke(
        *("train", "--data", own_set, "--out", tmp_path / "run"),
        *("--network", network),
    )
    assert result.exit_code == 2
    assert f"{network} does not take classes of your own" in result.output


def test_a_class_without_a_slice_to_train_on_is_named(
    own_set: Path, tmp_path: Path
) -> None:
    rows = [
        replace(row, split="validation")
        if row.label == "lymphoma" and row.split == "train"
        else row
        for row in read_manifest(own_set, may_be_own=True)
    ]
    path = own_set.parent / "without.csv"
    write_manifest(rows, path)
    result = invoke("train", "--data", path, "--out", tmp_path / "run", *SMALL)
    assert result.exit_code == 2
    assert "shows no slice of: lymphoma" in result.output


def test_folds_judge_every_patient_by_the_classes(
    own_set: Path, tmp_path: Path
) -> None:
    """Two folds in two processes, to which the classes are sent."""
    rows = [
        replace(row, split="", fold=number // 3 % 2)
        for number, row in enumerate(read_manifest(own_set, may_be_own=True))
    ]
    path = own_set.parent / "folds.csv"
    write_manifest(rows, path)
    result = invoke(
        *("train", "--data", path, "--out", tmp_path / "run", "--folds", "2"),
        *("--jobs", "2", "--robustness", "0", *SMALL),
    )
    assert result.exit_code == 0, result.output
    assert "Abscess: 14 pictures of 14 patients, each judged by" in result.output
    bundle = load_bundle(tmp_path / "run/bundle")
    assert list(bundle.classes) == NAMES
    (figures,) = json.loads((tmp_path / "run/report/figures.json").read_text())
    assert figures["slices"] == 42
    assert list(figures["recall"]) == NAMES


@pytest.mark.parametrize("name", ["seed-cnn", "evidence-net"])
def test_every_output_is_of_the_classes(name: str, own_set: Path) -> None:
    config = replace(TINY, network=name, classes=IS_TUMOR, size=64)
    samples, _ = load_samples(read_manifest(own_set, may_be_own=True)[-6:])
    network = network_of(config)
    model = build_first(config)
    compile_model(model, config)
    grid = 64 // network.evidence_stride
    batch = augmented(samples, 64, grid, (1,), 0.0, network.findings)
    assert batch.labels.shape == (6, 3)
    # Only an abscess is free of tumour, in all of its cells.
    clear = batch.labels[:, 2] == 1.0
    assert (batch.cells[clear][..., 2] == 1.0).all()
    assert (batch.cells[~clear][..., :2].sum(axis=(1, 2, 3)) > 0.0).all()
    assert np.isfinite(train_step(model, batch))
    outputs = model.predict_on_batch(batch.pixels)
    assert outputs["logits"].shape == (6, 3)


def test_weights_of_four_classes_start_a_network_of_others(tmp_path: Path) -> None:
    """Its heads are new, whatever classes the file's are of."""
    four = build_first(TINY)
    four.save_weights(tmp_path / "four.weights.h5")
    own = build_first(
        replace(TINY, classes=IS_TUMOR, seed=7), tmp_path / "four.weights.h5"
    )
    for layer in ("stem", "conv3"):
        np.testing.assert_array_equal(
            own.get_layer(layer).get_weights()[0],
            four.get_layer(layer).get_weights()[0],
        )
    assert own.get_layer("logits").get_weights()[0].shape[1] == 3
    find_network("evidence-net").build(None).save_weights(tmp_path / "no.weights.h5")
    with pytest.raises(TrainingError, match="more than its heads differ"):
        build_first(replace(TINY, classes=IS_TUMOR), tmp_path / "no.weights.h5")


def test_a_bundle_of_other_classes_hands_no_threshold_on(trained: Any) -> None:
    parent = Parent("0", load_bundle(trained[0] / "bundle"))
    config = replace(TINY, classes=IS_TUMOR)
    assert inherited_from(parent, config) is parent.bundle
    for classes in ({}, {**IS_TUMOR, "lymphoma": False}, {**IS_TUMOR, "cyst": False}):
        assert inherited_from(parent, replace(config, classes=classes)) is None
    assert inherited_from(Parent("0", None), config) is None


def test_a_config_keeps_its_classes(tmp_path: Path) -> None:
    config = replace(TINY, classes=IS_TUMOR)
    config.write(tmp_path / "config.json")
    assert TrainingConfig.read(tmp_path / "config.json") == config
    TINY.write(tmp_path / "four.json")
    assert "classes" not in json.loads((tmp_path / "four.json").read_text())
    with pytest.raises(SettingError, match="does not take classes"):
        network_of(replace(config, network="cnn3d"))
