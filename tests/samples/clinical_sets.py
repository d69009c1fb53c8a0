"""Patients made up for tests of clinical columns: no network, no pictures."""

from __future__ import annotations

import numpy as np

from tumorlens.calibration.clinical.fit import ClinicalData, deal_folds
from tumorlens.taxonomy import CLASSES


def made_patients(
    seed: int = 0, patients: int = 60, slices: int = 2, effect: float = 0.0
) -> ClinicalData:
    """Make patients of all classes whom the image tells apart fairly well.

    Parameters
    ----------
    seed
        Of everything drawn.
    patients, slices
        How many, and of each.
    effect
        How many standard deviations meningiomas lie above the others in the
        first of three columns; the other two are noise.
    """
    rng = np.random.default_rng(seed)
    whose = np.repeat(np.arange(patients), slices)
    labels = np.arange(patients) % len(CLASSES)
    scores = rng.normal(0.0, 1.2, (len(whose), len(CLASSES)))
    scores[np.arange(len(whose)), labels[whose]] += 1.5
    powers = np.exp(scores)
    columns = rng.normal(0.0, 1.0, (patients, 3))
    columns[:, 0] += effect * (labels == 1)
    return ClinicalData(
        powers / powers.sum(axis=1, keepdims=True),
        columns[whose],
        labels[whose],
        whose,
        deal_folds(labels[whose], whose, 5),
    )
