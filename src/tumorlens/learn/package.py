"""A trained model and its validation patients become a bundle."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.bundle import (
    DOMAIN_FILE,
    MODEL_FILE,
    WEIGHTS_FILE,
    Bundle,
    save_bundle,
)
from tumorlens.engine.decide import calibrated_probabilities, pool_evidence
from tumorlens.imaging.preprocess import Preprocessing, prepare_batch
from tumorlens.learn.calibrate import (
    fit_calibration,
    fit_operating_points,
    fit_prediction_sets,
)
from tumorlens.learn.config import TrainingConfig
from tumorlens.learn.dataset import Sample
from tumorlens.learn.domain_fit import Embedded, fit_domain
from tumorlens.learn.export import export_onnx, serving_model
from tumorlens.learn.infer import infer
from tumorlens.learn.manifest import Record, manifest_digest
from tumorlens.learn.metrics import calibration_error
from tumorlens.learn.outliers import Outlier, draw_outliers, photographs

_DRAWN_OF_EACH_KIND = 40
_TRAINING_ROWS = 2500
"""Training slices that shape the domain model; more change nothing."""


@dataclass(frozen=True)
class TrainingData:
    """What a model was trained on.

    Parameters
    ----------
    training, validation
        Samples of different patients.
    records
        The whole manifest, test patients too, for the provenance.
    """

    training: Sequence[Sample]
    validation: Sequence[Sample]
    records: Sequence[Record]


def make_bundle(
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
        Trained.
    config
        Of its run.
    data
        Nothing but the training and validation samples is looked at.
    folder
        Created where missing; its bundle files are replaced.
    say
        Receives lines of progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    serving = serving_model(model, config.size)
    export_onnx(serving, folder / MODEL_FILE)
    model.save_weights(folder / WEIGHTS_FILE)

    say("Calibrating on the validation patients.")
    held = infer(serving, data.validation, config.size)
    labels = np.array([sample.index for sample in data.validation])
    patients = [sample.record.group for sample in data.validation]
    calibration = fit_calibration(
        held["logits"],
        held["evidence"],
        labels,
        has_evidence_head="evidence" in model.output_names,
    )
    pooled = pool_evidence(held["evidence"], calibration.evidence_cells)
    found = calibrated_probabilities(held["logits"], pooled, calibration)

    say("Learning what is no brain MRI.")
    step = max(1, len(data.training) // _TRAINING_ROWS)
    seen = infer(serving, data.training[::step], config.size)
    foreign = [*draw_outliers(_DRAWN_OF_EACH_KIND, config.seed), *photographs()]
    domain, domain_figures = fit_domain(
        _embedded(seen),
        _embedded(held),
        _embed_outliers(serving, foreign, config.size),
        [item.kind for item in foreign],
    )
    domain.save(folder / DOMAIN_FILE)

    points = fit_operating_points(
        1.0 - found[:, -1],
        labels,
        patients,
        [sample.record.source for sample in data.validation],
    )
    weights = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    return save_bundle(
        folder,
        name=config.network,
        version=f"{datetime.now(UTC):%Y.%m.%d}-{weights[:8]}",
        preprocessing=Preprocessing(size=config.size),
        calibration=calibration,
        operating_points=points,
        default_operating_point="screening",
        prediction_sets=fit_prediction_sets(found, labels),
        domain=domain_figures,
        provenance=_provenance(config, data),
        metrics={
            "validation": {
                "slices": len(labels),
                "patients": len(set(patients)),
                "accuracy": float((found.argmax(axis=1) == labels).mean()),
                "calibration_error": calibration_error(found, labels),
                "operating_points": {
                    name: asdict(point) for name, point in points.items()
                },
            }
        },
    )


def _embedded(outputs: dict[str, NDArray[np.float32]]) -> Embedded:
    grey = np.zeros(len(outputs["logits"]), np.float32)
    return Embedded(outputs["embedding"], outputs["logits"], grey)


def _embed_outliers(
    serving: keras.Model, outliers: Sequence[Outlier], size: int
) -> Embedded:
    parts = []
    for start in range(0, len(outliers), 32):
        pictures = [item.pixels for item in outliers[start : start + 32]]
        inputs, _ = prepare_batch(pictures, Preprocessing(size=size))
        parts.append(serving.predict_on_batch(inputs))
    return Embedded(
        np.concatenate([np.asarray(part["embedding"]) for part in parts]),
        np.concatenate([np.asarray(part["logits"]) for part in parts]),
        np.array([item.colorfulness for item in outliers], np.float32),
    )


def _provenance(config: TrainingConfig, data: TrainingData) -> dict[str, Any]:
    counts: dict[str, dict[str, Any]] = {}
    for name, samples in (
        ("train", data.training),
        ("validation", data.validation),
    ):
        slices = Counter(
            f"{sample.record.source}/{sample.label.value}" for sample in samples
        )
        patients = len({sample.record.group for sample in samples})
        counts[name] = {"patients": patients, "slices": dict(sorted(slices.items()))}
    known: dict[str, set[str]] = {}
    for record in data.records:
        known.setdefault(record.split, set()).add(record.patient)
    return {
        "manifest_sha256": manifest_digest(data.records),
        # Who trained and who validated, so that nobody is later called held out.
        "patients": {split: sorted(names - {""}) for split, names in known.items()},
        "config": asdict(config),
        "sets": counts,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }
