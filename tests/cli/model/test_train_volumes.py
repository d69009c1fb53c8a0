"""From a manifest of whole scans to a served bundle, by the commands a user types."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.samples.volumes import draw_set
from tumorlens.cli.main import main
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.taxonomy import TumorClass
from tumorlens.training.config import TrainingConfig

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SMALL = (
    *("--network", "cnn3d", "--epochs", "1", "--steps-per-epoch", "3"),
    *("--batch-size", "2", "--size", "32"),
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return draw_set(tmp_path_factory.mktemp("scans"), 10)


@pytest.fixture(scope="module")
def run(manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "3d"
    assert go("train", "--data", manifest, "--out", folder, *SMALL) == 0
    return folder


def go(*arguments: object) -> int:
    return main([str(item) for item in arguments])


def test_the_bundle_says_that_it_judges_scans(run):
    bundle = load_bundle(run / "bundle")
    assert (bundle.name, bundle.judges) == ("cnn3d", "volumes")
    assert bundle.preprocessing.size == 32
    assert "glioma0" in bundle.provenance["patients"]["train"]
    # No scan of a meningioma: it can never be ruled out.
    assert bundle.prediction_sets.thresholds[TumorClass.MENINGIOMA] == 0.0
    assert bundle.rules.min_brain_share is None


def test_the_network_keeps_its_own_defaults(run):
    config = TrainingConfig.read(run / "config.json")
    assert config.early_size == config.size == 32
    assert config.learning_rate == 2e-3


def test_the_bundle_serves_a_scan_by_the_usual_command(run, manifest, tmp_path):
    out, evidence = tmp_path / "out.json", tmp_path / "evidence.nii.gz"
    model = ("--model", run / "bundle", "--threads", "1")
    scan = manifest.parent / "glioma5.nii.gz"
    assert go("scan", scan, "--json", out, "--evidence", evidence, *model) == 0
    (document,) = json.loads(out.read_text())
    assert document["status"] == "ok"
    assert document["slices"] == 40
    assert set(document["slice_p_tumor"]) == {None}
    assert 0.0 <= document["p_tumor"] <= 1.0
    import nibabel

    assert nibabel.load(evidence).shape == (40, 48, 40)


def test_serving_says_what_the_trained_network_says(run, manifest):
    from tumorlens.data.manifest import read_manifest
    from tumorlens.inference.series.classifier import load_series_classifier
    from tumorlens.training.held_out import infer
    from tumorlens.training.networks.registry import find_network
    from tumorlens.training.volumes import load_volume_samples, only_series

    model = find_network("cnn3d").build(None)
    model.load_weights(run / "bundle" / "model.weights.h5")
    rows = read_manifest(manifest)[:2]
    samples, _ = load_volume_samples(rows, 32)
    logits = infer(model, samples, 32)["logits"]
    classifier = load_series_classifier(run / "bundle", threads=1)
    bundle = classifier.bundle
    found = [classifier.predict(only_series(row.path)).p_tumor for row in rows]
    assert np.isfinite(logits).all()
    assert bundle.calibration.slice_weight > 0.0
    assert found[0] != found[1]


def test_a_slice_is_refused_with_what_to_do(run, slice_file, capsys):
    assert go("predict", slice_file, "--model", run / "bundle") == 2
    assert "tumorlens scan" in capsys.readouterr().err


def test_export_makes_the_same_bundle_from_the_run(run, tmp_path):
    assert go("export", run, "--out", tmp_path / "again") == 0
    first, second = load_bundle(run / "bundle"), load_bundle(tmp_path / "again")
    assert first.calibration == second.calibration
    assert second.judges == "volumes"


def test_a_finished_run_can_be_asked_to_go_on(run, manifest):
    assert go("train", "--data", manifest, "--out", run, "--resume") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--early-size", "64"), "early_size is 64"),
        (("--folds", "2"), "split column"),
    ],
)
def test_what_it_cannot_do_is_said(manifest, tmp_path, capsys, options, said):
    command = ("train", "--data", manifest, "--out", tmp_path / "x", *SMALL, *options)
    assert go(*command) == 2
    assert said in capsys.readouterr().err


def test_without_healthy_scans_nothing_is_trained(manifest, tmp_path, capsys):
    text = Path(manifest).read_text().splitlines()
    rows = [line for line in text if "no_tumor" not in line]
    few = Path(manifest).parent / "few.csv"
    few.write_text("\n".join(rows) + "\n")
    assert go("train", "--data", few, "--out", tmp_path / "y", *SMALL) == 2
    assert "without are needed" in capsys.readouterr().err
