"""A network's weights: another network's, and damaged ones, are told."""

import numpy as np
import pytest

from tumorlens.errors import TrainingError
from tumorlens.training.networks.registry import find_network
from tumorlens.training.weights import load_weights


def test_weights_come_back_as_they_were_saved(tmp_path):
    saved = find_network("seed-cnn").build(None)
    saved.save_weights(tmp_path / "own.weights.h5")
    loaded = find_network("seed-cnn").build(None)
    load_weights(loaded, tmp_path / "own.weights.h5")
    for one, two in zip(saved.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_weights_that_are_missing_damaged_or_of_another_network_are_named(tmp_path):
    other = tmp_path / "other.weights.h5"
    find_network("evidence-net-lite2").build(None).save_weights(other)
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(other.read_bytes()[:1000])
    for path, name in (
        (other, "evidence-net"),
        (damaged, "seed-cnn"),
        (tmp_path / "none.weights.h5", "seed-cnn"),
    ):
        with pytest.raises(TrainingError, match=rf"{path.name}.*weights of {name}"):
            load_weights(find_network(name).build(None), path)
