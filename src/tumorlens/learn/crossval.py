"""Cross-validation: each patient judged by a network that never saw them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tumorlens.engine.predict import load_classifier
from tumorlens.engine.rules import Rules
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.learn.config import TrainingConfig
from tumorlens.learn.copies import linked_copies
from tumorlens.learn.dataset import load_samples
from tumorlens.learn.evaluation.scored import ScoredSet, score_records
from tumorlens.learn.fit import BEST_WEIGHTS, CHECKPOINT, fit
from tumorlens.learn.heldout import HeldOut
from tumorlens.learn.manifest import Record, read_manifest
from tumorlens.learn.networks.registry import find_network
from tumorlens.learn.package import TrainingData, make_bundle
from tumorlens.learn.split import split_into_folds

OUTPUTS = "heldout.npz"
REPORT_FOLDER = "report"


def records_in_folds(manifest: Path, folds: int, include_flagged: bool) -> list[Record]:
    """Read a manifest whose rows are in folds, or deal them out.

    Parameters
    ----------
    manifest
        With a fold for each row, or for none.
    folds
        How many there are to be.
    include_flagged
        Also use rows that the manifest flags.

    Raises
    ------
    DatasetError
        The manifest is dealt to another number of folds.
    """
    records = read_manifest(manifest)
    if all(row.fold is None for row in records):
        records = split_into_folds(records, folds, links=linked_copies(records))
    if {row.fold for row in records} != set(range(folds)):
        raise DatasetError(
            f"{manifest} is not dealt to the folds 0 to {folds - 1}.",
            f"Run `tumorlens data split --folds {folds}` on it.",
        )
    return [row for row in records if include_flagged or not row.flag]


def train_fold(
    records: Sequence[Record],
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
    records
        Usable rows of a manifest with folds.
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
        No row is in that fold, or the folder holds a run of another kind.
    """
    if (folder / OUTPUTS).exists():
        say(f"Fold {fold} is complete.")
        return
    held = [row for row in records if row.fold == fold]
    if not held:
        raise TrainingError(
            f"No row of the manifest is in fold {fold}.",
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
    training, _ = load_samples([row for row in records if row.fold != fold])
    result = fit(
        config,
        training,
        [],
        folder,
        resume=(folder / CHECKPOINT).exists(),
        say=say,
    )
    samples, left_out = load_samples(held)
    for sentence in left_out:
        say(f"Left out: {sentence}")
    HeldOut.of(result.model, samples, config.size).save(folder / OUTPUTS)


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
) -> tuple[ScoredSet, list[Rules]]:
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

    Returns
    -------
    scored
        The folds pooled.
    rules
        Those by which each of its slices was decided.

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
    for fold in folds:
        train_fold(records, fold, config, folder / f"fold{fold}", say)
    held = [HeldOut.load(folder / f"fold{fold}" / OUTPUTS, records) for fold in folds]
    scored = []
    rules = []
    for place, fold in enumerate(folds):
        others = HeldOut.join(held[:place] + held[place + 1 :])
        bundle = _fold_bundle(records, fold, config, folder / f"fold{fold}", others)
        say(f"Fold {fold}: judging its pictures as served.")
        own = [row for row in records if row.fold == fold]
        classifier = load_classifier(bundle)
        scored.append(score_records(classifier, own, say=say))
        rules += [classifier.bundle.rules] * len(scored[-1].records)
    return ScoredSet.concatenate(scored), rules


def _fold_bundle(
    records: Sequence[Record],
    fold: int,
    config: TrainingConfig,
    folder: Path,
    others: HeldOut,
) -> Path:
    model = find_network(config.network).build(None)
    model.load_weights(folder / BEST_WEIGHTS)
    dealt = [
        replace(row, split="test" if row.fold == fold else "train") for row in records
    ]
    training, _ = load_samples([row for row in dealt if row.split == "train"])
    own, _ = load_samples([row for row in dealt if row.split == "test"])
    data = TrainingData(training, own, dealt)
    make_bundle(model, config, data, folder / "bundle", held=others)
    return folder / "bundle"
