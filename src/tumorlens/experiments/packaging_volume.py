"""A trained network for whole scans becomes a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.calibration.decision_layer import fit_decision_layer
from tumorlens.calibration.ood import Embedded, fit_domain
from tumorlens.data.ood_pictures import draw_outliers, photographs
from tumorlens.experiments.bundle_files import write_facts, write_network
from tumorlens.experiments.packaging import TrainingData, provenance
from tumorlens.imaging.geometry.volume import Volume
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.imaging.preprocess.volume import prepare_volume
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.training.config import TrainingConfig
from tumorlens.training.held_out import HeldOut, infer

_DRAWN_OF_EACH_KIND = 4


def make_volume_bundle(
    model: keras.Model,
    config: TrainingConfig,
    data: TrainingData,
    folder: Path,
    say: Callable[[str], None] = print,
) -> Bundle:
    """Calibrate a trained model, fix its thresholds, and write the bundle.

    Parameters
    ----------
    model
        Trained; of a network that judges volumes.
    config
        Of its run.
    data
        Training and validation scans.
    folder
        Created where missing; its bundle files are replaced.
    say
        Receives lines of progress.
    """
    serving = write_network(model, config, folder)
    say("Calibrating on patients who did not train.")
    outputs = infer(serving, data.validation, config.size)
    checked = HeldOut(
        tuple(sample.record for sample in data.validation),
        outputs["logits"],
        outputs["evidence"],
        np.full((len(data.validation), 1, 1), np.nan, np.float32),
    )
    # No rule on the brain: a scan shows what it shows.
    layer = fit_decision_layer(checked, None)

    say("Learning what is no scan of a head.")
    kinds, foreign = _foreign(config.seed, config.size)
    # Scans are grey; a coloured one is refused by its slices' colour.
    domain = fit_domain(
        Embedded.of_grey(infer(serving, data.training, config.size)),
        Embedded.of_grey(outputs),
        Embedded.of_grey(_outputs(serving, foreign)),
        kinds,
    )
    facts = provenance(config, data, None)
    metrics = {"validation": layer.check(checked)}
    return write_facts(folder, config, layer, domain, facts, metrics)


def _foreign(seed: int, size: int) -> tuple[list[str], list[NDArray[np.float32]]]:
    """Foreign pictures as scans: one repeated in every slice, and many in a pile."""
    outliers = [*draw_outliers(_DRAWN_OF_EACH_KIND, seed), *photographs()[::5]]
    # Twice the input's edge is as much as it can see of them.
    edge = 2 * size
    pictures = [
        np.asarray(cv2.resize(item.pixels, (edge, edge)), np.float32)
        for item in outliers
    ]
    kinds = [item.kind for item in outliers]
    piles = [np.repeat(item[None], edge, axis=0) for item in pictures]
    rng = np.random.default_rng(seed)
    for _ in range(2 * _DRAWN_OF_EACH_KIND):
        rows = rng.integers(0, len(pictures), edge)
        kinds.append("pile")
        piles.append(np.stack([pictures[row] for row in rows]))
    facts = Preprocessing(size=size)
    blocks = [prepare_volume(Volume.of(item, np.eye(4)), facts)[0] for item in piles]
    return kinds, blocks


def _outputs(
    serving: keras.Model, blocks: Sequence[NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    parts = [
        serving.predict_on_batch(np.stack(blocks[start : start + 8]))
        for start in range(0, len(blocks), 8)
    ]
    return {
        name: np.concatenate([np.asarray(part[name]) for part in parts])
        for name in ("embedding", "logits")
    }
