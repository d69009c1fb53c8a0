"""Scored sets made up for tests: no network, no pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tumorlens.data.manifest import Record
from tumorlens.evaluation.scored_slices import ScoredSlices
from tumorlens.taxonomy import CLASSES, TumorClass, Verdict

SURE = 0.94


def made_set(said: list[tuple[str, str, str]], **columns: Any) -> ScoredSlices:
    """Make a set of (patient, true class, said class), said with 0.94 each.

    Parameters
    ----------
    said
        One for each slice.
    columns
        Fields of the set to have other values; ``source``, ``site`` and
        ``plane`` are those of the records.
    """
    facts = {
        name: columns.pop(name, [default] * len(said))
        for name, default in (("source", "made"), ("site", ""), ("plane", "axial"))
    }
    records = [
        Record(
            Path(f"{row}.png"),
            TumorClass(true),
            patient,
            **{name: values[row] for name, values in facts.items()},
        )
        for row, (patient, true, _) in enumerate(said)
    ]
    best = np.array([CLASSES.index(TumorClass(word)) for _, _, word in said])
    probabilities = np.full((len(said), len(CLASSES)), (1.0 - SURE) / 3)
    probabilities[np.arange(len(said)), best] = SURE
    probabilities = columns.pop("probabilities", probabilities)
    count, unknown = len(said), np.full(len(said), np.nan)
    fields: dict[str, Any] = {
        "records": records,
        "probabilities": probabilities,
        "slice_head": probabilities,
        "evidence_head": probabilities,
        "decisions": [_decision(row) for row in probabilities],
        "sets": probabilities >= 0.1,
        "domain_scores": np.ones(count),
        "brain_shares": np.full(count, 0.5),
        **dict.fromkeys(
            (
                *("peak_inside", "dice", "gradcam_peak_inside", "gradcam_dice"),
                *("center_peak_inside", "center_dice", "outline_shares"),
            ),
            unknown,
        ),
        "sharpness": np.arange(count, dtype=np.float64),
        "thresholds": np.full(count, 0.3),
        "balanced_thresholds": np.full(count, 0.5),
        "lesions": np.full((count, 2), np.nan),
        "sequences": [None] * count,
    }
    return ScoredSlices(**(fields | columns))


def _decision(row: np.ndarray) -> TumorClass | Verdict:
    if 1.0 - row[-1] < 0.3:
        return TumorClass.NO_TUMOR
    return CLASSES[int(row.argmax())] if row.max() > 0.5 else Verdict.TUMOR


def random_set(seed: int = 0, patients: int = 60, slices: int = 4) -> ScoredSlices:
    """Make a set with mistakes: three sources, two sites, three planes."""
    rng = np.random.default_rng(seed)
    said, parts = [], []
    for patient in range(patients):
        true = CLASSES[patient % 4]
        for number in range(slices):
            said.append((f"p{patient}", true, true))
            parts.append((f"s{patient % 3}", ("axial", "coronal", "")[number % 3]))
    labels = np.array([CLASSES.index(TumorClass(true)) for _, true, _ in said])
    scores = rng.normal(0.0, 1.0, (len(said), 4))
    scores[np.arange(len(said)), labels] += 2.5
    powers = np.exp(scores)
    tumor = labels != CLASSES.index(TumorClass.NO_TUMOR)
    outlined = np.where(tumor, rng.random(len(said)), np.nan)
    peaks = np.where(tumor, (outlined > 0.3).astype(float), np.nan)
    return made_set(
        said,
        probabilities=powers / powers.sum(axis=1, keepdims=True),
        source=[part[0] for part in parts],
        plane=[part[1] for part in parts],
        site=["north" if row % 2 else "south" for row in range(len(said))],
        peak_inside=peaks,
        dice=outlined,
        gradcam_peak_inside=peaks,
        gradcam_dice=outlined,
        center_peak_inside=peaks,
        center_dice=outlined,
        outline_shares=outlined / 4,
        sharpness=rng.random(len(said)),
    )
