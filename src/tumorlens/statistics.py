"""Draws of whole patients, intervals, and figures of merit.

Slices of one patient are nearly copies, so patients are drawn, not slices (Efron and
Tibshirani 1993, on clustered data). A statistic is worked out for all draws at once,
from sums over patients; as all figures of a set use the same draws, the difference of
two of them is paired. Figures without intervals are of a whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DatasetError
from tumorlens.imaging.preprocess.slice import Crop


def calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = 15
) -> float:
    """Measure the expected calibration error of the most probable class.

    Equal-width bins (Naeini et al. 2015; Guo et al. 2017).

    Parameters
    ----------
    probabilities
        Shape (N, K).
    labels
        Shape (N,).
    bins
        Number of bins.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    rows = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for row in range(bins):
        inside = rows == row
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            error += float(inside.mean()) * float(gap)
    return error


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Measure the area under the ROC curve (Mann-Whitney).

    Parameters
    ----------
    scores
        Shape (N,).
    positive
        Shape (N,).

    Returns
    -------
    float
        NaN without both kinds.
    """
    # Imported here: draws and intervals alone are quick to load.
    from sklearn.metrics import roc_auc_score

    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, scores))


CENTER_WIDTH = 1.0 / 6.0
"""Standard deviation of the centre map, as a share of the head's square."""


def read_outline(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a drawn outline.

    Parameters
    ----------
    path
        A picture, white inside.
    shape
        Height and width it has to have.

    Returns
    -------
    ndarray
        Shape (H, W), true inside.

    Raises
    ------
    DatasetError
        The outline is unreadable or of another size.
    """
    drawn = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if drawn is None or drawn.shape != shape:
        raise DatasetError(
            f"The outline {path} is unreadable or of another size.",
            "Export the outline at the picture's size.",
        )
    return np.asarray(drawn > 127)


def pointing(
    heat: NDArray[np.float32], inside: NDArray[np.bool_]
) -> tuple[float, float]:
    """Compare a map with an outline.

    Parameters
    ----------
    heat
        Shape (H, W), not negative.
    inside
        Shape (H, W), true inside the outline.

    Returns
    -------
    peak_inside
        1 where the map's peak lies inside (pointing game: Zhang et al. 2018,
        IJCV), else 0.
    dice
        Overlap of the outline and the map at half of its peak. Both are 0 for a map
        that is 0 everywhere: it points nowhere.
    """
    strongest = float(heat.max())
    if strongest <= 0.0:
        return 0.0, 0.0
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    marked = heat >= np.float32(0.5 * strongest)
    dice = 2.0 * float((marked & inside).sum()) / float(marked.sum() + inside.sum())
    return float(inside[peak]), dice


def center_map(crop: Crop, height: int, width: int) -> NDArray[np.float32]:
    """Draw the map of somebody who always looks at the middle of the head.

    A fair measure of a map has to beat it: tumours lie nearer to the middle
    than to the edge (centre bias: Judd et al. 2009, ICCV).

    Parameters
    ----------
    crop
        The square that holds the head.
    height, width
        Size of the picture, in pixels.

    Returns
    -------
    ndarray
        Shape (height, width), float32, 0 to 1: a Gaussian.
    """
    sigma = CENTER_WIDTH * crop.side
    y = (np.arange(height) - (crop.y + 0.5 * crop.side)) / sigma
    x = (np.arange(width) - (crop.x + 0.5 * crop.side)) / sigma
    return np.outer(np.exp(-0.5 * y**2), np.exp(-0.5 * x**2)).astype(np.float32)


Figure = dict[str, float]
"""``value`` with ``low`` and ``high``, the ends of its 95 % interval."""


def exact_margin(patients: int) -> float:
    """Compute the upper bound (95 %) of a share that is 0 over so many patients."""
    return float(1.0 - 0.025 ** (1.0 / patients))


Draws = NDArray[np.float64]
"""Shape (1 + R,): the statistic of the set itself, then of R draws of it."""

RESAMPLES = 1000

_RANKED = 200
"""Draws of a statistic that needs every slice by itself, not sums."""

_SEED = 20

Answers = TypeVar("Answers")
"""What a judge said of every slice, with what is true of it."""


class Resampling:
    """Draws, with replacement, of as many patients as there are.

    Parameters
    ----------
    groups
        N group keys, one for each slice.
    """

    def __init__(self, groups: Sequence[str]) -> None:
        keys, rows = np.unique(np.asarray(groups), return_inverse=True)
        self._rows: NDArray[np.int64] = rows
        self.patients = len(keys)
        drawn = np.random.default_rng(_SEED).multinomial(
            len(keys), np.full(len(keys), 1.0 / len(keys)), RESAMPLES
        )
        self._weights = np.vstack((np.ones(len(keys)), drawn)).astype(np.float64)

    def without_draws(self) -> Resampling:
        """Return the set alone, for statistics whose draws are not wanted."""
        alone = copy(self)
        alone._weights = self._weights[:1]
        return alone

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum over slices in every draw.

        Parameters
        ----------
        values
            Shape (N,) or (N, K), finite.

        Returns
        -------
        ndarray
            Shape (1 + R,) or (1 + R, K).
        """
        columns = values.reshape(len(self._rows), -1).astype(np.float64)
        by_patient = np.stack(
            [np.bincount(self._rows, column, self.patients) for column in columns.T],
            axis=1,
        )
        drawn = self._weights @ by_patient
        return np.asarray(drawn[:, 0] if values.ndim == 1 else drawn)

    def mean(self, values: NDArray[Any], rows: NDArray[np.bool_]) -> Draws:
        """Mean of `values` (N,) over those `rows` (N,) that are true."""
        return ratio(self.sums(np.where(rows, values, 0.0)), self.sums(rows))

    def share(self, hits: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Figure | None:
        """Say how often `hits` (N,) is true among `rows` (N,), with its interval."""
        return figure(self.mean(hits, rows), self.count(rows))

    def share_by_patient(
        self, hits: NDArray[np.bool_], rows: NDArray[np.bool_]
    ) -> Figure | None:
        """Mean over patients of how often `hits` (N,) is true among their `rows` (N,).

        Patients without such a row do not count.
        """
        slices_of_patients = np.bincount(self._rows[rows], minlength=self.patients)
        there = np.flatnonzero(slices_of_patients)
        shares = np.bincount(self._rows[hits & rows], minlength=self.patients)
        drawn = self._weights[:, there]
        over = drawn @ (shares[there] / slices_of_patients[there])
        return figure(ratio(over, drawn.sum(axis=1)), len(there))

    def count(self, rows: NDArray[np.bool_]) -> int:
        """Count the patients that have one of `rows` (N,)."""
        return len(np.unique(self._rows[rows]))

    def average(self, values: NDArray[Any], rows: NDArray[np.bool_]) -> Figure | None:
        """Mean of `values` (N,) over `rows` (N,), with its interval."""
        return figure(self.mean(values, rows))

    def slice_weights(self) -> NDArray[np.float64]:
        """Count how often each slice is in each of the first draws: (1 + 200, N)."""
        return np.asarray(self._weights[: 1 + _RANKED, self._rows])

    def auroc(self, scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Draws:
        """Area under the ROC curve (Mann-Whitney, ties count half) in 200 draws.

        Parameters
        ----------
        scores
            Shape (N,); rows that are NaN are left out.
        positive
            Shape (N,).

        Returns
        -------
        ndarray
            NaN in draws that lack one of both kinds.
        """
        finite_rows = np.flatnonzero(np.isfinite(scores))
        if not finite_rows.size:
            return np.full(1, np.nan)
        order = finite_rows[np.argsort(scores[finite_rows], kind="stable")]
        ranked = scores[order]
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        weights = self._weights[: 1 + _RANKED, self._rows[order]]
        true = np.add.reduceat(weights * positive[order], starts, axis=1)
        false = np.add.reduceat(weights * ~positive[order], starts, axis=1)
        below = np.cumsum(false, axis=1) - 0.5 * false
        return ratio((true * below).sum(1), true.sum(1) * false.sum(1))


def ratio(over: NDArray[np.float64], under: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; NaN where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(under > 0.0, over / under, np.nan))


def without_bias(draws: Draws) -> Draws:
    """Move the draws of an error that cannot be under 0 back to the set's own.

    Every draw puts noise on top of the set's, and an error made of distances grows
    with noise: its draws lie above the value, even all of them. Their median excess
    is that bias, as the bootstrap estimates it (Efron and Tibshirani 1993, ch. 10).

    Parameters
    ----------
    draws
        The first is the value, which stays; none is under 0.
    """
    excess = np.nanmedian(draws[1:]) - draws[0] if len(draws) > 1 else 0.0
    return np.r_[draws[:1], np.maximum(draws[1:] - excess, 0.0)]


def figure(draws: Draws, patients: int = 0) -> Figure | None:
    """Sum up draws as a value and its 95 % percentile interval.

    Parameters
    ----------
    draws
        The first is the value.
    patients
        Number of patients that a share is of. Where the share is 0 or 1 in all
        draws, the bootstrap knows no interval; then the exact one of Clopper
        and Pearson (1934) over patients stands in for it. A single patient
        does not say how patients differ; then it is 0 to 1.

    Returns
    -------
    dict or None
        None where the value is NaN.
    """
    value, rest = float(draws[0]), draws[1:]
    if not np.isfinite(value):
        return None
    rest = rest[np.isfinite(rest)]
    if not rest.size:
        rest = draws[:1]
    low, high = (float(edge) for edge in np.percentile(rest, (2.5, 97.5)))
    if patients and low == high and value in (0.0, 1.0):
        margin = exact_margin(patients)
        low, high = (0.0, margin) if value == 0.0 else (1.0 - margin, 1.0)
    elif patients == 1:
        low, high = 0.0, 1.0
    return {"value": value, "low": low, "high": high}


def mean_figure(values: NDArray[Any], patients: Sequence[str]) -> Figure | None:
    """Mean of a value a slice, with its interval over patients.

    Parameters
    ----------
    values
        Shape (N,); rows that are NaN are left out.
    patients
        N group keys.

    Returns
    -------
    dict or None
        None where no value is left.
    """
    kept, draws = _known(values, patients)
    return draws.average(kept, np.ones(len(kept), bool)) if draws else None


def share_figure(values: NDArray[Any], patients: Sequence[str]) -> Figure | None:
    """Share of slices of which something is true, with its interval.

    Parameters
    ----------
    values
        Shape (N,), 0 or 1; rows that are NaN are left out.
    patients
        N group keys.

    Returns
    -------
    dict or None
        The same as of `figure`; None where no value is left.
    """
    kept, draws = _known(values, patients)
    return draws.share(kept > 0.0, np.ones(len(kept), bool)) if draws else None


def auroc_figure(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: Sequence[str]
) -> Figure | None:
    """Area under the ROC curve (N scores) with its interval; None without both."""
    return figure(Resampling(patients).auroc(scores, positive)) if patients else None


def statistic_draws(
    statistic: Callable[[NDArray[np.int64]], float], patients: Sequence[str]
) -> Draws:
    """Any statistic of the rows it is given, in 200 draws of patients.

    Parameters
    ----------
    statistic
        Takes positions, some of them more than once.
    patients
        N group keys, at least one.
    """
    whole = np.arange(len(patients))
    counts = Resampling(patients).slice_weights().astype(np.int64)
    return np.array([statistic(np.repeat(whole, row)) for row in counts])


def _known(
    values: NDArray[Any], patients: Sequence[str]
) -> tuple[NDArray[np.float64], Resampling | None]:
    """Keep what is a number, and draws of its patients if there are any."""
    numbers = values.astype(np.float64)
    is_finite = np.isfinite(numbers)
    groups = [name for name, keep in zip(patients, is_finite, strict=True) if keep]
    return numbers[is_finite], Resampling(groups) if groups else None


@dataclass(frozen=True)
class Statistic(Generic[Answers]):
    """A figure, and how it is to be read.

    Parameters
    ----------
    measure
        Works it out in every draw of patients.
    share_of
        Rows that a share is of.
    more_is_better
        True where the judge with the higher one is the better.
    """

    measure: Callable[[Answers, Resampling], Draws]
    share_of: Callable[[Answers], NDArray[np.bool_]] | None = None
    more_is_better: bool = True

    def figure(
        self, draws: Draws, answers: Answers, patients: Resampling
    ) -> Figure | None:
        """Sum draws up; a share of 0 or 1 gets an exact interval."""
        rows = None if self.share_of is None else self.share_of(answers)
        return figure(draws, 0 if rows is None else patients.count(rows))
