"""The slices that a bundle gets most wrong, to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError
from tumorlens.evaluation.scoring.scored_slices import ScoredSlices
from tumorlens.inference.bundle.facts import FLOAT32
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.slice.prediction import Prediction

WORST = 40
TRACED_SETS = ("cheng", "lgg")
"""Sets whose licence lets line drawings of their pictures be published: CC BY 4.0,
and CC BY by TCIA; the model card names them."""

_MOST_KINDS = 6
_OF_A_PATIENT = 2
"""Neighbouring slices fail alike; more of one patient would crowd out others."""

Predict = Callable[[Record], Prediction]
"""A function from a record to the prediction of the slice that its label speaks of."""


def worst_errors(
    scored_slices: ScoredSlices, count: int = WORST
) -> list[dict[str, Any]]:
    """Find the slices whose most probable class is wrong, the surest first.

    Parameters
    ----------
    scored_slices
        The set.
    count
        Largest number of errors; of one patient, two at most.

    Returns
    -------
    list of dict
        Plain JSON: ``row`` in the set, ``file`` (its name alone), ``source``,
        ``true``, ``said``, ``sure`` (the probability of what was said),
        ``true_probability``, and ``decision``.
    """
    predicted = scored_slices.probabilities.argmax(axis=1)
    sure = scored_slices.probabilities.max(axis=1)
    true_probability = scored_slices.probabilities[
        np.arange(len(predicted)), scored_slices.labels
    ]
    wrong = np.flatnonzero(predicted != scored_slices.labels)
    counts: Counter[str] = Counter()
    errors: list[dict[str, Any]] = []
    for row in wrong[np.lexsort((true_probability[wrong], -sure[wrong]))]:
        record = scored_slices.records[row]
        counts[record.group] += 1
        if counts[record.group] > _OF_A_PATIENT:
            continue
        errors.append(
            {
                "row": int(row),
                "file": record.path.name,
                "source": record.source,
                "true": str(record.label),
                "said": str(scored_slices.classes[predicted[row]]),
                "sure": float(sure[row]),
                "true_probability": float(true_probability[row]),
                "decision": str(scored_slices.decisions[row]),
            }
        )
        if len(errors) == count:
            break
    return errors


def typical_errors(
    scored_slices: ScoredSlices, most: int = _MOST_KINDS
) -> list[dict[str, Any]]:
    """Find the commonest kinds of error, of each the surest that may be drawn.

    Parameters
    ----------
    scored_slices
        The set.
    most
        Kinds at most: what is true and what was said.

    Returns
    -------
    list of dict
        Plain JSON: ``row`` in the set, ``source``, ``true``, ``said``, ``sure`` (the
        probability of what was said), and ``slices``: how many of the set are wrong
        in this way. A kind without a slice of `TRACED_SETS` is left out.
    """
    predicted = scored_slices.probabilities.argmax(axis=1)
    sure = scored_slices.probabilities.max(axis=1)
    wrong: list[int] = np.flatnonzero(predicted != scored_slices.labels).tolist()
    kinds = Counter(
        (int(scored_slices.labels[row]), int(predicted[row])) for row in wrong
    )
    errors: list[dict[str, Any]] = []
    for (true, call), count in sorted(kinds.items(), key=lambda item: -item[1]):
        rows = [
            row
            for row in wrong
            if (scored_slices.labels[row], predicted[row]) == (true, call)
            and scored_slices.records[row].source in TRACED_SETS
        ]
        if not rows or len(errors) == most:
            continue
        row = max(rows, key=lambda place: sure[place])
        errors.append(
            {
                "row": row,
                "source": scored_slices.records[row].source,
                "true": str(scored_slices.classes[true]),
                "said": str(scored_slices.classes[call]),
                "sure": float(sure[row]),
                "slices": count,
            }
        )
    return errors


def predictor(classifier: Classifier) -> Predict:
    """Return what predicts any record by one bundle."""

    def predict(record: Record) -> Prediction:
        predictions = classifier.predict(record.path)
        return predictions[0] if isinstance(predictions, list) else predictions

    return predict


def fold_predictor(bundles: Mapping[int, Path]) -> Predict:
    """Return what predicts a record by the bundle that left its fold out.

    Parameters
    ----------
    bundles
        Folders by fold; each is loaded when it is first asked.

    Returns
    -------
    callable
        It raises `DatasetError` for a record of a fold without a bundle.
    """

    @cache
    def predictor_of(fold: int | None) -> Predict:
        if fold is None or fold not in bundles:
            raise DatasetError(
                f"No bundle left the fold {fold} out.",
                f"Ask for records of the folds {sorted(bundles)}.",
            )
        return predictor(load_classifier(bundles[fold], precision=FLOAT32))

    return lambda record: predictor_of(record.fold)(record)
