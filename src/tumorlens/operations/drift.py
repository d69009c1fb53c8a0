"""Drift: whether what is judged is still like what the model was measured on.

Watched are rates: how often something is so among what is judged, such as that a
picture is refused. For each of them the bundle states an interval, or bounds it. An
observation is one picture of an upload, or one series: more of one upload would say the
same again.

How a rate is tested: `sequential_test`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.operations.sequential_test import ReferenceRate
from tumorlens.taxonomy import ClassName, Verdict, info_of

FAR = 3.0
"""Standard deviations above the mean from which on an embedding counts as far."""

REFUSED, UNNAMED, FAR_AWAY, OTHER_SEQUENCE = (
    "refused",
    "no_class_named",
    "far_embedding",
    "other_sequence",
)
PREDICTED = "predicted_"
"""Prefix of the rates of the most probable class."""

_SETS = ("test", "cross_validation", "leave_site_out")
"""Sets of a bundle's figures, those that are most like what is judged first."""

_QUANTILE = 2.576
"""Quantile of the normal distribution for intervals of 99 %."""


def reference_rates(bundle: Bundle) -> dict[str, ReferenceRate]:
    """Read what a bundle states of the slices that it was measured on.

    Parameters
    ----------
    bundle
        A verified bundle.

    Returns
    -------
    dict
        Rates by name; without those of which the bundle says nothing, and empty for
        bundles that judge whole volumes.
    """
    if bundle.judges != "slices":
        return {}
    figures: Mapping[str, Any] = {}
    for name in _SETS:
        metrics = bundle.metrics.get(name)
        if isinstance(metrics, dict) and metrics.get("patients"):
            figures = metrics
            break
    rates = []
    for name, key, title in (
        (REFUSED, "refused_as_foreign", "Refused as no brain MRI"),
        (UNNAMED, "inconclusive", "No class named"),
    ):
        share = figures.get(key)
        if isinstance(share, dict):
            low, high = float(share["low"]), float(share["high"])
            rates.append(ReferenceRate(name, low, high, title))
    patients = int(figures.get("patients", 0))
    confusion = figures.get("confusion")
    if patients and confusion:
        counts = np.asarray(confusion, np.float64)
        shares = counts.sum(axis=0) / max(1.0, counts.sum())
        names: Sequence[ClassName] = bundle.classes
        for class_, share in zip(names, shares, strict=True):
            # Slices of one patient are alike: patients are counted, not slices.
            low, high = _wilson(float(share), patients)
            title = f"Most probable: {info_of(class_).title.lower()}"
            rates.append(ReferenceRate(f"{PREDICTED}{class_}", low, high, title))
    # Cantelli's inequality: whatever the distribution, no more lies so far above.
    bound = 1.0 / (1.0 + FAR**2)
    rates.append(
        ReferenceRate(FAR_AWAY, 0.0, bound, "Far from the slices that taught it")
    )
    if patients:
        _, high = _wilson(0.0, patients)
        title = "By its header of a sequence that it was not measured on"
        rates.append(ReferenceRate(OTHER_SEQUENCE, 0.0, high, title))
    return {rate.name: rate for rate in rates}


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's interval of a share, of 99 %."""
    square = _QUANTILE**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = (
        _QUANTILE
        * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
        / (1 + square / count)
    )
    return max(0.0, middle - half), min(1.0, middle + half)


def observe_slice(prediction: Prediction, bundle: Bundle) -> dict[str, bool]:
    """Tell of one picture which rates it counts in, and whether it is so.

    Parameters
    ----------
    prediction
        Prediction of the bundle.
    bundle
        The bundle.
    """
    decision = prediction.decision
    told = _sequence_outcome(prediction.sequence.header, bundle)
    outcomes = {
        REFUSED: decision.is_refused,
        FAR_AWAY: decision.embedding_distance > FAR,
    }
    # The bundle's figures are of its own operating point.
    if decision.operating_point == bundle.default_operating_point:
        outcomes[UNNAMED] = decision.label in (Verdict.TUMOR, Verdict.UNCERTAIN)
    for name in bundle.classes:
        outcomes[f"{PREDICTED}{name}"] = decision.raw_predicted == name
    return outcomes | told


def observe_series(
    prediction: SeriesPrediction, header: MRSequence | None, bundle: Bundle
) -> dict[str, bool]:
    """Tell of a series which rates it counts in, and whether it is so.

    The bundle's figures are of slices, so a series counts by the sequence that its
    header names, and, where its slices were judged as they were acquired, by the middle
    one.

    Parameters
    ----------
    prediction, bundle
        The same as for `observe_slice`.
    header
        Sequence that the files' header names; None where it names none.
    """
    outcomes = _sequence_outcome(header, bundle)
    seen = prediction.seen
    if seen is not None:
        middle = len(seen.distances) // 2
        if np.isfinite(seen.distances[middle]):
            outcomes[REFUSED] = bool(seen.is_refused[middle])
            outcomes[FAR_AWAY] = bool(seen.distances[middle] > FAR)
    return outcomes


def _sequence_outcome(told: MRSequence | None, bundle: Bundle) -> dict[str, bool]:
    if told is None:
        return {}
    return {OTHER_SEQUENCE: told not in bundle.known_sequences}


class UploadSample:
    """One picture of an upload, each with the same chance.

    Attributes
    ----------
    prediction
        The picture; None where none was judged.
    """

    def __init__(self) -> None:
        self.prediction: Prediction | None = None
        self._count = 0

    def offer(self, prediction: Prediction) -> None:
        """Take a picture instead of the one so far, with its share of the chance."""
        self._count += 1
        if random.randrange(self._count) == 0:
            self.prediction = prediction
