"""A whole series is judged: every slice, then the scan."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.geometry.volume import LPS_TO_RAS, affine_of, in_grid
from tumorlens.imaging.placement import Plane
from tumorlens.imaging.study import Series
from tumorlens.inference.bundle.facts import ScanModel
from tumorlens.inference.classifier import Classifier
from tumorlens.inference.series.decision import (
    decide_scan,
    key_slices,
    scan_log_odds,
    scan_probabilities,
)
from tumorlens.inference.series.evidence import joined_evidence
from tumorlens.inference.series.features import discounted_odds, run_length
from tumorlens.inference.series.lesion import find_lesion, slice_gap
from tumorlens.inference.series.planes import Planes, other_planes, sliceable
from tumorlens.inference.series.results import Lesion, ScanFinding
from tumorlens.inference.series.slices import Progress, SeenSlices, see_slices
from tumorlens.inference.slice.decision import by_class
from tumorlens.taxonomy import CLASSES, TumorClass, Verdict

ROUGH_OUTLINE = (
    "Size and place of the spot are rough, and were not checked against radiologists' "
    "outlines in whole scans: it can come out far too large."
)
MEASURED_OUTLINE = (
    "Size and place of the spot are rough: in {patients} patients with outlines by "
    "radiologists, whom a model so trained had never seen, its longest side within "
    "slices was off by {error:.0%} in the median ({low:.0%} to {high:.0%}), and its "
    "overlap with the outline (Dice) was {dice:.2f} in the mean."
)


def judge_scan(
    classifier: Classifier,
    series: Series,
    operating_point: str | None = None,
    progress: Progress | None = None,
    planes: Planes = Planes.ACQUIRED,
) -> ScanFinding:
    """Judge a series as a whole.

    Slices without brain are passed over before the network. The scan's
    probability comes from its most suspicious runs of neighbours, about 10 mm
    thick, by the small model in the bundle (see `scan_model.ScanModel`). Of
    each slice only its probabilities and a byte of evidence a pixel are kept.

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
        the scan, the shares of the classes and the evidence are then the means
        of the planes'. Other scans are judged as acquired, and say so.

    Raises
    ------
    SettingError
        Where the operating point is not in the bundle.
    InputError
        Where slices in another plane would pass a limit.
    """
    start = time.perf_counter()
    bundle = classifier.bundle
    point = classifier.point(operating_point)
    views, reasons = _see(classifier, series, point, progress, planes)
    own = views[0][1]
    run, values, by_plane = _sum_up(views, bundle.scans)
    judged = sum(len(seen.heads) - seen.skipped for _, seen in views)
    refused = sum(seen.refused for _, seen in views)
    decision, why = decide_scan(values, judged, refused, bundle, point)
    nothing = values is None
    if nothing:
        # Evidence of 0 everywhere would look like a clear scan.
        own.evidence = None
    lesion = _lesion(decision, own.evidence, series, run, bundle.scans)
    if lesion is not None:
        reasons = (*reasons, _outline_standing(bundle.scans))
    discount = 0.0 if bundle.scans is None else bundle.scans.end_discount
    odds = discounted_odds(own.p_tumor, own.heads, discount)
    apart = run_length(slice_gap(series.slices))
    return ScanFinding(
        source=series.slices[0].source,
        plane=series.slices[0].plane,
        sequence=series.sequence,
        slices=len(series.slices),
        without_brain=own.skipped,
        refused=own.refused,
        decision=decision,
        predicted=None if values is None else CLASSES[int(np.argmax(values))],
        probabilities=None if values is None else by_class(values),
        run=run,
        slice_p_tumor=_listed(own.p_tumor),
        key_slices=key_slices(_listed(odds), apart),
        evidence=own.evidence,
        affine_ras=_affine_ras(series),
        lesion=lesion,
        operating_point=point,
        model_version=bundle.version,
        reasons=(*why, *reasons),
        seconds=time.perf_counter() - start,
        planes=by_plane,
        size_measured=bundle.scans is not None and bundle.scans.outline is not None,
        not_judged=why[0] if nothing else None,
        place_guessed=series.place_guessed,
        grid=series.grid,
    )


_View = tuple[Series, SeenSlices]


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
        # Only the joined evidence is kept: a plane's own is as large as the scan.
        views[-1][1].evidence = None
        if volume is not None and stack is not None:
            parts.append(in_grid(stack, volume.voxels.shape, volume.affine, plane))
    if len(parts) > 1:
        views[0][1].evidence = joined_evidence([x for x in parts if x is not None])
    return views, (reason,) if reason else ()


def _sum_up(
    views: Sequence[_View], model: ScanModel | None
) -> tuple[tuple[int, int] | None, NDArray[np.float64] | None, dict[Plane, float]]:
    """Find the run of the acquired plane, the scan's probabilities, each plane's.

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
        run, odds = scan_log_odds(seen.p_tumor, seen.heads, gap, model)
        runs[-1] = run
        known.append((seen, run, odds))
        plane = series.slices[0].plane
        if plane is not None:
            by_plane[plane] = 1.0 / (1.0 + math.exp(-odds))
    if not known:
        return None, None, by_plane
    mean = float(np.mean([odds for _, _, odds in known]))
    shares = [
        scan_probabilities(seen.probabilities, run, mean) for seen, run, _ in known
    ]
    return runs[0], np.asarray(np.mean(shares, axis=0), np.float64), by_plane


def _by_class(values: NDArray[np.float64]) -> dict[TumorClass, float]:
    return {name: float(value) for name, value in zip(CLASSES, values, strict=True)}


def _listed(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(item) else float(item) for item in values)


def _lesion(
    decision: TumorClass | Verdict,
    evidence: NDArray[np.uint8] | None,
    series: Series,
    run: tuple[int, int] | None,
    model: ScanModel | None,
) -> Lesion | None:
    if evidence is None or run is None:
        return None
    if decision in (Verdict.NOT_BRAIN_MRI, TumorClass.NO_TUMOR):
        return None
    outline = None if model is None else model.outline
    level = None if outline is None else outline.level
    return find_lesion(evidence, series.slices, run, level)


def _outline_standing(model: ScanModel | None) -> str:
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


def _affine_ras(series: Series) -> NDArray[np.float64] | None:
    affine = affine_of(series)
    return None if affine is None else LPS_TO_RAS @ affine
