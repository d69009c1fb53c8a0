"""The model card's pictures: charts and line drawings, since no scan may be shown."""

from __future__ import annotations

from dataclasses import dataclass

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.charts.svg_intervals import draw_intervals
from tumorlens.report.charts.svg_sketches import draw_sketches
from tumorlens.report.model_card.sets import SETS, measured_sets
from tumorlens.taxonomy import CLASSES, INFO

FOLDER = "figures"
"""Where the pictures lie, seen from the card."""

_KINDS = {
    "recall": ("Recall by class", "Recall, 95 % interval over patients"),
    "coverage_by_patient": (
        "Coverage of the prediction sets, by patient",
        "Mean over patients, 95 % interval",
    ),
    "coverage": (
        "Coverage of the prediction sets",
        "Proportion of slices, 95 % interval over patients",
    ),
}


@dataclass(frozen=True)
class CardChart:
    """A picture of the card.

    Parameters
    ----------
    file
        Name, for the folder `FOLDER` beside the card.
    title
        In words.
    svg
        Its content.
    """

    file: str
    title: str
    svg: str


def card_charts(bundle: Bundle) -> list[CardChart]:
    """Draw the card's pictures; the colours are the classes' own."""
    charts = []
    for name, found in measured_sets(bundle):
        for kind, (words, label) in _KINDS.items():
            known = found.get(kind, {})
            if not all(known.get(item) for item in CLASSES):
                continue
            title = f"{words}: {SETS[name][0].lower()}"
            rows = [(INFO[item].title, known[item]) for item in CLASSES]
            file = f"card-{name}-{kind}.svg".replace("_", "-")
            charts.append(CardChart(file, title, draw_intervals(title, label, rows)))
        if found.get("sketches"):
            title = f"The commonest kinds of error: {SETS[name][0].lower()}"
            file = f"card-{name}-errors.svg".replace("_", "-")
            charts.append(
                CardChart(file, title, draw_sketches(title, found["sketches"]))
            )
    return charts


def chart_links(bundle: Bundle) -> list[str]:
    """Show the pictures in the card."""
    lines = []
    for chart in card_charts(bundle):
        lines += ["", f"![{chart.title}]({FOLDER}/{chart.file})"]
    if any(found.get("sketches") for _, found in measured_sets(bundle)):
        lines += [
            "",
            "The drawings of errors show one slice each, the most confident of its "
            "kind, with the number of slices that are wrong in this way. They are "
            "traced from images of `cheng` (Cheng et al. 2015, CC BY 4.0) and `lgg` "
            "(TCGA-LGG, CC BY). The evaluation page shows the worst errors themselves.",
        ]
    return lines
