"""A whole series is judged: every slice, then the scan."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.predict import Classifier
from tumorlens.engine.results import Prediction
from tumorlens.engine.scan_decide import (
    decide_scan,
    key_slices,
    run_length,
    scan_probabilities,
    strongest_run,
)
from tumorlens.engine.scan_lesion import find_lesion, slice_gap
from tumorlens.engine.scan_results import Lesion, ScanFinding
from tumorlens.imaging.study import Series
from tumorlens.imaging.volume import LPS_TO_RAS, affine_of
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX, TumorClass, Verdict

Progress = Callable[[int, int], None]
"""Called with the number of slices done and of all slices."""

ROUGH_OUTLINE = (
    "Size and place of the spot are rough, and were not checked against radiologists' "
    "outlines in whole scans: it can come out far too large."
)


def judge_scan(
    classifier: Classifier,
    series: Series,
    operating_point: str | None = None,
    progress: Progress | None = None,
) -> ScanFinding:
    """Judge a series as a whole.

    Slices without brain are passed over before the network. The scan's
    probability is the mean over its most suspicious run of neighbours, about
    10 mm thick. Of each slice only its probabilities and a byte of evidence a
    pixel are kept.

    Parameters
    ----------
    classifier
        From `load_classifier`.
    series
        Slices in order.
    operating_point
        A name from the bundle; by default the bundle's own choice.
    progress
        Called as slices are done.

    Raises
    ------
    SettingError
        Where the operating point is not in the bundle.
    """
    start = time.perf_counter()
    bundle = classifier.bundle
    point = classifier.point(operating_point)
    slices = series.slices
    seen = _Seen(series)
    skipped = 0
    for index, prediction in enumerate(classifier.predict_brain(slices, point)):
        if prediction is None:
            skipped += 1
        else:
            seen.add(index, prediction)
        if progress is not None:
            progress(index + 1, len(slices))
    run, values = None, np.eye(len(CLASSES))[NO_TUMOR_INDEX]
    gap = slice_gap(slices)
    if np.isfinite(seen.p_tumor).any():
        run = strongest_run(seen.p_tumor, run_length(gap))
        values = scan_probabilities(seen.probabilities, run)
    decision, reasons = decide_scan(
        values, len(slices) - skipped, seen.refused, bundle, point
    )
    lesion = _lesion(decision, seen.evidence, series, run)
    if lesion is not None:
        reasons = (*reasons, ROUGH_OUTLINE)
    listed = tuple(None if np.isnan(x) else float(x) for x in seen.p_tumor)
    return ScanFinding(
        source=slices[0].source,
        plane=slices[0].plane,
        sequence=series.sequence,
        slices=len(slices),
        without_brain=skipped,
        refused=seen.refused,
        decision=decision,
        predicted=CLASSES[int(np.argmax(values))],
        probabilities={
            name: float(value) for name, value in zip(CLASSES, values, strict=True)
        },
        run=run,
        slice_p_tumor=listed,
        key_slices=key_slices(listed, run_length(gap)),
        evidence=seen.evidence,
        affine_ras=_affine_ras(series),
        lesion=lesion,
        operating_point=point,
        model_version=bundle.version,
        reasons=reasons,
        seconds=time.perf_counter() - start,
    )


class _Seen:
    """What is kept of each slice."""

    def __init__(self, series: Series) -> None:
        count = len(series.slices)
        self.probabilities = np.full((count, len(CLASSES)), np.nan)
        self.refused = 0
        self.evidence: NDArray[np.uint8] | None = None
        shapes = {item.pixels.shape for item in series.slices}
        if len(shapes) == 1:
            self.evidence = np.zeros((count, *shapes.pop()), np.uint8)

    @property
    def p_tumor(self) -> NDArray[np.float64]:
        """Shape (D,); NaN where a slice was not judged or was refused."""
        return np.asarray(1.0 - self.probabilities[:, NO_TUMOR_INDEX], np.float64)

    def add(self, index: int, prediction: Prediction) -> None:
        decision = prediction.decision
        if decision.decision is Verdict.NOT_BRAIN_MRI:
            self.refused += 1
            return
        self.probabilities[index] = [decision.probabilities[name] for name in CLASSES]
        if self.evidence is not None:
            shares = np.clip(prediction.explanation.evidence, 0.0, 1.0)
            self.evidence[index] = np.rint(255.0 * shares)


def _lesion(
    decision: TumorClass | Verdict,
    evidence: NDArray[np.uint8] | None,
    series: Series,
    run: tuple[int, int] | None,
) -> Lesion | None:
    if evidence is None or run is None:
        return None
    if decision in (Verdict.NOT_BRAIN_MRI, TumorClass.NO_TUMOR):
        return None
    return find_lesion(evidence, series.slices, run)


def _affine_ras(series: Series) -> NDArray[np.float64] | None:
    affine = affine_of(series)
    return None if affine is None else LPS_TO_RAS @ affine
