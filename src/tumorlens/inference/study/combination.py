"""Several series on one grid become one: weighed place by place, sequence by sequence.

Tested in `tests/inference/study/test_classifier.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import MRSequence, Series, Slice
from tumorlens.inference.bundle.facts import SequenceSum, StudyModel
from tumorlens.inference.series.decision import log_odds
from tumorlens.inference.series.lesion import CODE_ODDS
from tumorlens.inference.series.results import SeenSlices
from tumorlens.inference.study.matching import (
    evidence_odds,
    middles,
    on_grid,
    slice_weights,
)
from tumorlens.taxonomy import clear_places


@dataclass(frozen=True)
class Part:
    """A series that counts, as it lies on the grid.

    Parameters
    ----------
    sequence
        Which MR sequence it is of; None where nobody knows, and it counts alone.
    series, seen
        What was judged, and what is kept of it.
    """

    sequence: MRSequence | None
    series: Series
    seen: SeenSlices


@dataclass(frozen=True)
class Combination:
    """What is kept of the slices of the grid, for all series together.

    Parameters
    ----------
    seen
        The same as for a series alone.
    odds
        By sequence, shape (D,): its own log-odds of a tumour in each slice of the
        grid; NaN where it has none.
    """

    seen: SeenSlices
    odds: Mapping[MRSequence | None, NDArray[np.float64]]


def choose_sum(
    model: StudyModel | None, sequences: Iterable[MRSequence]
) -> tuple[SequenceSum, bool]:
    """Choose how sequences are weighed.

    Parameters
    ----------
    model
        The bundle's; None where it has none.
    sequences
        Those at hand, at least one.

    Returns
    -------
    sum, is_learned
        Of as many of the sequences as were fitted together; where none was fitted, the
        plain mean of all.
    """
    there = tuple(dict.fromkeys(sequences))
    learned = None if model is None else model.sum_of(there)
    if learned is None:
        return SequenceSum.equal(there), False
    return learned, True


def combine(
    grid: Series, parts: Sequence[Part], model: StudyModel | None
) -> Combination:
    """Weigh series place by place.

    In each slice of the grid the log-odds of the sequences that show it are added up by
    the sum that is for them. The kinds of tumour, and the evidence of a pixel as
    log-odds, are means by the same weights.

    Parameters
    ----------
    grid
        Series whose slices are the common grid.
    parts
        Series that count, at least one.
    model
        The bundle's; None where it has none.
    """
    weights = [slice_weights(grid, part.series, _spots(part)) for part in parts]
    keys = tuple(dict.fromkeys(part.sequence for part in parts))
    members = {
        key: [row for row, part in enumerate(parts) if part.sequence is key]
        for key in keys
    }

    def of_key(
        key: MRSequence | None, values: Callable[[SeenSlices], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        return _mean(
            [on_grid(weights[row], values(parts[row].seen)) for row in members[key]]
        )

    odds = {key: of_key(key, lambda seen: log_odds(seen.p_tumor)) for key in keys}
    probabilities = {key: of_key(key, lambda seen: seen.probabilities) for key in keys}
    seen = SeenSlices(grid, parts[0].seen.classes)
    shares = np.zeros((len(grid.slices), len(keys)))
    total = np.full(len(grid.slices), np.nan)
    for index in range(len(grid.slices)):
        there = [key for key in keys if np.isfinite(odds[key][index])]
        if not there:
            continue
        total[index], by_key = _weighed(
            there, {k: odds[k][index] for k in there}, model
        )
        for key, weight in by_key.items():
            shares[index, keys.index(key)] = weight
    _fill_probabilities(seen, total, shares, [probabilities[key] for key in keys])
    lesions = [of_key(key, lambda one: one.lesions) for key in keys]
    for column in range(seen.lesions.shape[1]):
        own = [values[:, column] for values in lesions]
        seen.lesions[:, column] = _shared(shares, own)
    _fill_counts(seen, grid, parts, weights)
    _fill_evidence(seen, grid, parts, [members[key] for key in keys], shares)
    return Combination(seen, odds)


def _spots(part: Part) -> NDArray[np.float64]:
    """Find where in each slice a series speaks for, shape (d, 3), LPS mm.

    The middle of a clear slice; the surer a slice is of a tumour, the nearer to the
    middle of its evidence.
    """
    points = middles(part.series)
    evidence, p_tumor = part.seen.evidence, np.nan_to_num(part.seen.p_tumor)
    for index, item in enumerate(part.series.slices if evidence is not None else ()):
        if evidence is None or item.placement is None or not evidence[index].any():
            continue
        masses = np.square(evidence[index].astype(np.float32))
        column = float(masses.sum(axis=0) @ np.arange(item.width) / masses.sum())
        row = float(masses.sum(axis=1) @ np.arange(item.height) / masses.sum())
        away = item.placement.at(column, row) - points[index]
        points[index] += p_tumor[index] * away
    return points


def _weighed(
    there: Sequence[MRSequence | None],
    odds: Mapping[MRSequence | None, float],
    model: StudyModel | None,
) -> tuple[float, dict[MRSequence | None, float]]:
    """Add up one slice, and say how much each sequence counts; these sum to 1."""
    known = [key for key in there if key is not None]
    if not known:
        return odds[None], {None: 1.0}
    chosen, _ = choose_sum(model, known)
    values = {key: np.array([odds[key]]) for key in chosen.sequences}
    scale = max(sum(chosen.weights), 1e-9)
    shares: dict[MRSequence | None, float] = {
        key: weight / scale
        for key, weight in zip(chosen.sequences, chosen.weights, strict=True)
    }
    return float(chosen.log_odds(values)[0]), shares


def _mean(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Average what is known; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(np.stack(parts), axis=0), np.float64)


def _shared(
    shares: NDArray[np.float64], values: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Weigh values (D,) of each sequence, where they are known; NaN elsewhere."""
    table = np.stack(values, axis=1)
    weights = np.where(np.isfinite(table), shares, 0.0)
    total = weights.sum(axis=1)
    mean = (weights * np.nan_to_num(table)).sum(axis=1) / np.maximum(total, 1e-12)
    return np.asarray(np.where(total > 0.0, mean, np.nan))


def _fill_probabilities(
    seen: SeenSlices,
    odds: NDArray[np.float64],
    shares: NDArray[np.float64],
    probabilities: Sequence[NDArray[np.float64]],
) -> None:
    known = np.isfinite(odds)
    values = np.zeros((len(odds), len(seen.classes)))
    for column, own in enumerate(probabilities):
        values += shares[:, column : column + 1] * np.nan_to_num(own)
    values = np.maximum(values, 1e-12)
    clear = clear_places(seen.classes)
    kinds = [place for place in range(len(seen.classes)) if place not in clear]
    p_tumor = 1.0 / (1.0 + np.exp(-odds))
    for places, share in ((kinds, p_tumor), (clear, 1.0 - p_tumor)):
        values[:, places] *= (share / values[:, places].sum(axis=1))[:, None]
    seen.probabilities[known] = values[known]


def _fill_counts(
    seen: SeenSlices,
    grid: Series,
    parts: Sequence[Part],
    weights: Sequence[NDArray[np.float64]],
) -> None:
    """Count slices without brain or refused; measure the head in the grid's pixels."""
    known = np.isfinite(seen.p_tumor)
    heads = []
    refused = np.zeros(len(known), bool)
    for part, weight in zip(parts, weights, strict=True):
        pixel = _pixel_mm(part.series.slices[0]) / _pixel_mm(grid.slices[0])
        own = part.seen.heads * pixel
        heads.append(on_grid(weight, np.where(own > 0.0, own, np.nan)))
        near = weight.max(axis=1) >= 0.5
        refused |= near & part.seen.is_refused[weight.argmax(axis=1)]
    seen.heads[known] = np.rint(np.nan_to_num(_mean(heads)))[known].astype(np.int64)
    seen.is_refused = ~known & refused
    seen.refused = int(seen.is_refused.sum())
    seen.skipped = int((~known & ~refused).sum())


def _pixel_mm(item: Slice) -> float:
    return 1.0 if item.spacing_mm is None else float(np.sqrt(np.prod(item.spacing_mm)))


def _fill_evidence(
    seen: SeenSlices,
    grid: Series,
    parts: Sequence[Part],
    members: Sequence[Sequence[int]],
    shares: NDArray[np.float64],
) -> None:
    if seen.evidence is None:
        return
    judged = [np.isfinite(part.seen.p_tumor) for part in parts]
    for index in np.flatnonzero(np.isfinite(seen.p_tumor)):
        item = grid.slices[index]
        total = np.zeros(item.pixels.shape, np.float32)
        weight = np.zeros(item.pixels.shape, np.float32)
        for column, rows in enumerate(members):
            share = shares[index, column] / len(rows)
            for row in rows if share else ():
                part, evidence = parts[row], parts[row].seen.evidence
                if evidence is None:
                    continue
                odds = evidence_odds(item, part.series, evidence, judged[row])
                there = np.isfinite(odds)
                total += np.where(there, share * odds, 0.0).astype(np.float32)
                weight += np.where(there, share, 0.0).astype(np.float32)
        mean = total / np.maximum(weight, 1e-6)
        shown = (weight > 0.0) & (mean > CODE_ODDS[0] + 1e-3)
        seen.evidence[index] = np.where(
            shown, np.rint(255.0 / (1.0 + np.exp(-mean))), 0.0
        )
