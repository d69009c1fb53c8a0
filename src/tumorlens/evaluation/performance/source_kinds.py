"""The figures of sources that hold tumours alone, or none, and of those with both.

Most published figures are of the first kind, where a network can tell the sources apart
instead. The second kind is harder, and says more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tumorlens.evaluation.performance.figures import set_figures
from tumorlens.evaluation.scoring.scored_slices import ScoredSet

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


def source_kinds(scored: ScoredSet) -> dict[str, Any]:
    """Work out the main figures by what a slice's source holds.

    Parameters
    ----------
    scored
        The set.

    Returns
    -------
    dict
        Plain JSON: by `ONE_KIND` and `BOTH_KINDS` the ``sources`` and their figures
        as `set_figures` gives them. Empty where all sources are of one kind.
    """
    sources = np.array([item.source for item in scored.records])
    ill, well = set(sources[scored.tumor]), set(sources[~scored.tumor])
    paired = np.isin(sources, sorted(ill & well))
    if paired.all() or not paired.any():
        return {}
    found = {}
    for name, rows in ((ONE_KIND, ~paired), (BOTH_KINDS, paired)):
        figures = set_figures(scored.take(rows))
        found[name] = {
            "sources": sorted(set(sources[rows])),
            **{key: figures[key] for key in _KEPT},
        }
    return found
