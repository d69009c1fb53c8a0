"""Cross-validation: each patient judged by a network that never saw them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import keras
import numpy as np

from tumorlens.calibration.decision_layer import too_few_patients
from tumorlens.calibration.operating_points import check_both_kinds
from tumorlens.data.manifest import Record
from tumorlens.data.ood_pictures import CT_FLAG
from tumorlens.errors import TrainingError
from tumorlens.evaluation.leakage import (
    Parent,
    check_held_out,
    parent_of_folds,
    pool_leakage,
    shaped_before,
)
from tumorlens.evaluation.scored_slices import (
    MeasuredBundle,
    ScoredSlices,
    score_records,
)
from tumorlens.experiments.packaging import (
    TrainingData,
    classes_to_calibrate,
    inherited_from,
    instead_sentence,
    interval_clause,
    make_bundle,
    too_few_sentence,
)
from tumorlens.inference.bundle.bundle import Bundle, sha256_of
from tumorlens.inference.bundle.facts import Rules
from tumorlens.inference.classifier import load_classifier
from tumorlens.report.words import counted
from tumorlens.taxonomy import NO_TUMOR_INDEX, Finding, info_of, is_tumor
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import Sample, load_samples
from tumorlens.training.fit import (
    BEST_WEIGHTS,
    CHECKPOINT,
    build_first,
    fit,
    training_stream,
)
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import network_of
from tumorlens.training.plan import (
    earlier_seconds,
    expected_cost,
    note_cost,
    seconds_side_by_side,
    steps_for,
)
from tumorlens.training.weights import (
    average_networks,
    count_normalisation,
    load_weights,
)

OUTPUTS = "heldout.npz"
_CONFIG = "config.json"
_START = "start.sha256"
_of_this_process: list[Sample] = []
"""What a process of `_train_at_once` read when it started."""

BUNDLE_FOLDER = "bundle"

REPORT_FOLDER = "report"


@dataclass(frozen=True)
class FoldPlan:
    """The runs that a cross-validation is made of.

    Parameters
    ----------
    only
        Folds to leave out one by one; none for all of them.
    jobs
        Runs that train at the same time, each in a process of its own.
    weights
        Keras weights that every run starts from; None for the network's own start.
    goes_on_from
        Folder of an earlier cross-validation of the same folds: each run starts from
        the weights that left the same patients out there. None for no such folder.
    """

    only: Sequence[int] = ()
    jobs: int = 1
    weights: Path | None = None
    goes_on_from: Path | None = None

    def start(self, fold: int) -> Path | None:
        """Give the weights that the run without a fold starts from."""
        if self.goes_on_from is not None:
            return self.goes_on_from / f"fold{fold}" / BEST_WEIGHTS
        return self.weights


def sized_for_folds(
    config: TrainingConfig, records: Sequence[Record], folds: int
) -> TrainingConfig:
    """Size the epochs of every run by what it trains on; see `steps_for`."""
    learns_from = network_of(config).learns_from
    usable = sum(learns_from(row) and config.may_use(row) for row in records)
    slices = usable * (folds - 1) // folds
    steps = steps_for(slices, config.batch_size, config.steps_per_epoch)
    return replace(config, steps_per_epoch=steps)


def train_folds(
    records: Sequence[Record],
    places: dict[int, Path],
    config: TrainingConfig,
    plan: FoldPlan | None = None,
    say: Callable[[str], None] = print,
    parent: Parent | None = None,
) -> list[Sample]:
    """Train each fold's network, and note what it says of the fold left out.

    Before the first run what the data can support is said, and what the runs take.

    Parameters
    ----------
    records
        Usable rows of a manifest with folds.
    places
        A folder for each fold. Folds that are complete are not run again.
    config
        Every choice of the runs.
    plan
        Number of runs at the same time, and the weights that they start from.
    say
        Receives lines of progress.
    parent
        The model that these weights are of.

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
    plan = plan or FoldPlan()
    network = network_of(config)
    usable = [row for row in records if network.learns_from(row)]
    say(f"Reading {len(usable)} pictures.")
    samples, left_out = load_samples(usable)
    for sentence in left_out:
        say(f"Left out: {sentence}")
    for fold, place in places.items():
        _check_start(usable, samples, fold, place, plan)
    missing = {
        fold: place for fold, place in places.items() if not (place / OUTPUTS).exists()
    }
    if missing:
        for sentence in fold_support_lines(samples, list(places), config, parent):
            say(sentence)
        jobs = min(plan.jobs, len(missing))
        model = build_first(config, plan.start(next(iter(missing))))
        cost = expected_cost(model, config, samples, []).of_runs(len(missing), jobs)
        say(cost.sentence(config, len(missing)))
        if jobs > 1:
            _train_at_once(usable, missing, config, jobs, plan)
    for fold, place in places.items():
        train_fold(samples, fold, config, place, say, plan.start(fold))
    return samples


def fold_support_lines(
    samples: Sequence[Sample],
    folds: Sequence[int],
    config: TrainingConfig,
    parent: Parent | None = None,
) -> list[str]:
    """Say what a cross-validation can and cannot support, before hours of training.

    Parameters
    ----------
    samples
        Samples of all folds.
    folds
        The folds that are left out in turn.
    config
        Every choice of the runs.
    parent
        The model whose weights they start from; None for the network's own start.

    Returns
    -------
    list of str
        A sentence for each class, and one where nothing can be fitted. A picture that
        names no patient counts as one.
    """
    classes = classes_to_calibrate(
        [item for item in samples if config.may_use(item.record)]
    )
    rows = [
        item.record
        for item in samples
        if item.record.fold in folds and not item.record.train_only
    ]
    known = shaped_before(rows, parent.line() if parent else [])
    apart = [row for row, seen in zip(rows, known, strict=True) if not seen]
    lines = []
    for name in classes:
        own = [row for row in apart if row.findings == (name,)]
        people = len({row.group for row in own})
        lines.append(
            f"{info_of(name).title}: {counted(len(own), 'picture')} of "
            f"{counted(people, 'patient')}, each judged by a network that has not "
            "trained on them"
            f"{interval_clause(people)}."
        )
    calibrating = [row for row in apart if config.may_use(row)]
    instead = instead_sentence(inherited_from(parent, config))
    few = too_few_patients(calibrating, classes)
    if few:
        return [*lines, f"{too_few_sentence(few)} {instead}"]
    beside: dict[Finding, int] = {}
    for fold in folds:
        others = [row for row in calibrating if row.fold != fold]
        for name, count in too_few_patients(others, classes).items():
            beside[name] = min(count, beside.get(name, count))
    if beside:
        start = "Beside one fold too few patients are left to calibrate its bundle on"
        lines.append(f"{too_few_sentence(beside, start)} {instead}")
    return lines


def train_fold(
    samples: Sequence[Sample],
    fold: int,
    config: TrainingConfig,
    folder: Path,
    say: Callable[[str], None] = print,
    weights: Path | None = None,
) -> None:
    """Train on all folds but one, and note what the network says of that one.

    Nothing is chosen by the fold that is left out: the run goes to its end and
    keeps its last, averaged weights.

    Parameters
    ----------
    samples
        Samples of all folds.
    fold
        The one to leave out.
    config
        Every choice of the run.
    folder
        Folder of this fold's run. A run that was stopped there goes on; one that is
        complete is left alone.
    say
        Receives lines of progress.
    weights
        The same as in `FoldPlan`.

    Raises
    ------
    TrainingError
        No sample is in that fold, or the folder holds a run of another kind.
    """
    _check_config(folder, config)
    if (folder / OUTPUTS).exists():
        say(f"Fold {fold} is complete.")
        return
    held_out = held_out_samples(samples, fold)
    if not held_out:
        raise TrainingError(
            f"No usable row of the manifest is in fold {fold}.",
            "Run `tumorlens data split --folds` on it.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    begun = (folder / CHECKPOINT).exists()
    if not begun:
        config.write(folder / _CONFIG)
    say(f"Fold {fold}: leaving {len(held_out)} pictures out.")
    training = [
        sample
        for sample in samples
        if sample.record.fold != fold and config.may_use(sample.record)
    ]
    result = fit(
        *(config, training, [], folder),
        resume=begun,
        initial_weights=weights,
        say=say,
    )
    HeldOut.of(result.model, held_out, config.size).save(folder / OUTPUTS)


def mean_of_runs(
    weights: Sequence[Path], samples: Sequence[Sample], config: TrainingConfig
) -> keras.Model:
    """Average runs' weights, and count normalisation on pictures that trained them.

    Parameters
    ----------
    weights
        Keras weight files of one network.
    samples
        Samples that trained it.
    config
        Every choice of the runs.

    Raises
    ------
    TrainingError
        A file is missing, or of another network.
    """
    model = average_networks(config, weights)
    network_of(config).freeze(model)
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


def _check_start(
    records: Sequence[Record],
    samples: Sequence[Sample],
    fold: int,
    place: Path,
    plan: FoldPlan,
) -> None:
    """Refuse to go on from a network that has seen patients of the fold.

    What a run started from is kept beside it, so that it goes on from there alone.
    """
    if plan.goes_on_from is None:
        started = None
    else:
        earlier = plan.goes_on_from / f"fold{fold}"
        if not (earlier / OUTPUTS).exists():
            raise TrainingError(
                f"{plan.goes_on_from} holds no complete fold {fold}.",
                "Run `tumorlens train --folds` there first.",
            )
        seen = HeldOut.load(earlier / OUTPUTS, records).records
        left_out = {item.record.path for item in held_out_samples(samples, fold)}
        if not left_out <= {row.path for row in seen}:
            raise TrainingError(
                f"The network in {earlier} has trained on pictures that fold {fold} "
                "leaves out.",
                "Give the manifest that its folds were dealt in.",
            )
        started = sha256_of(earlier / BEST_WEIGHTS)
    path = place / _START
    if not any((place / name).exists() for name in (OUTPUTS, CHECKPOINT)):
        place.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if started is not None:
            path.write_text(f"{started}\n", encoding="utf-8")
        return
    before = path.read_text(encoding="utf-8").strip() if path.exists() else None
    if before != started:
        raise TrainingError(
            f"{place} holds a run that did not start from these weights.",
            "Give the same --folds-weights as before, or another folder.",
        )


def held_out_samples(samples: Sequence[Sample], fold: int) -> list[Sample]:
    """List the samples that a fold leaves out, and is judged on."""
    return [
        sample
        for sample in samples
        if sample.record.fold == fold and not sample.record.train_only
    ]


def _train_at_once(
    records: Sequence[Record],
    places: dict[int, Path],
    config: TrainingConfig,
    jobs: int,
    plan: FoldPlan,
) -> None:
    # A fork would copy the locks of TensorFlow's threads, and hang.
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, fresh, _read_samples, (list(records),))
    try:
        runs = [
            pool.submit(_train_here, fold, place, config, plan.start(fold))
            for fold, place in places.items()
        ]
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


def _train_here(
    fold: int, folder: Path, config: TrainingConfig, weights: Path | None
) -> None:
    def say(sentence: str) -> None:
        # One write, so that the lines of two processes do not mix.
        sys.stdout.write(f"[fold {fold}] {sentence}\n")
        sys.stdout.flush()

    train_fold(_of_this_process, fold, config, folder, say, weights)


@dataclass(frozen=True)
class CrossValidation:
    """Answers of the bundles of a cross-validation for the folds they left out.

    Parameters
    ----------
    scored_slices
        The folds pooled: slices that show one of the four classes.
    with_lesions
        Those, and slices that show other lesions.
    rules
        Those by which each of its slices was decided.
    leakage
        The check from `pool_leakage` that it is held out.
    bundles
        Folders, by the fold that each left out.
    samples
        Samples of all folds.
    held_out
        The raw outputs that the folds' bundles were calibrated on, all of them.
    seconds
        Time by the clock of all folds' training together.
    parent
        The model whose weights the runs started from.
    """

    scored_slices: ScoredSlices
    with_lesions: ScoredSlices
    rules: list[Rules]
    leakage: dict[str, Any]
    bundles: dict[int, Path]
    samples: Sequence[Sample]
    held_out: HeldOut
    seconds: float
    parent: Parent | None = None


def held_out_by_folds(folder: Path, records: Sequence[Record]) -> HeldOut:
    """Read what the networks of a cross-validation said, all folds together.

    Parameters
    ----------
    folder
        Folder of the cross-validation.
    records
        Rows of the manifest; every picture that was predicted must be among them.

    Raises
    ------
    TrainingError
        No fold is complete there, or the pictures are others.
    """
    paths = sorted(folder.glob(f"fold*/{OUTPUTS}"))
    if not paths:
        raise TrainingError(
            f"{folder} holds no complete fold.", "Run `tumorlens train --folds` first."
        )
    return HeldOut.join([HeldOut.load(path, records) for path in paths])


def cross_validate(
    records: Sequence[Record],
    config: TrainingConfig,
    folder: Path,
    plan: FoldPlan | None = None,
    say: Callable[[str], None] = print,
    flagged: Sequence[Record] = (),
) -> CrossValidation:
    """Judge every patient by a bundle that never saw them.

    Each fold's network becomes a bundle whose calibration and thresholds are
    fitted on the other folds' held-out patients (where there are enough of them, see
    `fold_support_lines`), and judges its own held-out
    pictures as served: file in, decision out. Only the level below which a
    picture is refused is set on the fold itself, to refuse at most 1 %.

    Parameters
    ----------
    records
        Usable rows of a manifest with folds.
    config
        Every choice of the runs.
    folder
        Gets a folder for each fold. Folds that are complete are not run again.
    plan
        Folds to leave out, the number at the same time, and the weights to start
        from; by default all of them, one by one. Each trains on all the others.
    say
        Receives lines of progress.
    flagged
        Rows of the same manifest on which no network trains. What is CT among
        them teaches each bundle what to refuse, but the one that left it out.

    Raises
    ------
    TrainingError
        There are not two folds to calibrate one on the other, or those beside a
        fold do not show both a tumour and none; before anything trains. Or the
        folder holds runs that started from other weights.
    """
    plan = plan or FoldPlan()
    folds = sorted(plan.only or {row.fold for row in records if row.fold is not None})
    if len(folds) < 2:
        raise TrainingError(
            f"Fold {folds[0]} alone cannot be calibrated on other patients.",
            "Give two folds or more.",
        )
    _check_others(records, folds)
    places = {fold: folder / f"fold{fold}" for fold in folds}
    begun = any(
        (place / name).exists()
        for place in places.values()
        for name in (OUTPUTS, CHECKPOINT)
    )
    parent = parent_of_folds(folder, plan.weights, begun=begun)
    samples = train_folds(records, places, config, plan, say, parent)
    held_out = {
        fold: HeldOut.load(place / OUTPUTS, records) for fold, place in places.items()
    }
    bundles, scored_slices, leakage = {}, [], {}
    rules: list[Rules] = []
    for fold, place in places.items():
        others = HeldOut.join([held_out[other] for other in folds if other != fold])
        others = _usable(others, config)
        bundles[fold] = _fold_bundle(
            *([*records, *flagged], samples, fold, config, place, others, parent)
        )
        say(f"Fold {fold}: judging its pictures as served.")
        classifier = load_classifier(bundles[fold])
        fold_records = [
            row for row in records if row.fold == fold and not row.train_only
        ]
        scored_slices.append(
            score_records(classifier, fold_records, say=say, lesions=True)
        )
        leakage[fold] = check_held_out(
            classifier.bundle, scored_slices[-1].records, records
        )
        rules += [classifier.bundle.rules] * len(scored_slices[-1].labelled.records)
    runs = [earlier_seconds(place) for place in places.values()]
    everything = ScoredSlices.concatenate(scored_slices)
    return CrossValidation(
        everything.labelled,
        everything,
        rules,
        pool_leakage(leakage),
        bundles,
        samples,
        _usable(HeldOut.join(list(held_out.values())), config),
        seconds_side_by_side(runs, plan.jobs),
        parent,
    )


def _check_others(records: Sequence[Record], folds: Sequence[int]) -> None:
    """Make sure that each fold can be calibrated on the others."""
    for fold in folds:
        labels = [
            NO_TUMOR_INDEX - is_tumor(row.label)
            for row in records
            if row.label
            and row.fold in folds
            and row.fold != fold
            and not row.train_only
        ]
        check_both_kinds(
            np.array(labels, np.int64),
            f"Deal the folds anew: beside fold {fold}, as beside any, the others have "
            "to show tumours and tumour-free slices.",
        )


def measured_bundles_of_folds(
    bundles: Mapping[int, Path], records: Sequence[Record]
) -> list[MeasuredBundle]:
    """Have each fold's bundle measured on the patients that it left out.

    Parameters
    ----------
    bundles
        Folders, by the fold that each left out.
    records
        The whole manifest. CT that it flags is kept: OOD pictures are shown too.
    """
    return [
        MeasuredBundle(
            load_classifier(folder),
            [
                row
                for row in records
                if row.fold == fold and not row.train_only and row.flag in ("", CT_FLAG)
            ],
        )
        for fold, folder in bundles.items()
    ]


def bundle_of_folds(
    folds: CrossValidation,
    records: Sequence[Record],
    config: TrainingConfig,
    folder: Path,
    say: Callable[[str], None] = print,
) -> Bundle:
    """Make one bundle of all folds' networks, to be served.

    Its weights are their mean, so every patient trained it. Calibration,
    thresholds, sets and rules come from what each network said of the fold it
    left out: no patient kept apart is left to fit them on the mean itself.

    Parameters
    ----------
    folds
        Folds of `cross_validate` with all folds.
    records
        The whole manifest: what it flags as CT teaches what to refuse.
    config, folder, say
        The same as were given there.
    """
    weights = [place.parent / BEST_WEIGHTS for place in folds.bundles.values()]
    samples = [item for item in folds.samples if config.may_use(item.record)]
    model = mean_of_runs(weights, samples, config)
    data = TrainingData(
        [replace(item, record=replace(item.record, split="train")) for item in samples],
        [],
        [replace(row, split="train") for row in records if config.may_use(row)],
        note_cost(folder, folds.seconds),
        averaged=len(weights),
        parent=folds.parent,
    )
    return make_bundle(model, config, data, folder / BUNDLE_FOLDER, say, folds.held_out)


def _usable(held_out: HeldOut, config: TrainingConfig) -> HeldOut:
    return held_out.take(
        np.array([config.may_use(row) for row in held_out.records], bool)
    )


def _fold_bundle(
    records: Sequence[Record],
    samples: Sequence[Sample],
    fold: int,
    config: TrainingConfig,
    folder: Path,
    others: HeldOut,
    parent: Parent | None,
) -> Path:
    model = network_of(config).build(None)
    load_weights(model, folder / BEST_WEIGHTS)

    def dealt(row: Record) -> Record:
        return replace(row, split="test" if row.fold == fold else "train")

    named = [replace(sample, record=dealt(sample.record)) for sample in samples]
    data = TrainingData(
        [
            sample
            for sample in named
            if sample.record.split == "train" and config.may_use(sample.record)
        ],
        [
            sample
            for sample in named
            if sample.record.split == "test" and not sample.record.train_only
        ],
        [dealt(row) for row in records if row.fold == fold or config.may_use(row)],
        parent=parent,
    )
    make_bundle(model, config, data, folder / BUNDLE_FOLDER, held_out=others)
    return folder / BUNDLE_FOLDER
