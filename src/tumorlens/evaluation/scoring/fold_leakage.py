"""Whether the pooled figures of a cross-validation are held out, fold by fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tumorlens.evaluation.scoring.leakage import likeness_words
from tumorlens.report.page_parts import Section, Table

_OWN_LEVEL = (
    "One thing is set on a fold's own pictures, without a look at their classes: the "
    "level below which a picture is refused as no brain MRI, so that at most 1 % of "
    "them are."
)


def pool_leakage(found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Join what was found of every fold.

    Parameters
    ----------
    found
        By fold, what `check_held_out` says of its bundle and of the slices it
        was scored on; at least one fold.

    Returns
    -------
    dict
        Plain JSON: ``held_out`` is true only where it is for every fold;
        ``statement`` is a sentence on all of them; ``slices`` and
        ``unnamed_slices`` are counted over them; ``folds`` holds each one's own, by
        its number as text.
    """
    leaking = [fold for fold, item in found.items() if not item["held_out"]]
    return {
        "held_out": not leaking,
        "statement": _statement(found, leaking),
        "slices": sum(item["slices"] for item in found.values()),
        "unnamed_slices": sum(item["unnamed_slices"] for item in found.values()),
        "folds": {str(fold): dict(item) for fold, item in sorted(found.items())},
    }


def _statement(found: Mapping[int, Mapping[str, Any]], leaking: list[int]) -> str:
    if leaking:
        names = ", ".join(str(fold) for fold in sorted(leaking))
        first = found[min(leaking)]["statement"]
        return (
            f"These figures are NOT held out in {len(leaking)} of {len(found)} folds "
            f"({names}). Fold {min(leaking)}: {first}"
        )
    return (
        f"These figures are held out: in each of {len(found)} folds no patient scored "
        "trained that fold's network or set its calibration, thresholds or rules, and "
        "no picture is a copy, by its fingerprint, of one that did."
        + likeness_words(sum(item["likeness_slices"] for item in found.values()))
    )


def section(figures: Mapping[str, Any]) -> Section:
    """Show what `pool_leakage` joined."""
    folds = figures["folds"]
    examples = [
        (fold, name) for fold, item in folds.items() for name in item["examples"]
    ]
    tables = [
        Table(
            "",
            (
                "Fold",
                "Slices scored",
                "Patients also in its training",
                "Slices of these",
                "Slices that name no patient",
                "Copies of its training pictures",
                "Pictures compared with",
            ),
            [(fold, *_row(item)) for fold, item in folds.items()],
        )
    ]
    if examples:
        tables.append(Table("Copies, for example", ("Fold", "Picture"), examples))
    return Section(
        "held-out",
        "Held out" if figures["held_out"] else "Not held out",
        (figures["statement"], _OWN_LEVEL),
        tables,
    )


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(found["slices"]),
        str(sum(found["shared_patients"].values())),
        str(found["shared_slices"]),
        str(found["unnamed_slices"]),
        "not looked for" if found["copies"] is None else str(found["copies"]),
        str(found["compared_with"]),
    )
