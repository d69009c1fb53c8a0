"""Training runs on any backend of Keras; TensorFlow's runs are every other test's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tumorlens
from tests.cli.model.test_train import SMALL
from tumorlens.inference.bundle.bundle import load_bundle

STEP = """
import numpy as np
from tumorlens.training.batches import Batch
from tumorlens.training.config import TrainingConfig
from tumorlens.training.fit import averaged_weights, compile_model, train_step
from tumorlens.training.export import grad_cam
from tumorlens.training.networks.registry import find_network

network = find_network("evidence-net-sequences")
model = network.build(64)
compile_model(model, TrainingConfig(network="evidence-net-sequences"))
findings = np.eye(len(network.findings), dtype=np.float32)
cells = np.ones((2, 8, 8), np.float32)
batch = Batch(
    np.random.default_rng(0).random((2, 64, 64, 3), np.float32),
    findings[[0, 3]],
    findings[np.full((2, 8, 8), 1)],
    cells,
    np.ones(2, np.float32),
    np.eye(len(network.sequences), dtype=np.float32)[[0, 1]],
)
before = [np.array(item) for item in model.trainable_variables]
assert np.isfinite(train_step(model, batch))
after = [np.array(item) for item in model.trainable_variables]
assert all(np.abs(a - b).max() > 0.0 for a, b in zip(before, after, strict=True))
with averaged_weights(model):
    model.predict_on_batch(batch.pixels)
    averages = model.get_weights()
assert all(np.isfinite(item).all() for item in averages)
assert np.isfinite(train_step(model, batch))
after = [np.array(item) for item in model.trainable_variables]
with averaged_weights(model):
    pass
for found, wanted in zip(model.trainable_variables, after, strict=True):
    np.testing.assert_array_equal(np.array(found), wanted)
maps = grad_cam(model, batch.pixels, 0, network.last_convolution)
assert np.isfinite(maps).all() and maps.shape[0] == 2
"""


RUN = """
import sys
from pathlib import Path
from tests.samples.heads import TINY, draw_people
from dataclasses import replace
from tumorlens.training.dataset import load_samples
from tumorlens.training.fit import fit
from tumorlens.training.held_out import infer

folder = Path(sys.argv[1])
samples, _ = load_samples(draw_people(folder, 20))
# Eleven to validate on, which two devices cannot share evenly.
found = fit(replace(TINY, steps_per_epoch=3), samples[:9], samples[9:], folder)
print("loss", found.history[0]["loss"])
print("logits", float(infer(found.model, samples[9:], TINY.size)["logits"].sum()))
"""


def run(*words: object, devices: int = 1) -> subprocess.CompletedProcess[str]:
    """Run Python in a process whose Keras computes with JAX."""
    pytest.importorskip("jax")
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, **quiet, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_epoch_on_jax_ends_in_a_bundle_that_serves(
    drawn_set: Path, tmp_path: Path
) -> None:
    ended = run(
        *("-m", "tumorlens", "train", "--data", drawn_set, "--out", tmp_path / "run"),
        *SMALL,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    bundle = load_bundle(tmp_path / "run/bundle")
    assert bundle.provenance["backend"] == "jax"
    picture = next(drawn_set.parent.glob("glioma-0-0.png"))
    found = tumorlens.load_classifier(bundle.folder, threads=1).predict(picture)
    assert sum(found.decision.raw_probabilities.values()) == pytest.approx(1.0)
    # A run goes on where it was stopped, too.
    again = run(
        *("-m", "tumorlens", "train", "--data", drawn_set, "--out", tmp_path / "run"),
        "--resume",
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Going on from step 2 of 2" in again.stdout


def test_a_step_on_jax_moves_every_weight_of_every_head() -> None:
    ended = run("-c", STEP)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_devices_share_a_batch_and_learn_the_same(tmp_path: Path) -> None:
    figures = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        ended = run("-c", RUN, folder, devices=devices)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        told = "Each batch is shared out over 2 devices." in ended.stdout
        assert told == (devices == 2)
        lines = [line.split() for line in ended.stdout.splitlines()]
        figures.append([float(x[1]) for x in lines if x and x[0] in ("loss", "logits")])
    assert len(figures[0]) == 2
    assert figures[1] == pytest.approx(figures[0], rel=1e-3, abs=1e-4)
