"""How far off the lesion's outline is, by the level that fits outlines best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.calibration.series.judged_series import JudgedScan
from tumorlens.calibration.series.outlines import LEVELS, MEASURES
from tumorlens.inference.bundle.facts import OutlineFacts, Rate
from tumorlens.statistics.intervals import Figure
from tumorlens.statistics.resampling import Resampling, figure, statistic_draws


def fit_outlines(
    scans: Sequence[JudgedScan],
) -> tuple[OutlineFacts | None, dict[str, Any] | None]:
    """Fit the level on the other folds' outlines, and measure on each fold's own.

    Parameters
    ----------
    scans
        Each by a network that never saw its patient.

    Returns
    -------
    facts, figures
        For the bundle, with the level fitted on all; and figures as plain JSON.
        None without any outline.
    """
    drawn = [scan for scan in scans if scan.outlines is not None]
    if not drawn:
        return None, None
    found = np.array([scan.outlines.measures for scan in drawn if scan.outlines])
    folds = np.array([scan.fold for scan in drawn])
    patients = [scan.record.patient for scan in drawn]
    chosen = np.array(
        [_best_level(found[folds != fold], patients, folds != fold) for fold in folds]
    )
    own = found[np.arange(len(drawn)), chosen]
    level = LEVELS[_best_level(found, patients, np.ones(len(drawn), np.bool_))]
    assert level is not None
    sources = np.array([scan.record.source for scan in drawn])
    fitted = _outline_figures(own, patients)
    figures = {
        "level": level,
        "fitted": fitted,
        "half_of_peak": _outline_figures(found[:, LEVELS.index(None)], patients),
        "by_source": {
            str(name): _outline_figures(
                own[sources == name],
                [
                    who
                    for who, kept in zip(patients, sources == name, strict=True)
                    if kept
                ],
            )
            for name in np.unique(sources)
        },
        "each_volume": {
            scan.record.name: dict(zip(MEASURES, map(float, row), strict=True))
            | {"size_mm": scan.outlines.size_mm}
            for scan, row in zip(drawn, own, strict=True)
            if scan.outlines and scan.outlines.size_mm is not None
        },
    }
    facts = OutlineFacts(
        level, Rate(**fitted["dice"]), Rate(**fitted["size_error"]), len(set(patients))
    )
    return facts, figures


def _best_level(
    found: NDArray[np.float64], patients: Sequence[str], rows: NDArray[np.bool_]
) -> int:
    """Find the level with the best mean overlap over patients; None is not one."""
    groups = [name for name, kept in zip(patients, rows, strict=True) if kept]
    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(numbers).astype(np.float64)
    dice = found[:, :, MEASURES.index("dice")] / counts[numbers][:, None]
    return 1 + int(np.argmax(dice.sum(axis=0)[1:]))


def _outline_figures(
    rows: NDArray[np.float64], patients: Sequence[str]
) -> dict[str, Any]:
    draws = Resampling(patients)
    every = np.ones(len(rows), np.bool_)
    columns = dict(zip(MEASURES, rows.T, strict=True))
    medians = ("size_error", "size_ratio", "thickness_error")
    return {
        "scans": len(rows),
        "patients": draws.patients,
        "dice": draws.average(columns["dice"], every),
        "peak_inside": draws.share(columns["peak_inside"] > 0.5, every),
        **{name: _median(columns[name], patients) for name in medians},
    }


def _median(values: NDArray[np.float64], patients: Sequence[str]) -> Figure | None:
    return figure(
        statistic_draws(lambda rows: float(np.median(values[rows])), patients)
    )
