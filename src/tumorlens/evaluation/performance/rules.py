"""What each rule of the decision layer buys, in errors held back, and what it costs.

Selective classification: a rule that holds slices back should hold back the
wrong ones (Chow 1970; El-Yaniv and Wiener 2010, JMLR 11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.performance.rule_curves import curve_chart, hold_back_curves
from tumorlens.evaluation.scoring.scored_slices import ScoredSet
from tumorlens.inference.bundle.facts import Rules, disagreement, disagrees, lacks_brain
from tumorlens.report.page_parts import Section, Table
from tumorlens.statistics.intervals import in_words
from tumorlens.statistics.resampling import Resampling, figure
from tumorlens.taxonomy import NO_TUMOR_INDEX, Verdict

RULES = {
    "weak_sign": "Signs of a tumour, too weak to name one",
    "several_tumors": "Several tumours in the prediction set",
    "heads_disagree": "The heads name different tumours",
    "little_brain": "Too little brain",
}
"""Key in the figures, and how the page calls the rule."""

NO_RULES = Rules()


def measure_rules(
    scored: ScoredSet, rules: Rules | Sequence[Rules] = NO_RULES
) -> dict[str, Any]:
    """Hold slices back by each rule alone and by all together.

    Without any rule a slice is called free of tumour below the screening
    threshold, and by its likeliest tumour from there on. Refusal as foreign
    is measured on all slices; the other rules on those that were not refused,
    since nobody asks them about the rest.

    Parameters
    ----------
    scored
        Of one bundle, or pooled over folds.
    rules
        Of the bundle; for pooled folds one for each slice.

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
    given = [rules] * len(scored.records) if isinstance(rules, Rules) else list(rules)
    asked = np.array(
        [item is not Verdict.NOT_BRAIN_MRI for item in scored.decisions], bool
    )
    of_all = _Measured(scored)
    scored = scored.take(asked)
    if not len(scored.records):
        return {"slices": 0, "patients": 0}
    given = [item for item, kept in zip(given, asked, strict=True) if kept]
    measured = _Measured(scored)
    held = _held(scored, given)
    every = np.any(list(held.values()), axis=0)
    decided = asked.copy()
    decided[asked] = ~every
    found = {name: measured.rule(rows) for name, rows in held.items()}
    for name in held:
        others = np.any([held[other] for other in held if other != name], axis=0)
        found[name]["adds"] = measured.shares(every & ~others)
    return {
        "slices": len(scored.records),
        "patients": measured.resampling.patients,
        "without": measured.without(),
        "rules": found,
        "all": measured.rule(every),
        "refusal": of_all.rule(~asked),
        "refusal_and_all": of_all.rule(~decided),
        "levels": _levels(given),
        "curves": hold_back_curves(scored, measured.right),
    }


class _Measured:
    """The decisions without any rule, and figures of those that are held back."""

    def __init__(self, scored: ScoredSet) -> None:
        self.resampling = Resampling(scored.groups)
        self.tumor = scored.tumor
        self.cleared = np.asarray(scored.p_tumor < scored.thresholds)
        self.right = _forced(scored) == scored.labels
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


def _forced(scored: ScoredSet) -> NDArray[np.int64]:
    """Name a class for every slice."""
    tumors = scored.probabilities.copy()
    tumors[:, NO_TUMOR_INDEX] = -1.0
    return np.where(
        scored.p_tumor < scored.thresholds, NO_TUMOR_INDEX, tumors.argmax(axis=1)
    )


def _held(scored: ScoredSet, rules: Sequence[Rules]) -> dict[str, NDArray[np.bool_]]:
    suspected = np.asarray(scored.p_tumor >= scored.thresholds)
    likeliest_none = scored.probabilities.argmax(axis=1) == NO_TUMOR_INDEX
    in_set = np.delete(scored.sets, NO_TUMOR_INDEX, axis=1).sum(axis=1)
    found = disagreement(scored.slice_head, scored.evidence_head)
    heads, brain = np.zeros((2, len(rules)), bool)
    for one in set(rules):
        rows = np.array([item == one for item in rules])
        heads |= rows & disagrees(one, found)
        brain |= rows & lacks_brain(one, scored.brain_shares)
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
        name: sorted(level for level in found if level is not None)
        for name, found in levels.items()
    }


def section(figures: Mapping[str, Any]) -> Section:
    """Show what `measure_rules` found."""
    if not figures["slices"]:
        return Section("rules", _TITLE, ("Every picture was refused as foreign.",))
    without = figures["without"]
    return Section(
        "rules",
        _TITLE,
        (
            f"{figures['slices']} slices of {figures['patients']} patients that were "
            "not refused as foreign. Without any rule, every one of them would be "
            "named: "
            f"{in_words(without['error'], percent=True)} wrongly, at a sensitivity of "
            f"{in_words(without['sensitivity'], percent=True)} and a specificity of "
            f"{in_words(without['specificity'], percent=True)}.",
            "A rule is worth having where it catches a larger share of the errors than "
            "it loses of the right decisions, and where the other rules do not do the "
            "same without it.",
            *_level_sentences(figures["levels"]),
        ),
        (_alone(figures), _added(figures), _refusal(figures)),
        (curve_chart(figures["curves"]),),
    )


_TITLE = "What each decision rule buys and costs"


def _level_sentences(levels: Mapping[str, Sequence[float]]) -> list[str]:
    found = []
    for name, values in levels.items():
        shown = ", ".join(f"{value:.3f}" for value in values)
        found.append(
            f"{RULES[name]}: {f'threshold {shown}' if shown else 'this rule is off'}."
        )
    return found


def _alone(figures: Mapping[str, Any]) -> Table:
    parts = [(RULES[name], item) for name, item in figures["rules"].items()]
    return _prices(
        "Each rule alone, and all together",
        "Made inconclusive",
        [*parts, ("All together", figures["all"])],
    )


def _refusal(figures: Mapping[str, Any]) -> Table:
    return _prices(
        "Of all slices, those refused as foreign too",
        "Not decided",
        [
            ("Refused as no brain MRI", figures["refusal"]),
            ("Refused, or held back by a rule", figures["refusal_and_all"]),
        ],
    )


def _prices(title: str, held: str, parts: Sequence[tuple[str, Any]]) -> Table:
    keys = {
        "held": held,
        "errors_caught": "Errors caught",
        "right_lost": "Right decisions lost",
        "wrong_among_held": "Wrong among the held",
        "error_after": "Error among the decided",
        "sensitivity_change": "Sensitivity, change",
        "specificity_change": "Specificity, change",
    }
    return Table(
        title,
        ("Rule", *keys.values()),
        [
            (name, *(in_words(item[key], percent=True) for key in keys))
            for name, item in parts
        ],
    )


def _added(figures: Mapping[str, Any]) -> Table:
    return Table(
        "What only this rule holds back",
        ("Rule", "Made inconclusive", "Errors caught", "Right decisions lost"),
        [
            (
                RULES[name],
                *(
                    in_words(item["adds"][key], percent=True)
                    for key in ("held", "errors_caught", "right_lost")
                ),
            )
            for name, item in figures["rules"].items()
        ],
    )
