"""Benefit of each rule of the decision layer, in errors held back, and its cost.

Selective classification: a rule that holds slices back should hold back the
wrong ones (Chow 1970; El-Yaniv and Wiener 2010, JMLR 11).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.scored_slices import ScoredSlices
from tumorlens.inference.bundle.facts import Rules, disagreement, disagrees, lacks_brain
from tumorlens.inference.slice.decision import is_cleared
from tumorlens.statistics import Resampling, figure
from tumorlens.taxonomy import Verdict, clear_places

NO_RULES = Rules()
_MOST_HELD = 0.3

_CURVE_POINTS = 30


def measure_rules(
    scored_slices: ScoredSlices, rules: Rules | Sequence[Rules] = NO_RULES
) -> dict[str, Any]:
    """Hold slices back by each rule alone and by all together.

    Without any rule a slice is called free of tumour below the screening
    threshold, and by its likeliest tumour from there on. Refusal as OOD
    is measured on all slices; the other rules on those that were not refused,
    since nobody asks them about the rest.

    Parameters
    ----------
    scored_slices
        Slices scored by one bundle, or pooled over folds.
    rules
        Rules of the bundle; for pooled folds one for each slice.

    Returns
    -------
    dict
        Plain JSON. ``slices`` and ``patients``; ``without`` any rule the
        ``error``, ``sensitivity`` and ``specificity``; for every one of
        ``rules``, and for ``all``: shares ``held``, ``errors_caught`` (of all
        errors), ``right_lost`` (of all right decisions), ``wrong_among_held``,
        ``error_after`` among the decided, ``sensitivity_change`` and
        ``specificity_change``; for a rule also what it ``adds`` to the others.
        ``refusal`` and ``refusal_and_all`` hold the same shares of all slices.
        ``curves``: error among the decided over the share held back.
    """
    given = (
        [rules] * len(scored_slices.records)
        if isinstance(rules, Rules)
        else list(rules)
    )
    asked = np.array(
        [item is not Verdict.NOT_BRAIN_MRI for item in scored_slices.decisions], bool
    )
    of_all = _Measured(scored_slices)
    scored_slices = scored_slices.take(asked)
    if not len(scored_slices.records):
        return {"slices": 0, "patients": 0}
    given = [item for item, kept in zip(given, asked, strict=True) if kept]
    measured = _Measured(scored_slices)
    held = _held(scored_slices, given)
    every = np.any(list(held.values()), axis=0)
    decided = asked.copy()
    decided[asked] = ~every
    rule_figures = {name: measured.rule(rows) for name, rows in held.items()}
    for name in held:
        others = np.any([held[other] for other in held if other != name], axis=0)
        rule_figures[name]["adds"] = measured.shares(every & ~others)
    return {
        "slices": len(scored_slices.records),
        "patients": measured.resampling.patients,
        "without": measured.without(),
        "rules": rule_figures,
        "all": measured.rule(every),
        "refusal": of_all.rule(~asked),
        "refusal_and_all": of_all.rule(~decided),
        "levels": _levels(given),
        "curves": hold_back_curves(scored_slices, measured.right),
    }


class _Measured:
    """The decisions without any rule, and figures of those that are held back."""

    def __init__(self, scored_slices: ScoredSlices) -> None:
        self.resampling = Resampling(scored_slices.groups)
        self.tumor = scored_slices.tumor
        self.cleared = is_cleared(scored_slices.p_tumor, scored_slices.thresholds)
        self.right = _forced(scored_slices) == scored_slices.labels
        self._every = np.ones(len(self.right), bool)

    def without(self) -> dict[str, Any]:
        return {
            "error": self.resampling.share(~self.right, self._every),
            "sensitivity": self.resampling.share(~self.cleared, self.tumor),
            "specificity": self.resampling.share(self.cleared, ~self.tumor),
        }

    def shares(self, held: NDArray[np.bool_]) -> dict[str, Any]:
        return {
            "held": self.resampling.share(held, self._every),
            "errors_caught": self.resampling.share(held, ~self.right),
            "right_lost": self.resampling.share(held, self.right),
        }

    def rule(self, held: NDArray[np.bool_]) -> dict[str, Any]:
        return {
            **self.shares(held),
            "wrong_among_held": self.resampling.share(~self.right, held),
            "error_after": self.resampling.share(~self.right, ~held),
            # A tumour that is held back is not missed; a healthy slice that is
            # held back is not cleared.
            "sensitivity_change": self._mean(self.cleared & held, self.tumor, 1.0),
            "specificity_change": self._mean(self.cleared & held, ~self.tumor, -1.0),
        }

    def _mean(
        self, hits: NDArray[np.bool_], rows: NDArray[np.bool_], sign: float
    ) -> dict[str, float] | None:
        return figure(sign * self.resampling.mean(hits, rows))


def _forced(scored_slices: ScoredSlices) -> NDArray[np.int64]:
    """Name a class for every slice."""
    is_clear = np.zeros(scored_slices.probabilities.shape[1], bool)
    is_clear[clear_places(scored_slices.classes)] = True
    tumors, others = (
        np.where(kept, scored_slices.probabilities, -1.0)
        for kept in (~is_clear, is_clear)
    )
    return np.where(
        is_cleared(scored_slices.p_tumor, scored_slices.thresholds),
        others.argmax(axis=1),
        tumors.argmax(axis=1),
    )


def _held(
    scored_slices: ScoredSlices, rules: Sequence[Rules]
) -> dict[str, NDArray[np.bool_]]:
    suspected = ~is_cleared(scored_slices.p_tumor, scored_slices.thresholds)
    names = scored_slices.classes
    clear = clear_places(names)
    likeliest_none = np.isin(scored_slices.probabilities.argmax(axis=1), clear)
    in_set = np.delete(scored_slices.sets, clear, axis=1).sum(axis=1)
    disagreements = disagreement(
        scored_slices.slice_head, scored_slices.evidence_head, names
    )
    heads, brain = np.zeros((2, len(rules)), bool)
    for one in set(rules):
        rows = np.array([item == one for item in rules])
        heads |= rows & disagrees(one, disagreements)
        brain |= rows & lacks_brain(one, scored_slices.brain_shares)
    return {
        "weak_sign": suspected & likeliest_none,
        "several_tumors": suspected & ~likeliest_none & (in_set > 1),
        "heads_disagree": heads,
        "little_brain": brain,
    }


def _levels(rules: Sequence[Rules]) -> dict[str, list[float]]:
    """Thresholds in use: one, several of pooled folds, or none."""
    levels = {
        "heads_disagree": {item.head_disagreement for item in rules},
        "little_brain": {item.min_brain_share for item in rules},
    }
    return {
        name: sorted(level for level in in_use if level is not None)
        for name, in_use in levels.items()
    }


def hold_back_curves(
    scored_slices: ScoredSlices, right: NDArray[np.bool_]
) -> dict[str, dict[str, list[float]]]:
    """Hold back more and more slices, by what each rule looks at.

    Parameters
    ----------
    scored_slices
        N slices.
    right
        Shape (N,): whose decision is right.

    Returns
    -------
    dict
        The share ``held`` back, by what is looked at, and the ``error`` among
        the others.
    """
    apart = disagreement(
        scored_slices.slice_head, scored_slices.evidence_head, scored_slices.classes
    )
    orders = {
        "probability": (scored_slices.probabilities.max(axis=1), len(right)),
        "heads_disagree": (-apart, int((apart > 0.0).sum())),
        "little_brain": (scored_slices.brain_shares, len(right)),
    }
    curves = {}
    for name, (values, most) in orders.items():
        errors = np.cumsum(~right[np.argsort(values, kind="stable")])
        last = min(most, int(_MOST_HELD * len(right)))
        steps = np.unique(np.linspace(0, last, _CURVE_POINTS).astype(int))
        caught = np.where(steps > 0, errors[np.maximum(steps, 1) - 1], 0)
        left = (errors[-1] - caught) / (len(right) - steps)
        curves[name] = {
            "held": (steps / len(right)).tolist(),
            "error": left.tolist(),
        }
    return curves
