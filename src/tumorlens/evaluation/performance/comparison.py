"""Two bundles on the same slices: how far apart, and whether by chance.

Patients are what is independent, not slices, so whole patients are drawn for
the intervals and swapped for the tests. McNemar's test of slices would count a
patient's slices as so many patients, and find differences that are not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tumorlens.errors import DatasetError
from tumorlens.evaluation.performance.figures import brier_draws, calibration_draws
from tumorlens.evaluation.scored_slices import (
    Judgements,
    ScoredSlices,
    by_slice,
)
from tumorlens.statistics import Draws, Resampling, Statistic, figure, ratio
from tumorlens.taxonomy import Finding, TumorClass, class_title

SWAPS = 999
"""Random swaps of a permutation test; p is at least 1 / (SWAPS + 1)."""

_SEED = 21


@dataclass(frozen=True)
class _Answers:
    """Compared answers of one bundle for N slices and U units.

    A unit is a patient's slices of one class.
    """

    judgements: Judgements
    cleared: NDArray[np.bool_]
    peaks: NDArray[np.float64]
    dice: NDArray[np.float64]
    units: NDArray[np.int64]

    @classmethod
    def of(cls, scored_slices: ScoredSlices) -> Self:
        keys = [f"{item.label}\t{item.group}" for item in scored_slices.records]
        return cls(
            by_slice(scored_slices),
            np.array([item is TumorClass.NO_TUMOR for item in scored_slices.decisions]),
            scored_slices.peak_inside,
            scored_slices.dice,
            np.unique(keys, return_inverse=True)[1],
        )

    def swapped(self, other: Self, rows: NDArray[np.bool_]) -> Self:
        """Take the other's answers in some rows (N,)."""
        sure, others = self.judgements.probabilities, other.judgements.probabilities
        return replace(
            self,
            judgements=replace(
                self.judgements, probabilities=np.where(rows[:, None], others, sure)
            ),
            cleared=np.where(rows, other.cleared, self.cleared),
            peaks=np.where(rows, other.peaks, self.peaks),
            dice=np.where(rows, other.dice, self.dice),
        )

    @property
    def patients(self) -> NDArray[np.int64]:
        """Number of each slice's patient, from 0, shape (N,)."""
        numbers = np.unique(np.asarray(self.judgements.groups), return_inverse=True)
        return np.asarray(numbers[1], np.int64)

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.judgements.predicted == self.judgements.labels)

    @property
    def right_units(self) -> NDArray[np.bool_]:
        """Units that the mean of the probabilities gets right, shape (U,)."""
        sums = np.stack(
            [
                np.bincount(self.units, column)
                for column in self.judgements.probabilities.T
            ],
            axis=1,
        )
        labels = np.zeros(len(sums), np.int64)
        labels[self.units] = self.judgements.labels
        return np.asarray(sums.argmax(axis=1) == labels)


def compare(first: ScoredSlices, second: ScoredSlices) -> dict[str, Any]:
    """Compare two bundles on the slices that both have judged.

    Parameters
    ----------
    first, second
        Scored on the same manifest, of the same classes; slices are matched by their
        files.

    Returns
    -------
    dict
        Plain JSON: ``slices``, ``patients``; ``figures``, by name: ``first``,
        ``second``, ``difference`` (first less second; its interval is of
        paired draws of patients), and ``p``, two-sided, of a permutation test
        that swaps the bundles' answers patient by patient (Pitman 1937, J R
        Stat Soc Suppl; Ernst 2004, Stat Sci, on random samples of swaps);
        ``mcnemar``: patients whom one judges better than the other, and the
        exact p of it (McNemar 1947, Psychometrika, with one row a patient).

    Raises
    ------
    DatasetError
        They share no slice.
    """
    first, second = _matched(first, second)
    draws = Resampling(first.groups)
    one, two = _Answers.of(first), _Answers.of(second)
    statistics = _statistics(first.classes)
    p_values = _permuted(one, two, draws, statistics)
    compared = {}
    for name, statistic in statistics.items():
        mine, theirs = (statistic.measure(item, draws) for item in (one, two))
        if np.isfinite(mine[0]) and np.isfinite(theirs[0]):
            compared[name] = {
                "first": statistic.figure(mine, one, draws),
                "second": statistic.figure(theirs, two, draws),
                "difference": figure(mine - theirs),
                "p": p_values[name],
            }
    return {
        "slices": len(first.records),
        "patients": draws.patients,
        "figures": compared,
        "mcnemar": _mcnemar(one, two),
    }


def _matched(
    first: ScoredSlices, second: ScoredSlices
) -> tuple[ScoredSlices, ScoredSlices]:
    places = {record.path: row for row, record in enumerate(second.records)}
    pairs = [
        (row, places[record.path])
        for row, record in enumerate(first.records)
        if record.path in places
    ]
    if not pairs:
        raise DatasetError(
            "The two bundles have judged no slice in common.",
            "Score both on the same manifest.",
        )
    rows = np.array(pairs)
    return first.take(rows[:, 0]), second.take(rows[:, 1])


def _permuted(
    first: _Answers,
    second: _Answers,
    draws: Resampling,
    statistics: Mapping[str, Statistic[_Answers]],
) -> dict[str, float]:
    """Give by statistic the share of random swaps that set the two as far apart."""
    rng = np.random.default_rng(_SEED)
    patients = first.patients
    whole = draws.without_draws()

    def apart(swap: NDArray[np.bool_]) -> NDArray[np.float64]:
        one, two = first.swapped(second, swap), second.swapped(first, swap)
        return np.array(
            [
                float(item.measure(one, whole)[0] - item.measure(two, whole)[0])
                for item in statistics.values()
            ]
        )

    observed = np.abs(apart(np.zeros(len(patients), bool)))
    as_far = np.ones(len(observed))
    for drawn in rng.random((SWAPS, draws.patients)) < 0.5:
        # Rounding must not make a swap of equal answers look nearer.
        as_far += np.abs(apart(drawn[patients])) >= observed - 1e-12
    return dict(zip(statistics, (as_far / (1 + SWAPS)).tolist(), strict=True))


def _mcnemar(first: _Answers, second: _Answers) -> dict[str, Any]:
    # Somebody with slices of two classes has two units, and still is one patient.
    patients = np.zeros(len(first.right_units), np.int64)
    patients[first.units] = first.patients
    gain = first.right_units.astype(np.float64) - second.right_units
    gains = np.bincount(patients, gain)
    only_first, only_second = int((gains > 0).sum()), int((gains < 0).sum())
    either = only_first + only_second
    p = float(binomtest(only_first, either).pvalue) if either else 1.0
    return {"only_first": only_first, "only_second": only_second, "p": p}


def _accuracy_by_patient(answers: _Answers, draws: Resampling) -> Draws:
    # Every slice stands for its part of the unit, so that a unit counts as one.
    part = 1.0 / np.bincount(answers.units)[answers.units]
    right = answers.right_units[answers.units]
    return ratio(draws.sums(np.where(right, part, 0.0)), draws.sums(part))


def _recall(row: int) -> Statistic[_Answers]:
    def of_class(answers: _Answers) -> NDArray[np.bool_]:
        return np.asarray(answers.judgements.labels == row)

    return Statistic(
        lambda answers, draws: draws.mean(answers.right, of_class(answers)), of_class
    )


def _all(answers: _Answers) -> NDArray[np.bool_]:
    return np.ones(len(answers.right), bool)


def _where_known(values: NDArray[np.float64], draws: Resampling) -> Draws:
    is_finite = np.isfinite(values)
    return draws.mean(np.where(is_finite, values, 0.0), is_finite)


def _statistics(classes: Sequence[Finding]) -> dict[str, Statistic[_Answers]]:
    """Give the figures that are compared, by their names on the page.

    Parameters
    ----------
    classes
        The bundles': the four, or a user's own.
    """
    return {
        f"{len(classes)}-class accuracy, by slice": Statistic(
            lambda answers, draws: draws.mean(answers.right, _all(answers)), _all
        ),
        f"{len(classes)}-class accuracy, by patient": Statistic(
            _accuracy_by_patient, _all
        ),
        **{
            f"Recall, {class_title(name).lower()}": _recall(row)
            for row, name in enumerate(classes)
        },
        **_OTHER_STATISTICS,
    }


_OTHER_STATISTICS: dict[str, Statistic[_Answers]] = {
    "Tumour sensitivity": Statistic(
        lambda answers, draws: draws.mean(~answers.cleared, answers.judgements.tumor),
        lambda answers: answers.judgements.tumor,
    ),
    "Tumour specificity": Statistic(
        lambda answers, draws: draws.mean(answers.cleared, ~answers.judgements.tumor),
        lambda answers: ~answers.judgements.tumor,
    ),
    "AUROC, tumour or none": Statistic(
        lambda answers, draws: draws.auroc(
            answers.judgements.p_tumor, answers.judgements.tumor
        )
    ),
    "Calibration error (ECE, 15 bins)": Statistic(
        lambda answers, draws: calibration_draws(answers.judgements, draws),
        more_is_better=False,
    ),
    "Brier score": Statistic(
        lambda answers, draws: brier_draws(answers.judgements, draws),
        more_is_better=False,
    ),
    "Evidence peak inside the outline": Statistic(
        lambda answers, draws: _where_known(answers.peaks, draws),
        lambda answers: np.isfinite(answers.peaks),
    ),
    "Evidence Dice at half height": Statistic(
        lambda answers, draws: _where_known(answers.dice, draws)
    ),
}
