"""The error that is left when more and more slices are held back.

Risk over coverage (El-Yaniv and Wiener 2010, JMLR 11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.scoring.scored_slices import ScoredSet
from tumorlens.inference.bundle.facts import disagreement
from tumorlens.report.page_parts import Chart, Line

_ORDERINGS = {
    "probability": "Least sure of its class first",
    "heads_disagree": "Firmest disagreement of the heads first",
    "little_brain": "Least brain first",
}
_MOST_HELD = 0.3
_CURVE_POINTS = 30


def hold_back_curves(
    scored: ScoredSet, right: NDArray[np.bool_]
) -> dict[str, dict[str, list[float]]]:
    """Hold back more and more slices, by what each rule looks at.

    Parameters
    ----------
    scored
        N slices.
    right
        Shape (N,): whose decision is right.

    Returns
    -------
    dict
        By what is looked at: the share ``held`` back, and the ``error`` among
        the others.
    """
    apart = disagreement(scored.slice_head, scored.evidence_head)
    orders = {
        "probability": (scored.probabilities.max(axis=1), len(right)),
        "heads_disagree": (-apart, int((apart > 0.0).sum())),
        "little_brain": (scored.brain_shares, len(right)),
    }
    found = {}
    for name, (values, most) in orders.items():
        errors = np.cumsum(~right[np.argsort(values, kind="stable")])
        last = min(most, int(_MOST_HELD * len(right)))
        steps = np.unique(np.linspace(0, last, _CURVE_POINTS).astype(int))
        caught = np.where(steps > 0, errors[np.maximum(steps, 1) - 1], 0)
        left = (errors[-1] - caught) / (len(right) - steps)
        found[name] = {
            "held": (steps / len(right)).tolist(),
            "error": left.tolist(),
        }
    return found


def curve_chart(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Chart:
    """Draw what `hold_back_curves` found."""
    return Chart(
        "Error among the decided, when more and more slices are held back",
        "Share of slices held back",
        "Error among the decided",
        [
            Line(title, curves[name]["held"], curves[name]["error"])
            for name, title in _ORDERINGS.items()
        ],
        x_range=(0.0, _MOST_HELD),
    )
