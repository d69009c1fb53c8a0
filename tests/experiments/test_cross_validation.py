"""Each patient is judged by a network that never saw them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.samples.folds import TINY, draw_two_folds
from tumorlens.calibration.decision_layer import fit_decision_layer
from tumorlens.data.duplicates.copy_codes import training_fingerprints
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.evaluation.scoring.worst_errors import judge_by_folds
from tumorlens.experiments.cross_validation import (
    cross_validate,
    examined_by_folds,
    held_out_by_folds,
)
from tumorlens.experiments.fold_runs import OUTPUTS, FoldPlan
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.taxonomy import TumorClass
from tumorlens.training.held_out import HeldOut


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return draw_two_folds(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def folder(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    return folder, cross_validate(records, TINY, folder, say=lambda _: None)


def test_every_record_is_judged_once_by_a_bundle_that_left_it_out(records, folder):
    place, found = folder
    scored = found.scored
    assert len(found.rules) == len(scored.records)
    assert sorted(row.path for row in scored.records) == sorted(
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
    assert {row.path for row in found.scored.records} == judged
    assert {row.path for row in found.held.records} == judged
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
    first, second = examined_by_folds(found.bundles, rows)
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
    judge = judge_by_folds(found.bundles)
    for row in (0, len(found.scored.records) - 1):
        again = judge(found.scored.records[row]).decision.probabilities
        assert list(again.values()) == pytest.approx(found.scored.probabilities[row])
    with pytest.raises(DatasetError, match="fold 7"):
        judge(replace(records[0], fold=7))


def test_a_fold_is_calibrated_on_the_other_folds(records, folder):
    place, _ = folder
    other = HeldOut.load(place / "fold1" / OUTPUTS, records)
    bundle = load_bundle(place / "fold0" / "bundle")
    assert bundle.provenance["calibrated_on"]["slices"] == len(other.records)
    expected = fit_decision_layer(other, np.ones(len(other.records))).calibration
    assert bundle.calibration.slice_weight == pytest.approx(expected.slice_weight)


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
