"""Whether the maps tell the truth: the tests that most explainers fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tumorlens.evaluation.explanations.agreement import measure_agreement
from tumorlens.evaluation.explanations.cases import MAPS, read_cases
from tumorlens.evaluation.explanations.deletion import ORDERS, measure_deletion
from tumorlens.evaluation.explanations.randomise import measure_randomisation
from tumorlens.evaluation.explanations.repeatability import measure_repeatability
from tumorlens.evaluation.scoring.examined import Examined
from tumorlens.report.evaluation.network_figures import MAPS as MAP_TITLES
from tumorlens.report.figure_words import judged_apart
from tumorlens.report.page_parts import Chart, Line, Section, Table
from tumorlens.statistics.intervals import in_words

_CASES = 60

_TITLES = {
    **MAP_TITLES,
    "center": "Middle of the head",
    "random": "Cells at random",
}


def measure_faithfulness(
    examined: Sequence[Examined],
    say: Callable[[str], None] = print,
    count: int = _CASES,
) -> dict[str, Any]:
    """Test the evidence map and Grad-CAM on tumour slices.

    Parameters
    ----------
    examined
        Bundles, of networks of one kind, and records: plain tumour slices are drawn
        from, those with an outline first.
    say
        Receives lines of progress.
    count
        Slices at most, shared evenly by the bundles and between the tumour classes.

    Returns
    -------
    dict
        Plain JSON: ``bundles``, ``slices``, ``patients``, and what `measure_agreement`,
        `measure_deletion`, `measure_randomisation` and `measure_repeatability`
        found, under ``agreement``, ``deletion``, ``randomisation`` and
        ``repeatability``; these are left out without tumour slices.
    """
    cases = read_cases(examined, count)
    figures: dict[str, Any] = {
        "bundles": len(examined),
        "slices": len(cases),
        "patients": len({case.record.group for case in cases}),
    }
    if not cases:
        return figures
    say(f"Comparing the maps of {len(cases)} tumour slices with outlines.")
    figures["agreement"] = measure_agreement(cases)
    say("Deleting and inserting what the maps mark.")
    figures["deletion"] = measure_deletion(cases)
    say("Shifting and turning slices.")
    figures["repeatability"] = measure_repeatability(cases)
    figures["randomisation"] = measure_randomisation(cases, say)
    return figures


def section(figures: Mapping[str, Any]) -> Section:
    """Show what `measure_faithfulness` found."""
    identity, title = "faithfulness", "Do the maps tell the truth?"
    if not figures["slices"]:
        return Section(identity, title, ("No tumour slice was there to test.",))
    return Section(
        identity,
        title,
        (
            f"Both maps were tested on {figures['slices']} tumour slices of "
            f"{figures['patients']} patients, for the class that the served maps "
            f"speak of.{judged_apart(figures)} "
            "Brackets hold 95 % intervals over patients.",
            "Deletion blurs away what a map marks, the strongest spots first; "
            "insertion brings it back to a blurred slice. After a faithful map the "
            "probability falls at once, and rises at once (Petsiuk et al. 2018). "
            "Always taking the middle of the head first is the guess to beat. The "
            "first quarter of the pixels tells most: after it every order has taken "
            "the tumour.",
            "Parameter randomisation shuffles the network's weights, from the output "
            "towards the input (Adebayo et al. 2018). A map that explains the model "
            "loses its likeness to the one before, down to what maps of two "
            "different patients share; a map that does not only shows the picture.",
        ),
        (
            *_agreement(figures),
            _deletion(figures, "deletion"),
            _deletion(figures, "insertion"),
            _random(figures),
            _repeat(figures),
        ),
        (_curves(figures, "deletion"), _curves(figures, "insertion"), _fall(figures)),
    )


def _agreement(figures: Mapping[str, Any]) -> tuple[Table, ...]:
    found = figures["agreement"]
    if not found["slices"]:
        return ()
    rows = [
        (
            _TITLES[name],
            in_words(found[name]["peak_inside"], percent=True),
            in_words(found[name]["dice"]),
            *(
                in_words(found["gain_over_center"].get(name, {}).get(key))
                for key in ("peak_inside", "dice")
            ),
        )
        for name in (*MAPS, "center")
    ]
    return (
        Table(
            f"Agreement with outlines ({found['slices']} slices)",
            (
                "Map",
                "Peak inside the outline",
                "Dice at half height",
                "Peak inside, more than the middle of the head",
                "Dice, more than the middle of the head",
            ),
            rows,
        ),
    )


def _deletion(figures: Mapping[str, Any], way: str) -> Table:
    found = figures["deletion"][way]
    rows = [
        (
            _TITLES[order],
            *(
                in_words(figure.get(key))
                for key in ("early", "area")
                for figure in (
                    found[order],
                    found["gain_over_center"].get(order, {}),
                    found["gain_over_random"].get(order, {}),
                )
            ),
        )
        for order in ORDERS
    ]
    good = "small" if way == "deletion" else "large"
    gains = ("better than the middle by", "better than random by")
    return Table(
        f"{way.capitalize()}: mean height of the curve ({good} is good)",
        ("Order", "First quarter", *gains, "Whole curve", *gains),
        rows,
    )


def _random(figures: Mapping[str, Any]) -> Table:
    found = figures["randomisation"]
    count = len(found["cascading"])
    stages = [(f"last {stage['layers']} layers", stage) for stage in found["cascading"]]
    stages += [
        (f"part {row} of {count} alone, from the output", stage)
        for row, stage in enumerate(found["independent"], 1)
    ]
    stages.append(("none: another patient's map", found["other_patient"]))
    return Table(
        "Likeness of maps before and after shuffling weights (1 is the same map)",
        (
            "Shuffled",
            *(
                f"{_TITLES[name]}, {kind}"
                for name in MAPS
                for kind in ("rank correlation", "SSIM")
            ),
        ),
        [
            (
                title,
                *(
                    in_words(stage[name][kind])
                    for name in MAPS
                    for kind in ("spearman", "ssim")
                ),
            )
            for title, stage in stages
        ],
    )


def _repeat(figures: Mapping[str, Any]) -> Table:
    titles = {"shift": "shifted by 2 and 5 %", "turn": "turned by 3 and 8 degrees"}
    return Table(
        "Repeatability: maps of the same slice taken a little otherwise, laid back",
        (
            "Map",
            "Correlation",
            "Peak moves, % of the head",
            "Peak stays within 10 %",
        ),
        [
            (
                f"{_TITLES[name]}, {titles[way]}",
                in_words(found[name]["correlation"]),
                in_words(found[name]["peak_moved"], digits=1),
                in_words(found[name]["peak_stayed"], percent=True),
            )
            for way, found in figures["repeatability"].items()
            for name in MAPS
        ],
    )


def _curves(figures: Mapping[str, Any], way: str) -> Chart:
    found = figures["deletion"]
    what = "deleted" if way == "deletion" else "inserted"
    return Chart(
        f"{way.capitalize()}: probability of the class",
        f"Share of the input {what}",
        "Calibrated probability",
        [
            Line(_TITLES[order], found["shares"], found[way][order]["curve"])
            for order in ORDERS
        ],
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
    )


def _fall(figures: Mapping[str, Any]) -> Chart:
    stages = figures["randomisation"]["cascading"]
    depth = (0, *(stage["layers"] for stage in stages))
    return Chart(
        "Cascading randomisation: likeness to the map before",
        "Layers shuffled, from the output",
        "Rank correlation",
        [
            Line(
                _TITLES[name],
                depth,
                (1.0, *(stage[name]["spearman"]["value"] for stage in stages)),
            )
            for name in MAPS
            if all(stage[name]["spearman"] for stage in stages)
        ],
        y_range=(-0.2, 1.0),
    )
