"""Cross-validation: each patient judged by a network that never saw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tumorlens.calibration.probabilities import check_both_kinds
from tumorlens.data.manifest import Record
from tumorlens.data.ood_pictures import CT_FLAG
from tumorlens.errors import TrainingError
from tumorlens.evaluation.scoring.examined import Examined
from tumorlens.evaluation.scoring.fold_leakage import pool_leakage
from tumorlens.evaluation.scoring.leakage import check_held_out
from tumorlens.evaluation.scoring.scored_slices import ScoredSet, score_records
from tumorlens.experiments.cost import earlier_seconds, note_cost, seconds_side_by_side
from tumorlens.experiments.fold_runs import (
    OUTPUTS,
    FoldPlan,
    mean_of_runs,
    train_folds,
)
from tumorlens.experiments.packaging import TrainingData, make_bundle
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import Rules
from tumorlens.inference.classifier import load_classifier
from tumorlens.taxonomy import CLASSES
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import Sample
from tumorlens.training.fit import BEST_WEIGHTS
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import find_network
from tumorlens.training.weights import load_weights

BUNDLE_FOLDER = "bundle"
REPORT_FOLDER = "report"


@dataclass(frozen=True)
class CrossValidated:
    """What the bundles of a cross-validation said of the folds they left out.

    Parameters
    ----------
    scored
        The folds pooled: slices that show one of the four classes.
    with_lesions
        Those, and slices that show other lesions.
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
    seconds
        By the clock, of all folds' training together.
    """

    scored: ScoredSet
    with_lesions: ScoredSet
    rules: list[Rules]
    leakage: dict[str, Any]
    bundles: dict[int, Path]
    samples: Sequence[Sample]
    held: HeldOut
    seconds: float


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
    plan: FoldPlan | None = None,
    say: Callable[[str], None] = print,
    flagged: Sequence[Record] = (),
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
    plan
        Which folds to leave out, and how many at the same time; by default all
        of them, one by one. Each trains on all the others.
    say
        Receives lines of progress.
    flagged
        Rows of the same manifest on which no network trains. What is CT among
        them teaches each bundle what to refuse, but the one that left it out.

    Raises
    ------
    TrainingError
        There are not two folds to calibrate one on the other, or those beside a
        fold do not show both a tumour and none; before anything trains.
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
    samples = train_folds(records, places, config, plan.jobs, say)
    held = {
        fold: HeldOut.load(place / OUTPUTS, records) for fold, place in places.items()
    }
    bundles, scored, leakage = {}, [], {}
    rules: list[Rules] = []
    for fold, place in places.items():
        others = HeldOut.join([held[other] for other in folds if other != fold])
        others = _usable(others, config)
        bundles[fold] = _fold_bundle(
            [*records, *flagged], samples, fold, config, place, others
        )
        say(f"Fold {fold}: judging its pictures as served.")
        classifier = load_classifier(bundles[fold])
        own = [row for row in records if row.fold == fold and not row.train_only]
        scored.append(score_records(classifier, own, say=say, lesions=True))
        leakage[fold] = check_held_out(classifier.bundle, scored[-1].records, records)
        rules += [classifier.bundle.rules] * len(scored[-1].labelled.records)
    runs = [earlier_seconds(place) for place in places.values()]
    everything = ScoredSet.concatenate(scored)
    return CrossValidated(
        everything.labelled,
        everything,
        rules,
        pool_leakage(leakage),
        bundles,
        samples,
        _usable(HeldOut.join(list(held.values())), config),
        seconds_side_by_side(runs, plan.jobs),
    )


def _check_others(records: Sequence[Record], folds: Sequence[int]) -> None:
    """Make sure that each fold can be calibrated on the others."""
    for fold in folds:
        labels = [
            CLASSES.index(row.label)
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


def examined_by_folds(
    bundles: Mapping[int, Path], records: Sequence[Record]
) -> list[Examined]:
    """Have each fold's bundle measured on the patients that it left out.

    Parameters
    ----------
    bundles
        Folders, by the fold that each left out.
    records
        The whole manifest. CT that it flags is kept: what is foreign is shown too.
    """
    return [
        Examined(
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
    samples = [item for item in found.samples if config.may_use(item.record)]
    model = mean_of_runs(weights, samples, config)
    data = TrainingData(
        [replace(item, record=replace(item.record, split="train")) for item in samples],
        [],
        [replace(row, split="train") for row in records if config.may_use(row)],
        note_cost(folder, found.seconds),
        averaged=len(weights),
    )
    return make_bundle(model, config, data, folder / BUNDLE_FOLDER, say, found.held)


def _usable(held: HeldOut, config: TrainingConfig) -> HeldOut:
    return held.take(np.array([config.may_use(row) for row in held.records], bool))


def _fold_bundle(
    records: Sequence[Record],
    samples: Sequence[Sample],
    fold: int,
    config: TrainingConfig,
    folder: Path,
    others: HeldOut,
) -> Path:
    model = find_network(config.network).build(None)
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
    )
    make_bundle(model, config, data, folder / BUNDLE_FOLDER, held=others)
    return folder / BUNDLE_FOLDER
