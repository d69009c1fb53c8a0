"""How far the evidence of a cell is to be believed, fitted on outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tumorlens.inference.bundle.facts import CellCalibration
from tumorlens.taxonomy import NO_TUMOR_INDEX

INSIDE = 0.5
"""Share of outline from which a cell counts as tumour."""


def fit_cells(
    evidence: NDArray[np.float32] | None,
    outlined: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> CellCalibration | None:
    """Fit the probability of tumour in a cell to radiologists' outlines.

    Platt scaling (Platt 1999) of the log-odds of the slice's own class. Every
    outlined slice weighs alike, whatever its grid.

    Parameters
    ----------
    evidence
        Shape (N, g, g, 4), float32, before softmax, on held-out slices; None
        for a network without that head.
    outlined
        Shape (N, g, g), float32: share of each cell inside the outline, NaN
        where there is none.
    labels
        Shape (N,): class indices.

    Returns
    -------
    CellCalibration or None
        None where no outline is there to fit on.
    """
    rows = np.flatnonzero(np.isfinite(outlined).all(axis=(1, 2)))
    rows = rows[labels[rows] != NO_TUMOR_INDEX]
    if evidence is None or len(rows) == 0:
        return None
    own = evidence[rows, :, :, labels[rows]]
    odds = (own - evidence[rows, :, :, NO_TUMOR_INDEX]).ravel().astype(np.float64)
    inside = (outlined[rows] >= INSIDE).ravel()
    sign = np.where(inside, -1.0, 1.0)

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (np.exp(values[0]) * odds + values[1])
        slope = sign / (1.0 + np.exp(np.clip(-margin, -50.0, 50.0)))
        gradient = np.array([(slope * odds).mean() * np.exp(values[0]), slope.mean()])
        return float(np.logaddexp(0.0, margin).mean()), gradient

    start = np.array([np.log(0.5), -2.0])
    bounds = [(-4.0, 2.0), (-12.0, 12.0)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return CellCalibration(float(np.exp(found[0])), float(found[1]))
