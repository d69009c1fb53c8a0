"""The section on what each decision rule buys and costs.

Tested in `tests/evaluation/performance/test_rules.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tumorlens.report.page_parts import Chart, Line, Section, Table, figure_text

RULES = {
    "weak_sign": "Signs of a tumour, too weak to name one",
    "several_tumors": "Several tumours in the prediction set",
    "heads_disagree": "The heads name different tumours",
    "little_brain": "Too little brain",
}
"""Key in the figures, and how the page calls the rule."""

_TITLE = "What each decision rule buys and costs"

_ORDERINGS = {
    "probability": "Least sure of its class first",
    "heads_disagree": "Firmest disagreement of the heads first",
    "little_brain": "Least brain first",
}

_MOST_HELD = 0.3


def rules_section(figures: Mapping[str, Any]) -> Section:
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
            f"{figure_text(without['error'], percent=True)} wrongly, at a sensitivity "
            f"of {figure_text(without['sensitivity'], percent=True)} and a specificity "
            f"of {figure_text(without['specificity'], percent=True)}.",
            "A rule is worth having where it catches a larger share of the errors than "
            "it loses of the right decisions, and where the other rules do not do the "
            "same without it.",
            *_level_sentences(figures["levels"]),
        ),
        (_alone(figures), _added(figures), _refusal(figures)),
        (_curve_chart(figures["curves"]),),
    )


def _level_sentences(levels: Mapping[str, Sequence[float]]) -> list[str]:
    sentences = []
    for name, values in levels.items():
        shown = ", ".join(f"{value:.3f}" for value in values)
        sentences.append(
            f"{RULES[name]}: {f'threshold {shown}' if shown else 'this rule is off'}."
        )
    return sentences


def _alone(figures: Mapping[str, Any]) -> Table:
    parts = [(RULES[name], item) for name, item in figures["rules"].items()]
    return _prices(
        "Each rule alone, and all together",
        "Held back",
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
            (name, *(figure_text(item[key], percent=True) for key in keys))
            for name, item in parts
        ],
    )


def _added(figures: Mapping[str, Any]) -> Table:
    return Table(
        "What only this rule holds back",
        ("Rule", "Held back", "Errors caught", "Right decisions lost"),
        [
            (
                RULES[name],
                *(
                    figure_text(item["adds"][key], percent=True)
                    for key in ("held", "errors_caught", "right_lost")
                ),
            )
            for name, item in figures["rules"].items()
        ],
    )


def _curve_chart(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Chart:
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
