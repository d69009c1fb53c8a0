"""Slices get their patients' rows, and the image's word on them is held out."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import build_tiny_bundle
from tests.samples.clinical import OWN, draw_patients, drop_column, relabel
from tumorlens.data.manifest import read_manifest
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.experiments.clinical import ClinicalConfig, add_clinical, join_table
from tumorlens.experiments.cross_validation import OUTPUTS
from tumorlens.experiments.evaluation import in_classes_of
from tumorlens.inference.bundle.bundle import load_bundle, read_document, write_document
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.clinical import read_clinical_table
from tumorlens.inference.slice.decision import (
    calibrated_probabilities,
    pool_evidence,
)
from tumorlens.training.held_out import HeldOut


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    return draw_patients(tmp_path_factory.mktemp("patients"))


@pytest.fixture
def records(patients):
    return read_manifest(patients)


@pytest.fixture
def table(patients):
    return read_clinical_table(patients.with_name("table.csv"))


@pytest.fixture
def bundle(tiny_bundle):
    return load_bundle(tiny_bundle)


def join(table, records, bundle, folds=None, flagged=False):
    said = []
    joined = join_table(table, records, bundle, folds, flagged, said.append)
    return joined, "\n".join(said)


def test_every_slice_gets_its_patient_s_row(table, records, bundle):
    joined, _ = join(table, records, bundle)
    for record, place in zip(joined.side.records, joined.places, strict=True):
        assert table.rows[place]["copy"] == record.label
    assert joined.counts["glioma"] == {"patients": 7, "without_row": 1}
    assert joined.side.probabilities.shape == (21, 4)
    assert len(joined.firsts()) == 21


def test_a_table_by_file_joins_alike(table, patients, records, bundle):
    by_file = read_clinical_table(drop_column(table.path, "patient"))
    assert not by_file.by_patient
    assert (
        join(by_file, records, bundle)[0].places
        == join(table, records, bundle)[0].places
    )


def test_who_trained_or_is_kept_for_the_test_is_left_out(table, records, bundle):
    named = replace(
        bundle, provenance={"patients": {"train": ["glioma0", "no_tumor1"]}}
    )
    records = [
        replace(row, split="test") if row.patient == "glioma1" else row
        for row in records
    ]
    joined, said = join(table, records, named)
    kept = {row.patient for row in joined.side.records}
    assert not kept & {"glioma0", "glioma1", "no_tumor1"}
    assert "glioma2" in kept
    assert "2 patients with a row trained the network" in said
    assert "glioma" not in said
    assert "NOT held out" in joined.side.statement


def test_flagged_rows_are_left_out_unless_wanted(table, records, bundle):
    records = [
        replace(row, flag="ct") if row.patient == "glioma0" else row for row in records
    ]
    assert len(join(table, records, bundle)[0].places) == 20
    assert len(join(table, records, bundle, flagged=True)[0].places) == 21


def test_what_trains_only_is_left_out(table, records, bundle):
    records = [replace(row, train_only=row.patient == "glioma0") for row in records]
    joined, _ = join(table, records, bundle)
    assert "glioma0" not in {row.patient for row in joined.side.records}
    assert len(joined.places) == 20


def test_a_class_of_few_patients_is_left_to_the_image(table, records, bundle):
    few = [row for row in records if row.label != "glioma" or row.patient < "glioma4"]
    joined, said = join(table, few, bundle)
    assert {row.label for row in joined.side.records} == {"meningioma", "no_tumor"}
    assert "Only 4 patients of the class 'glioma'" in said


def test_too_few_patients(table, records, bundle):
    with pytest.raises(DatasetError, match="glioma 2, meningioma 2") as caught:
        join(table, [row for row in records if row.patient[-1] in "01"], bundle)
    assert "--calibrate-on" in caught.value.hint


def test_everybody_trained(table, records, bundle):
    names = [row.patient for row in records]
    named = replace(bundle, provenance={"patients": {"train": names}})
    with pytest.raises(DatasetError, match="Every patient with a row trained"):
        join(table, records, named)


def test_a_table_of_others(table, records, bundle):
    strangers = [
        replace(row, patient=f"x{row.patient}", path=row.path.parents[2] / "x.png")
        for row in records
    ]
    with pytest.raises(DatasetError, match="No patient of .*table.csv"):
        join(table, strangers, bundle)


def test_the_word_of_a_cross_validation_is_taken(table, records, bundle, tmp_path):
    rng = np.random.default_rng(0)
    dealt = [replace(row, fold=place % 2) for place, row in enumerate(records)]
    for fold in (0, 1):
        own = tuple(row for row in dealt if row.fold == fold)
        logits = rng.normal(size=(len(own), 4)).astype(np.float32)
        (tmp_path / f"fold{fold}").mkdir()
        outlined = np.full((len(own), 1, 1), np.nan, np.float32)
        held = HeldOut(own, logits, None, outlined)
        held.save(tmp_path / f"fold{fold}" / OUTPUTS)
    # Of whoever trained the bundle itself, too: their image is held out by fold.
    named = replace(bundle, provenance={"patients": {"train": ["glioma0"]}})
    joined, _ = join(table, dealt, named, tmp_path)
    assert len(joined.places) == 21
    assert {row.fold for row in joined.side.records} == {0, 1}
    assert "trained without them" in joined.side.statement
    stored = HeldOut.load(tmp_path / "fold0" / OUTPUTS, dealt)
    expected = calibrated_probabilities(
        stored.logits, np.zeros_like(stored.logits), bundle.calibration
    )
    assert joined.side.probabilities[0] == pytest.approx(expected[0])


def test_classes_of_a_user_s_own_are_joined_and_judged(table, patients, tmp_path):
    build_tiny_bundle(tmp_path, OWN)
    own = load_bundle(tmp_path)
    records = in_classes_of(own, read_manifest(relabel(patients), may_be_own=True))
    joined, _ = join(table, records, own)
    assert joined.side.classes == OWN
    assert set(joined.counts) == {"astro", "meningeal", "healthy"}
    assert {OWN[row] for row in joined.side.labels} == {"astro", "meningeal", "healthy"}
    first = joined.side.records[0]
    served = load_classifier(tmp_path).predict(first.path).decision.raw_probabilities
    assert joined.side.probabilities[0] == pytest.approx([served[x] for x in OWN])
    assert OWN[joined.side.labels[0]] == first.label


def test_the_word_of_folds_is_taken_of_own_classes_too(table, patients, tmp_path):
    build_tiny_bundle(tmp_path, OWN)
    own = load_bundle(tmp_path)
    rows = [
        replace(row, fold=place % 2)
        for place, row in enumerate(read_manifest(relabel(patients), may_be_own=True))
    ]
    rows = in_classes_of(own, rows)
    rng = np.random.default_rng(0)
    for fold in (0, 1):
        part = tuple(row for row in rows if row.fold == fold)
        logits = rng.normal(size=(len(part), 4)).astype(np.float32)
        evidence = rng.normal(size=(len(part), 3, 3, 4)).astype(np.float32)
        (tmp_path / f"fold{fold}").mkdir()
        outlined = np.full((len(part), 3, 3), np.nan, np.float32)
        HeldOut(part, logits, evidence, outlined).save(
            tmp_path / f"fold{fold}" / OUTPUTS
        )
    joined, _ = join(table, rows, own, tmp_path)
    stored = HeldOut.load(tmp_path / "fold0" / OUTPUTS, rows)
    # Both classes free of tumour stand together against the two tumours.
    cells = own.calibration.evidence_cells
    pooled = pool_evidence(stored.evidence, cells, (2, 3))
    expected = calibrated_probabilities(stored.logits, pooled, own.calibration)
    assert joined.side.probabilities[0] == pytest.approx(expected[0])


def test_rows_of_other_classes_are_refused(patients, tiny_bundle, tmp_path):
    (tmp_path / "own").mkdir()
    build_tiny_bundle(tmp_path / "own", OWN)
    table = patients.with_name("table.csv")
    for manifest, bundle in (
        (patients, tmp_path / "own"),
        (relabel(patients), tiny_bundle),
    ):
        config = ClinicalConfig(table, manifest, bundle, tmp_path / "out")
        with pytest.raises(DatasetError, match="The rows are of the classes"):
            add_clinical(config)


def test_a_bundle_of_another_network_is_not_written_over(
    patients, tiny_bundle, tmp_path
):
    out = shutil.copytree(tiny_bundle, tmp_path / "out")
    other = shutil.copytree(tiny_bundle, tmp_path / "other")
    # Another network as far as anybody can tell: its file differs.
    content = (other / "model.onnx").read_bytes() + b"\0"
    (other / "model.onnx").write_bytes(content)
    document = read_document(other)
    document["files"]["model.onnx"] = hashlib.sha256(content).hexdigest()
    write_document(other, document)
    order = ClinicalConfig(patients.with_name("table.csv"), patients, other, out)
    with pytest.raises(TrainingError, match="another network"):
        add_clinical(order)
