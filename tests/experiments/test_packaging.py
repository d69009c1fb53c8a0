"""What a bundle is made of: which samples teach which of its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from tests.samples.heads import TINY, draw_people, draw_two_folds
from tumorlens.evaluation.leakage import Parent
from tumorlens.experiments.packaging import TrainingData, make_bundle
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.training.dataset import load_samples
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import find_network


def test_what_trains_only_is_no_example_of_a_brain_mri(tmp_path: Path) -> None:
    records = draw_two_folds(tmp_path)
    samples, _ = load_samples(records)
    training = [item for item in samples if item.record.fold == 0]
    others = [item for item in samples if item.record.fold == 1]
    rng = np.random.default_rng(0)
    ends = [
        replace(
            item,
            record=replace(item.record, train_only=True),
            square=rng.integers(0, 255, item.square.shape, np.uint8),
        )
        for item in training
    ]
    keras.utils.set_random_seed(0)
    model = find_network(TINY.network).build(None)
    held = HeldOut.of(model, others, TINY.size)
    for name, taught in (("brains", training), ("ends", [*ends, *training])):
        data = TrainingData(taught, [], records)
        make_bundle(model, TINY, data, tmp_path / name, lambda _: None, held)
    with (
        np.load(tmp_path / "brains/domain.npz") as brains,
        np.load(tmp_path / "ends/domain.npz") as both,
    ):
        assert set(brains) == set(both)
        for part in brains:
            np.testing.assert_array_equal(brains[part], both[part])


def test_who_shaped_the_parent_fits_nothing_of_a_cross_validated_bundle(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    people, _ = load_samples(draw_people(tmp_path, 44))
    others = [
        replace(
            item,
            record=replace(
                item.record, site="A", sequence=sequence, extra={"slice": "1"}
            ),
        )
        for item in people
        for sequence in (MRSequence.T1, MRSequence.FLAIR)
    ]
    keras.utils.set_random_seed(0)
    model = find_network(TINY.network).build(None)
    held = HeldOut.of(model, others, TINY.size)
    strangers = load_bundle(tiny_bundle)
    patients = [item.record.patient for item in people]
    made = {}
    for name, known in (("new", []), ("some", patients[:4]), ("known", patients)):
        shaped = {"patients": {"train": known, "validation": []}}
        parent = Parent("0", replace(strangers, provenance=shaped))
        data = TrainingData(people, [], [item.record for item in people], parent=parent)
        made[name] = make_bundle(
            model, TINY, data, tmp_path / name, lambda _: None, held
        )
    for name, count in (("new", 44), ("some", 40)):
        facts, study_model = (
            made[name].provenance["calibrated_on"],
            made[name].study_model,
        )
        assert (facts["how"], facts["patients"]) == ("cross-validation", count)
        assert study_model is not None and study_model.patients == count
    assert made["known"].provenance["calibrated_on"]["how"] == "parent"
    assert made["known"].operating_points == strangers.operating_points
    assert made["known"].study_model is None
