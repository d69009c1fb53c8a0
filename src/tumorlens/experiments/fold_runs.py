"""The training runs of a cross-validation: one for each fold left out."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import keras

from tumorlens.data.manifest import Record
from tumorlens.errors import TrainingError
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import Sample, load_samples
from tumorlens.training.fit import CHECKPOINT, fit, training_stream
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import find_network
from tumorlens.training.weights import average_networks, count_normalisation

OUTPUTS = "heldout.npz"
_CONFIG = "config.json"


@dataclass(frozen=True)
class FoldPlan:
    """Which runs a cross-validation is made of.

    Parameters
    ----------
    only
        Folds to leave out one by one; none for all of them.
    jobs
        Runs that train at the same time, each in a process of its own.
    """

    only: Sequence[int] = ()
    jobs: int = 1


def train_folds(
    records: Sequence[Record],
    places: dict[int, Path],
    config: TrainingConfig,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> list[Sample]:
    """Train each fold's network, and note what it says of the fold left out.

    Parameters
    ----------
    records
        Usable rows of a manifest with folds.
    places
        A folder for each fold. Folds that are complete are not run again.
    config
        Every choice of the runs.
    jobs
        As in `FoldPlan`.
    say
        Receives lines of progress.

    Returns
    -------
    list of Sample
        The records' pictures, of all folds.

    Raises
    ------
    TrainingError
        No sample is in one of the folds, or a folder holds runs of another kind.
    """
    for place in places.values():
        # Before hours of training, not after.
        _check_config(place, config)
    network = find_network(config.network)
    usable = [row for row in records if network.learns_from(row)]
    say(f"Reading {len(usable)} pictures.")
    samples, left_out = load_samples(usable)
    for sentence in left_out:
        say(f"Left out: {sentence}")
    missing = {
        fold: place for fold, place in places.items() if not (place / OUTPUTS).exists()
    }
    if jobs > 1 and len(missing) > 1:
        _train_at_once(usable, missing, config, min(jobs, len(missing)))
    for fold, place in places.items():
        train_fold(samples, fold, config, place, say)
    return samples


def train_fold(
    samples: Sequence[Sample],
    fold: int,
    config: TrainingConfig,
    folder: Path,
    say: Callable[[str], None] = print,
) -> None:
    """Train on all folds but one, and note what the network says of that one.

    Nothing is chosen by the fold that is left out: the run goes to its end and
    keeps its last, averaged weights.

    Parameters
    ----------
    samples
        Of all folds.
    fold
        The one to leave out.
    config
        Every choice of the run.
    folder
        Of this fold's run. A run that was stopped there goes on; one that is
        complete is left alone.
    say
        Receives lines of progress.

    Raises
    ------
    TrainingError
        No sample is in that fold, or the folder holds a run of another kind.
    """
    _check_config(folder, config)
    if (folder / OUTPUTS).exists():
        say(f"Fold {fold} is complete.")
        return
    held = [
        sample
        for sample in samples
        if sample.record.fold == fold and not sample.record.train_only
    ]
    if not held:
        raise TrainingError(
            f"No usable row of the manifest is in fold {fold}.",
            "Run `tumorlens data split --folds` on it.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    begun = (folder / CHECKPOINT).exists()
    if not begun:
        config.write(folder / _CONFIG)
    say(f"Fold {fold}: leaving {len(held)} pictures out.")
    training = [
        sample
        for sample in samples
        if sample.record.fold != fold and config.may_use(sample.record)
    ]
    result = fit(config, training, [], folder, resume=begun, say=say)
    HeldOut.of(result.model, held, config.size).save(folder / OUTPUTS)


def mean_of_runs(
    weights: Sequence[Path], samples: Sequence[Sample], config: TrainingConfig
) -> keras.Model:
    """Average runs' weights, and count normalisation on pictures that trained them.

    Parameters
    ----------
    weights
        Keras weight files of one network.
    samples
        That trained it.
    config
        Every choice of the runs.

    Raises
    ------
    TrainingError
        A file is missing, or of another network.
    """
    model = average_networks(config.network, weights)
    find_network(config.network).freeze(model)
    count_normalisation(model, training_stream(samples, config), config)
    return model


def _check_config(folder: Path, config: TrainingConfig) -> None:
    """Refuse a folder whose run, complete or not, was of other choices."""
    if not any((folder / name).exists() for name in (OUTPUTS, CHECKPOINT)):
        return
    if TrainingConfig.read(folder / _CONFIG) != config:
        raise TrainingError(
            f"{folder} holds a run with other choices.",
            "Give the same options, or another folder.",
        )


_of_this_process: list[Sample] = []
"""What a process of `_train_at_once` read when it started."""


def _train_at_once(
    records: Sequence[Record],
    places: dict[int, Path],
    config: TrainingConfig,
    jobs: int,
) -> None:
    # A fork would copy the locks of TensorFlow's threads, and hang.
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, fresh, _read_samples, (list(records),))
    try:
        runs = [pool.submit(_train_here, *place, config) for place in places.items()]
        for run in runs:
            run.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_samples(records: Sequence[Record]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    _of_this_process[:] = load_samples(records)[0]


def _end_with_parent() -> None:
    """Let no run outlive a command that was killed: two would write to one folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train_here(fold: int, folder: Path, config: TrainingConfig) -> None:
    def say(sentence: str) -> None:
        # One write, so that the lines of two processes do not mix.
        sys.stdout.write(f"[fold {fold}] {sentence}\n")
        sys.stdout.flush()

    train_fold(_of_this_process, fold, config, folder, say)
