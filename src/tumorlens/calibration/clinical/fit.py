"""Fit the clinical model, and judge patients by one that never saw them.

Multinomial logistic regression with the image's log-probabilities as an offset
whose factor is fitted, a quadratic penalty on the columns' weights, and a
temperature (Guo et al. 2017, arXiv:1706.04599). scikit-learn's logistic
regression takes no offset: it would shrink what the image says along with the
columns, and so make the image look worse than it is. Strength of the penalty and
temperature are chosen on patients left out of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from tumorlens.inference.clinical import image_scores
from tumorlens.inference.slice.decision import softmax

PENALTIES = (512.0, 64.0, 8.0, 1.0)
"""Penalties on half the squared weights, beside a log-likelihood by patient;
the first all but silences the columns."""
INNER_FOLDS = 4
_IMAGE_PENALTY = 1.0
_BIAS_PENALTY = 0.1
_LARGEST_TEMPERATURE = 5.0
_SEED = 22


@dataclass(frozen=True)
class ClinicalData:
    """N slices with what the image says, the columns and the truth.

    Parameters
    ----------
    probabilities
        Shape (N, 4): of the image, calibrated.
    features
        Shape (N, F): the columns as numbers, the same for a patient's slices.
    labels
        Shape (N,): class indices.
    patients
        Shape (N,): numbered from 0.
    folds
        Shape (N,): of the patients, numbered from 0.
    """

    probabilities: NDArray[np.float64]
    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    folds: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> ClinicalData:
        """Keep some slices, by shape (N,) of true and false."""
        return ClinicalData(
            self.probabilities[rows],
            self.features[rows],
            self.labels[rows],
            self.patients[rows],
            self.folds[rows],
        )

    def without_columns(self) -> ClinicalData:
        """Leave the image alone, to be fitted with all freedom but the columns'."""
        return replace(self, features=self.features[:, :0])

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class indices that there are, in order, shape (K,)."""
        return np.unique(self.labels)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weight of each slice, (N,): a patient's slices of one class sum to 1."""
        keys = self.patients * (self.labels.max() + 1) + self.labels
        units = np.unique(keys, return_inverse=True)[1]
        return np.asarray(1.0 / np.bincount(units)[units])


@dataclass(frozen=True)
class ClinicalFit:
    """A fitted model's numbers; K classes, F features.

    Parameters
    ----------
    classes
        Shape (K,): class indices.
    image_weight, bias, weights, temperature
        The same as in `tumorlens.inference.clinical.ClinicalModel`.
    penalty
        The one of `PENALTIES` that was chosen.
    """

    classes: NDArray[np.int64]
    image_weight: float
    bias: NDArray[np.float64]
    weights: NDArray[np.float64]
    temperature: float
    penalty: float

    def scores(self, data: ClinicalData) -> NDArray[np.float64]:
        """Add up what temperature and softmax then take, shape (N, K)."""
        image = image_scores(data.probabilities)[:, self.classes]
        scores = self.image_weight * image + self.bias + data.features @ self.weights
        return np.asarray(scores)

    def fuse(self, data: ClinicalData) -> NDArray[np.float64]:
        """Judge by image and columns together, shape (N, 4)."""
        probabilities = data.probabilities.copy()
        share = probabilities[:, self.classes].sum(axis=1, keepdims=True)
        scores = self.scores(data) / self.temperature
        probabilities[:, self.classes] = share * softmax(scores)
        return probabilities


def fit_clinical(data: ClinicalData) -> ClinicalFit:
    """Fit the model on all slices given.

    Parameters
    ----------
    data
        Slices of at least two classes. Their folds do not count: patients are dealt
        anew to choose penalty and temperature.

    Returns
    -------
    ClinicalFit
        Fitted with the penalty whose held-out log loss is least.
    """
    folds = deal_folds(data.labels, data.patients, INNER_FOLDS)
    options = PENALTIES if data.features.shape[1] else PENALTIES[:1]
    best: tuple[float, float, NDArray[np.float64]] | None = None
    for penalty in options:
        scores = np.zeros((len(data.labels), len(data.classes)))
        for fold in np.unique(folds):
            fitted = _fit(data.take(folds != fold), data.classes, penalty)
            scores[folds == fold] = fitted.scores(data.take(folds == fold))
        loss = _log_loss(scores, data)
        # Equal losses leave the stronger penalty, which comes first.
        if best is None or loss < best[0]:
            best = loss, penalty, scores
    assert best is not None
    _, penalty, scores = best
    fitted = _fit(data, data.classes, penalty)
    return replace(fitted, temperature=_temperature(scores, data))


def cross_fit(data: ClinicalData) -> NDArray[np.float64]:
    """Judge each fold by a model fitted on the others, all its choices too.

    Parameters
    ----------
    data
        Slices of two folds or more.

    Returns
    -------
    ndarray
        Shape (N, 4): probabilities by image and columns.
    """
    probabilities = data.probabilities.copy()
    for fold in np.unique(data.folds):
        in_fold = data.folds == fold
        probabilities[in_fold] = fit_clinical(data.take(~in_fold)).fuse(
            data.take(in_fold)
        )
    return probabilities


def deal_folds(
    labels: NDArray[np.int64], patients: NDArray[np.int64], folds: int
) -> NDArray[np.int64]:
    """Deal patients out to folds, each class evenly.

    Parameters
    ----------
    labels, patients
        Shape (N,): class indices, and whose slice each is.
    folds
        Number of folds.

    Returns
    -------
    ndarray
        Shape (N,): the fold of each slice's patient, from 0.
    """
    names, first, rows = np.unique(patients, return_index=True, return_inverse=True)
    order = np.random.default_rng(_SEED).permutation(len(names))
    order = order[np.argsort(labels[first][order], kind="stable")]
    dealt = np.empty(len(names), np.int64)
    dealt[order] = np.arange(len(names)) % folds
    return np.asarray(dealt[rows])


def _fit(data: ClinicalData, classes: NDArray[np.int64], penalty: float) -> ClinicalFit:
    """Minimise the penalised log-likelihood, which is convex."""
    image = image_scores(data.probabilities)[:, classes]
    features, weights = data.features, data.weights[:, None]
    truth = data.labels[:, None] == classes
    count = len(classes)

    def unpack(
        values: NDArray[np.float64],
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        rest = values[1 + count :].reshape(features.shape[1], count)
        return float(values[0]), values[1 : 1 + count], rest

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        factor, bias, slopes = unpack(values)
        probabilities = softmax(factor * image + bias + features @ slopes)
        gap = weights * (probabilities - truth)
        likelihood = -(weights * truth * np.log(probabilities + 1e-300)).sum()
        slope = np.concatenate(
            (
                [(gap * image).sum() + _IMAGE_PENALTY * (factor - 1.0)],
                gap.sum(axis=0) + _BIAS_PENALTY * bias,
                (features.T @ gap + penalty * slopes).ravel(),
            )
        )
        squares = (
            _IMAGE_PENALTY * (factor - 1.0) ** 2
            + _BIAS_PENALTY * np.square(bias).sum()
            + penalty * np.square(slopes).sum()
        )
        return float(likelihood + 0.5 * squares), slope

    start = np.zeros(1 + count + features.shape[1] * count)
    start[0] = 1.0
    # Columns may correct the image, but never turn its word round.
    bounds = [(0.0, None), *[(None, None)] * (len(start) - 1)]
    minimum = minimize(loss, start, method="L-BFGS-B", jac=True, bounds=bounds)
    factor, bias, slopes = unpack(minimum.x)
    return ClinicalFit(classes, factor, bias, slopes, 1.0, penalty)


def _log_loss(scores: NDArray[np.float64], data: ClinicalData) -> float:
    columns = np.searchsorted(data.classes, data.labels)
    likely = softmax(scores)[np.arange(len(columns)), columns]
    return float(np.average(-np.log(likely + 1e-300), weights=data.weights))


def _temperature(scores: NDArray[np.float64], data: ClinicalData) -> float:
    edge = float(np.log(_LARGEST_TEMPERATURE))
    minimum = minimize_scalar(
        lambda log: _log_loss(scores / np.exp(log), data),
        bounds=(-edge, edge),
        method="bounded",
    )
    return float(np.exp(minimum.x))
