"""A series is judged slice by slice, in one plane or in three."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.geometry import (
    LPS_TO_RAS,
    Volume,
    affine_of,
    even_grid_of,
    in_grid,
    series_of,
    slice_gap,
    volume_of,
)
from tumorlens.imaging.study import MRSequence, Plane, Series
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import FLOAT32, Precision, SeriesModel
from tumorlens.inference.classifier import Classifier
from tumorlens.inference.series.decision import (
    SeenSlices,
    SeriesPrediction,
    decide_series,
    discounted_odds,
    key_slices,
    kind_weights,
    run_length,
    series_log_odds,
    series_probabilities,
    strongest_run,
)
from tumorlens.inference.series.lesion import Lesion as SeriesLesion
from tumorlens.inference.series.lesion import find_lesion, joined_evidence
from tumorlens.inference.slice.decision import by_class
from tumorlens.inference.slice.prediction import SequenceEstimate, sequence_of_name
from tumorlens.taxonomy import Answer, ClassName, Lesion, clear_places

Progress = Callable[[int, int], None]
"""Called with the number of slices done and of all slices."""

MAX_SPACING_RATIO = 1.5
"""Longest over shortest spacing up to which a volume is seen in other planes.
Beyond it the other planes look like no slice that the model was trained on."""

NO_STACK = (
    "Only the acquired plane was judged: the slices are no regular stack whose place "
    "in the patient is known."
)
UNEVEN = (
    "Only the acquired plane was judged: the voxels measure {spacing} mm, and other "
    "planes need sides that differ by a factor of at most {ratio}."
)
ROUGH_OUTLINE = (
    "Size and place of the spot are rough, and were not checked against radiologists' "
    "outlines in whole series: it can come out far too large."
)
MEASURED_OUTLINE = (
    "Size and place of the spot are rough: in {patients} patients with outlines by "
    "radiologists, whom a model so trained had never seen, its longest side within "
    "slices was off by {error:.0%} in the median ({low:.0%} to {high:.0%}), and its "
    "overlap with the outline (Dice) was {dice:.2f} in the mean."
)
LOOKS_LIKE = (
    "The file does not say how the series was weighted; the model takes it for "
    "{sequence}."
)


class Planes(StrEnum):
    """The planes in which a series is judged."""

    ACQUIRED = "acquired"
    ALL = "all"


def predict_by_slices(
    classifier: Classifier,
    series: Series,
    operating_point: str | None = None,
    progress: Progress | None = None,
    planes: Planes = Planes.ACQUIRED,
) -> SeriesPrediction:
    """Judge a series as a whole, by a model of slices.

    Slices without brain never reach the network. The probability of the series
    comes from its most suspicious runs of neighbours, about 10 mm thick, by the
    small model in the bundle (see `SeriesModel`). Of each slice only its
    probabilities and a byte of evidence a pixel are kept.

    Parameters
    ----------
    classifier
        From `load_classifier`.
    series
        Slices in order.
    operating_point
        A name from the bundle; by default the bundle's own choice.
    progress
        Called as slices are done, with the slices of all planes as total.
    planes
        Whether a volume of nearly even spacing is also judged in the two planes
        in which it was not acquired, at three times the cost. The log-odds of
        the series, the shares of the classes and the evidence are then the means
        of the planes'. Other series are judged as acquired, and say so.

    Raises
    ------
    SettingError
        Where the operating point is not in the bundle.
    InputError
        Where slices in another plane would pass a limit.
    """
    start = time.perf_counter()
    point = classifier.point(operating_point)
    views, reasons = _see(classifier, series, point, progress, planes)
    return prediction_of(
        views, classifier.bundle, point, start, reasons, classifier.precision
    )


def prediction_of(
    views: Sequence[tuple[Series, SeenSlices]],
    bundle: Bundle,
    point: str,
    start: float,
    reasons: tuple[str, ...] = (),
    precision: Precision = FLOAT32,
) -> SeriesPrediction:
    """Sum up the slices of a series that the network has seen.

    Parameters
    ----------
    views
        The series as acquired, then in other planes, each with what is kept of it.
    bundle, point
        The model, and a name of its operating points.
    start
        When work on the series began, by `time.perf_counter`.
    reasons
        Full sentences for the prediction.
    precision
        Arithmetic of the graph that saw them.
    """
    series, own = views[0]
    run, values, by_plane = _sum_up(views, bundle.series_model, bundle.classes)
    judged = sum(len(seen.heads) - seen.skipped for _, seen in views)
    refused = sum(seen.refused for _, seen in views)
    lesions = _other_lesions(views, run, values)
    sequence, words = _sequence_of(series, own)
    # What was put together of several series is of no one sequence, and names none.
    measured_in = sequence if own.sequences else None
    outcome = decide_series(
        values, judged, refused, bundle, point, lesions, measured_in
    )
    nothing = values is None
    if nothing:
        # Evidence of 0 everywhere would look like a clear series.
        own.evidence = None
    unknown = outcome.finding is Answer.NOT_BRAIN_MRI
    lesion = _lesion(outcome.finding, own.evidence, series, run, bundle.series_model)
    if lesion is not None:
        reasons = (*reasons, _outline_standing(bundle.series_model))
    discount = 0.0 if bundle.series_model is None else bundle.series_model.end_discount
    odds = discounted_odds(own.p_tumor, own.heads, discount)
    apart = run_length(slice_gap(series.slices))
    grid = even_grid_of(series)
    # A series that was refused points to nothing.
    keys = () if unknown else key_slices(_listed(odds), apart)
    return SeriesPrediction(
        source=series.slices[0].source,
        plane=series.slices[0].plane,
        sequence=sequence,
        known_sequences=bundle.known_sequences,
        slices=len(series.slices),
        without_brain=own.skipped,
        refused=own.refused,
        finding=outcome.finding,
        kinds=outcome.kinds,
        raw_probabilities=None if values is None else by_class(values, bundle.classes),
        other_lesions=lesions,
        run=None if unknown else run,
        slice_p_tumor=(None,) * len(own.heads) if unknown else _listed(own.p_tumor),
        key_slices=keys,
        evidence=own.evidence,
        affine_ras=None if grid is None else LPS_TO_RAS @ grid.affine,
        places=grid.places if grid is not None and grid.has_gaps else (),
        lesion=lesion,
        operating_point=point,
        model_version=bundle.version,
        model_precision=precision,
        reasons=(*outcome.reasons, *reasons, *words),
        seconds=time.perf_counter() - start,
        planes={} if unknown else by_plane,
        size_measured=bundle.series_model is not None
        and bundle.series_model.outline is not None,
        not_judged=outcome.reasons[0] if nothing else None,
        place_guessed=series.place_guessed,
        grid=series.grid,
        seen=own if len(views) == 1 else None,
    )


def stated_sequence(series: Series) -> SequenceEstimate:
    """Say of which sequence a series is, before anybody looks at its pixels."""
    source = series.slices[0].source
    named = sequence_of_name(PurePosixPath(source).name) or sequence_of_name(source)
    return SequenceEstimate(
        sequence=series.sequence or named, header=series.sequence, file_name=named
    )


def _sequence_of(
    series: Series, seen: SeenSlices
) -> tuple[MRSequence | None, tuple[str, ...]]:
    """Name a series' sequence, and say where the pixels are the only witness."""
    told = seen.estimated_sequence(stated_sequence(series))
    if told.pixels is None or told.sequence is None:
        return series.sequence, ()
    if told.disagreement is not None:
        reasons: tuple[str, ...] = (told.disagreement,)
    elif told.header is None and told.file_name is None:
        reasons = (LOOKS_LIKE.format(sequence=told.sequence.value),)
    else:
        reasons = ()
    return series.sequence or told.sequence, reasons


def _see(
    classifier: Classifier,
    series: Series,
    point: str,
    progress: Progress | None,
    planes: Planes,
) -> tuple[list[_View], tuple[str, ...]]:
    """See the acquired plane, then the others; join evidence in the first's grid."""
    volume, reason = sliceable(series) if planes is Planes.ALL else (None, "")
    others = [] if volume is None else other_planes(volume, series)
    total = len(series.slices) + sum(len(item.slices) for _, item in others)
    done = 0

    def report(count: int, _: int) -> None:
        if progress is not None:
            progress(done + count, total)

    views = [(series, see_slices(classifier, series, point, report))]
    parts = [views[0][1].evidence]
    for plane, item in others:
        done += len(views[-1][0].slices)
        views.append((item, see_slices(classifier, item, point, report)))
        stack = views[-1][1].evidence
        # Only the joined evidence is kept: a plane's own is as large as the series.
        views[-1][1].evidence = None
        if volume is not None and stack is not None:
            parts.append(in_grid(stack, volume.voxels.shape, volume.affine, plane))
    if len(parts) > 1:
        views[0][1].evidence = joined_evidence([x for x in parts if x is not None])
    return views, (reason,) if reason else ()


def _sum_up(
    views: Sequence[_View], model: SeriesModel | None, classes: Sequence[ClassName]
) -> tuple[tuple[int, int] | None, NDArray[np.float64] | None, dict[Plane, float]]:
    """Find the run of the acquired plane, the series' probabilities, each plane's.

    There are no probabilities where no slice of any plane was judged.
    """
    runs: list[tuple[int, int] | None] = []
    known: list[tuple[SeenSlices, tuple[int, int], float]] = []
    by_plane: dict[Plane, float] = {}
    for series, seen in views:
        runs.append(None)
        if not np.isfinite(seen.p_tumor).any():
            continue
        gap = slice_gap(series.slices)
        run, odds = series_log_odds(seen.p_tumor, seen.heads, gap, model)
        runs[-1] = run
        known.append((seen, run, odds))
        plane = series.slices[0].plane
        if plane is not None:
            by_plane[plane] = 1.0 / (1.0 + math.exp(-odds))
    if not known:
        return None, None, by_plane
    mean = float(np.mean([odds for _, _, odds in known]))
    shares = [
        series_probabilities(seen.probabilities, run, mean, classes)
        for seen, run, _ in known
    ]
    return runs[0], np.asarray(np.mean(shares, axis=0), np.float64), by_plane


def _other_lesions(
    views: Sequence[_View],
    run: tuple[int, int] | None,
    values: NDArray[np.float64] | None,
) -> dict[Lesion, float]:
    """Give the probabilities of other lesions in the series, by the acquired plane.

    Among tumours another kind has its share in the slices that name the kinds; a
    vascular lesion has a run of its own. Empty where the model knows none, or nothing
    was judged.
    """
    series, seen = views[0]
    if run is None or values is None or not np.isfinite(seen.lesions).any():
        return {}
    other, vascular = seen.lesions.T
    p_tumor = 1.0 - float(values[clear_places(seen.classes)].sum())
    weights = kind_weights(seen.p_tumor)
    among = np.nan_to_num(other / np.maximum(seen.p_tumor, 1e-12))
    own = strongest_run(vascular, run_length(slice_gap(series.slices)))
    return {
        Lesion.OTHER: p_tumor * min(1.0, float(weights @ among)),
        Lesion.VASCULAR: min(1.0 - p_tumor, float(np.nanmean(vascular[slice(*own)]))),
    }


def _listed(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(item) else float(item) for item in values)


def _lesion(
    finding: Answer,
    evidence: NDArray[np.uint8] | None,
    series: Series,
    run: tuple[int, int] | None,
    model: SeriesModel | None,
) -> SeriesLesion | None:
    if evidence is None or run is None:
        return None
    if finding in (Answer.NOT_BRAIN_MRI, Answer.NO_TUMOR):
        return None
    outline = None if model is None else model.outline
    level = None if outline is None else outline.level
    return find_lesion(evidence, series.slices, run, level)


def _outline_standing(model: SeriesModel | None) -> str:
    """Say how far size and place of the spot can be believed."""
    if model is None or model.outline is None:
        return ROUGH_OUTLINE
    facts = model.outline
    return MEASURED_OUTLINE.format(
        patients=facts.patients,
        error=facts.size_error.value,
        low=facts.size_error.low,
        high=facts.size_error.high,
        dice=facts.dice.value,
    ).replace("%", " %")


def sliceable(series: Series) -> tuple[Volume | None, str]:
    """Make a series a block that can be seen in every plane.

    Parameters
    ----------
    series
        Slices in order.

    Returns
    -------
    volume, reason
        The block; or None, and why the series can only be seen as acquired.
    """
    reason = why_not_sliceable(series)
    return (None, reason) if reason else (volume_of(series), "")


def why_not_sliceable(series: Series) -> str:
    """Say why `sliceable` makes no block, without making one; empty where it does."""
    affine = affine_of(series)
    if affine is None or series.slices[0].plane is None:
        return NO_STACK
    # Between slices, rows and columns, as `Volume.spacing_mm`.
    spacing_mm = [float(np.linalg.norm(affine[:3, axis])) for axis in (2, 1, 0)]
    if max(spacing_mm) > MAX_SPACING_RATIO * min(spacing_mm):
        spacing = " x ".join(f"{item:.2g}" for item in spacing_mm)
        return UNEVEN.format(spacing=spacing, ratio=MAX_SPACING_RATIO)
    return ""


def other_planes(volume: Volume, series: Series) -> list[tuple[Plane, Series]]:
    """Slice a block in the two planes in which it was not acquired.

    Parameters
    ----------
    volume, series
        From `sliceable`, and as it was acquired.

    Raises
    ------
    TooSmallError, TooLargeError, InputError
        Where slices in another plane pass a limit, as `volume.check_view`.
    """
    own, source = series.slices[0].plane, series.slices[0].source
    return [
        (plane, series_of(volume, plane, source)) for plane in Plane if plane is not own
    ]


_View = tuple[Series, SeenSlices]
"""A series in one plane, and what is kept of its slices."""


def see_slices(
    classifier: Classifier,
    series: Series,
    point: str,
    progress: Progress | None = None,
) -> SeenSlices:
    """Judge the slices of a series that show enough brain.

    Parameters
    ----------
    classifier
        From `load_classifier`.
    series
        Slices in order.
    point
        A name of the bundle's operating points.
    progress
        Called as slices are done.
    """
    seen = SeenSlices(series, classifier.bundle.classes)
    judged = classifier.predict_brain(series.slices, point)
    for index, prediction in enumerate(judged):
        seen.add(index, prediction)
        if progress is not None:
            progress(index + 1, len(series.slices))
    return seen
