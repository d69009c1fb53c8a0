"""What a bundle is made of: which samples teach which of its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from tests.samples.heads import TINY, draw_two_folds
from tumorlens.experiments.packaging import TrainingData, make_bundle
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
