"""A whole training run: manifest, samples, fit, bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tumorlens.engine.bundle import Bundle
from tumorlens.errors import OutputError, TrainingError
from tumorlens.learn.config import TrainingConfig
from tumorlens.learn.dataset import load_samples
from tumorlens.learn.fit import CHECKPOINT, fit
from tumorlens.learn.manifest import manifest_digest, read_manifest
from tumorlens.learn.package import TrainingData, make_bundle

BUNDLE_FOLDER = "bundle"
_CONFIG = "config.json"
_DATA = "data.json"


@dataclass(frozen=True)
class RunOrder:
    """What a run is asked to do.

    Parameters
    ----------
    manifest
        CSV or tree of class folders, with a split for each picture.
    folder
        Of the run; created where missing.
    config
        Every choice of the run.
    weights
        Keras weights to start from; None for the network's own start.
    resume
        Go on from the folder's checkpoint.
    include_flagged
        Also use rows that the manifest flags.
    """

    manifest: Path
    folder: Path
    config: TrainingConfig
    weights: Path | None = None
    resume: bool = False
    include_flagged: bool = False


def run_training(order: RunOrder, say: Callable[[str], None] = print) -> Bundle:
    """Train, calibrate and export.

    Parameters
    ----------
    order
        What to do.
    say
        Receives lines of progress.

    Raises
    ------
    TrainingError
        The folder holds another run, or the manifest has changed since.
    DatasetError
        The manifest or its pictures cannot be used.
    """
    records = read_manifest(order.manifest)
    usable = [row for row in records if order.include_flagged or not row.flag]
    _prepare_folder(order, manifest_digest(records))
    say(f"Reading {len(usable)} pictures.")
    training, left_out = load_samples([row for row in usable if row.split == "train"])
    validation, more = load_samples(
        [row for row in usable if row.split == "validation"]
    )
    for sentence in left_out + more:
        say(f"Left out: {sentence}")
    say(f"{len(training)} slices to train on, {len(validation)} to validate on.")
    result = fit(
        order.config,
        training,
        validation,
        order.folder,
        resume=order.resume,
        initial_weights=order.weights,
        say=say,
    )
    data = TrainingData(training, validation, records)
    return make_bundle(
        result.model, order.config, data, order.folder / BUNDLE_FOLDER, say
    )


def _prepare_folder(order: RunOrder, digest: str) -> None:
    if order.resume:
        stored = json.loads((order.folder / _DATA).read_text(encoding="utf-8"))
        if stored["manifest_sha256"] != digest:
            raise TrainingError(
                f"{order.manifest} is not the manifest that the run in "
                f"{order.folder} was started with.",
                "Bring the old manifest back, or start a new run.",
            )
        if not (order.folder / CHECKPOINT).exists():
            raise TrainingError(
                f"{order.folder} has no checkpoint yet.",
                "Start the run again without --resume.",
            )
        return
    if (order.folder / CHECKPOINT).exists():
        raise TrainingError(
            f"{order.folder} already holds a run.",
            "Add --resume to go on, or choose another folder.",
        )
    try:
        order.folder.mkdir(parents=True, exist_ok=True)
        order.config.write(order.folder / _CONFIG)
        (order.folder / _DATA).write_text(
            json.dumps({"manifest": str(order.manifest), "manifest_sha256": digest})
            + "\n",
            encoding="utf-8",
        )
    except OSError as error:
        raise OutputError(f"{order.folder} cannot be written: {error}.") from error
