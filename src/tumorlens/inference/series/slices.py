"""Every slice of a series is judged; of each only what the scan needs is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import Series
from tumorlens.inference.classifier import Classifier
from tumorlens.inference.slice.results import Prediction
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX, Verdict

Progress = Callable[[int, int], None]
"""Called with the number of slices done and of all slices."""


class SeenSlices:
    """What is kept of the slices of a series.

    Parameters
    ----------
    series
        Of D slices.

    Attributes
    ----------
    probabilities
        Shape (D, 4), calibrated; NaN rows where a slice was not judged or was
        refused.
    heads
        Shape (D,): edge of the square that holds the head, in pixels; 0 in those
        rows.
    skipped, refused
        How many slices show too little brain, and how many others are unlike
        a brain MRI.
    evidence
        Shape (D, H, W), uint8: 255 times the evidence, 0 in those rows; None
        where slices differ in size.
    """

    def __init__(self, series: Series) -> None:
        count = len(series.slices)
        self.probabilities = np.full((count, len(CLASSES)), np.nan)
        self.heads = np.zeros(count, np.int64)
        self.skipped = self.refused = 0
        self.evidence: NDArray[np.uint8] | None = None
        shapes = {item.pixels.shape for item in series.slices}
        if len(shapes) == 1:
            self.evidence = np.zeros((count, *shapes.pop()), np.uint8)

    @property
    def p_tumor(self) -> NDArray[np.float64]:
        """Shape (D,); NaN where a slice was not judged or was refused."""
        return np.asarray(1.0 - self.probabilities[:, NO_TUMOR_INDEX], np.float64)

    def add(self, index: int, prediction: Prediction | None) -> None:
        """Keep what the network says of one slice; None for too little brain."""
        if prediction is None:
            self.skipped += 1
            return
        decision = prediction.decision
        if decision.label is Verdict.NOT_BRAIN_MRI:
            self.refused += 1
            return
        self.probabilities[index] = [decision.probabilities[name] for name in CLASSES]
        self.heads[index] = prediction.head
        if self.evidence is not None:
            shares = np.clip(prediction.explanation.evidence, 0.0, 1.0)
            self.evidence[index] = np.rint(255.0 * shares)


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
    seen = SeenSlices(series)
    judged = classifier.predict_brain(series.slices, point)
    for index, prediction in enumerate(judged):
        seen.add(index, prediction)
        if progress is not None:
            progress(index + 1, len(series.slices))
    return seen
