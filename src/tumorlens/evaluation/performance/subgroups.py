"""The main figures by plane, site, tumour size, sharpness and kind of source.

Most published figures are of sources that hold tumours alone, or none, where a network
can tell the sources apart instead. Sources with both are harder, and say more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.performance.figures import by_part, set_figures
from tumorlens.evaluation.scoring.scored_slices import ScoredSlices

_FEWEST = 3
"""Slices of which thirds can be made."""

ONE_KIND = "tumours alone, or none"

BOTH_KINDS = "both"

_KEPT = (
    "slices",
    "patients",
    "accuracy",
    "accuracy_by_patient",
    "recall",
    "tumor_sensitivity",
    "tumor_specificity",
    "inconclusive",
    "refused_as_foreign",
    "auroc_tumor",
    "calibration_error",
    "operating_points",
)


def subgroup_figures(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Work out the main figures of every subgroup.

    Parameters
    ----------
    scored_slices
        The set.

    Returns
    -------
    dict
        Plain JSON by kind of subgroup, then by its name, as `by_part` gives
        them. Thirds are those of this set, with their bounds in the name. The
        sources stand under ``by_source`` of the metrics.
    """
    records = scored_slices.records
    tumors = np.where(scored_slices.tumor, scored_slices.sharpness, np.nan)
    subgroups = {
        "plane": by_part(scored_slices, [item.plane for item in records]),
        "site": by_part(scored_slices, [item.site for item in records]),
        "tumor_size": _thirds(
            scored_slices, scored_slices.outline_shares, "smallest", "largest"
        ),
        "sharpness": _thirds(
            scored_slices, scored_slices.sharpness, "blurred", "sharp"
        ),
        "sharpness_of_tumors": _thirds(scored_slices, tumors, "blurred", "sharp"),
    }
    return {kind: parts for kind, parts in subgroups.items() if len(parts) > 1}


def _thirds(
    scored_slices: ScoredSlices, values: NDArray[np.float64], first: str, last: str
) -> dict[str, Any]:
    is_finite = np.isfinite(values)
    if is_finite.sum() < _FEWEST:
        return {}
    low, high = np.percentile(values[is_finite], (100 / 3, 200 / 3))
    names = (
        f"{first} third (up to {low:.3g})",
        f"middle third ({low:.3g} to {high:.3g})",
        f"{last} third (from {high:.3g})",
    )
    places = np.digitize(values, (low, high))
    parts = [
        names[place] if there else ""
        for place, there in zip(places, is_finite, strict=True)
    ]
    return by_part(scored_slices, parts, list(names))


def source_kinds(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Work out the main figures by what a slice's source holds.

    Parameters
    ----------
    scored_slices
        The set.

    Returns
    -------
    dict
        Plain JSON: by `ONE_KIND` and `BOTH_KINDS` the ``sources`` and their figures
        as `set_figures` gives them. Empty where all sources are of one kind.
    """
    sources = np.array([item.source for item in scored_slices.records])
    ill, well = set(sources[scored_slices.tumor]), set(sources[~scored_slices.tumor])
    paired = np.isin(sources, sorted(ill & well))
    if paired.all() or not paired.any():
        return {}
    by_kind = {}
    for name, rows in ((ONE_KIND, ~paired), (BOTH_KINDS, paired)):
        figures = set_figures(scored_slices.take(rows))
        by_kind[name] = {
            "sources": sorted(set(sources[rows])),
            **{key: figures[key] for key in _KEPT},
        }
    return by_kind
