"""The training runs of a cross-validation: one or more for each fold left out."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from tumorlens.errors import TrainingError
from tumorlens.learn.average import average_networks, refresh_normalisation
from tumorlens.learn.config import TrainingConfig
from tumorlens.learn.dataset import Sample, load_samples
from tumorlens.learn.fit import BEST_WEIGHTS, CHECKPOINT, fit, training_stream
from tumorlens.learn.heldout import HeldOut
from tumorlens.learn.manifest import Record
from tumorlens.learn.networks.registry import find_network

OUTPUTS = "heldout.npz"
NORMALISATION_BATCHES = 40
"""Training batches on which an averaged network's normalisation is counted."""
_CONFIG = "config.json"


@dataclass(frozen=True)
class FoldPlan:
    """Which runs a cross-validation is made of.

    Parameters
    ----------
    only
        Folds to leave out one by one; none for all of them.
    orders
        Runs of each fold. They start from the same weights and draw their
        slices in other orders; the mean of their weights is the fold's network.
    jobs
        Runs that train at the same time, each in a process of its own.
    """

    only: Sequence[int] = ()
    orders: int = 1
    jobs: int = 1

    def run_folders(self, fold_folder: Path) -> list[Path]:
        """Name the folders of one fold's runs, by their order."""
        if self.orders == 1:
            return [fold_folder]
        return [fold_folder / f"order{order}" for order in range(self.orders)]


def train_folds(
    records: Sequence[Record],
    places: dict[int, Path],
    config: TrainingConfig,
    plan: FoldPlan,
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
    plan
        Which runs.
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
        _check_folder(place, config, plan.orders)
    say(f"Reading {len(records)} pictures.")
    samples, left_out = load_samples(records)
    for sentence in left_out:
        say(f"Left out: {sentence}")
    runs = [
        (fold, replace(config, order=order), run)
        for fold, place in places.items()
        for order, run in enumerate(plan.run_folders(place))
        if not (run / OUTPUTS).exists()
    ]
    if plan.jobs > 1 and len(runs) > 1:
        _train_at_once(records, runs, min(plan.jobs, len(runs)))
    for fold, place in places.items():
        train_fold(samples, fold, config, place, plan.orders, say)
    return samples


def train_fold(
    samples: Sequence[Sample],
    fold: int,
    config: TrainingConfig,
    folder: Path,
    orders: int = 1,
    say: Callable[[str], None] = print,
) -> None:
    """Train on all folds but one, and note what the network says of that one.

    Nothing is chosen by the fold that is left out: a run goes to its end and
    keeps its last, averaged weights.

    Parameters
    ----------
    samples
        Of all folds.
    fold
        The one to leave out.
    config
        Every choice of the runs but their order.
    folder
        Of this fold. A run that was stopped there goes on; what is complete is
        left alone.
    orders
        As in `FoldPlan`.
    say
        Receives lines of progress.

    Raises
    ------
    TrainingError
        No sample is in that fold, or the folder holds runs of another kind.
    """
    _check_folder(folder, config, orders)
    if (folder / OUTPUTS).exists():
        say(f"Fold {fold} is complete.")
        return
    runs = FoldPlan(orders=orders).run_folders(folder)
    for order, run in enumerate(runs):
        train_run(samples, fold, replace(config, order=order), run, say)
    if orders > 1:
        training, held = _parted(samples, fold)
        model = mean_of_runs([run / BEST_WEIGHTS for run in runs], training, config)
        model.save_weights(folder / BEST_WEIGHTS)
        config.write(folder / _CONFIG)
        HeldOut.of(model, held, config.size).save(folder / OUTPUTS)


def train_run(
    samples: Sequence[Sample],
    fold: int,
    config: TrainingConfig,
    folder: Path,
    say: Callable[[str], None] = print,
) -> None:
    """Train one run of a fold; parameters and errors as for `train_fold`."""
    if (folder / OUTPUTS).exists():
        return
    training, held = _parted(samples, fold)
    folder.mkdir(parents=True, exist_ok=True)
    begun = (folder / CHECKPOINT).exists()
    if begun:
        _check_config(folder, config)
    else:
        config.write(folder / _CONFIG)
    say(f"Fold {fold}: leaving {len(held)} pictures out.")
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
        Every choice of the runs but their order.

    Raises
    ------
    TrainingError
        A file is missing, or of another network.
    """
    # Dropout before a normalisation changes what it counts.
    keras.utils.set_random_seed(config.seed)
    model = average_networks(config.network, weights)
    find_network(config.network).freeze(model)
    stream = training_stream(samples, config)
    drawn = stream.batches(0, NORMALISATION_BATCHES, lambda _: config.size)
    refresh_normalisation(model, (batch.pixels for batch in drawn))
    return model


def _parted(samples: Sequence[Sample], fold: int) -> tuple[list[Sample], list[Sample]]:
    held = [sample for sample in samples if sample.record.fold == fold]
    if not held:
        raise TrainingError(
            f"No usable row of the manifest is in fold {fold}.",
            "Run `tumorlens data split --folds` on it.",
        )
    return [sample for sample in samples if sample.record.fold != fold], held


def _check_folder(folder: Path, config: TrainingConfig, orders: int) -> None:
    """Refuse a complete fold of other choices, or of more or fewer orders."""
    if not (folder / OUTPUTS).exists():
        if orders > 1 and (folder / CHECKPOINT).exists():
            raise TrainingError(
                f"{folder} holds a run of one order.", "Give another folder."
            )
        return
    _check_config(folder, config)
    found = len(list(folder.glob(f"order*/{OUTPUTS}"))) or 1
    if found != orders:
        raise TrainingError(
            f"{folder} is complete with {found} orders, not {orders}.",
            f"Give --orders {found}, or another folder.",
        )


def _check_config(folder: Path, config: TrainingConfig) -> None:
    if TrainingConfig.read(folder / _CONFIG) != config:
        raise TrainingError(
            f"{folder} holds a run with other choices.",
            "Give the same options, or another folder.",
        )


_of_this_process: list[Sample] = []
"""What a process of `_train_at_once` read when it started."""


def _train_at_once(
    records: Sequence[Record],
    runs: Sequence[tuple[int, TrainingConfig, Path]],
    jobs: int,
) -> None:
    # A fork would copy the locks of TensorFlow's threads, and hang.
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, fresh, _read_samples, (list(records),))
    try:
        for done in [pool.submit(_train_here, *run) for run in runs]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_samples(records: Sequence[Record]) -> None:
    _of_this_process[:] = load_samples(records)[0]


def _train_here(fold: int, config: TrainingConfig, folder: Path) -> None:
    def say(sentence: str) -> None:
        # One write, so that the lines of two processes do not mix.
        sys.stdout.write(f"[{fold}, order {config.order}] {sentence}\n")
        sys.stdout.flush()

    train_run(_of_this_process, fold, config, folder, say)
