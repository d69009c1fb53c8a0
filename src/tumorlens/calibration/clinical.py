"""Clinical columns to learn from, and the clinical model fitted on them.

Columns that name a person, or say nothing, are left out; each is explained in a
sentence that holds no value. Means, spreads and categories are taken from all patients
at hand, without a look at their classes.

The model is a multinomial logistic regression with the image's log-probabilities as an
offset whose factor is fitted, a quadratic penalty on the columns' weights, and a
temperature (Guo et al. 2017, arXiv:1706.04599). scikit-learn's logistic regression
takes no offset: it would shrink what the image says along with the columns, and so make
the image look worse than it is. Strength of the penalty and temperature are chosen on
patients left out of the fit; each patient is judged by a fit that never saw them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from tumorlens.data.manifest import COLUMNS
from tumorlens.errors import DatasetError
from tumorlens.inference.clinical import (
    CategoryColumn,
    Column,
    NumberColumn,
    category,
    image_scores,
    read_number,
)
from tumorlens.inference.slice.decision import softmax
from tumorlens.taxonomy import CLASSES, ClassName

FEWEST = 5
"""Patients that a category, or the lack of a value, needs to be learned. What fewer
share could point to one of them, and would travel with the bundle."""

_IDENTIFYING = {
    *("id", "mrn", "ssn", "uid", "uuid", "barcode", "accession", "initials"),
    *("surname", "forename", "dob", "birthday", "birthdate", "address", "street"),
    *("phone", "telephone", "email", "zip", "zipcode", "postcode"),
}
"""Words in the names of columns that say who a patient is."""

_NAMES = {"name", "patientname", "firstname", "lastname", "fullname", "familyname"}
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|(19|20)\d{6}")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_MOSTLY = 0.8
"""Share of numbers from which on text in a column is taken for a slip."""

_LONG_NUMBER = 10_000
"""Least whole numbers that, each of them once, are taken for numbers of people."""

_SEX = {"sex", "gender"}

_AGE_BANDS = ((18.0, "under 18"), (40.0, "18 to 39"), (60.0, "40 to 59"))

_OLDEST = "60 and over"


@dataclass(frozen=True)
class ChosenColumns:
    """Columns to learn from, and why others are not.

    Parameters
    ----------
    columns
        At least one column.
    left_out
        A sentence for each column that is left out.
    missing
        Number of patients who lack each column.
    """

    columns: tuple[Column, ...]
    left_out: tuple[str, ...]
    missing: Mapping[str, int]


def choose_columns(
    names: Sequence[str], rows: Sequence[Mapping[str, str]], lines: Sequence[int]
) -> ChosenColumns:
    """Choose and describe the columns of a table.

    Parameters
    ----------
    names
        Names of the clinical columns.
    rows
        One for each patient: values by column, empty where missing.
    lines
        Numbers of the rows in their file, for messages.

    Raises
    ------
    DatasetError
        No column is left, or one holds text among its numbers.
    """
    columns: list[Column] = []
    left_out: list[str] = []
    missing: dict[str, int] = {}
    for name in names:
        values = [row[name] for row in rows]
        reason = _unusable(name, values)
        if reason:
            left_out.append(f"The column {name!r} is left out: {reason}")
            continue
        columns.append(_describe(name, values, lines))
        missing[name] = sum(not value for value in values)
    if not columns:
        raise DatasetError(
            "The table has no clinical column to learn from. " + " ".join(left_out),
            "Add columns that say something of the patients, such as age or sex.",
        )
    return ChosenColumns(tuple(columns), tuple(left_out), missing)


def _unusable(name: str, values: Sequence[str]) -> str:
    """Say why a column cannot be learned from; empty where it can."""
    if name.lower() in (*COLUMNS, "fold"):
        return "the manifest has a column of this name, which is no clinical one."
    if _names_people(name):
        return "by its name it says who the patient is."
    filled = [value for value in values if value]
    if not filled:
        return "it holds no value."
    kinds = {category(value) for value in filled}
    if len(kinds) == 1:
        return (
            "all its values are the same; where an empty cell means 'no', write 'no'."
        )
    if all(map(_DATE.fullmatch, filled)):
        return "it holds dates, which point to people; give an age or a duration."
    if any(map(_DECIMAL_COMMA.fullmatch, filled)):
        return "it has decimal commas; write decimals with a point."
    numbers = [read_number(value) for value in filled]
    share = sum(number is not None for number in numbers) / len(numbers)
    if share == 0.0 and len(kinds) == len(filled):
        return "each of its texts stands there once, as names and numbers of people do."
    if len(kinds) == len(filled) and all(map(_is_long, numbers)):
        return (
            "each of its whole numbers is long and stands there once, as numbers of "
            "people do; if it is measured, give it in a larger unit."
        )
    if share < _MOSTLY and max(Counter(map(category, filled)).values()) < FEWEST:
        return f"none of its categories has {FEWEST} patients."
    return ""


def _names_people(name: str) -> bool:
    # "PatientID" and "date of birth" become "patient id" and "date of birth".
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    parts = re.split(r"[^a-z]+", words.lower())
    return (
        bool(_IDENTIFYING & {*parts})
        or "".join(parts) in _NAMES
        or {"date", "birth"} <= {*parts}
    )


def _is_long(number: float | None) -> bool:
    return number is not None and number >= _LONG_NUMBER and number == int(number)


def _describe(name: str, values: Sequence[str], lines: Sequence[int]) -> Column:
    lacking = sum(not value for value in values)
    share = lacking / len(values) if lacking >= FEWEST else 0.0
    numbers = [read_number(value) for value in values if value]
    filled = np.array([number for number in numbers if number is not None])
    if len(filled) == len(numbers):
        return NumberColumn(name, float(filled.mean()), float(filled.std()), share)
    if len(filled) >= _MOSTLY * len(numbers):
        line = next(
            line
            for line, value in zip(lines, values, strict=True)
            if value and read_number(value) is None
        )
        raise DatasetError(
            f"The clinical column {name!r} holds text among its numbers (line {line}).",
            "Write a number with a point, or leave the cell empty.",
        )
    counts = Counter(category(value) for value in values if value)
    common = sorted(item for item, count in counts.items() if count >= FEWEST)
    shares = tuple(counts[item] / len(numbers) for item in common)
    return CategoryColumn(name, tuple(common), shares, share)


def groups_of_patients(rows: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Find the columns on sex and age, and name each row's group.

    Parameters
    ----------
    rows
        N of them: values by column, empty where missing.

    Returns
    -------
    dict
        N names by column, empty where there is no value. A column is on sex or
        age where its name says so (``age``, ``Age_years``, ``gender``); ages
        are in years.
    """
    groups: dict[str, list[str]] = {}
    for name in rows[0] if rows else ():
        words = set(re.split(r"[^a-z]+", name.lower()))
        group: Callable[[str], str]
        if words & _SEX:
            group = category
        elif "age" in words:
            group = _age_band
        else:
            continue
        groups[name] = [group(row[name]) for row in rows]
    return {name: parts for name, parts in groups.items() if len(set(parts) - {""}) > 1}


def _age_band(text: str) -> str:
    age = read_number(text)
    if age is None:
        return ""
    return next((name for below, name in _AGE_BANDS if age < below), _OLDEST)


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
        Shape (N, C): of the image, calibrated, for C classes.
    features
        Shape (N, F): the columns as numbers, the same for a patient's slices.
    labels
        Shape (N,): class indices.
    patients
        Shape (N,): numbered from 0.
    folds
        Shape (N,): of the patients, numbered from 0.
    names
        The C classes, in the order of probabilities.
    """

    probabilities: NDArray[np.float64]
    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    folds: NDArray[np.int64]
    names: Sequence[ClassName] = CLASSES

    def take(self, rows: NDArray[np.bool_]) -> ClinicalData:
        """Keep some slices, by shape (N,) of true and false."""
        return ClinicalData(
            self.probabilities[rows],
            self.features[rows],
            self.labels[rows],
            self.patients[rows],
            self.folds[rows],
            self.names,
        )

    def without_columns(self) -> ClinicalData:
        """Leave the image alone, to be fitted with all freedom but the columns'."""
        return replace(self, features=self.features[:, :0])

    def without_image(self) -> ClinicalData:
        """Leave the image out: it takes all learned classes for equally likely.

        Whether a slice shows one of them at all stays what the image says.
        """
        alike = self.probabilities.copy()
        share = alike[:, self.classes].mean(axis=1, keepdims=True)
        alike[:, self.classes] = share
        return replace(self, probabilities=alike)

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
        """Judge by image and columns together, shape (N, C)."""
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
        Shape (N, C): probabilities by image and columns.
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
