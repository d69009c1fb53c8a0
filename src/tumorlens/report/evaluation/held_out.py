"""The section that says whether figures are held out.

Tested in `tests/evaluation/scoring/test_leakage.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tumorlens.report.page_parts import Section, Table

_OWN_LEVEL = (
    "One thing is set on a fold's own pictures, without a look at their classes: the "
    "level below which a picture is refused as no brain MRI, so that at most 1 % of "
    "them are."
)


def held_out_section(leakage: Mapping[str, Any]) -> Section:
    """Say whether figures are held out, and from what.

    Parameters
    ----------
    leakage
        From `tumorlens.evaluation.scoring.leakage`: of one bundle
        (`check_held_out`), or pooled over folds (`pool_leakage`).
    """
    return _of_folds(leakage) if "folds" in leakage else _of_one_bundle(leakage)


def _of_one_bundle(figures: Mapping[str, Any]) -> Section:
    copies = "not looked for" if figures["copies"] is None else str(figures["copies"])
    rows = [
        ("Slices scored", str(figures["slices"])),
        *(
            (f"Patients also in the bundle's split '{split}'", str(count))
            for split, count in figures["shared_patients"].items()
        ),
        ("Slices of these patients", str(figures["shared_slices"])),
        *(
            (("Models that it started from, counted in", str(figures["parents"])),)
            if figures.get("parents")
            else ()
        ),
        ("Slices that name no patient", str(figures["unnamed_slices"])),
        ("Copies, or nearly, of training pictures", copies),
        *(
            (f"of these, from '{name}'", str(count))
            for name, count in figures["copies_by_source"].items()
        ),
        *(("for example", name) for name in figures["examples"]),
        ("Training pictures compared with", str(figures["compared_with"])),
    ]
    return Section(
        "held-out",
        "Held out" if figures["held_out"] else "Not held out",
        (figures["statement"],),
        (Table("", ("", "Number"), rows),),
    )


def _of_folds(figures: Mapping[str, Any]) -> Section:
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
            [(fold, *_fold_row(item)) for fold, item in folds.items()],
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


def _fold_row(leakage: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(leakage["slices"]),
        str(sum(leakage["shared_patients"].values())),
        str(leakage["shared_slices"]),
        str(leakage["unnamed_slices"]),
        "not looked for" if leakage["copies"] is None else str(leakage["copies"]),
        str(leakage["compared_with"]),
    )
