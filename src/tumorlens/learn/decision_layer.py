"""Everything that turns raw outputs into a decision, fitted in one go."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.bundle import Calibration, OperatingPoint, PredictionSets
from tumorlens.engine.decide import calibrated_probabilities, pool_evidence
from tumorlens.learn.calibrate import (
    fit_calibration,
    fit_operating_points,
    fit_prediction_sets,
)
from tumorlens.learn.heldout import HeldOut
from tumorlens.learn.metrics import calibration_error
from tumorlens.taxonomy import NO_TUMOR_INDEX


@dataclass(frozen=True)
class DecisionLayer:
    """What a bundle decides by.

    Parameters
    ----------
    calibration, operating_points, prediction_sets
        As in a bundle.
    """

    calibration: Calibration
    operating_points: dict[str, OperatingPoint]
    prediction_sets: PredictionSets

    def probabilities(self, held: HeldOut) -> NDArray[np.float64]:
        """Calibrated probabilities, shape (N, 4)."""
        return _probabilities(held, self.calibration)

    def check(self, held: HeldOut) -> dict[str, Any]:
        """Say how good the decisions are on other patients."""
        found, labels = self.probabilities(held), held.labels
        return {
            "slices": len(labels),
            "patients": len({row.group for row in held.records}),
            "accuracy": float((found.argmax(axis=1) == labels).mean()),
            "calibration_error": calibration_error(found, labels),
            "operating_points": {
                name: asdict(point) for name, point in self.operating_points.items()
            },
        }


def fit_decision_layer(held: HeldOut) -> DecisionLayer:
    """Fit calibration, thresholds and prediction sets.

    Parameters
    ----------
    held
        Of patients who did not train what they are judged by.
    """
    labels = held.labels
    groups = [row.group for row in held.records]
    calibration = fit_calibration(held.logits, held.evidence, labels)
    found = _probabilities(held, calibration)
    return DecisionLayer(
        calibration,
        fit_operating_points(1.0 - found[:, NO_TUMOR_INDEX], labels, groups),
        fit_prediction_sets(found, labels),
    )


def _probabilities(held: HeldOut, calibration: Calibration) -> NDArray[np.float64]:
    pooled = (
        np.zeros_like(held.logits)
        if held.evidence is None
        else pool_evidence(held.evidence, calibration.evidence_cells)
    )
    return calibrated_probabilities(held.logits, pooled, calibration)
