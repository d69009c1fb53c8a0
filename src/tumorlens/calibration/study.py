"""The model of a bundle that judges several MR sequences of one place together.

A weighted sum of the log-odds of a tumour in each sequence, and a bias, for every set
of sequences that lie on one grid; few numbers, since few patients have them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tumorlens.calibration.decision_layer import DecisionLayer
from tumorlens.data.manifest import LEARNED_SEQUENCES, Record
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.facts import Rate, SequenceSum, StudyModel
from tumorlens.inference.series.decision import log_odds
from tumorlens.statistics import Draws, Resampling, figure
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX, TUMOR_CLASSES
from tumorlens.training.held_out import HeldOut

FEWEST_PATIENTS = 10
"""Patients with these sequences, tumour slices and tumour-free ones that a sum of them
is fitted on."""

FEWEST_OF_A_SITE = 5
"""Patients of a hospital inside which slices are compared: one or two say nothing."""

_PENALTY = 0.01
"""Penalty on squared weights, beside the mean loss of a slice."""

_SPREAD_PENALTY = 0.05
"""Penalty on the squared differences of weights from their mean. The patients of whom
several sequences are at hand have gliomas, which FLAIR shows best; a tumour that shows
in T1 with contrast alone must not be outvoted for that. It costs .005 of the area under
the curve at most, on hospitals left out (docs/experiments.md)."""

_PARTS = 5
"""Parts of the patients that are left out in turn where there is one hospital."""


@dataclass(frozen=True)
class MatchedSlices:
    """Slices of patients, each in one or several sequences on one grid.

    Parameters
    ----------
    sequences
        S sequences, in the order of the columns.
    odds
        Shape (N, S): calibrated log-odds of a tumour; NaN where a slice is not at
        hand in a sequence.
    tumor
        Shape (N,): whether it shows a tumour.
    sites, patients
        N hospitals and N patients.
    """

    sequences: tuple[MRSequence, ...]
    odds: NDArray[np.float64]
    tumor: NDArray[np.bool_]
    sites: tuple[str, ...]
    patients: tuple[str, ...]

    @classmethod
    def of(cls, records: Sequence[Record], p_tumor: NDArray[np.float64]) -> Self:
        """Bring the sequences of a slice together, by patient and number.

        Parameters
        ----------
        records
            Those count that name patient, hospital, sequence, class and, in the
            column ``slice``, the number of the slice.
        p_tumor
            Their calibrated probability of any tumour.
        """
        odds = log_odds(p_tumor)
        rows_by_place: dict[tuple[str, str, str], dict[MRSequence, int]] = defaultdict(
            dict
        )
        for place, row in enumerate(records):
            number = row.extra.get("slice")
            if not (row.patient and row.site and number) or row.label is None:
                continue
            if row.sequence in LEARNED_SEQUENCES:
                rows_by_place[row.site, row.patient, number][row.sequence] = place
        matched = {
            key: places for key, places in rows_by_place.items() if len(places) > 1
        }
        there = {item for places in matched.values() for item in places}
        sequences = tuple(item for item in LEARNED_SEQUENCES if item in there)
        table = np.full((len(matched), len(sequences)), np.nan)
        for line, places in enumerate(matched.values()):
            for sequence, place in places.items():
                table[line, sequences.index(sequence)] = odds[place]
        labels = [records[min(places.values())].label for places in matched.values()]
        return cls(
            sequences,
            table,
            np.array([label in TUMOR_CLASSES for label in labels], bool),
            tuple(site for site, _, _ in matched),
            tuple(patient for _, patient, _ in matched),
        )

    @property
    def can_be_fitted(self) -> bool:
        """Whether there are enough patients, and both kinds of slices."""
        enough = len(set(self.patients)) >= FEWEST_PATIENTS
        return enough and bool(self.tumor.any()) and not bool(self.tumor.all())

    def take(self, rows: NDArray[np.bool_]) -> Self:
        """Keep some of the slices."""
        kept = np.flatnonzero(rows)
        return type(self)(
            self.sequences,
            self.odds[rows],
            self.tumor[rows],
            tuple(self.sites[row] for row in kept),
            tuple(self.patients[row] for row in kept),
        )

    def complete(self, chosen: Sequence[MRSequence]) -> Self:
        """Keep the slices that are at hand in all of some sequences."""
        known = np.isfinite(self._columns(chosen))
        return self.take(np.asarray(known.all(axis=1), bool))

    def subsets(self) -> list[tuple[MRSequence, ...]]:
        """List every set of the sequences, small ones first."""
        return [
            chosen
            for count in range(1, len(self.sequences) + 1)
            for chosen in combinations(self.sequences, count)
        ]

    def fit(self, chosen: tuple[MRSequence, ...]) -> SequenceSum:
        """Fit the sum of some sequences, by likelihood.

        Tumour slices weigh as much together as tumour-free ones, as in the
        calibration of each sequence, so that thresholds keep their meaning. A
        sequence that speaks for a tumour never counts against one.

        Parameters
        ----------
        chosen
            Sequences in which every slice is at hand. One alone stands as it is
            calibrated.
        """
        if len(chosen) == 1:
            return SequenceSum(chosen, (1.0,), 0.0)
        columns, count = self._columns(chosen), len(chosen)
        kinds = (self.tumor, ~self.tumor)
        shares = sum(0.5 * kind / max(int(kind.sum()), 1) for kind in kinds)
        signs = np.where(self.tumor, -1.0, 1.0)

        def loss(values: NDArray[np.float64]) -> float:
            factors = values[:count]
            odds = columns @ factors + values[count]
            penalty = _PENALTY * np.square(factors).sum()
            penalty += _SPREAD_PENALTY * np.square(factors - factors.mean()).sum()
            return float((shares * np.logaddexp(0.0, signs * odds)).sum() + penalty)

        start = np.array([*[1.0 / count] * count, 0.0])
        bounds = [(0.0, 10.0)] * count + [(-10.0, 10.0)]
        fitted = minimize(loss, start, method="L-BFGS-B", bounds=bounds).x.tolist()
        return SequenceSum(chosen, tuple(fitted[:count]), fitted[count])

    def odds_left_out(self, chosen: tuple[MRSequence, ...]) -> NDArray[np.float64]:
        """Judge every slice by a sum that was fitted without its hospital.

        Parameters
        ----------
        chosen
            Sequences in which every slice is at hand.

        Returns
        -------
        ndarray
            Shape (N,): log-odds. Where there is one hospital alone, a fifth of its
            patients is left out in turn.
        """
        _, keys = np.unique(np.array(self.sites), return_inverse=True)
        if len(set(self.sites)) == 1:
            _, patients = np.unique(np.array(self.patients), return_inverse=True)
            keys = patients % _PARTS
        odds = np.full(len(keys), np.nan)
        for key in range(int(keys.max()) + 1):
            own: NDArray[np.bool_] = np.asarray(keys == key, bool)
            by_sequence = dict(zip(chosen, self._columns(chosen)[own].T, strict=True))
            odds[own] = self.take(~own).fit(chosen).log_odds(by_sequence)
        return odds

    def auroc_inside_sites(self, odds: NDArray[np.float64]) -> Draws:
        """Measure the area under the curve inside hospitals, in draws of patients.

        Parameters
        ----------
        odds
            Shape (N,).

        Returns
        -------
        ndarray
            Mean over hospitals, each weighing by its patients; NaN where no hospital
            has `FEWEST_OF_A_SITE`.
        """
        sites, patients = np.array(self.sites), np.array(self.patients)
        draws = Resampling(self.patients)
        areas, counts = [], []
        for site in np.unique(sites):
            own = sites == site
            count = len(set(patients[own]))
            if count >= FEWEST_OF_A_SITE:
                areas.append(draws.auroc(np.where(own, odds, np.nan), self.tumor))
                counts.append(count)
        if not areas:
            return np.full(1, np.nan)
        return np.asarray(np.average(np.stack(areas), axis=0, weights=counts))

    def _columns(self, chosen: Sequence[MRSequence]) -> NDArray[np.float64]:
        places = [self.sequences.index(item) for item in chosen]
        return np.asarray(self.odds[:, places])


def fit_study_model(held_out: HeldOut, layer: DecisionLayer) -> StudyModel | None:
    """Fit the sums of all sets of sequences, and measure each on other hospitals.

    Parameters
    ----------
    held_out
        Outputs on patients who did not train the network.
    layer
        Decision layer that makes them probabilities.

    Returns
    -------
    StudyModel or None
        None where too few slices are at hand in several sequences.
    """
    known = held_out.take(
        np.array([row.label in CLASSES for row in held_out.records], bool)
    )
    if not known.records:
        return None
    p_tumor = 1.0 - layer.probabilities(known)[:, NO_TUMOR_INDEX]
    slices = MatchedSlices.of(known.records, p_tumor)
    sums = []
    for chosen in slices.subsets():
        part = slices.complete(chosen)
        if part.can_be_fitted:
            area = figure(part.auroc_inside_sites(part.odds_left_out(chosen)))
            auroc = None if area is None else Rate(**area)
            sums.append(replace(part.fit(chosen), auroc=auroc))
    if all(len(item.sequences) == 1 for item in sums):
        return None
    return StudyModel(tuple(sums), len(set(slices.patients)), len(slices.tumor))
