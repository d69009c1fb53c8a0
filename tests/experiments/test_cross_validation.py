"""Each patient is judged by a network that never saw them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest

from tests.samples.heads import TINY, draw_two_folds
from tumorlens.calibration.decision_layer import fit_decision_layer
from tumorlens.data.duplicates import training_fingerprints
from tumorlens.data.manifest import write_manifest
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.evaluation.scored_slices import fold_predictor
from tumorlens.experiments.cross_validation import (
    OUTPUTS,
    FoldPlan,
    cross_validate,
    fold_support_lines,
    held_out_by_folds,
    mean_of_runs,
    measured_bundles_of_folds,
    train_fold,
    train_folds,
)
from tumorlens.inference.bundle.bundle import load_bundle, sha256_of
from tumorlens.taxonomy import TumorClass
from tumorlens.training.dataset import load_samples
from tumorlens.training.fit import BEST_WEIGHTS
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import find_network

AT_ONCE = FoldPlan(jobs=2)


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return draw_two_folds(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def samples(records):
    return load_samples(records)[0]


@pytest.fixture(scope="module")
def trained(records, tmp_path_factory):
    """Two folds, one after the other."""
    folder = tmp_path_factory.mktemp("folds")
    places = {fold: folder / f"fold{fold}" for fold in (0, 1)}
    train_folds(records, places, TINY, say=quiet)
    return places


def weights_of(folder):
    model = find_network("seed-cnn").build(None)
    model.load_weights(folder / BEST_WEIGHTS)
    return [np.asarray(item) for item in model.trainable_variables]


def test_each_fold_is_said_of_by_a_network_that_left_it_out(trained, records):
    said = {
        fold: HeldOut.load(place / OUTPUTS, records) for fold, place in trained.items()
    }
    for fold, held in said.items():
        assert {row.fold for row in held.records} == {fold}
    pairs = zip(weights_of(trained[0]), weights_of(trained[1]), strict=True)
    assert any(np.abs(first - second).max() > 1e-5 for first, second in pairs)


def test_runs_at_the_same_time_end_as_one_after_the_other(trained, records, tmp_path):
    places = {fold: tmp_path / f"fold{fold}" for fold in (0, 1)}
    samples = train_folds(records, places, TINY, AT_ONCE, quiet)
    assert len(samples) == len(records)
    for fold, place in places.items():
        pairs = zip(weights_of(place), weights_of(trained[fold]), strict=True)
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_error_of_a_run_beside_others_is_told_whole(records, tmp_path):
    places = {fold: tmp_path / f"fold{fold}" for fold in (0, 1, 2)}
    with pytest.raises(TrainingError, match=r"fold 2.*data split --folds"):
        train_folds(records, places, TINY, AT_ONCE, quiet)


def test_no_run_outlives_a_command_that_was_killed(records, tmp_path):
    out, table = tmp_path / "folds", tmp_path / "folds.csv"
    write_manifest(records, table)
    command = (
        *(sys.executable, "-m", "tumorlens", "train", "--data", table, "--out", out),
        *("--folds", "2", "--jobs", "2", "--network", "seed-cnn", "--epochs", "9999"),
    )
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    try:
        runs = set()
        while len(runs) < 2:
            line = parent.stdout.readline()
            assert line, "it ended by itself"
            if line.startswith("[fold"):
                runs.add(line.split("]")[0])
        parent.kill()
        # The runs write to the same pipe, so it ends when the last of them does.
        ended = Thread(target=parent.stdout.read, daemon=True)
        ended.start()
        ended.join(30)
        assert not ended.is_alive()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()


def test_a_complete_fold_is_not_run_again(trained):
    said = []
    train_fold([], 0, TINY, trained[0], said.append)
    assert said == ["Fold 0 is complete."]


def test_runs_with_other_choices_are_refused_before_any_training(
    trained, records, samples, tmp_path
):
    other = replace(TINY, seed=7)
    places = {3: tmp_path / "fold3", 1: trained[1]}
    with pytest.raises(TrainingError, match=r"fold1 holds a run with other choices"):
        train_folds(records, places, other, AT_ONCE, quiet)
    assert not (tmp_path / "fold3").exists()
    train_fold(samples, 0, TINY, tmp_path / "begun", quiet)
    (tmp_path / "begun" / OUTPUTS).unlink()
    with pytest.raises(TrainingError, match="other choices"):
        train_fold(samples, 0, other, tmp_path / "begun", quiet)


def test_a_mean_of_runs_comes_out_the_same_again(trained, samples):
    paths = [place / BEST_WEIGHTS for place in trained.values()]
    first, again = (mean_of_runs(paths, samples, TINY).get_weights() for _ in range(2))
    for found, expected in zip(again, first, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture(scope="module")
def folder(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    return folder, cross_validate(records, TINY, folder, say=lambda _: None)


def test_every_record_is_judged_once_by_a_bundle_that_left_it_out(records, folder):
    place, found = folder
    scored_slices = found.scored_slices
    assert len(found.rules) == len(scored_slices.records)
    assert sorted(row.path for row in scored_slices.records) == sorted(
        row.path for row in records
    )
    for fold in (0, 1):
        bundle = load_bundle(place / f"fold{fold}" / "bundle")
        own = {row.patient for row in records if row.fold == fold}
        assert own == set(bundle.provenance["patients"]["test"])
        assert not own & set(bundle.provenance["patients"]["train"])


def test_what_trains_only_teaches_the_other_folds_and_is_never_judged(
    records, tmp_path
):
    ends = {records[3].path, records[-1].path}
    rows = [replace(row, train_only=row.path in ends) for row in records]
    found = cross_validate(rows, TINY, tmp_path, say=lambda _: None)
    judged = {row.path for row in records} - ends
    assert {row.path for row in found.scored_slices.records} == judged
    assert {row.path for row in found.held_out.records} == judged
    assert sum(fold["slices"] for fold in found.leakage["folds"].values()) == 14
    assert {row.path for row in (item.record for item in found.samples)} >= ends
    for fold in (0, 1):
        bundle = load_bundle(tmp_path / f"fold{fold}/bundle")
        provenance = bundle.provenance
        assert bundle.metrics["validation"]["slices"] == 7
        others = [row for row in rows if row.fold != fold]
        assert ends & {row.path for row in others}
        assert provenance["fingerprints"] == training_fingerprints(others)


def test_ct_teaches_every_bundle_but_the_one_that_left_it_out(
    records, folder, tmp_path
):
    """A copy of the runs is judged again, so that nothing trains twice."""
    shutil.copytree(folder[0], tmp_path / "runs")
    ct = replace(records[0], patient="somebody", flag="ct", fold=1)
    cross_validate(records, TINY, tmp_path / "runs", say=lambda _: None, flagged=[ct])
    taught = [
        "refused_ct" in load_bundle(tmp_path / f"runs/fold{fold}/bundle").domain
        for fold in (0, 1)
    ]
    assert taught == [True, False]


def test_a_fold_is_examined_on_its_own_brain_mri_and_ct(records, folder):
    _, found = folder
    kept, end, ct, abnormal = records[:4]
    assert {row.fold for row in records[:4]} == {0}
    rows = [
        kept,
        replace(end, train_only=True),
        replace(ct, flag="ct"),
        replace(abnormal, flag="abnormal"),
        *records[4:],
    ]
    first, second = measured_bundles_of_folds(found.bundles, rows)
    own = {row.path for row in records if row.fold == 0}
    assert {row.path for row in first.records} == own - {end.path, abnormal.path}
    assert {row.fold for row in second.records} == {1}
    assert first.classifier.bundle.folder == found.bundles[0]


def test_a_fold_knows_the_pictures_of_the_other_folds_alone(records, folder):
    place, _ = folder
    for fold in (0, 1):
        provenance = load_bundle(place / f"fold{fold}" / "bundle").provenance
        others = [row for row in records if row.fold != fold]
        assert provenance["fingerprints"] == training_fingerprints(others)


def test_patients_of_whom_no_fold_knows_a_copy_are_held_out(records, folder):
    _, found = folder
    assert found.leakage["held_out"]
    assert found.leakage["slices"] == len(records)
    for fold in (0, 1):
        own = found.leakage["folds"][str(fold)]
        assert own["shared_slices"] == own["copies"] == 0
        assert own["compared_with"] == sum(row.fold != fold for row in records)


def test_an_error_is_drawn_by_the_bundle_that_left_it_out(records, folder):
    _, found = folder
    predict = fold_predictor(found.bundles)
    for row in (0, len(found.scored_slices.records) - 1):
        again = predict(found.scored_slices.records[row]).decision.probabilities
        assert list(again.values()) == pytest.approx(
            found.scored_slices.probabilities[row]
        )
    with pytest.raises(DatasetError, match="fold 7"):
        predict(replace(records[0], fold=7))


def test_a_fold_is_calibrated_on_the_other_folds(tmp_path):
    """Of each class a fold has the ten patients that are needed."""
    records = draw_two_folds(tmp_path, 80)
    said = []
    cross_validate(records, TINY, tmp_path / "folds", say=said.append)
    other = HeldOut.load(tmp_path / "folds/fold1" / OUTPUTS, records)
    bundle = load_bundle(tmp_path / "folds/fold0/bundle")
    facts = bundle.provenance["calibrated_on"]
    assert (facts["how"], facts["slices"]) == ("cross-validation", len(other.records))
    expected = fit_decision_layer(other, np.ones(len(other.records))).calibration
    assert bundle.calibration.slice_weight == pytest.approx(expected.slice_weight)
    assert not [line for line in said if "too few" in line.lower()]


def test_with_fewer_than_ten_patients_a_fold_is_given_no_figure(folder):
    for fold in (0, 1):
        bundle = load_bundle(folder[0] / f"fold{fold}/bundle")
        facts = bundle.provenance["calibrated_on"]
        assert facts["how"] == "nothing"
        assert set(facts["too_few"].values()) == {2}
        for point in bundle.operating_points.values():
            assert (point.threshold, point.sensitivity) == (0.5, None)


def test_what_folds_can_support_is_said_before_any_trains(samples):
    """Four patients of each class, two of them in each fold."""
    lines = fold_support_lines(samples, (0, 1), TINY)
    assert lines[0].startswith("Glioma: 4 pictures of 4 patients, each judged by")
    assert "4 right of these 4 would mean a share of 40 to 100 %" in lines[0]
    assert "Too few patients are kept apart" in lines[-1]
    assert "one half is its threshold" in lines[-1]
    # Three times the patients: enough for all folds together, too few beside one.
    many = [
        replace(
            item, record=replace(item.record, patient=f"{item.record.group} {time}")
        )
        for item in samples
        for time in range(3)
    ]
    lines = fold_support_lines(many, (0, 1), TINY)
    assert "Beside one fold too few patients are left" in lines[-1]
    assert "glioma 6" in lines[-1]


def test_folds_start_from_weights_and_inherit_who_shaped_them(
    trained, records, tmp_path
):
    weights = trained[0] / BEST_WEIGHTS
    said = []
    plan = FoldPlan(weights=weights)
    found = cross_validate(records, TINY, tmp_path, plan, said.append)
    assert "2 runs, each of 2 steps in at most 1 epoch of 2" in "\n".join(said)
    assert not found.leakage["held_out"]
    (line,) = load_bundle(tmp_path / "fold1/bundle").provenance["parents"]
    assert line["weights_sha256"] == sha256_of(weights)
    pairs = zip(weights_of(tmp_path / "fold1"), weights_of(trained[1]), strict=True)
    assert any(np.abs(first - second).max() > 1e-5 for first, second in pairs)
    with pytest.raises(TrainingError, match="did not start from these weights"):
        cross_validate(records, TINY, tmp_path, say=quiet)


def test_folds_go_on_from_the_same_fold_of_an_earlier_run(trained, records, tmp_path):
    earlier, later = trained[0].parent, tmp_path / "later"
    plan = FoldPlan(goes_on_from=earlier)
    longer = replace(TINY, learning_rate=1e-6)
    places = {fold: later / f"fold{fold}" for fold in (0, 1)}
    train_folds(records, places, longer, plan, quiet)
    for fold, place in places.items():
        # With next to no rate a run ends where it began.
        for mine, first in zip(
            weights_of(place), weights_of(trained[fold]), strict=True
        ):
            np.testing.assert_allclose(mine, first, atol=1e-3)
    train_folds(records, places, longer, plan, quiet)
    for other in (FoldPlan(), FoldPlan(goes_on_from=later)):
        with pytest.raises(TrainingError, match="did not start from these weights"):
            train_folds(records, places, longer, other, quiet)


def test_no_fold_goes_on_from_a_network_that_has_seen_its_patients(
    trained, records, tmp_path
):
    dealt_otherwise = [replace(row, fold=1 - row.fold) for row in records]
    place = {0: tmp_path / "fold0"}
    plan = FoldPlan(goes_on_from=trained[0].parent)
    with pytest.raises(TrainingError, match="has trained on pictures that fold 0"):
        train_folds(dealt_otherwise, place, TINY, plan, quiet)
    with pytest.raises(TrainingError, match="holds no complete fold 0"):
        train_folds(records, place, TINY, FoldPlan(goes_on_from=tmp_path), quiet)
    assert not place[0].exists()


def test_all_folds_together_are_read_back(records, folder):
    place, _ = folder
    held = held_out_by_folds(place, records)
    assert {row.path for row in held.records} == {row.path for row in records}
    assert held.logits.shape == (len(records), 4)
    assert held.evidence is None  # seed-cnn has no such head


def test_a_folder_without_folds_is_named(records, tmp_path):
    with pytest.raises(TrainingError, match="no complete fold"):
        held_out_by_folds(tmp_path, records)


def test_outputs_of_another_manifest_are_refused(records, folder):
    place, _ = folder
    others = [replace(row, path=row.path.with_name("x.png")) for row in records]
    with pytest.raises(TrainingError, match=OUTPUTS):
        held_out_by_folds(place, others)


def test_evidence_keeps_its_place_and_value_on_disk(records, tmp_path):
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(2, 4, 4, 4)).astype(np.float32)
    outlined = np.stack([np.full((4, 4), np.nan), rng.random((4, 4))])
    held = HeldOut(
        tuple(records[:2]),
        np.eye(4, dtype=np.float32)[:2],
        evidence,
        outlined.astype(np.float32),
    )
    held.save(tmp_path / "held.npz")
    back = HeldOut.load(tmp_path / "held.npz", records)
    assert back.records == held.records
    np.testing.assert_allclose(back.evidence, evidence, atol=5e-3)
    np.testing.assert_allclose(back.outlined, outlined, atol=1e-3)
    assert back.labels.tolist() == held.labels.tolist()


def test_one_fold_alone_cannot_be_calibrated(records, folder):
    place, _ = folder
    with pytest.raises(TrainingError, match="Fold 1 alone"):
        cross_validate(records, TINY, place, FoldPlan(only=(1,)))


def test_folds_that_cannot_be_calibrated_are_named_before_any_trains(records, tmp_path):
    one = next(row.patient for row in records if row.label is TumorClass.NO_TUMOR)
    rows = [
        row
        for row in records
        if row.label is not TumorClass.NO_TUMOR or row.patient == one
    ]
    with pytest.raises(TrainingError, match="is free of tumour"):
        cross_validate(rows, TINY, tmp_path, say=lambda _: None)
    assert not list(tmp_path.iterdir())
