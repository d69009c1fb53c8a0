"""Runs of folds: one by one or side by side, each once, gone on with or refused."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest

from tests.samples.folds import TINY, draw_two_folds
from tumorlens.data.manifest import write_manifest
from tumorlens.errors import TrainingError
from tumorlens.experiments.fold_runs import (
    OUTPUTS,
    mean_of_runs,
    train_fold,
    train_folds,
)
from tumorlens.training.dataset import load_samples
from tumorlens.training.fit import BEST_WEIGHTS
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import find_network


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return draw_two_folds(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def samples(records):
    return load_samples(records)[0]


@pytest.fixture(scope="module")
def trained(records, tmp_path_factory):
    """Two folds, one after the other."""
    folder = tmp_path_factory.mktemp("folds")
    places = {fold: folder / f"fold{fold}" for fold in (0, 1)}
    train_folds(records, places, TINY, say=quiet)
    return places


def weights_of(folder):
    model = find_network("seed-cnn").build(None)
    model.load_weights(folder / BEST_WEIGHTS)
    return [np.asarray(item) for item in model.trainable_variables]


def test_each_fold_is_said_of_by_a_network_that_left_it_out(trained, records):
    said = {
        fold: HeldOut.load(place / OUTPUTS, records) for fold, place in trained.items()
    }
    for fold, held in said.items():
        assert {row.fold for row in held.records} == {fold}
    pairs = zip(weights_of(trained[0]), weights_of(trained[1]), strict=True)
    assert any(np.abs(first - second).max() > 1e-5 for first, second in pairs)


def test_runs_at_the_same_time_end_as_one_after_the_other(trained, records, tmp_path):
    places = {fold: tmp_path / f"fold{fold}" for fold in (0, 1)}
    samples = train_folds(records, places, TINY, 2, quiet)
    assert len(samples) == len(records)
    for fold, place in places.items():
        pairs = zip(weights_of(place), weights_of(trained[fold]), strict=True)
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_error_of_a_run_beside_others_is_told_whole(records, tmp_path):
    places = {fold: tmp_path / f"fold{fold}" for fold in (0, 1, 2)}
    with pytest.raises(TrainingError, match=r"fold 2.*data split --folds"):
        train_folds(records, places, TINY, 2, quiet)


def test_no_run_outlives_a_command_that_was_killed(records, tmp_path):
    out, table = tmp_path / "folds", tmp_path / "folds.csv"
    write_manifest(records, table)
    command = (
        *(sys.executable, "-m", "tumorlens", "train", "--data", table, "--out", out),
        *("--folds", "2", "--jobs", "2", "--network", "seed-cnn", "--epochs", "9999"),
    )
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    try:
        runs = set()
        while len(runs) < 2:
            line = parent.stdout.readline()
            assert line, "it ended by itself"
            if line.startswith("[fold"):
                runs.add(line.split("]")[0])
        parent.kill()
        # The runs write to the same pipe, so it ends when the last of them does.
        ended = Thread(target=parent.stdout.read, daemon=True)
        ended.start()
        ended.join(30)
        assert not ended.is_alive()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()


def test_a_complete_fold_is_not_run_again(trained):
    said = []
    train_fold([], 0, TINY, trained[0], said.append)
    assert said == ["Fold 0 is complete."]


def test_runs_with_other_choices_are_refused_before_any_training(
    trained, records, samples, tmp_path
):
    other = replace(TINY, seed=7)
    with pytest.raises(TrainingError, match=r"fold1 holds a run with other choices"):
        train_folds(records, {3: tmp_path / "fold3", 1: trained[1]}, other, 2, quiet)
    assert not (tmp_path / "fold3").exists()
    train_fold(samples, 0, TINY, tmp_path / "begun", quiet)
    (tmp_path / "begun" / OUTPUTS).unlink()
    with pytest.raises(TrainingError, match="other choices"):
        train_fold(samples, 0, other, tmp_path / "begun", quiet)


def test_a_mean_of_runs_comes_out_the_same_again(trained, samples):
    paths = [place / BEST_WEIGHTS for place in trained.values()]
    first, again = (mean_of_runs(paths, samples, TINY).get_weights() for _ in range(2))
    for found, expected in zip(again, first, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
