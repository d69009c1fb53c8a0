"""A whole training run: manifest, samples, fit, bundle.

Tested in `tests/cli/model/test_train.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tumorlens.calibration.operating_points import check_both_kinds
from tumorlens.data.manifest import Record, manifest_digest, read_manifest
from tumorlens.errors import OutputError, SettingError, TrainingError
from tumorlens.experiments.cost import earlier_seconds, note_cost, stored_cost
from tumorlens.experiments.cross_validation import (
    BUNDLE_FOLDER,
    REPORT_FOLDER,
    held_out_by_folds,
)
from tumorlens.experiments.evaluation import METRICS_FILE, bundle_metrics
from tumorlens.experiments.lineage import Parent, shaped_before
from tumorlens.experiments.packaging import (
    TrainingData,
    inherited_from,
    make_bundle,
    make_volume_bundle,
    support_lines,
)
from tumorlens.experiments.tracking import MlflowRun
from tumorlens.inference.bundle.bundle import Bundle, record_metrics
from tumorlens.taxonomy import NO_TUMOR_INDEX, is_tumor
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import Sample, load_samples
from tumorlens.training.fit import BEST_WEIGHTS, CHECKPOINT, fit
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import find_network, network_of
from tumorlens.training.plan import StepProgress, steps_for
from tumorlens.training.volumes import load_volume_samples
from tumorlens.training.weights import load_weights

CROSS_VALIDATION = "cross_validation"
"""Under this name a bundle keeps the figures of its recipe's cross-validation."""
_CONFIG = "config.json"
_DATA = "data.json"
_PURPOSES = {"train": "train on", "validation": "validate on"}


@dataclass(frozen=True)
class RunConfig:
    """Settings of a training run.

    Parameters
    ----------
    manifest
        CSV or tree of class folders, with a split for each picture.
    folder
        Folder of the run; created where missing.
    training
        Every choice of the training.
    weights
        Keras weights to start from; None for the network's own start.
    resume
        Go on from the folder's checkpoint.
    include_flagged
        True to use rows that the manifest flags, too.
    calibrate_on
        Folder of a cross-validation of the same choices: its networks' outputs for
        patients they never saw set calibration and thresholds.
    size_epochs
        Whether an epoch has no more steps than it takes to go through a small set;
        see `steps_for`.
    mlflow
        Tracking URI of an MLflow store that gets the run too; None for none.
    """

    manifest: Path
    folder: Path
    training: TrainingConfig
    weights: Path | None = None
    resume: bool = False
    include_flagged: bool = False
    calibrate_on: Path | None = None
    size_epochs: bool = False
    mlflow: str | None = None


def run_training(
    config: RunConfig,
    say: Callable[[str], None] = print,
    progress: Callable[[StepProgress], None] = lambda _: None,
) -> Bundle:
    """Train, calibrate and export.

    Parameters
    ----------
    config
        Settings of the run.
    say
        Receives lines of progress.
    progress
        Called after each step.

    Raises
    ------
    TrainingError
        The folder holds another run, or the manifest has changed since.
    DatasetError
        The manifest or its pictures cannot be used.
    MissingExtraError, SettingError
        The same as for `MlflowRun`.
    """
    with ExitStack() as stack:
        return _run(config, say, progress, stack)


def _run(
    config: RunConfig,
    say: Callable[[str], None],
    progress: Callable[[StepProgress], None],
    stack: ExitStack,
) -> Bundle:
    records = read_manifest(config.manifest, may_be_own=True)
    if not config.resume:
        training = config.training.for_classes_of(records)
        config = replace(config, training=training)
    if config.size_epochs and not config.resume:
        sized = sized_training(config.training, records, config.include_flagged)
        config = replace(config, training=sized)
    _prepare_folder(config, manifest_digest(records))
    parent = Parent.stored(config.folder)
    if parent is not None and parent.bundle is None:
        say(
            "No bundle of the weights to start from was found, so nobody knows whose "
            "slices made them: no figure of this model can be called held out."
        )
    held_out = None
    if config.calibrate_on is not None:
        held_out = _held_by_folds(config.calibrate_on, records, parent)
    data = load_data(records, config.training, config.include_flagged, say)
    # Known before hours of training, not after.
    check_both_kinds(
        np.array([NO_TUMOR_INDEX - is_tumor(x.findings[0]) for x in data.validation])
        if held_out is None
        else NO_TUMOR_INDEX - held_out.shows_tumor
    )
    inherited = inherited_from(parent, config.training)
    apart = _calibrating(data, parent, held_out)
    for line in support_lines(data.training, apart, inherited):
        say(line)
    tracked = None
    if config.mlflow is not None:
        tracked = stack.enter_context(
            MlflowRun(
                config.mlflow,
                config.folder,
                config.training.to_json(),
                resume=config.resume,
                say=say,
            )
        )
    before = earlier_seconds(config.folder) if config.resume else 0.0
    started = time.monotonic()
    result = fit(
        config.training,
        data.training,
        data.validation,
        config.folder,
        resume=config.resume,
        initial_weights=config.weights,
        say=say,
        progress=progress,
        on_epoch=None if tracked is None else tracked.epoch_done,
    )
    took = note_cost(config.folder, before + time.monotonic() - started)
    data = replace(data, took=took, parent=parent)
    out = config.folder / BUNDLE_FOLDER
    made = _make(result.model, config.training, data, out, say, held_out)
    bundle = with_figures(made, config.calibrate_on)
    if tracked is not None:
        tracked.add_bundle(bundle.folder)
    return bundle


def export_run(
    folder: Path,
    out: Path,
    say: Callable[[str], None] = print,
    calibrate_on: Path | None = None,
) -> Bundle:
    """Make a bundle of a run's best weights so far, finished or not.

    Parameters
    ----------
    folder
        Folder of the run.
    out
        Folder that gets the bundle; created where missing.
    say
        Receives lines of progress.
    calibrate_on
        The same as in `RunConfig`.

    Raises
    ------
    TrainingError
        The folder holds no run, or its manifest has changed since.
    """
    config = TrainingConfig.read(folder / _CONFIG)
    weights = folder / BEST_WEIGHTS
    if not weights.exists():
        raise TrainingError(
            f"{folder} has no weights yet.", "Wait for the end of its first epoch."
        )
    stored = _stored_data(folder)
    manifest = Path(stored["manifest"])
    records = read_manifest(manifest, may_be_own=True)
    _check_manifest(manifest, folder, manifest_digest(records), stored)
    data = load_data(records, config, bool(stored["include_flagged"]), say)
    data = replace(data, took=stored_cost(folder), parent=Parent.stored(folder))
    model = network_of(config).build(None)
    load_weights(model, weights)
    held_out = None
    if calibrate_on is not None:
        held_out = _held_by_folds(calibrate_on, records, data.parent)
    made = _make(model, config, data, out, say, held_out)
    return with_figures(made, calibrate_on)


def _held_by_folds(
    folder: Path, records: Sequence[Record], parent: Parent | None
) -> HeldOut:
    """Read what a cross-validation said, whose parent's patients must count too."""
    theirs = Parent.stored(folder)
    if theirs is not None and (parent is None or parent.sha256 != theirs.sha256):
        raise TrainingError(
            f"The folds in {folder} started from weights that this run does not start "
            "from.",
            "Give the same --weights, or another folder to calibrate on.",
        )
    return held_out_by_folds(folder, records)


def with_figures(bundle: Bundle, cross_validation: Path | None) -> Bundle:
    """Keep in a bundle what its recipe reached on patients never seen."""
    if cross_validation is None:
        return bundle
    path = cross_validation / REPORT_FOLDER / METRICS_FILE
    if not path.exists():
        return bundle
    metrics = json.loads(path.read_text(encoding="utf-8"))
    for name, part in bundle_metrics(metrics, CROSS_VALIDATION).items():
        bundle = record_metrics(bundle.folder, name, part)
    return bundle


def configured(
    choices: Mapping[str, Any], base: TrainingConfig | None = None
) -> TrainingConfig:
    """Make a config of what was chosen; the network's own defaults for the rest.

    Parameters
    ----------
    choices
        Fields of `TrainingConfig`.
    base
        Where the rest comes from instead.

    Raises
    ------
    SettingError
        A value cannot be; or early steps are to see a network's whole volumes
        smaller, which are read once, for one size.
    """
    if base is not None:
        config = replace(base, **choices)
    else:
        network = find_network(choices.get("network", TrainingConfig.network))
        fields = {**network.defaults, **choices}
        if network.judges == "volumes":
            fields.setdefault("early_size", fields["size"])
        config = TrainingConfig(**fields)
    is_of_volumes = find_network(config.network).judges == "volumes"
    if is_of_volumes and config.early_size != config.size:
        raise SettingError(
            f"early_size is {config.early_size}, size is {config.size}.",
            f"{config.network} takes one size from start to end.",
        )
    return config


def _make(
    model: keras.Model,
    config: TrainingConfig,
    data: TrainingData,
    out: Path,
    say: Callable[[str], None],
    held_out: HeldOut | None,
) -> Bundle:
    if network_of(config).judges == "slices":
        return make_bundle(model, config, data, out, say, held_out)
    if held_out is not None:
        raise TrainingError(
            f"{config.network} is calibrated on its validation series alone.",
            "Leave --calibrate-on out.",
        )
    return make_volume_bundle(model, config, data, out, say)


def sized_training(
    config: TrainingConfig, records: Sequence[Record], include_flagged: bool
) -> TrainingConfig:
    """Size the epochs of a run by what it trains on; see `steps_for`."""
    slices = sum(
        row.split == "train" for row in _usable(records, config, include_flagged)
    )
    steps = steps_for(slices, config.batch_size, config.steps_per_epoch)
    return replace(config, steps_per_epoch=steps)


def _usable(
    records: Sequence[Record], config: TrainingConfig, include_flagged: bool
) -> list[Record]:
    network = network_of(config)
    return [
        row
        for row in records
        if (include_flagged or not row.flag)
        and network.learns_from(row)
        and config.may_use(row)
    ]


def _calibrating(
    data: TrainingData, parent: Parent | None, held_out: HeldOut | None
) -> list[Record]:
    """List the records that calibration may count on."""
    rows = (
        [item.record for item in data.validation]
        if held_out is None
        else held_out.records
    )
    known = shaped_before(rows, parent.line() if parent else [])
    return [row for row, seen in zip(rows, known, strict=True) if not seen]


def load_data(
    records: list[Record],
    config: TrainingConfig,
    include_flagged: bool,
    say: Callable[[str], None],
) -> TrainingData:
    """Read the pictures that a run trains on and validates on.

    Parameters
    ----------
    records
        Rows of a manifest with a split.
    config
        Every choice of the run.
    include_flagged
        True to use rows that the manifest flags, too.
    say
        Receives lines of progress.

    Raises
    ------
    TrainingError
        No row is in one of the splits.
    """
    slices = network_of(config).judges == "slices"
    usable = _usable(records, config, include_flagged)
    parts = {}
    for split in ("train", "validation"):
        rows = [
            row
            for row in usable
            if row.split == split and (split == "train" or not row.train_only)
        ]
        if not rows:
            raise TrainingError(
                f"The manifest has no row in the split '{split}'.",
                "Run `tumorlens data split` on it.",
            )
        kind = "pictures" if slices else "series"
        say(f"Reading {len(rows)} {kind} to {_PURPOSES[split]}.")
        loaded: tuple[Sequence[Sample], list[str]] = (
            load_samples(rows) if slices else load_volume_samples(rows, config.size)
        )
        parts[split], left_out = loaded
        for sentence in left_out:
            say(f"Left out: {sentence}")
    return TrainingData(parts["train"], parts["validation"], records)


def _prepare_folder(config: RunConfig, digest: str) -> None:
    if config.resume:
        stored = _stored_data(config.folder)
        _check_manifest(config.manifest, config.folder, digest, stored)
        if not (config.folder / CHECKPOINT).exists():
            raise TrainingError(
                f"{config.folder} has no checkpoint yet.",
                "Start the run again without --resume.",
            )
        return
    if (config.folder / CHECKPOINT).exists():
        raise TrainingError(
            f"{config.folder} already holds a run.",
            "Add --resume to go on, or choose another folder.",
        )
    parent = None if config.weights is None else Parent.of(config.weights)
    facts = {
        "manifest": str(config.manifest.absolute()),
        "manifest_sha256": digest,
        "include_flagged": config.include_flagged,
    }
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        config.training.write(config.folder / _CONFIG)
        (config.folder / _DATA).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        if parent is not None:
            parent.store(config.folder)
    except OSError as error:
        raise OutputError(f"{config.folder} cannot be written: {error}.") from error


def _stored_data(folder: Path) -> dict[str, Any]:
    try:
        stored = json.loads((folder / _DATA).read_text(encoding="utf-8"))
        return {"include_flagged": False, **stored}
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{folder} holds no training run.", "Give the --out folder of a run."
        ) from error


def _check_manifest(
    manifest: Path, folder: Path, digest: str, stored: dict[str, Any]
) -> None:
    if stored["manifest_sha256"] != digest:
        raise TrainingError(
            f"{manifest} is not the manifest that the run in {folder} was "
            "started with.",
            "Bring the old manifest back, or start a new run.",
        )
