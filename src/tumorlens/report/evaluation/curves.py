"""The sections of curves: discrimination, calibration and net benefit.

Tested in `tests/evaluation/performance/test_curves.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tumorlens.report.page_parts import Chart, Line, Section, Table, figure_text
from tumorlens.taxonomy import class_title

Figures = Mapping[str, Any]
_UNIT = (0.0, 1.0)


def curve_sections(figures: Figures) -> list[Section]:
    """Show what `curve_figures` found, under the key ``curves`` of the metrics."""
    curves = figures["curves"]
    sections = [_reliability(curves["reliability"])]
    if curves["roc"]:
        sections.insert(0, _discrimination(figures))
    if "decision" in curves:
        sections.append(_decision(curves["decision"]))
    return sections


def _line(name: str, curve: Figures, *, band: bool = True) -> Line:
    low, high = (curve["low"], curve["high"]) if band else ((), ())
    return Line(name, curve["x"], curve["y"], low=low, high=high)


def _title(name: str) -> str:
    known = {"tumor": "Tumour, by slice", "tumor_by_patient": "Tumour, by patient"}
    return known.get(name) or class_title(name)


def _discrimination(figures: Figures) -> Section:
    curves = figures["curves"]
    tumor = [name for name in curves["roc"] if name.startswith("tumor")]
    classes = [name for name in curves["roc"] if not name.startswith("tumor")]
    charts = []
    for key, title, x, y in (
        ("roc", "ROC", "1 - specificity", "Sensitivity"),
        ("precision_recall", "Precision and recall", "Recall", "Precision"),
    ):
        for names, what in ((tumor, "tumour or none"), (classes, "one against rest")):
            lines = [
                _line(_title(name), curves[key][name], band=names is tumor)
                for name in names
            ]
            across, up = _operating_points(figures)
            if key == "roc" and names is tumor and across:
                lines.append(Line("Operating points", across, up, "points"))
            if lines:
                charts.append(
                    Chart(f"{title}: {what}", x, y, lines, _UNIT, _UNIT, key == "roc")
                )
    rows = [
        (
            _title(name),
            figure_text(item["average_precision"]),
            f"{item['prevalence']:.3f}",
        )
        for name, item in curves["precision_recall"].items()
    ]
    return Section(
        "discrimination",
        "How well it tells them apart, at every threshold",
        (
            "Bands are 95 % intervals over patients. An average precision is to be "
            "compared with the share of positives, which chance would reach.",
        ),
        (Table("", ("", "Average precision", "Share of positives"), rows),),
        charts,
    )


def _reliability(curves: Figures) -> Section:
    charts = []
    for key, title, x, y in (
        (
            "most_probable",
            "Most probable class",
            "Probability of the most probable class",
            "Share that is right",
        ),
        ("tumor", "Tumour", "Probability of tumour", "Share that shows a tumour"),
    ):
        rows = curves[key]["bins"]
        charts.append(
            Chart(
                title,
                x,
                y,
                [
                    Line(
                        "Slices, 15 bins",
                        [row["sure"] for row in rows],
                        [row["right"]["value"] for row in rows],
                        "points",
                        [row["right"]["low"] for row in rows],
                        [row["right"]["high"] for row in rows],
                    )
                ],
                _UNIT,
                _UNIT,
                True,
            )
        )
    return Section(
        "calibration",
        "Does it mean its probabilities?",
        (
            "On the diagonal slices that are said to be right with 80 % are right in "
            "80 %. Below it the model boasts, above it is too modest. Bins with few "
            "slices have wide intervals.",
        ),
        (
            Table(
                "Most probable class, by bin",
                ("Probability", "Slices", "Mean probability", "Share that is right"),
                [
                    (
                        f"{row['from']:.2f} to {row['to']:.2f}",
                        str(row["slices"]),
                        f"{row['sure']:.3f}",
                        figure_text(row["right"]),
                    )
                    for row in curves["most_probable"]["bins"]
                ],
            ),
        ),
        charts,
    )


def _decision(curve: Figures) -> Section:
    lines = [
        _line("Act on the model", curve),
        Line("Act on every slice", curve["x"], curve["all"]),
        Line("Act on none", curve["x"], [0.0] * len(curve["x"])),
    ]
    top = max(*curve["high"], curve["prevalence"]) * 1.05
    return Section(
        "decision-curve",
        "What acting on it would be worth",
        (
            "Net benefit (Vickers and Elkin 2006, Med Decis Making): tumour slices "
            "found less false alarms, a false alarm weighing as much as the threshold "
            "says, per slice. It is worth something where it lies above both acting "
            "on every slice and on none. It holds for this set's share of tumours, "
            f"{curve['prevalence']:.2f}, which no clinic has.",
        ),
        (),
        (
            Chart(
                "Decision curve, tumour or none",
                "Probability of tumour from which one acts",
                "Net benefit per slice",
                lines,
                _UNIT,
                (min(-0.05, *curve["y"]) if min(curve["y"]) > -0.5 else -0.5, top),
            ),
        ),
    )


def _operating_points(figures: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Place the operating points on the ROC: false alarms, and sensitivity."""
    rates = [
        item
        for item in figures["operating_points"].values()
        if item["specificity"] and item["sensitivity"]
    ]
    return (
        [1.0 - item["specificity"]["value"] for item in rates],
        [item["sensitivity"]["value"] for item in rates],
    )
