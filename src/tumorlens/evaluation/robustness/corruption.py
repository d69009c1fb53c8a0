"""How far a bundle falls when pictures are damaged as scanners and files do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.labelled_slices import pick_of_each_class, read_labelled_slice
from tumorlens.data.manifest import Record
from tumorlens.evaluation.robustness.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from tumorlens.evaluation.scoring.examined import Examined, judge_slices, shared
from tumorlens.imaging.study import Slice
from tumorlens.inference.classifier import Classifier
from tumorlens.report.figure_words import judged_apart
from tumorlens.report.page_parts import Chart, Line, Section, Table
from tumorlens.statistics.intervals import Figure, in_words
from tumorlens.statistics.resampling import (
    auroc_figure,
    mean_figure,
    share_figure,
)
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX, TumorClass, Verdict

_OF_EACH_CLASS = 50


@dataclass(frozen=True)
class _Sample:
    """N slices, by who judges them, with their class indices (N,) and patients."""

    parts: Sequence[tuple[Classifier, Sequence[Slice]]]
    labels: NDArray[np.int64]
    patients: Sequence[str]


@dataclass(frozen=True)
class _Answers:
    """What the bundle said of the sample; each of shape (N,)."""

    predicted: NDArray[np.int64]
    p_tumor: NDArray[np.float64]
    cleared: NDArray[np.bool_]
    refused: NDArray[np.bool_]


def measure_corruption(
    examined: Sequence[Examined],
    say: Callable[[str], None] = print,
    of_each_class: int = _OF_EACH_CLASS,
) -> dict[str, Any]:
    """Judge a sample clean, then under each corruption at each strength.

    Parameters
    ----------
    examined
        Bundles, of which each one's own operating point decides, and records:
        labelled ones are drawn from, flagged ones are left out.
    say
        Receives lines of progress.
    of_each_class
        Slices of each class at most, shared by the bundles, of as many patients
        as there are.

    Returns
    -------
    dict
        Plain JSON. ``bundles`` counts them. ``clean`` and ``kinds`` (by corruption,
        five strengths each) hold ``accuracy`` of the most probable class,
        ``auroc_tumor``, ``tumor_sensitivity`` (a tumour slice is missed when its
        decision is no tumour), ``tumor_specificity`` and ``refused``; ``drop``,
        ``sensitivity_drop`` and ``specificity_drop`` are the mean loss over all
        of them, in points of 100, paired slice by slice.
    """
    sample = _read(examined, shared(of_each_class, examined))
    figures: dict[str, Any] = {
        "bundles": len(examined),
        "slices": len(sample.patients),
        "patients": len(set(sample.patients)),
    }
    if not sample.patients:
        return figures
    clean = _judge(sample)
    figures["clean"] = _figures(clean, sample)
    figures["kinds"] = {}
    tumor = sample.labels != NO_TUMOR_INDEX
    lost, cleared = [], []
    for kind in CORRUPTIONS:
        say(f"Damaging {len(sample.patients)} slices: {kind}.")
        answers = [_judge(sample, kind, strength) for strength in STRENGTHS]
        lost.append(_lost(clean, answers, sample))
        cleared.append(_cleared(clean, answers))
        figures["kinds"][kind] = {
            "strengths": [_figures(item, sample) for item in answers],
            "drop": mean_figure(lost[-1], sample.patients),
        }
    figures["drop"] = mean_figure(np.mean(lost, axis=0), sample.patients)
    more = np.mean(cleared, axis=0)
    figures["sensitivity_drop"] = mean_figure(
        np.where(tumor, more, np.nan), sample.patients
    )
    figures["specificity_drop"] = mean_figure(
        np.where(tumor, np.nan, -more), sample.patients
    )
    return figures


def _lost(
    clean: _Answers, answers: Sequence[_Answers], sample: _Sample
) -> NDArray[np.float64]:
    """Points of accuracy that each slice loses, (N,), mean over strengths."""
    right = np.mean([item.predicted == sample.labels for item in answers], axis=0)
    return np.asarray(100.0 * ((clean.predicted == sample.labels) - right))


def _cleared(clean: _Answers, answers: Sequence[_Answers]) -> NDArray[np.float64]:
    """How much oftener each slice is called tumour-free, (N,), in points."""
    share = np.mean([item.cleared for item in answers], axis=0)
    return np.asarray(100.0 * (share - clean.cleared))


def _plain(records: Sequence[Record]) -> list[Record]:
    return [item for item in records if item.label is not None and not item.flag]


def _read(examined: Sequence[Examined], of_each_class: int) -> _Sample:
    parts, labels, patients = [], [], []
    for item in examined:
        slices = []
        for record in pick_of_each_class(_plain(item.records), of_each_class):
            found = read_labelled_slice(record)
            if found is not None and record.label is not None:
                slices.append(found)
                labels.append(CLASSES.index(record.label))
                patients.append(record.group)
        parts.append((item.classifier, slices))
    return _Sample(parts, np.array(labels, np.int64), patients)


def _judge(sample: _Sample, kind: str = "", strength: int = 0) -> _Answers:
    """Judge the sample as it is, or damaged: each slice by a draw of its own."""
    draws = count()

    def shown(item: Slice) -> Slice:
        if not kind:
            return item
        return replace(item, pixels=corrupt(item.pixels, kind, strength, next(draws)))

    found = [
        decision
        for classifier, slices in sample.parts
        for decision in judge_slices(classifier, map(shown, slices))
    ]
    said = [item.decision for item in found]
    return _Answers(
        np.array([CLASSES.index(item.predicted) for item in found]),
        np.array([item.p_tumor for item in found]),
        np.array([item is TumorClass.NO_TUMOR for item in said]),
        np.array([item is Verdict.NOT_BRAIN_MRI for item in said]),
    )


def _figures(answers: _Answers, sample: _Sample) -> dict[str, Any]:
    tumor = sample.labels != NO_TUMOR_INDEX
    patients = sample.patients

    def among(values: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Figure | None:
        return share_figure(np.where(rows, values, np.nan), patients)

    return {
        "accuracy": share_figure(answers.predicted == sample.labels, patients),
        "auroc_tumor": auroc_figure(answers.p_tumor, tumor, patients),
        "tumor_sensitivity": among(~answers.cleared, tumor),
        "tumor_specificity": among(answers.cleared, ~tumor),
        "refused": share_figure(answers.refused, patients),
    }


def section(figures: Mapping[str, Any]) -> Section:
    """Show what `measure_corruption` found."""
    identity, title = "corruption", "Under damage"
    if not figures["slices"]:
        return Section(identity, title, ("No labelled slice was there to damage.",))
    return Section(
        identity,
        title,
        (
            f"{figures['slices']} slices of {figures['patients']} patients were "
            f"judged clean, then damaged in {len(figures['kinds'])} ways at five "
            f"strengths, each by the same random draw.{judged_apart(figures)} "
            "On average over all of them "
            f"accuracy falls by {in_words(figures['drop'], digits=1)} points, "
            "tumour sensitivity by "
            f"{in_words(figures['sensitivity_drop'], digits=1)} points and tumour "
            f"specificity by {in_words(figures['specificity_drop'], digits=1)} "
            "points; below zero is a gain.",
            "A slice that is refused as no brain MRI still counts by its most "
            "probable class in the accuracy, as not missed in the sensitivity, "
            "and as not cleared in the specificity. A strong crop can cut away the "
            "tumour itself.",
        ),
        (_summary(figures), _strengths(figures)),
        (_chart(figures),),
    )


def _summary(figures: Mapping[str, Any]) -> Table:
    """Clean, and each kind at its strongest."""
    rows = [("none", "–", *_cells(figures["clean"]))]
    for kind, found in figures["kinds"].items():
        drop = in_words(found["drop"], digits=1)
        rows.append((kind, drop, *_cells(found["strengths"][-1])))
    return Table(
        "Mean drop over five strengths, and the figures at the strongest",
        (
            "Damage",
            "Drop of accuracy, points",
            "Accuracy",
            "AUROC of tumour",
            "Tumour sensitivity",
            "Tumour specificity",
            "Refused",
        ),
        rows,
    )


def _cells(found: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        in_words(found["accuracy"], percent=True),
        in_words(found["auroc_tumor"], digits=3),
        in_words(found["tumor_sensitivity"], percent=True),
        in_words(found["tumor_specificity"], percent=True),
        in_words(found["refused"], percent=True),
    )


def _strengths(figures: Mapping[str, Any]) -> Table:
    return Table(
        "Accuracy and AUROC of tumour by strength",
        ("Damage", *(f"Strength {strength}" for strength in STRENGTHS)),
        [
            (
                kind,
                *(
                    " / ".join(
                        "–" if row[key] is None else f"{row[key]['value']:.3f}"
                        for key in ("accuracy", "auroc_tumor")
                    )
                    for row in found["strengths"]
                ),
            )
            for kind, found in figures["kinds"].items()
        ],
    )


def _chart(figures: Mapping[str, Any]) -> Chart:
    clean = figures["clean"]["accuracy"]["value"]
    return Chart(
        "Accuracy by strength of damage",
        "Strength (0 is clean)",
        "Accuracy",
        [
            Line(
                kind,
                (0, *STRENGTHS),
                (clean, *(row["accuracy"]["value"] for row in found["strengths"])),
            )
            for kind, found in figures["kinds"].items()
        ],
        x_range=(0.0, float(STRENGTHS[-1])),
        y_range=(0.0, 1.0),
    )
