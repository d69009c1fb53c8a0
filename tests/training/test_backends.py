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
from tumorlens.training.gradcam import grad_cam
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


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """Run Python in a process whose Keras computes with JAX."""
    pytest.importorskip("jax")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
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
