"""Cross-validation: each patient judged by a network that never saw them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tumorlens.engine.bundle import Bundle
from tumorlens.engine.predict import load_classifier
from tumorlens.engine.rules import Rules
from tumorlens.errors import TrainingError
from tumorlens.learn.average import average_networks, refresh_normalisation
from tumorlens.learn.config import TrainingConfig
from tumorlens.learn.cost import earlier_seconds, note_cost
from tumorlens.learn.dataset import Sample, load_samples
from tumorlens.learn.evaluation.fold_leakage import pool_leakage
from tumorlens.learn.evaluation.leakage import check_held_out
from tumorlens.learn.evaluation.scored import ScoredSet, score_records
from tumorlens.learn.fit import BEST_WEIGHTS, CHECKPOINT, fit, training_stream
from tumorlens.learn.heldout import HeldOut
from tumorlens.learn.manifest import Record
from tumorlens.learn.networks.registry import find_network
from tumorlens.learn.package import TrainingData, make_bundle

OUTPUTS = "heldout.npz"
BUNDLE_FOLDER = "bundle"
REPORT_FOLDER = "report"
NORMALISATION_BATCHES = 40
"""Training batches on which the averaged network's normalisation is counted."""


@dataclass(frozen=True)
class CrossValidated:
    """What the bundles of a cross-validation said of the folds they left out.

    Parameters
    ----------
    scored
        The folds pooled.
    rules
        Those by which each of its slices was decided.
    leakage
        Whether it is held out, from `pool_leakage`.
    bundles
        Folders, by the fold that each left out.
    samples
        Of all folds.
    held
        The raw outputs that the folds' bundles were calibrated on, all of them.
    """

    scored: ScoredSet
    rules: list[Rules]
    leakage: dict[str, Any]
    bundles: dict[int, Path]
    samples: Sequence[Sample]
    held: HeldOut


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
    if (folder / OUTPUTS).exists():
        say(f"Fold {fold} is complete.")
        return
    held = [sample for sample in samples if sample.record.fold == fold]
    if not held:
        raise TrainingError(
            f"No usable row of the manifest is in fold {fold}.",
            "Run `tumorlens data split --folds` on it.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    stored = folder / "config.json"
    if (folder / CHECKPOINT).exists():
        if TrainingConfig.read(stored) != config:
            raise TrainingError(
                f"{folder} holds a run with other choices.",
                "Give the same options, or another folder.",
            )
    else:
        config.write(stored)
    say(f"Fold {fold}: leaving {len(held)} pictures out.")
    result = fit(
        config,
        [sample for sample in samples if sample.record.fold != fold],
        [],
        folder,
        resume=(folder / CHECKPOINT).exists(),
        say=say,
    )
    HeldOut.of(result.model, held, config.size).save(folder / OUTPUTS)


def held_out_by_folds(folder: Path, records: Sequence[Record]) -> HeldOut:
    """Read what the networks of a cross-validation said, all folds together.

    Parameters
    ----------
    folder
        Of the cross-validation.
    records
        Of the manifest; must name every picture that was judged.

    Raises
    ------
    TrainingError
        No fold is complete there, or the pictures are others.
    """
    found = sorted(folder.glob(f"fold*/{OUTPUTS}"))
    if not found:
        raise TrainingError(
            f"{folder} holds no complete fold.", "Run `tumorlens train --folds` first."
        )
    return HeldOut.join([HeldOut.load(path, records) for path in found])


def cross_validate(
    records: Sequence[Record],
    config: TrainingConfig,
    folder: Path,
    say: Callable[[str], None] = print,
    only: Sequence[int] = (),
) -> CrossValidated:
    """Judge every patient by a bundle that never saw them.

    Each fold's network becomes a bundle whose calibration and thresholds are
    fitted on the other folds' held-out patients, and judges its own held-out
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
    say
        Receives lines of progress.
    only
        Folds to leave out one by one; by default all of them. Each still
        trains on all the others.

    Raises
    ------
    TrainingError
        There are not two folds to calibrate one on the other.
    """
    folds = sorted(only or {row.fold for row in records if row.fold is not None})
    if len(folds) < 2:
        raise TrainingError(
            f"Fold {folds[0]} alone cannot be calibrated on other patients.",
            "Give two folds or more.",
        )
    say(f"Reading {len(records)} pictures.")
    samples, left_out = load_samples(records)
    for sentence in left_out:
        say(f"Left out: {sentence}")
    places = {fold: folder / f"fold{fold}" for fold in folds}
    for fold, place in places.items():
        train_fold(samples, fold, config, place, say)
    held = {
        fold: HeldOut.load(place / OUTPUTS, records) for fold, place in places.items()
    }
    bundles, scored, leakage = {}, [], {}
    rules: list[Rules] = []
    for fold, place in places.items():
        others = HeldOut.join([held[other] for other in folds if other != fold])
        bundles[fold] = _fold_bundle(records, samples, fold, config, place, others)
        say(f"Fold {fold}: judging its pictures as served.")
        classifier = load_classifier(bundles[fold])
        own = [row for row in records if row.fold == fold]
        leakage[fold] = check_held_out(classifier.bundle, own)
        scored.append(score_records(classifier, own, say=say))
        rules += [classifier.bundle.rules] * len(scored[-1].records)
    return CrossValidated(
        ScoredSet.concatenate(scored),
        rules,
        pool_leakage(leakage),
        bundles,
        samples,
        HeldOut.join(list(held.values())),
    )


def bundle_of_folds(
    found: CrossValidated,
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
    found
        From `cross_validate` with all folds.
    records
        The whole manifest: what it flags as CT teaches what to refuse.
    config, folder, say
        As were given there.
    """
    weights = [place.parent / BEST_WEIGHTS for place in found.bundles.values()]
    model = average_networks(config.network, weights)
    _refresh(model, found.samples, config)
    seconds = sum(earlier_seconds(path.parent) for path in weights)
    data = TrainingData(
        [
            replace(item, record=replace(item.record, split="train"))
            for item in found.samples
        ],
        [],
        [replace(row, split="train") for row in records],
        note_cost(folder, seconds),
        averaged=len(weights),
    )
    return make_bundle(model, config, data, folder / BUNDLE_FOLDER, say, found.held)


def _refresh(
    model: keras.Model, samples: Sequence[Sample], config: TrainingConfig
) -> None:
    find_network(config.network).freeze(model)
    stream = training_stream(samples, config)
    drawn = stream.batches(0, NORMALISATION_BATCHES, lambda _: config.size)
    refresh_normalisation(model, (batch.pixels for batch in drawn))


def _fold_bundle(
    records: Sequence[Record],
    samples: Sequence[Sample],
    fold: int,
    config: TrainingConfig,
    folder: Path,
    others: HeldOut,
) -> Path:
    model = find_network(config.network).build(None)
    model.load_weights(folder / BEST_WEIGHTS)

    def dealt(row: Record) -> Record:
        return replace(row, split="test" if row.fold == fold else "train")

    named = [replace(sample, record=dealt(sample.record)) for sample in samples]
    data = TrainingData(
        [sample for sample in named if sample.record.split == "train"],
        [sample for sample in named if sample.record.split == "test"],
        [dealt(row) for row in records],
    )
    make_bundle(model, config, data, folder / BUNDLE_FOLDER, held=others)
    return folder / BUNDLE_FOLDER
