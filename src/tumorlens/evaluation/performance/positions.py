"""What the height of a slice in its scan gives away, and what is left without it.

A patient's tumour-free slices lie mostly near the ends of the head, so where a slice
lies tells tumour from none before any tumour is seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.statistics.resampling import Draws, Resampling, ratio

PARTS = 6
"""Parts of a scan within which slices count as lying alike."""


def slice_positions(records: Sequence[Record]) -> NDArray[np.float64]:
    """Say how high each slice lies among its patient's.

    Parameters
    ----------
    records
        N of them. Their column ``slice`` numbers a patient's slices from the
        feet upwards.

    Returns
    -------
    ndarray
        Shape (N,): 0 for a patient's lowest slice here, 1 for the highest; NaN
        where no number is given, or there is one alone.
    """
    numbers = np.full(len(records), np.nan)
    for row, record in enumerate(records):
        if record.extra.get("slice", "").isdecimal():
            numbers[row] = int(record.extra["slice"])
    found = np.full(len(records), np.nan)
    groups = np.array([f"{row.group}\t{row.plane}" for row in records])
    for group in np.unique(groups[np.isfinite(numbers)]):
        rows = np.flatnonzero((groups == group) & np.isfinite(numbers))
        low, high = numbers[rows].min(), numbers[rows].max()
        if high > low:
            found[rows] = (numbers[rows] - low) / (high - low)
    return found


def middle_auroc(
    positions: NDArray[np.float64], tumor: NDArray[np.bool_], draws: Resampling
) -> Draws:
    """AUROC of guessing a tumour by how near a slice lies to its scan's middle."""
    return draws.auroc(-np.abs(positions - 0.5), tumor)


def like_position_auroc(
    scores: NDArray[np.float64],
    tumor: NDArray[np.bool_],
    positions: NDArray[np.float64],
    draws: Resampling,
) -> Draws:
    """AUROC between slices of the same sixth of their scans alone.

    Adjusted for a covariate (Janes and Pepe 2009, Biometrika 96:371, equation
    for discrete covariates): each sixth weighs as many tumour slices as lie in it.

    Parameters
    ----------
    scores, tumor, positions
        Shape (N,); positions from `slice_positions`.
    draws
        Of the N slices' patients.
    """
    parts = np.minimum(positions * PARTS, PARTS - 1)
    over, under = np.zeros(1), np.zeros(1)
    for part in range(PARTS):
        rows = np.floor(parts) == part
        area = draws.auroc(np.where(rows, scores, np.nan), tumor)
        weight = draws.sums(tumor & rows)[: len(area)]
        known = np.isfinite(area)
        over = over + np.where(known, area * weight, 0.0)
        under = under + np.where(known, weight, 0.0)
    return ratio(over, under)
