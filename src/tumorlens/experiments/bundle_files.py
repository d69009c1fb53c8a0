"""The files of a bundle: the network's at its start, the facts at its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras

from tumorlens.calibration.decision_layer import DecisionLayer
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.inference.bundle.bundle import (
    MODEL_FILE,
    OOD_FILE,
    WEIGHTS_FILE,
    Bundle,
    save_bundle,
    sha256_of,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.training.config import TrainingConfig
from tumorlens.training.export import export_onnx, serving_model
from tumorlens.training.networks.registry import find_network


def write_network(
    model: keras.Model, config: TrainingConfig, folder: Path
) -> keras.Model:
    """Write a network to serve, and its weights to start fine-tuning from.

    Parameters
    ----------
    model
        Trained.
    config
        Of its run.
    folder
        Of the bundle; created where missing.

    Returns
    -------
    keras.Model
        With the outputs that serving sees, to fit the rest of the bundle on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    serving = serving_model(model, config.size)
    export_onnx(serving, folder / MODEL_FILE)
    model.save_weights(folder / WEIGHTS_FILE)
    return serving


def write_facts(
    folder: Path,
    config: TrainingConfig,
    layer: DecisionLayer,
    domain: tuple[OodModel, Mapping[str, float]],
    provenance: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Bundle:
    """Write what was fitted beside a network, and verify the whole.

    Parameters
    ----------
    folder
        That `write_network` has filled.
    config
        Of the run.
    layer
        What the bundle decides by.
    domain
        From `fit_domain`: the model and its figures.
    provenance, metrics
        Plain JSON, see `Bundle`.

    Raises
    ------
    BundleError
        A fact is not what it has to be.
    """
    known, figures = domain
    network = find_network(config.network)
    known.save(folder / OOD_FILE)
    return save_bundle(
        folder,
        name=config.network,
        version=f"{datetime.now(UTC):%Y.%m.%d}-{sha256_of(folder / MODEL_FILE)[:8]}",
        preprocessing=Preprocessing(size=config.size),
        calibration=layer.calibration,
        operating_points=layer.operating_points,
        default_operating_point="screening",
        prediction_sets=layer.prediction_sets,
        rules=layer.rules,
        cells=layer.cells,
        domain=figures,
        provenance=provenance,
        metrics=metrics,
        judges=network.judges,
        findings=network.findings,
        sequence_head=layer.sequence_head,
    )
