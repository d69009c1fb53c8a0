"""`tumorlens train --folds` writes one page of all folds."""

import json
from dataclasses import replace

import pytest

from tests.cli.model.test_train import SMALL, invoke
from tests.samples.heads import draw_two_folds
from tumorlens.data.manifest import write_manifest
from tumorlens.inference.bundle.bundle import load_bundle


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Cross-validate on people, one of whom is in both folds.

    Beside a fold there are the ten patients of each class that a calibration needs.
    """
    folder = tmp_path_factory.mktemp("folds")
    people = draw_two_folds(folder, 88)
    both = replace(people[0], patient=people[4].patient)
    write_manifest([both, *people[1:]], folder / "folds.csv")
    result = invoke(
        *("train", "--data", folder / "folds.csv", "--out", folder / "run"),
        *("--folds", "2", "--robustness", "4", *SMALL),
    )
    assert result.exit_code == 0, result.output
    return folder / "run" / "report", result.output


def test_a_person_in_two_folds_is_named_before_any_figure(written):
    out, said = written
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["held_out"] is False
    assert "NOT held out in 2 of 2 folds" in said
    page = (out / "report.html").read_text()
    assert page.index("Not held out") < page.index("In short")
    (figures,) = json.loads((out / "figures.json").read_text())
    assert figures["held_out"] is False


def test_the_worst_errors_are_drawn(written):
    out, _ = written
    errors = json.loads((out / "metrics.json").read_text())["worst_errors"]
    page = (out / "report.html").read_text()
    assert errors
    assert page.count("data:image/png;base64,") == len(errors)


def test_damage_foreign_pictures_and_maps_are_measured_on_every_fold(written):
    out, _ = written
    metrics = json.loads((out / "metrics.json").read_text())
    # One slice of each class of each fold is damaged, by the bundle that left it out.
    assert metrics["robustness"]["slices"] == 8
    assert metrics["foreign"]["bundles"] == 2
    assert metrics["foreign"]["slices"] == metrics["slices"]
    assert metrics["faithfulness"]["slices"] == 6
    page = (out / "report.html").read_text()
    for part in ("corruption", "foreign", "faithfulness"):
        assert f'id="{part}"' in page
    served = load_bundle(out.parent / "bundle").metrics
    (figures,) = json.loads((out / "figures.json").read_text())
    assert served["robustness"] == metrics["robustness"] == figures["robustness"]


def test_the_mean_of_the_folds_is_a_bundle_to_serve(written):
    out, said = written
    bundle = load_bundle(out.parent / "bundle")
    assert f"Bundle {bundle.version} written" in said
    assert bundle.provenance["averaged"] == 2
    assert bundle.provenance["calibrated_on"]["how"] == "cross-validation"
    assert bundle.provenance["sets"].keys() == {"train"}
    assert "cross_validation" in bundle.metrics
    (figures,) = json.loads((out / "figures.json").read_text())
    assert bundle.provenance["calibrated_on"]["slices"] == figures["slices"]


def test_the_plan_is_told_before_any_fold_trains(written):
    _, said = written
    plan = said.index("2 runs, each of 2 steps in at most 1 epoch of 2")
    support = said.index("Meningioma: 22 pictures of 22 patients, each judged by")
    assert support < plan < said.index("epoch   1/1")
    assert "GiB of memory" in said[plan:]


def test_folds_of_too_few_patients_take_the_parents_thresholds(written, tmp_path):
    """The parent learned from the same people, so that none is left to calibrate on."""
    out, _ = written
    parent = load_bundle(out.parent / "bundle")
    people = draw_two_folds(tmp_path)
    result = invoke(
        *("train", "--data", tmp_path / "folds.csv", "--out", tmp_path / "run"),
        *("--folds", "2", "--robustness", "0", *SMALL),
        *("--weights", parent.folder / "model.weights.h5"),
    )
    assert result.exit_code == 0, result.output
    assert "Glioma: 0 pictures of 0 patients" in result.output
    assert f"are those of {parent.name} {parent.version}" in result.output
    assert "NOT held out in 2 of 2 folds" in result.output
    bundle = load_bundle(tmp_path / "run/bundle")
    assert bundle.provenance["calibrated_on"]["how"] == "parent"
    assert bundle.calibration == parent.calibration
    assert bundle.prediction_sets == parent.prediction_sets
    for name, point in bundle.operating_points.items():
        assert point.threshold == parent.operating_points[name].threshold
    (line,) = bundle.provenance["parents"]
    assert line["version"] == parent.version
    assert {row.patient for row in people[1:]} <= set(line["patients"]["train"])


def test_folds_train_side_by_side_to_the_same_kind_of_bundle(written, tmp_path):
    out, _ = written
    data = out.parents[1] / "folds.csv"
    result = invoke(
        *("train", "--data", data, "--out", tmp_path / "run", "--folds", "2"),
        *("--jobs", "2", "--robustness", "0", *SMALL),
    )
    assert result.exit_code == 0, result.output
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert bundle.provenance["averaged"] == 2
    assert bundle.provenance["training"]["seconds"] > 0
    assert set(bundle.metrics) == {"cross_validation"}


@pytest.mark.parametrize("option", ["--fold", "--jobs", "--robustness"])
def test_what_goes_with_folds_alone_says_so(written, tmp_path, option):
    out, _ = written
    data = out.parents[1] / "folds.csv"
    result = invoke(
        *("train", "--data", data, "--out", tmp_path / "run", option, "2", *SMALL)
    )
    assert result.exit_code == 2
    assert f"{option} goes with --folds" in result.output
    assert not (tmp_path / "run").exists()
