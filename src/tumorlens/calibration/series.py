"""The model of a bundle that turns slices into a probability for the series.

Series are judged by the network that never saw their patients, and the lesion found is
compared with the one that radiologists drew.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tumorlens.data.manifest import Record
from tumorlens.data.series import SeriesRecord
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.imaging.geometry import (
    Volume,
    slice_gap,
    volume_of,
)
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.bundle.facts import FEATURES, FLOAT32
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.series.by_slices import (
    other_planes,
    see_slices,
    sliceable,
)
from tumorlens.inference.series.decision import (
    SeenSlices,
    discounted_odds,
    series_features,
)
from tumorlens.inference.series.lesion import Lesion, smoothed_odds, spot_in
from tumorlens.statistics import read_outline
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX

LEVELS: tuple[float | None, ...] = (
    None,
    *(0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97),
)
"""Levels that are tried; None is half of the peak, without any fit."""

MEASURES = ("dice", "size_error", "size_ratio", "thickness_error", "peak_inside")
"""Overlap; error of the longest side within slices as a share of it, and its ratio;
error of the thickness in slices; whether the peak lies inside the outline."""

_END_DISCOUNT = 4.0
"""Slices at the ends of the head are trusted that much less here. The spot is
compared before the discount is fitted; it hardly moves the run that holds it."""

_OTHERS = ((1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class OutlineFit:
    """A series' lesion at each level beside the drawn one.

    Parameters
    ----------
    measures
        Shape (levels, measures), in the order of `LEVELS` and `MEASURES`. Where
        no spot is found, the overlap is 0 and the error the whole size.
    size_mm
        Longest side of the drawn one within slices; None without spacing.
    """

    measures: NDArray[np.float64]
    size_mm: float | None


def drawn_outline(
    masks: Path | Sequence[Path | None], series: Series
) -> NDArray[np.bool_]:
    """Read an outline onto the slices of a series.

    Parameters
    ----------
    masks
        A volume that lies in the same patient space; or a picture for each slice,
        None where it shows no tumour.
    series
        Series of D slices of one size.

    Returns
    -------
    ndarray
        Shape (D, H, W), true inside.

    Raises
    ------
    DatasetError
        The outline is unreadable, of another size, or empty.
    """
    shape = series.slices[0].pixels.shape
    if isinstance(masks, Path):
        drawn = _in_series(masks, series)
    else:
        drawn = np.stack(
            [
                np.zeros(shape, np.bool_) if mask is None else read_outline(mask, shape)
                for mask in masks
            ]
        )
    if not drawn.any():
        raise DatasetError(
            f"The outline of {series.slices[0].source} is empty on its slices.",
            "Give an outline that was drawn on this series.",
        )
    return drawn


def _in_series(path: Path, series: Series) -> NDArray[np.bool_]:
    """Take the nearest voxel of an outline for every voxel of a series."""
    volume = volume_of(series)
    outline = volume_of(read_study(path).series[0])
    if volume is None or outline is None:
        raise DatasetError(
            f"{path} or the series it was drawn on is no regular stack of known place.",
            "Give both as volumes.",
        )
    return _nearest(outline, volume)


def _nearest(outline: Volume, volume: Volume) -> NDArray[np.bool_]:
    depth, height, width = volume.voxels.shape
    # (column, row, slice) of the series to those of the outline.
    way = np.linalg.inv(outline.affine) @ volume.affine
    rows, columns = np.mgrid[:height, :width]
    flat = np.stack(
        [columns.ravel(), rows.ravel(), np.zeros(rows.size), np.ones(rows.size)]
    )
    limits = np.array(outline.voxels.shape[::-1])[:, None]
    inside_outline = np.zeros((depth, height, width), np.bool_)
    for index in range(depth):
        flat[2] = index
        place = np.rint((way @ flat)[:3]).astype(np.int64)
        inside = ((place >= 0) & (place < limits)).all(axis=0)
        column, row, layer = place[:, inside]
        inside_outline[index].ravel()[inside] = outline.voxels[layer, row, column] > 0
    return inside_outline


def compare_outlines(
    seen: SeenSlices, series: Series, drawn: NDArray[np.bool_]
) -> OutlineFit | None:
    """Compare the lesion at each level with the drawn one.

    Parameters
    ----------
    seen, series
        The slices as judged, and as read.
    drawn
        Shape (D, H, W), from `drawn_outline`.

    Returns
    -------
    OutlineFit or None
        None where no slice was judged or slices differ in size.
    """
    if seen.evidence is None or not np.isfinite(seen.p_tumor).any():
        return None
    gap = slice_gap(series.slices)
    by_slice = discounted_odds(seen.p_tumor, seen.heads, _END_DISCOUNT)
    run, _ = series_features(by_slice, gap)
    odds = smoothed_odds(seen.evidence, gap)
    box = _box(drawn)
    rows = [
        _measure(spot_in(odds, series.slices, run, level), drawn, box)
        for level in LEVELS
    ]
    spacing = series.slices[0].spacing_mm
    longest = max(box[4] - box[1], box[5] - box[2])
    return OutlineFit(
        np.array(rows), None if spacing is None else longest * float(spacing[0])
    )


def _measure(
    lesion: Lesion | None,
    drawn: NDArray[np.bool_],
    box: tuple[int, int, int, int, int, int],
) -> tuple[float, ...]:
    longest = max(box[4] - box[1], box[5] - box[2])
    thick = box[3] - box[0]
    if lesion is None or lesion.mask is None:
        return 0.0, 1.0, 0.0, float(thick), 0.0
    z0, y0, x0, z1, y1, x1 = lesion.box
    common = int((drawn[z0:z1, y0:y1, x0:x1] & lesion.mask).sum())
    dice = 2.0 * common / float(lesion.voxels + cv2.countNonZero(_flat(drawn)))
    side = max(y1 - y0, x1 - x0)
    return (
        dice,
        abs(side - longest) / longest,
        side / longest,
        float(abs((z1 - z0) - thick)),
        float(drawn[lesion.peak]),
    )


def _flat(drawn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return drawn.reshape(len(drawn), -1).view(np.uint8)


def _box(drawn: NDArray[np.bool_]) -> tuple[int, int, int, int, int, int]:
    low = [int(np.flatnonzero(drawn.any(axis=axes))[0]) for axes in _OTHERS]
    high = [int(np.flatnonzero(drawn.any(axis=axes))[-1]) + 1 for axes in _OTHERS]
    return low[0], low[1], low[2], high[0], high[1], high[2]


_BUNDLE = re.compile(r"fold(\d+)")


@dataclass(frozen=True)
class View:
    """The slices of a series in one plane.

    Parameters
    ----------
    probabilities
        Shape (D, 4), NaN rows where a slice was not judged.
    heads
        Shape (D,): edge of the head's square in pixels, 0 there.
    gap_mm
        Distance between neighbouring slices; None where not known.
    """

    probabilities: NDArray[np.float64]
    heads: NDArray[np.int64]
    gap_mm: float | None


@dataclass(frozen=True)
class ScoredSeries:
    """Outputs for a series of a network that never saw the patient.

    Parameters
    ----------
    record
        The series.
    fold
        Fold of the network.
    views
        The acquired plane first; the two others where the voxels allow it.
    outlines
        Comparison of the lesion with the drawn one; None without an outline.
    """

    record: SeriesRecord
    fold: int
    views: tuple[View, ...]
    outlines: OutlineFit | None


def fold_bundles(folder: Path) -> dict[int, Path]:
    """Find the bundles of a cross-validation, by the fold they never saw.

    Raises
    ------
    TrainingError
        There are not two.
    """
    bundles = {
        int(match[1]): path
        for path in sorted(folder.glob("fold*/bundle"))
        if (match := _BUNDLE.fullmatch(path.parent.name))
    }
    if len(bundles) < 2:
        raise TrainingError(
            f"{folder} holds the bundles of {len(bundles)} folds; two are needed.",
            "Run `tumorlens train --folds` to its end first.",
        )
    return bundles


def deal_series(
    series_list: Sequence[SeriesRecord], records: Iterable[Record], folds: Sequence[int]
) -> list[int]:
    """Say for each series which fold's network judges it.

    Parameters
    ----------
    series_list
        Series to predict.
    records
        The manifest of the cross-validation.
    folds
        Folds that have a bundle.

    Returns
    -------
    list of int
        The fold that left the patient out. Patients of no fold were seen by no
        network; they are dealt to the folds in turn.

    Raises
    ------
    DatasetError
        A patient is in several folds, or in one without a bundle.
    """
    folds_of_patients: dict[str, set[int]] = {}
    for row in records:
        if row.fold is not None:
            folds_of_patients.setdefault(row.patient, set()).add(row.fold)
    unknown_patients = sorted(
        {record.patient for record in series_list} - set(folds_of_patients)
    )
    dealt = {
        name: {folds[row % len(folds)]} for row, name in enumerate(unknown_patients)
    }
    dealt_folds: list[int] = []
    for record in series_list:
        patient_folds = folds_of_patients.get(record.patient) or dealt[record.patient]
        if len(patient_folds) > 1 or not patient_folds <= set(folds):
            raise DatasetError(
                f"The patient of series {record.name!r} is in the folds "
                f"{sorted(patient_folds)}; "
                f"there are bundles for {sorted(folds)}.",
                "Give the manifest that the folds were trained with.",
            )
        dealt_folds.extend(patient_folds)
    return dealt_folds


def score_series(
    bundles: Mapping[int, Path],
    series_list: Sequence[SeriesRecord],
    folds: Sequence[int],
    threads: int | None = None,
    say: Callable[[str], None] = print,
) -> list[ScoredSeries]:
    """Judge each series by the bundle of its fold.

    Parameters
    ----------
    bundles
        Folders by fold.
    series_list, folds
        Series of `read_series_list`, and the fold of each of `deal_series`.
    threads
        The same as for `load_classifier`.
    say
        Receives lines of progress.

    Raises
    ------
    DatasetError
        A bundle's own list names a series' patient among those who trained it,
        or a file is no series.
    """
    scored_series = []
    for fold, path in bundles.items():
        records = [
            record for record, to in zip(series_list, folds, strict=True) if to == fold
        ]
        _check_unseen(path, records)
        classifier = load_classifier(path, threads, precision=FLOAT32)
        classifier.bundle.require_four_classes()
        network = _FoldNetwork(classifier, fold)
        for number, record in enumerate(records, start=1):
            scored_series.append(network.score(record))
            if number % 20 == 0 or number == len(records):
                say(f"Fold {fold}: {number} of {len(records)} series.")
    return scored_series


def _check_unseen(path: Path, series_list: Sequence[SeriesRecord]) -> None:
    trained = set(load_bundle(path).provenance.get("patients", {}).get("train", ()))
    for record in series_list:
        if record.patient in trained:
            raise DatasetError(
                f"{path} was trained on the patient of series {record.name!r}.",
                "Give the manifest that the folds were trained with.",
            )


class _FoldNetwork:
    """One fold's network; remembers slices, since stacks share them."""

    def __init__(self, classifier: Classifier, fold: int) -> None:
        self._classifier, self._fold = classifier, fold
        self._point = classifier.point(None)
        self._known: dict[Path, tuple[NDArray[np.float64], int]] = {}

    def score(self, record: SeriesRecord) -> ScoredSeries:
        if record.parts[0].place is None:
            views, outlines = self._whole(record)
        else:
            views, outlines = self._stack(record)
        return ScoredSeries(record, self._fold, views, outlines)

    def _whole(
        self, record: SeriesRecord
    ) -> tuple[tuple[View, ...], OutlineFit | None]:
        part = record.parts[0]
        (series, *others) = read_study(part.path).series
        if others:
            raise DatasetError(
                f"{part.path} holds {len(others) + 1} series, not one.",
                "Name each series on its own.",
            )
        seen = self._see(series)
        outlines = None
        if part.mask is not None:
            drawn = drawn_outline(part.mask, series)
            outlines = compare_outlines(seen, series, drawn)
        views = [_view(seen, slice_gap(series.slices))]
        volume, _ = sliceable(series)
        if volume is not None:
            for _, other in other_planes(volume, series):
                views.append(_view(self._see(other), slice_gap(other.slices)))
        return tuple(views), outlines

    def _stack(
        self, record: SeriesRecord
    ) -> tuple[tuple[View, ...], OutlineFit | None]:
        outlines = None
        if not all(part.path in self._known for part in record.parts):
            slices = [read_study(part.path).slices[0] for part in record.parts]
            series = Series(
                tuple(replace(item, index=row) for row, item in enumerate(slices))
            )
            seen = self._see(series)
            for row, part in enumerate(record.parts):
                plane_result = seen.probabilities[row], int(seen.heads[row])
                self._known[part.path] = plane_result
            if record.outlined and seen.evidence is not None:
                masks = [part.mask for part in record.parts]
                drawn = drawn_outline(masks, series)
                outlines = compare_outlines(seen, series, drawn)
        places = [part.place or 0 for part in record.parts]
        count = max(places) - min(places) + 1
        probabilities = np.full((count, len(CLASSES)), np.nan)
        heads = np.zeros(count, np.int64)
        for place, part in zip(places, record.parts, strict=True):
            row = place - min(places)
            probabilities[row], heads[row] = self._known[part.path]
        return (View(probabilities, heads, record.gap_mm),), outlines

    def _see(self, series: Series) -> SeenSlices:
        return see_slices(self._classifier, series, self._point)


def _view(seen: SeenSlices, gap_mm: float | None) -> View:
    return View(seen.probabilities, seen.heads, gap_mm)


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
