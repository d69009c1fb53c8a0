"""Several series become one: matched on a grid, then weighed place by place.

One of the series gives the grid, in the patient's space; each place is weighed by what
is known of its sequences.

Tested in `tests/inference/study/test_classifier.py`, too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.dicom.header import text
from tumorlens.imaging.geometry import placements_of, slice_gap
from tumorlens.imaging.study import MRSequence, Placement, Series, Slice
from tumorlens.inference.bundle.facts import SequenceSum, StudyModel
from tumorlens.inference.series.by_slices import why_not_sliceable
from tumorlens.inference.series.decision import SeenSlices, log_odds
from tumorlens.inference.series.lesion import CODE_ODDS
from tumorlens.taxonomy import clear_places

MAX_TILT = 10.0
"""Degrees between the slices of two series from which on a volume of nearly even
spacing is cut anew: 60 mm from the middle they are about 10 mm apart, as thick as a
run."""

FARTHEST_TILT = 30.0
"""Degrees up to which thick slices, which cannot be cut anew, are compared as they
are: each then speaks for where in it the evidence lies."""

_LEAST_COVER = 0.25
"""Share of the grid's slices that a series has to reach."""

_NEARLY_ALL = 0.8
"""Share of the widest series' extent that a grid has to span."""

_NEAR = 0.25
"""Weight of the slices around a place below which it counts as not shown."""

NO_PLACE = "Nobody says where its slices lie in the patient."
OTHER_FRAME = "Its place is stated in another frame of reference."
OTHER_TILT = (
    "Its slices lie {tilt:.0f} degrees across those of the common grid, and are too "
    "far apart to be cut anew."
)
ELSEWHERE = "It lies beside the common grid."


@dataclass(frozen=True)
class Match:
    """How a series comes onto the common grid.

    Parameters
    ----------
    series
        Series to judge: as it was acquired, or cut anew along the grid's slices; None
        where it cannot be matched.
    is_cut_anew
        Whether it was cut anew.
    reason
        Why it cannot be matched; empty where it can.
    """

    series: Series | None
    is_cut_anew: bool = False
    reason: str = ""


def choose_grid(
    series: Sequence[Series], kinds: Sequence[object], candidates: Sequence[int]
) -> int:
    """Choose the series whose slices become the common grid.

    Parameters
    ----------
    series
        All series.
    kinds
        What each is of, or something of its own where that is not known: as many
        different ones as possible are to be matched.
    candidates
        Indices among which to choose, at least one.

    Returns
    -------
    int
        Index of the series on which most kinds can be matched, among those that miss
        no large part of what these show; of several the one with the thinnest slices.
    """
    extents = [_extent(item) for item in series]

    def worth(index: int) -> tuple[float, ...]:
        matched = [
            other
            for other, item in enumerate(series)
            if other == index or not _obstacle(series[index], item)
        ]
        widest = max(extents[other] for other in matched)
        gap = slice_gap(series[index].slices)
        return (
            float(extents[index] >= _NEARLY_ALL * widest),
            len({kinds[other] for other in matched}),
            0.0 if gap is None else -round(gap, 2),
            float(series[index].slices[0].pixels.size),
            -index,
        )

    return max(candidates, key=worth)


def match(grid: Series, series: Series) -> Match:
    """Bring a series onto the slices of another.

    Parameters
    ----------
    grid
        Series whose slices are the common grid.
    series
        Another one, or the same.
    """
    if series is grid:
        return Match(series)
    reason = _obstacle(grid, series)
    if reason:
        return Match(None, reason=reason)
    if tilt(grid, series) <= MAX_TILT or why_not_sliceable(series):
        return Match(series)
    return Match(_cut_anew(grid, series), is_cut_anew=True)


def tilt(one: Series, other: Series) -> float:
    """Measure the angle between the slices of two placed series, 0 to 90 degrees."""
    first, second = one.slices[0].placement, other.slices[0].placement
    if first is None or second is None:
        return 90.0
    cosine = abs(float(first.normal @ second.normal))
    return float(np.degrees(np.arccos(min(1.0, cosine))))


def _obstacle(grid: Series, series: Series) -> str:
    """Say why a series cannot be matched; empty where it can."""
    places = _places(grid), _places(series)
    if places[0] is None or places[1] is None:
        return NO_PLACE
    if grid.place_guessed or series.place_guessed:
        # Voxels of one grid are compared where no file says where they lie.
        alike = grid.place_guessed and series.place_guessed
        if not alike or _matrix(grid) != _matrix(series):
            return NO_PLACE
    frames = {_frame(grid), _frame(series)} - {""}
    if len(frames) > 1:
        return OTHER_FRAME
    angle = tilt(grid, series)
    if angle > FARTHEST_TILT and why_not_sliceable(series):
        return OTHER_TILT.format(tilt=angle)
    if not _reaches(grid, series, places[1]):
        return ELSEWHERE
    return ""


def _is_placed(series: Series) -> bool:
    """Tell whether a series says where in the patient each of its slices lies."""
    return _places(series) is not None


def _places(series: Series) -> list[Placement] | None:
    return placements_of(series.slices) if len(series.slices) > 1 else None


def _matrix(series: Series) -> tuple[int, ...]:
    return (len(series.slices), *series.slices[0].pixels.shape)


def _frame(series: Series) -> str:
    return text(series.headers[0], "FrameOfReferenceUID") if series.headers else ""


def _reaches(
    grid: Series,
    series: Series,
    places: Sequence[Placement],
) -> bool:
    """Tell whether a box around a series holds enough middles of the grid's slices."""
    corners = np.array(
        [
            place.at(column, row)
            for item, place in (
                (series.slices[0], places[0]),
                (series.slices[-1], places[-1]),
            )
            for column in (0, item.width - 1)
            for row in (0, item.height - 1)
        ]
    )
    low, high = corners.min(axis=0) - 1.0, corners.max(axis=0) + 1.0
    points = middles(grid)
    return bool(((points >= low) & (points <= high)).all(axis=1).mean() >= _LEAST_COVER)


def _extent(series: Series) -> float:
    gap = slice_gap(series.slices)
    return 0.0 if gap is None else gap * len(series.slices)


def _cut_anew(grid: Series, series: Series) -> Series:
    """Cut a volume of nearly even spacing along the grid's slices (trilinear)."""
    first = series.slices[0]
    slices = tuple(
        replace(
            item,
            pixels=cut_at(item, series),
            source=first.source,
            index=index,
            sequence=series.sequence,
            window=first.window,
        )
        for index, item in enumerate(grid.slices)
    )
    return replace(series, slices=slices, headers=(), frames=(), grid=None)


def cut_at(item: Slice, series: Series) -> NDArray[np.float32]:
    """Show a series where a slice lies, shape (H, W) of the slice; air around it."""
    shown = _sampled(item, series, lambda index: series.slices[index].pixels)
    return np.nan_to_num(shown, nan=float(series.slices[0].pixels.min()))


def slice_weights(
    grid: Series, series: Series, spots: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Weigh the slices of a series for each slice of the grid, by their distance.

    Parameters
    ----------
    grid, series
        Two series that are placed, D and d slices.
    spots
        Shape (d, 3), LPS mm: where in each of its slices the series speaks for; by
        default their middles. It matters where slices are tilted.

    Returns
    -------
    ndarray
        Shape (D, d), 0 to 1: 1 in the same place, 0 from the larger of both
        distances between slices on.
    """
    points = middles(series) if spots is None else spots
    own = middles(grid)
    normal = (_places(grid) or [])[0].normal
    width = max(slice_gap(grid.slices) or 1.0, slice_gap(series.slices) or 1.0)
    apart = np.abs((own @ normal)[:, None] - (points @ normal)[None, :])
    return np.asarray(np.maximum(0.0, 1.0 - apart / width))


def middles(series: Series) -> NDArray[np.float64]:
    """Find the middle of each slice of a placed series, shape (d, 3), LPS mm."""
    return np.array(
        [
            place.at((item.width - 1) / 2, (item.height - 1) / 2)
            for item, place in zip(series.slices, _places(series) or [], strict=True)
        ]
    )


def on_grid(
    weights: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average values of slices where the grid's slices lie.

    Parameters
    ----------
    weights
        Shape (D, d), from `slice_weights`.
    values
        Shape (d,) or (d, K); NaN where a slice was not judged.

    Returns
    -------
    ndarray
        Shape (D,) or (D, K); NaN where too little is near.
    """
    columns = values.reshape(len(values), -1)
    known = np.isfinite(columns).all(axis=1)
    sums = weights[:, known] @ columns[known]
    total = weights[:, known].sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(total >= _NEAR, sums / total, np.nan)
    return np.asarray(means.reshape(len(weights), *values.shape[1:]))


def evidence_odds(
    item: Slice, series: Series, evidence: NDArray[np.uint8], judged: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Read a series' evidence where the pixels of a slice lie.

    Parameters
    ----------
    item
        Slice of the grid, shape (H, W).
    series, evidence, judged
        Series of d slices; its evidence (d, h, w), 255 times a probability; shape
        (d,), which slices were judged.

    Returns
    -------
    ndarray
        Shape (H, W), float32: log-odds; NaN where the series was not judged.
    """

    def plane(index: int) -> NDArray[np.float32] | None:
        return CODE_ODDS[evidence[index]] if judged[index] else None

    return _sampled(item, series, plane)


def _sampled(
    item: Slice, series: Series, plane_of: Callable[[int], NDArray[np.float32] | None]
) -> NDArray[np.float32]:
    """Sample a series at a slice's pixels, linearly in all directions.

    NaN where no plane is near, or `plane_of` gives none.
    """
    places, place = _places(series), item.placement
    if place is None or places is None:
        # Nothing is compared with a series that has no place but itself.
        own = [x is item for x in series.slices]
        plane = plane_of(own.index(True)) if any(own) else None
        unknown = np.full((item.height, item.width), np.nan, np.float32)
        return unknown if plane is None else plane
    rows, columns = np.mgrid[: item.height, : item.width].astype(np.float64)
    points = (
        np.array(place.origin)
        + columns[..., None] * np.array(place.across)
        + rows[..., None] * np.array(place.down)
    )
    normal = places[0].normal
    depths = np.array([np.array(other.origin) @ normal for other in places])
    order = np.argsort(depths)
    wanted = points @ normal
    ranks = np.interp(wanted, depths[order], np.arange(len(order)))
    # A slice stands for half its distance to both sides: the outermost too.
    half = 0.5 * (slice_gap(series.slices) or 1.0)
    low, high = depths[order[0]] - half, depths[order[-1]] + half
    ranks[(wanted < low) | (wanted > high)] = np.nan
    total = np.zeros(wanted.shape, np.float32)
    weight = np.zeros(wanted.shape, np.float32)
    known = ranks[np.isfinite(ranks)]
    if not known.size:
        return np.full(wanted.shape, np.nan, np.float32)
    for rank in range(math.floor(known.min()), math.ceil(known.max()) + 1):
        share = np.nan_to_num(np.maximum(0.0, 1.0 - np.abs(ranks - rank)))
        plane = plane_of(int(order[rank])) if share.any() else None
        if plane is None:
            continue
        values, inside = _in_plane(plane, places[order[rank]], points)
        share = np.where(inside, share, 0.0).astype(np.float32)
        total += share * values
        weight += share
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(weight >= 0.5, total / weight, np.nan), np.float32)


def _in_plane(
    plane: NDArray[np.float32], place: Placement, points: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Sample one slice at points (H, W, 3), and tell which of them it reaches."""
    steps = points - np.array(place.origin)
    down, across = place.spacing_mm
    columns = (steps @ np.array(place.across) / across**2).astype(np.float32)
    rows = (steps @ np.array(place.down) / down**2).astype(np.float32)
    values = cv2.remap(
        plane, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    height, width = plane.shape
    inside = (columns >= -0.5) & (columns <= width - 0.5)
    inside &= (rows >= -0.5) & (rows <= height - 0.5)
    return np.asarray(values, np.float32), np.asarray(inside)


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
        Log-odds of a tumour by sequence, shape (D,): its own in each slice of the
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
        Series that count, at least one; the grid alone, where it has no place in the
        patient.
    model
        The bundle's; None where it has none.
    """
    weights = [
        slice_weights(grid, part.series, _spots(part))
        if _is_placed(grid)
        else np.eye(len(grid.slices))
        for part in parts
    ]
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
