"""The model of a bundle that turns slices into a probability for the series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tumorlens.calibration.series.scored_series import ScoredSeries, View
from tumorlens.inference.bundle.facts import FEATURES
from tumorlens.inference.series.decision import discounted_odds, series_features
from tumorlens.taxonomy import NO_TUMOR_INDEX

DISCOUNTS = (0.0, 2.0, 4.0, 6.0)
"""Log-odds that are tried as the discount at the ends of a head. More would silence
the surest lesion at the vertex, of which the sets have none to say so."""

FEATURE_SETS = tuple(FEATURES[: count + 1] for count in range(len(FEATURES)))
"""The strongest run alone, then with what stands beside it."""

_TURNS = 5

_PENALTY = 0.01
"""Penalty on squared weights: they stay finite where series part without error."""


@dataclass(frozen=True)
class FittedRule:
    """Numbers that `SeriesModel` judges by.

    Parameters
    ----------
    end_discount, weights, intercept
        The same as in `SeriesModel`.
    """

    end_discount: float
    weights: dict[str, float]
    intercept: float

    def log_odds(self, table: SeriesTable) -> NDArray[np.float64]:
        """Log-odds of each series' acquired plane, shape (N,)."""
        return self._odds(table.features(self.end_discount))

    def joined_log_odds(self, table: SeriesTable) -> NDArray[np.float64]:
        """Mean log-odds over the planes of each series, shape (N,)."""
        by_series = [
            self._odds(
                np.array([view_features(view, self.end_discount) for view in views])
            )
            for views in table.views
        ]
        return np.array([item[np.isfinite(item)].mean() for item in by_series])

    def _odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        names = [FEATURES.index(name) for name in self.weights]
        values = np.array(list(self.weights.values()))
        return np.asarray(self.intercept + features[:, names] @ values)


def view_features(view: View, end_discount: float) -> tuple[float, ...]:
    """Sum up one plane, in the order of `FEATURES`; NaN where nothing was judged."""
    p_tumor = 1.0 - view.probabilities[:, NO_TUMOR_INDEX]
    if not np.isfinite(p_tumor).any():
        return (np.nan,) * len(FEATURES)
    _, features = series_features(
        discounted_odds(p_tumor, view.heads, end_discount), view.gap_mm
    )
    return tuple(features[name] for name in FEATURES)


class SeriesTable:
    """Judged series as arrays.

    Parameters
    ----------
    scored_series
        N of them, each with a slice that was judged.
    """

    def __init__(self, scored_series: Sequence[ScoredSeries]) -> None:
        self.views = [series.views for series in scored_series]
        self.tumor = np.array([series.record.tumor for series in scored_series])
        self.folds = np.array([series.fold for series in scored_series])
        self.patients = [series.record.patient for series in scored_series]
        self.turns = np.unique(self.patients, return_inverse=True)[1] % _TURNS
        self.sources = np.array([series.record.source for series in scored_series])
        self.weights = self._weights()
        self._features = {
            share: np.array([view_features(views[0], share) for views in self.views])
            for share in DISCOUNTS
        }

    def features(self, end_discount: float) -> NDArray[np.float64]:
        """Features of the acquired planes, shape (N, F)."""
        return self._features[end_discount]

    def _weights(self) -> NDArray[np.float64]:
        """Weigh patients alike, and both classes alike; shape (N,), mean 1."""
        pairs = list(zip(self.patients, self.tumor.tolist(), strict=True))
        counts = Counter(pairs)
        patients = Counter(tumor for _, tumor in counts)
        return np.array(
            [len(pairs) / (2.0 * counts[pair] * patients[pair[1]]) for pair in pairs]
        )


def fit_rule(table: SeriesTable, rows: NDArray[np.bool_]) -> FittedRule:
    """Fit a logistic regression; features and discount by cross-validation.

    Parameters
    ----------
    table
        All series.
    rows
        Shape (N,): those to fit on. Their patients take turns in the choice, in
        five groups.

    Returns
    -------
    FittedRule
        No weight is negative: more evidence never makes a series less suspicious.
        Probabilities hold where as many series have a tumour as have none.
    """
    choices = list(product(DISCOUNTS, FEATURE_SETS))
    losses = [_held_out_loss(table, rows, *choice) for choice in choices]
    end_discount, names = choices[int(np.argmin(losses))]
    return _fit(table, rows, end_discount, names)


def cross_fitted(
    table: SeriesTable,
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[int, FittedRule]]:
    """Judge each fold's series by a rule that was fitted on the others.

    Returns
    -------
    acquired, joined, rules
        Log-odds of shape (N,) of the acquired plane, and over all planes; the
        rule by fold.
    """
    acquired, joined = np.full((2, len(table.tumor)), np.nan)
    rules = {}
    for fold in np.unique(table.folds):
        in_fold = table.folds == fold
        rule = fit_rule(table, ~in_fold)
        acquired[in_fold] = rule.log_odds(table)[in_fold]
        joined[in_fold] = rule.joined_log_odds(table)[in_fold]
        rules[int(fold)] = rule
    return acquired, joined, rules


def _held_out_loss(
    table: SeriesTable,
    rows: NDArray[np.bool_],
    end_discount: float,
    names: tuple[str, ...],
) -> float:
    total = 0.0
    for turn in np.unique(table.turns[rows]):
        out = rows & (table.turns == turn)
        rule = _fit(table, rows & ~out, end_discount, names)
        total += float(_losses(rule.log_odds(table), table)[out].sum())
    return total


def _fit(
    table: SeriesTable,
    rows: NDArray[np.bool_],
    end_discount: float,
    names: tuple[str, ...],
) -> FittedRule:
    def rule(values: NDArray[np.float64]) -> FittedRule:
        weights = dict(zip(names, map(float, values[1:]), strict=True))
        return FittedRule(end_discount, weights, float(values[0]))

    def loss(values: NDArray[np.float64]) -> float:
        losses = _losses(rule(values).log_odds(table), table)[rows]
        penalty = _PENALTY * float(np.square(values[1:]).sum())
        return float(losses.sum() / table.weights[rows].sum()) + penalty

    start = np.zeros(1 + len(names))
    start[1:] = 1.0 / len(names)
    bounds = [(None, None)] + [(0.0, None)] * len(names)
    return rule(minimize(loss, start, method="L-BFGS-B", bounds=bounds).x)


def _losses(odds: NDArray[np.float64], table: SeriesTable) -> NDArray[np.float64]:
    """Weighted negative log-likelihood of each series."""
    signs = np.where(table.tumor, 1.0, -1.0)
    return np.asarray(table.weights * np.logaddexp(0.0, -signs * odds))
