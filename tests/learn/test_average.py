"""Averaged networks: the mean of what was trained, or a clear refusal."""

import numpy as np
import pytest

from tumorlens.errors import TrainingError
from tumorlens.learn.average import average_networks
from tumorlens.learn.networks.registry import find_network


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    paths = []
    for number, value in enumerate((0.1, 0.2, 0.6)):
        model = find_network("seed-cnn").build(None)
        model.set_weights([np.full_like(item, value) for item in model.get_weights()])
        paths.append(folder / f"{number}.weights.h5")
        model.save_weights(paths[-1])
    return paths


def test_each_weight_is_the_mean_of_the_runs(runs):
    for item in average_networks("seed-cnn", runs).get_weights():
        np.testing.assert_allclose(item, 0.3, atol=1e-6)


def test_one_run_stays_as_it_is(runs):
    for item in average_networks("seed-cnn", runs[2:]).get_weights():
        np.testing.assert_allclose(item, 0.6, atol=1e-6)


def test_weights_that_are_missing_or_damaged_are_named(runs, tmp_path):
    with pytest.raises(TrainingError, match=r"none\.weights\.h5"):
        average_networks("seed-cnn", [runs[0], tmp_path / "none.weights.h5"])
    (tmp_path / "cut.weights.h5").write_bytes(runs[0].read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"cut\.weights\.h5"):
        average_networks("seed-cnn", [tmp_path / "cut.weights.h5"])
