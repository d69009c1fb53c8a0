"""How good a bundle is on patients it has never seen, as a user would meet it.

Every figure comes from the served pipeline on the files themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.bundle import Bundle
from tumorlens.engine.predict import Classifier
from tumorlens.engine.results import Failure, Prediction
from tumorlens.errors import DatasetError
from tumorlens.learn.manifest import Record
from tumorlens.learn.metrics import (
    auroc,
    bootstrap,
    bootstrap_statistic,
    calibration_error,
)
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX, TumorClass, Verdict


@dataclass(frozen=True)
class Judged:
    """Slices with what is true and what the model said.

    Parameters
    ----------
    records
        N of them, labelled.
    probabilities
        Shape (N, 4), calibrated.
    decisions
        N of them.
    covered
        Shape (N,): whether the prediction set holds the true class.
    """

    records: Sequence[Record]
    probabilities: NDArray[np.float64]
    decisions: Sequence[TumorClass | Verdict]
    covered: NDArray[np.bool_]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, shape (N,)."""
        return np.array(
            [CLASSES.index(item.label) for item in self.records if item.label]
        )

    @property
    def patients(self) -> list[str]:
        """Group key of each slice."""
        return [item.group for item in self.records]


def evaluate(
    classifier: Classifier,
    records: Sequence[Record],
    operating_point: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Score a bundle on labelled pictures.

    Parameters
    ----------
    classifier
        With its bundle loaded.
    records
        Labelled rows of a manifest, of patients kept apart from training.
    operating_point
        By default the bundle's own.
    say
        Receives a line for each picture that could not be read.

    Returns
    -------
    dict
        Plain JSON: each figure as ``{"value", "low", "high"}`` with its 95 %
        interval over patients.

    Raises
    ------
    DatasetError
        No picture could be judged.
    """
    kept: list[Record] = []
    rows: list[Prediction] = []
    pointing: list[tuple[str, float, float]] = []
    labelled = [record for record in records if record.label is not None]
    results = classifier.predict_many(
        [record.path for record in labelled], operating_point=operating_point
    )
    # A file of several pages counts by its first: the label speaks of one slice.
    firsts = (row for row in results if isinstance(row, Failure) or row.index == 0)
    for record, result in zip(labelled, firsts, strict=True):
        if isinstance(result, Failure):
            say(f"Left out {result.source}: {result.message}")
            continue
        kept.append(record)
        if record.mask is not None and record.label is not TumorClass.NO_TUMOR:
            pointing.append(_localise(record, result))
        rows.append(result)
    if not rows:
        raise DatasetError(
            "None of the listed pictures could be judged.",
            "Run `tumorlens data audit` on the manifest to see why.",
        )
    judged = Judged(
        kept,
        np.array(
            [[row.decision.probabilities[name] for name in CLASSES] for row in rows]
        ),
        [row.decision.decision for row in rows],
        np.array(
            [
                record.label in row.decision.prediction_set
                for record, row in zip(kept, rows, strict=True)
            ]
        ),
    )
    figures = summarise(judged)
    figures["operating_points"] = _at_each_point(judged, classifier.bundle)
    figures["model"] = {
        "name": classifier.bundle.name,
        "version": classifier.bundle.version,
        "operating_point": rows[0].decision.operating_point,
    }
    if pointing:
        groups = [item[0] for item in pointing]
        for column, name in ((1, "peak_inside_outline"), (2, "dice_at_half_height")):
            values = np.array([float(item[column]) for item in pointing])
            figures[name] = _figure(bootstrap(values, groups))
    return figures


def summarise(judged: Judged) -> dict[str, Any]:
    """Turn judged slices into figures.

    Sensitivity counts a tumour slice as missed when its decision is
    ``no_tumor``; specificity counts a tumour-free slice as right only then.
    """
    labels, patients = judged.labels, judged.patients
    predicted = judged.probabilities.argmax(axis=1)
    right = (predicted == labels).astype(np.float64)
    tumor = labels != NO_TUMOR_INDEX
    cleared = np.array([item is TumorClass.NO_TUMOR for item in judged.decisions])
    unsure = np.array([item is Verdict.INCONCLUSIVE for item in judged.decisions])
    refused = np.array([item is Verdict.NOT_BRAIN_MRI for item in judged.decisions])
    p_tumor = 1.0 - judged.probabilities[:, NO_TUMOR_INDEX]

    def rate(values: NDArray[Any], rows: NDArray[np.bool_]) -> dict[str, float]:
        return _rate(values, rows, patients)

    every = np.ones(len(labels), bool)
    figures: dict[str, Any] = {
        "slices": len(labels),
        "patients": len(set(patients)),
        "accuracy": rate(right, every),
        "accuracy_by_patient": _by_patient(judged),
        "recall": {
            name: rate(right, labels == row) for row, name in enumerate(CLASSES)
        },
        "coverage": {
            name: rate(judged.covered, labels == row)
            for row, name in enumerate(CLASSES)
        },
        "tumor_sensitivity": rate(~cleared, tumor),
        "tumor_specificity": rate(cleared, ~tumor),
        "inconclusive": rate(unsure, every),
        "refused_as_foreign": rate(refused, every),
        "auroc_tumor": _figure(
            bootstrap_statistic(
                lambda rows: auroc(p_tumor[rows], tumor[rows]), patients
            )
        ),
        "calibration_error": _figure(
            bootstrap_statistic(
                lambda rows: calibration_error(
                    judged.probabilities[rows], labels[rows]
                ),
                patients,
            )
        ),
        "confusion": [
            [int(((labels == true) & (predicted == said)).sum()) for said in range(4)]
            for true in range(4)
        ],
        "by_source": {},
    }
    sources = np.array([item.source for item in judged.records])
    for source in sorted(set(sources.tolist())):
        rows = sources == source
        part: dict[str, Any] = {
            "slices": int(rows.sum()),
            "accuracy": rate(right, rows),
        }
        if (rows & tumor).any():
            part["tumor_sensitivity"] = rate(~cleared, rows & tumor)
        if (rows & ~tumor).any():
            part["tumor_specificity"] = rate(cleared, rows & ~tumor)
        figures["by_source"][source] = part
    return figures


def _at_each_point(judged: Judged, bundle: Bundle) -> dict[str, Any]:
    """Sensitivity and specificity at every operating point, counted as above."""
    tumor = judged.labels != NO_TUMOR_INDEX
    p_tumor = 1.0 - judged.probabilities[:, NO_TUMOR_INDEX]
    refused = np.array([item is Verdict.NOT_BRAIN_MRI for item in judged.decisions])
    found = {}
    for name, point in bundle.operating_points.items():
        cleared = (p_tumor < point.threshold) & ~refused
        found[name] = {
            "sensitivity": _rate(~cleared, tumor, judged.patients),
            "specificity": _rate(cleared, ~tumor, judged.patients),
        }
    return found


def _rate(
    values: NDArray[Any], rows: NDArray[np.bool_], patients: Sequence[str]
) -> dict[str, float]:
    groups = [name for name, keep in zip(patients, rows, strict=True) if keep]
    return _figure(bootstrap(values[rows].astype(np.float64), groups))


def _figure(found: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("value", "low", "high"), found, strict=True))


def _by_patient(judged: Judged) -> dict[str, float]:
    """Mean the probabilities of a patient's slices of one class, then judge."""
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row, (patient, label) in enumerate(
        zip(judged.patients, judged.labels, strict=True)
    ):
        groups[patient, int(label)].append(row)
    right = [
        float(judged.probabilities[rows].mean(axis=0).argmax() == label)
        for (_, label), rows in groups.items()
    ]
    return _figure(bootstrap(np.array(right), [patient for patient, _ in groups]))


def _localise(record: Record, result: Prediction) -> tuple[str, float, float]:
    """Pointing game (Zhang et al. 2018) and Dice at half of the map's peak."""
    drawn = cv2.imread(str(record.mask), cv2.IMREAD_GRAYSCALE)
    heat = result.explanation.evidence
    if drawn is None or drawn.shape != heat.shape:
        raise DatasetError(
            f"The outline {record.mask} is unreadable or of another size.",
            "Export the outline at the picture's size.",
        )
    inside = drawn > 127
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    found = heat >= 0.5 * heat.max()
    dice = 2.0 * float((found & inside).sum()) / float(found.sum() + inside.sum())
    return record.group, float(inside[peak]), dice
