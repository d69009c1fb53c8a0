"""The section on whether the explanation maps tell the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tumorlens.report.page_parts import (
    Chart,
    Line,
    Section,
    Table,
    figure_text,
    judged_apart,
)
from tumorlens.report.words import counted

MAPS = {"evidence": "Evidence map", "gradcam": "Grad-CAM"}

_TITLES = {
    **MAPS,
    "center": "Middle of the head",
    "random": "Cells at random",
}


def map_rows(figures_of_maps: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Sum up whether the maps tell the truth.

    Parameters
    ----------
    figures_of_maps
        Figures that a bundle keeps under ``faithfulness``, of at least one slice.

    Yields
    ------
    tuple of str
        A title, then a figure with its interval for each of `MAPS`. What needs
        outlines is left out where there are none.
    """
    shuffled, turned = (
        figures_of_maps["randomisation"],
        figures_of_maps["repeatability"]["turn"],
    )
    whole = shuffled["cascading"][-1]
    agreed = figures_of_maps["agreement"].get("gain_over_center", {})
    rows = {
        "Peak inside the outline, gain over the centre of the head": {
            name: agreed[name]["peak_inside"] for name in agreed
        },
        **{
            f"{way.capitalize()}, first quarter of the pixels, gain over the centre of "
            "the head": {
                name: figures_of_maps["deletion"][way]["gain_over_center"][name][
                    "early"
                ]
                for name in MAPS
            }
            for way in ("deletion", "insertion")
        },
        "Rank correlation with itself after shuffling all weights": {
            name: whole[name]["spearman"] for name in MAPS
        },
        "Rank correlation with another patient's map": {
            name: shuffled["other_patient"][name]["spearman"] for name in MAPS
        },
        "Correlation with itself after rotating the head by 3 and 8 degrees": {
            name: turned[name]["correlation"] for name in MAPS
        },
    }
    for title, figures in rows.items():
        if figures:
            yield title, *(figure_text(figures[name]) for name in MAPS)


def faithfulness_section(figures: Mapping[str, Any]) -> Section:
    """Show what `measure_faithfulness` found."""
    identity, title = "faithfulness", "Do the maps tell the truth?"
    if not figures["slices"]:
        return Section(identity, title, ("No tumour slice was there to test.",))
    return Section(
        identity,
        title,
        (
            f"Both maps were tested on {counted(figures['slices'], 'tumour slice')} of "
            f"{counted(figures['patients'], 'patient')}, for the class that the served "
            f"maps speak of.{judged_apart(figures)} "
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
    agreement = figures["agreement"]
    if not agreement["slices"]:
        return ()
    rows = [
        (
            _TITLES[name],
            figure_text(agreement[name]["peak_inside"], percent=True),
            figure_text(agreement[name]["dice"], digits=2),
            *(
                figure_text(
                    agreement["gain_over_center"].get(name, {}).get(key), digits=2
                )
                for key in ("peak_inside", "dice")
            ),
        )
        for name in (*MAPS, "center")
    ]
    return (
        Table(
            f"Agreement with outlines ({counted(agreement['slices'], 'slice')})",
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
    curves = figures["deletion"][way]
    rows = [
        (
            _TITLES[order],
            *(
                figure_text(figure.get(key), digits=2)
                for key in ("early", "area")
                for figure in (
                    curves[order],
                    curves["gain_over_center"].get(order, {}),
                    curves["gain_over_random"].get(order, {}),
                )
            ),
        )
        for order in _TITLES
    ]
    good = "small" if way == "deletion" else "large"
    gains = ("better than the middle by", "better than random by")
    return Table(
        f"{way.capitalize()}: mean height of the curve ({good} is good)",
        ("Order", "First quarter", *gains, "Whole curve", *gains),
        rows,
    )


def _random(figures: Mapping[str, Any]) -> Table:
    randomisation = figures["randomisation"]
    count = len(randomisation["cascading"])
    stages = [
        (f"last {stage['layers']} layers", stage)
        for stage in randomisation["cascading"]
    ]
    stages += [
        (f"part {row} of {count} alone, from the output", stage)
        for row, stage in enumerate(randomisation["independent"], 1)
    ]
    stages.append(("none: another patient's map", randomisation["other_patient"]))
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
                    figure_text(stage[name][kind], digits=2)
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
                figure_text(maps[name]["correlation"], digits=2),
                figure_text(maps[name]["peak_moved"], digits=1),
                figure_text(maps[name]["peak_stayed"], percent=True),
            )
            for way, maps in figures["repeatability"].items()
            for name in MAPS
        ],
    )


def _curves(figures: Mapping[str, Any], way: str) -> Chart:
    deletion = figures["deletion"]
    what = "deleted" if way == "deletion" else "inserted"
    return Chart(
        f"{way.capitalize()}: probability of the class",
        f"Share of the input {what}",
        "Calibrated probability",
        [
            Line(_TITLES[order], deletion["shares"], deletion[way][order]["curve"])
            for order in _TITLES
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
