"""Clinical columns that are the diagnosis in disguise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tumorlens.calibration.clinical.fit import ClinicalData, cross_fit
from tumorlens.statistics.metrics import auroc
from tumorlens.taxonomy import CLASSES, INFO, TumorClass

LEAKING = 0.97
"""AUROC of a column by itself, from which on it may be the diagnosis in disguise."""


def leak_warnings(
    data: ClinicalData, columns: Mapping[str, slice]
) -> dict[str, tuple[TumorClass, float]]:
    """Find columns that tell a class nearly for certain without any image.

    Parameters
    ----------
    data
        Their image side does not count.
    columns
        By name: which of the features belong to the column.

    Returns
    -------
    dict
        By column: the class that it tells best from the rest, and the AUROC of
        that on held-out patients, where it is at least `LEAKING`.
    """
    blind = replace(
        data,
        probabilities=np.full_like(data.probabilities, 1.0 / len(CLASSES)),
    )
    # One row for each patient and class; a patient's columns are the same in all.
    keys = data.patients * len(CLASSES) + data.labels
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    blind = blind.take(first)
    found = {}
    for name, place in columns.items():
        alone = cross_fit(replace(blind, features=blind.features[:, place]))
        areas = {
            CLASSES[row]: auroc(alone[:, row], blind.labels == row)
            for row in blind.classes
        }
        best = max(areas, key=lambda key: areas[key])
        if areas[best] >= LEAKING:
            found[name] = (best, areas[best])
    return found


def leak_sentence(column: str, told: TumorClass, area: float) -> str:
    """Say what is suspicious about a column."""
    return (
        f"The column {column!r} alone tells {INFO[told].title.lower()} from the other "
        f"classes with an AUROC of {area:.2f}. Is it a copy of the diagnosis, or known "
        "only once the diagnosis is? Then leave it out: the figures are worth nothing."
    )
