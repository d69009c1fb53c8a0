"""Sections of a page of figures, and what a bundle keeps of its maps, made up."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from tests.conftest import draw_phantom
from tumorlens.report.page_parts import Chart, Line, Picture, Section, Table

HOSTILE = "<script>alert('x')</script> & \"quotes\""


def demo_sections() -> list[Section]:
    """Sections of words, tables, charts of every kind, and pictures."""
    return [_summary(), _discrimination(), _subgroups(), _errors(), _hostile()]


def demo_png(seed: int) -> bytes:
    """A drawn head beside a made-up map of it, encoded."""
    head = draw_phantom(lesion=(100 + 9 * seed, 120, 18), seed=seed)
    blur = cv2.GaussianBlur(head, (0, 0), 20)
    beside = np.hstack([cv2.cvtColor(head, cv2.COLOR_GRAY2BGR)] * 2)
    beside[:, head.shape[1] :] = cv2.applyColorMap(blur, cv2.COLORMAP_INFERNO)
    return cv2.imencode(".png", beside)[1].tobytes()


def _summary() -> Section:
    return Section(
        id="summary",
        title="In short",
        paragraphs=(
            "The figures are made up. Each stands with its 95 % interval, "
            "bootstrapped over patients, beside the same figure of another model.",
        ),
        tables=(
            Table(
                "Main figures",
                ("", "evidence-net", "seed-cnn", "Difference", "p"),
                (
                    (
                        "4-class accuracy, by slice",
                        "0.865 [0.830, 0.903]",
                        "0.717 [0.663, 0.769]",
                        "+0.148 [0.101, 0.190]",
                        "< 0.001",
                    ),
                    (
                        "4-class accuracy, by patient",
                        "0.958 [0.932, 0.983]",
                        "0.871 [0.830, 0.910]",
                        "+0.087 [0.050, 0.121]",
                        "0.002",
                    ),
                    ("Evidence peak inside", "0.698 [0.637, 0.755]", "–", "–", "–"),
                ),
            ),
        ),
    )


def _discrimination() -> Section:
    x = np.linspace(0, 1, 60)
    y = x**0.25
    bins = np.arange(0.05, 1, 0.1)
    right = np.clip(bins + 0.08 * np.sin(9 * bins), 0, 1)
    return Section(
        id="curves",
        title="Discrimination and calibration",
        charts=(
            Chart(
                "ROC, tumour against none",
                "1 − specificity",
                "Sensitivity",
                (
                    Line(
                        "evidence-net",
                        x.tolist(),
                        y.tolist(),
                        low=np.clip(y - 0.08, 0, 1).tolist(),
                        high=np.clip(y + 0.05, 0, 1).tolist(),
                    ),
                    Line("seed-cnn", x.tolist(), (x**0.5).tolist()),
                ),
                (0, 1),
                (0, 1),
                diagonal=True,
            ),
            Chart(
                "Reliability",
                "Probability said",
                "Share right",
                (
                    Line(
                        "evidence-net",
                        bins.tolist(),
                        right.tolist(),
                        "points",
                        (right - 0.06).tolist(),
                        (right + 0.06).tolist(),
                    ),
                ),
                (0, 1),
                (0, 1),
                diagonal=True,
            ),
            Chart(
                "Accuracy under corruption",
                "Strength",
                "Accuracy lost, points",
                tuple(
                    Line(name, (1, 2, 3, 4, 5), [k * n for n in (1, 2, 4, 7, 11)])
                    for k, name in enumerate(
                        ("noise", "blur", "bias field", "ghosting", "motion", "JPEG"),
                        start=1,
                    )
                ),
            ),
            Chart(
                "Slices by tumour size",
                "Outline's share of the head, %",
                "Slices",
                (
                    Line("right", (1, 2, 3, 4), (20, 110, 240, 90), "bars"),
                    Line(
                        "wrong",
                        (1, 2, 3, 4),
                        (18, 30, 22, 5),
                        "bars",
                        (12, 22, 15, 2),
                        (25, 39, 30, 9),
                    ),
                ),
            ),
        ),
    )


def _subgroups() -> Section:
    columns = (
        "Group",
        "Slices",
        "Patients",
        "Accuracy",
        "Tumour sensitivity",
        "Tumour specificity",
        "What it holds",
    )
    figure = "0.912 [0.880, 0.941]"
    return Section(
        id="subgroups",
        title="Subgroups",
        paragraphs=("A group with under ten patients says little.",),
        tables=tuple(
            Table(
                title,
                columns,
                tuple(
                    (name, "1,295", "215", figure, figure, "–", "T1 with contrast")
                    for name in names
                ),
            )
            for title, names in (
                ("By plane", ("axial", "coronal", "sagittal")),
                ("By source", ("cheng", "lgg", "notumor", "brisc_notumor")),
            )
        ),
    )


def _errors() -> Section:
    return Section(
        id="errors",
        title="The worst errors",
        paragraphs=("Drawn heads, not patients'.",),
        pictures=tuple(
            Picture(
                demo_png(seed),
                f"Drawn head {seed}: meningioma, called glioma with 97 %. Left the "
                "slice, right the evidence.",
            )
            for seed in range(5)
        ),
    )


def _hostile() -> Section:
    nothing = float("nan")
    return Section(
        id="hostile",
        title=HOSTILE,
        paragraphs=(HOSTILE,),
        tables=(Table(HOSTILE, ("", HOSTILE), ((HOSTILE, HOSTILE),)),),
        charts=(
            Chart(
                HOSTILE,
                HOSTILE,
                HOSTILE,
                (
                    Line(HOSTILE, (0, 1, 2, 3), (1, nothing, 2, 3)),
                    Line("A name that goes on and on " * 4, (0, 3), (1.5, 2.5)),
                ),
            ),
            Chart("Nothing to show", "x", "y", (Line("none", (0, 1), (nothing,) * 2),)),
        ),
        pictures=(Picture(demo_png(9), HOSTILE),),
    )


def figure(value: float, room: float = 0.02) -> dict[str, float]:
    """Make a figure with an interval."""
    return {"value": value, "low": value - room, "high": value + room}


def of_maps(key: str, first: float, second: float) -> dict[str, Any]:
    """Make a figure of the evidence map, and one of Grad-CAM."""
    return {"evidence": {key: figure(first)}, "gradcam": {key: figure(second)}}


def measured_maps(outlines: bool = True) -> dict[str, Any]:
    """Make all figures of both maps."""
    early = {"gain_over_center": of_maps("early", 0.2, 0.1)}
    inside = {"gain_over_center": of_maps("peak_inside", 0.5, 0.4)}
    return {
        "slices": 12,
        "patients": 7,
        "agreement": inside if outlines else {"slices": 0},
        "deletion": {"deletion": early, "insertion": early},
        "randomisation": {
            "cascading": [
                of_maps("spearman", 0.9, 0.9),
                of_maps("spearman", 0.06, 0.07),
            ],
            "other_patient": of_maps("spearman", 0.3, 0.31),
        },
        "repeatability": {"turn": of_maps("correlation", 0.8, 0.81)},
    }
