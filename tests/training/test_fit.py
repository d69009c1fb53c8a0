"""The training loop: learns, resumes, refuses what cannot be trained on."""

import json
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest

from tests.samples.heads import TINY
from tumorlens.data.manifest import read_manifest
from tumorlens.errors import SettingError, TrainingError
from tumorlens.taxonomy import TumorClass
from tumorlens.training import fit as fit_module
from tumorlens.training.batches import BatchStream
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import load_samples, sampling_weights
from tumorlens.training.fit import (
    BEST_WEIGHTS,
    CHECKPOINT,
    compile_model,
    draw_curves,
    fit,
    training_stream,
    validation_score,
)
from tumorlens.training.held_out import infer
from tumorlens.training.networks.registry import find_network
from tumorlens.training.weights import count_normalisation, load_weights

SMALL = replace(TINY, epochs=2, steps_per_epoch=4, early_share=0.5)


@pytest.fixture(scope="module")
def sets(drawn_set):
    samples, left_out = load_samples(read_manifest(drawn_set))
    assert left_out == []
    training = [item for item in samples if item.record.split == "train"]
    return training, [item for item in samples if item.record.split == "validation"]


def test_a_killed_run_goes_on_and_ends_in_the_same_place(sets, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    straight = fit(SMALL, *sets, whole, say=lambda _: None)

    class Killed(Exception):
        pass

    def die(line):
        if line.startswith("epoch"):
            raise Killed

    with pytest.raises(Killed):
        fit(SMALL, *sets, killed, say=die)
    # Killed after the row was logged and before the checkpoint: the hardest moment.
    assert not (killed / CHECKPOINT).exists()
    first = replace(SMALL, patience=1)
    lines = []

    def die_in_second(line):
        lines.append(line)
        if line.startswith("epoch   2"):
            raise Killed

    with pytest.raises(Killed):
        fit(first, *sets, killed, say=die_in_second)
    resumed = fit(SMALL, *sets, killed, resume=True, say=lambda _: None)
    for one, two in zip(
        straight.model.get_weights(), resumed.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, two, atol=1e-5)
    rows = (killed / "log.jsonl").read_text().splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == [1, 2]


def test_the_loss_falls_on_drawn_heads(sets, tmp_path):
    config = replace(SMALL, epochs=6, steps_per_epoch=5, batch_size=8)
    result = fit(config, *sets, tmp_path, say=lambda _: None)
    losses = [row["loss"] for row in result.history]
    assert losses[-1] < losses[0]
    assert (tmp_path / "log.csv").read_text().count("\n") == 7
    assert list((tmp_path / "tensorboard").iterdir())


def test_what_bfloat16_taught_is_served_in_float32(sets, tmp_path):
    config = replace(SMALL, epochs=1, precision="bfloat16")
    found = fit(config, *sets, tmp_path, say=lambda _: None)
    policies = {layer.dtype_policy.name for layer in found.model.layers}
    assert policies == {"float32"} == {keras.config.dtype_policy().name}
    mixed = fit_module.build_first(config)
    load_weights(mixed, tmp_path / BEST_WEIGHTS)
    served, taught = (
        infer(model, sets[1], config.size)["logits"] for model in (found.model, mixed)
    )
    np.testing.assert_allclose(taught, served, atol=0.02 * np.abs(served).max())
    assert (taught != served).any()


@pytest.mark.parametrize("name", ["evidence-net-sequences", "cnn3d"])
def test_heads_answer_in_float32_whatever_the_precision(name):
    config = TrainingConfig(network=name, precision="bfloat16")
    network = replace(find_network(name), initialise=None)
    with fit_module._arithmetic(config):
        model = network.build(None)
    assert {str(output.dtype) for output in model.outputs} == {"float32"}
    assert model.get_layer(network.last_convolution).compute_dtype == "bfloat16"
    assert {str(item.dtype) for item in model.trainable_variables} == {"float32"}


def test_a_patient_on_both_sides_is_refused(sets, tmp_path):
    training, _ = sets
    with pytest.raises(TrainingError, match="glioma0"):
        fit(SMALL, training, training[:2], tmp_path)


def test_a_missing_class_is_named(sets, tmp_path):
    training, validation = sets
    few = [item for item in training if item.label is not TumorClass.PITUITARY]
    with pytest.raises(TrainingError, match="pituitary"):
        fit(SMALL, few, validation, tmp_path)


def test_a_damaged_checkpoint_is_refused_with_its_name(sets, tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(TrainingError, match=CHECKPOINT):
        fit(SMALL, *sets, tmp_path, resume=True)


def test_weights_to_start_from_that_are_of_another_network_are_named(sets, tmp_path):
    other = tmp_path / "other.weights.h5"
    find_network("evidence-net-lite2").build(None).save_weights(other)
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(other.read_bytes()[:1000])
    for path, name in ((other, "evidence-net"), (damaged, "seed-cnn")):
        config = replace(SMALL, network=name)
        with pytest.raises(TrainingError, match=rf"{path.name}.*weights of {name}"):
            fit(config, *sets, tmp_path, initial_weights=path)


def test_batches_depend_on_seed_and_step_alone(sets):
    training, _ = sets
    weights = sampling_weights(training, "class-source")
    streams = [BatchStream(training, weights, 4, 5, 0.5, 0.3, 8) for _ in range(2)]
    streams[0].batch(0, 64)
    one, two = (stream.batch(3, 64) for stream in streams)
    np.testing.assert_array_equal(one.pixels, two.pixels)
    ahead = list(streams[1].batches(2, 4, lambda _: 64))
    np.testing.assert_array_equal(ahead[1].pixels, one.pixels)


def test_every_patient_counts_the_same_in_the_validation_score(sets):
    training, _ = sets
    glioma = [item for item in training if item.index == 0]
    # One patient right on one slice, the other wrong on all but that.
    samples = [glioma[0]] + [glioma[-1]] * 9
    logits = np.zeros((10, 4), np.float32)
    logits[0, 0] = 1.0
    logits[1:, 3] = 1.0
    assert validation_score(logits, samples)["accuracy"] == pytest.approx(0.5)


def test_without_validation_the_last_weights_are_kept(sets, tmp_path):
    training, _ = sets
    result = fit(SMALL, training, [], tmp_path, say=lambda _: None)
    assert len(result.history) == SMALL.epochs
    assert "accuracy" not in result.history[-1]
    assert (tmp_path / BEST_WEIGHTS).exists()


def test_normalisation_is_counted_for_the_weights_that_are_kept(sets, tmp_path):
    result = fit(SMALL, *sets, tmp_path, say=lambda _: None)
    ended = result.model.get_weights()
    stored = find_network(SMALL.network).build(None)
    load_weights(stored, tmp_path / BEST_WEIGHTS)
    count_normalisation(result.model, training_stream(sets[0], SMALL), SMALL)
    counted = result.model.get_weights()
    for one, two, three in zip(ended, stored.get_weights(), counted, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, three, atol=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_the_learning_rate_ends_at_the_share_of_its_peak_that_was_asked(share):
    config = replace(SMALL, final_rate=share)
    model = find_network(config.network).build(None)
    compile_model(model, config)
    model.optimizer.iterations.assign(config.total_steps)
    rate = float(model.optimizer.learning_rate)
    assert rate == pytest.approx(share * config.learning_rate, rel=1e-5)


def test_a_final_rate_above_the_peak_is_refused():
    with pytest.raises(SettingError, match=r"final_rate is 1\.5"):
        replace(SMALL, final_rate=1.5)


def test_the_curves_show_what_was_validated(tmp_path):
    history = [
        {"step": 10 * row, "loss": 1.0 / row, "accuracy": 0.5, "tumor_recall": 0.6}
        for row in (1, 2, 3)
    ]
    pictures = []
    for rows in (history, [{"step": 10, "loss": 1.0}]):
        draw_curves(rows, tmp_path / "curves.png")
        pictures.append(cv2.imread(str(tmp_path / "curves.png")))
    orange = (pictures[0] == (0x00, 0x5E, 0xD5)).all(axis=2)
    assert orange.any()
    assert not (pictures[1] == (0x00, 0x5E, 0xD5)).all(axis=2).any()
