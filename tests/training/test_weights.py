"""A network's weights: another network's, and damaged ones, are told."""

import keras
import numpy as np
import pytest

from tests.samples.heads import TINY
from tumorlens.errors import TrainingError
from tumorlens.training.networks.registry import find_network
from tumorlens.training.weights import (
    average_networks,
    load_weights,
    refresh_normalisation,
)


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
    for item in average_networks(TINY, runs).get_weights():
        np.testing.assert_allclose(item, 0.3, atol=1e-6)


def test_one_run_stays_as_it_is(runs):
    for item in average_networks(TINY, runs[2:]).get_weights():
        np.testing.assert_allclose(item, 0.6, atol=1e-6)


def test_weights_that_are_missing_or_damaged_are_named(runs, tmp_path):
    with pytest.raises(TrainingError, match=r"none\.weights\.h5"):
        average_networks(TINY, [runs[0], tmp_path / "none.weights.h5"])
    (tmp_path / "cut.weights.h5").write_bytes(runs[0].read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"cut\.weights\.h5"):
        average_networks(TINY, [tmp_path / "cut.weights.h5"])


def test_normalisation_is_counted_anew_over_all_batches():
    """Even far off, its statistics become the mean of the batches' own."""
    layer = keras.layers.BatchNormalization(momentum=0.9, name="counted")
    kept = keras.layers.BatchNormalization(name="kept", trainable=False)
    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, kept(layer(pixels)))
    layer.moving_mean.assign(np.full(3, 50.0))
    rng = np.random.default_rng(0)
    batches = [rng.normal(loc, 2.0, (6, 8, 8, 3)).astype("f4") for loc in (1, 2, 6)]
    refresh_normalisation(model, batches)
    np.testing.assert_allclose(layer.moving_mean, [3.0] * 3, atol=0.3)
    np.testing.assert_allclose(layer.moving_variance, [4.0] * 3, atol=0.6)
    np.testing.assert_array_equal(kept.moving_mean, 0.0)
    assert layer.momentum == 0.9


def test_nothing_is_dropped_while_normalisation_is_counted():
    """A served network drops nothing, so its variance is that without dropout."""
    dropout = keras.layers.Dropout(0.6, name="dropout")
    layer = keras.layers.BatchNormalization(name="counted")
    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, layer(dropout(pixels)))
    batch = np.random.default_rng(0).normal(5.0, 2.0, (6, 8, 8, 3)).astype("f4")
    refresh_normalisation(model, [batch])
    np.testing.assert_allclose(layer.moving_variance, batch.var((0, 1, 2)), rtol=1e-4)
    assert dropout.rate == 0.6
