"""Many slices become one decision: features of a series, its probability, its label.

Tested in `tests/inference/bundle/test_facts.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import Rate, SeriesModel
from tumorlens.inference.slice.decision import (
    Outcome,
    apply_operating_point,
    named_probabilities,
    prediction_set,
)
from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    Answer,
    ClassName,
    Lesion,
    clear_places,
    info_of,
)

RUN_MM = 10.0
"""Thickness of the neighbouring slices that decide together, in mm."""

DEFAULT_RUN = 3
"""Slices of a run where the distance between slices is not known."""

_LEAST = 1e-4
"""A slice is never surer than this, so that a single one cannot outweigh a run."""


def run_length(gap_mm: float | None) -> int:
    """Count the slices of a run.

    Parameters
    ----------
    gap_mm
        Distance between neighbouring slices; None where it is not known.
    """
    if gap_mm is None or gap_mm <= 0.0:
        return DEFAULT_RUN
    return max(1, round(RUN_MM / gap_mm))


def strongest_run(values: NDArray[np.float64], length: int) -> tuple[int, int]:
    """Find the neighbouring slices that are most suspicious together.

    Parameters
    ----------
    values
        Shape (D,): probability or log-odds of tumour, NaN where a slice does not
        count; at least one is a number.
    length
        Length of the run in slices. Runs count of which at least half is known.

    Returns
    -------
    tuple of int
        First and last-plus-one index.
    """
    length = min(length, len(values))
    known = np.isfinite(values)
    window = np.ones(length)
    counts = np.convolve(known, window, "valid")
    sums = np.convolve(np.where(known, values, 0.0), window, "valid")
    # Where slices are judged here and there only, the fullest runs must do.
    least = min(math.ceil(length / 2), counts.max())
    means = np.where(counts >= least, sums / np.maximum(counts, 1.0), -np.inf)
    first = int(np.argmax(means))
    return first, first + length


def log_odds(p_tumor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn probabilities into log-odds between about -9 and 9; NaN stays NaN."""
    held = np.clip(p_tumor, _LEAST, 1.0 - _LEAST)
    return np.asarray(np.log(held / (1.0 - held)))


def discounted_odds(
    p_tumor: NDArray[np.float64], heads: NDArray[np.int64], discount: float
) -> NDArray[np.float64]:
    """Trust slices less, the smaller the head is in them.

    At the vertex, the base and the sides of a head false alarms gather: such
    slices are rare in training. A sure lesion there still stands out.

    Parameters
    ----------
    p_tumor
        Shape (D,), NaN where a slice was not judged.
    heads
        Shape (D,): edge of the square that holds the head, in pixels; 0 where a
        slice was not judged.
    discount
        Log-odds taken off a slice without any head; in proportion elsewhere,
        none off the slice with the largest.

    Returns
    -------
    ndarray
        Shape (D,): log-odds, NaN where a slice was not judged.
    """
    shares = heads / max(int(heads.max(initial=0)), 1)
    return np.asarray(log_odds(p_tumor) - discount * (1.0 - shares))


def series_features(
    odds: NDArray[np.float64], gap_mm: float | None
) -> tuple[tuple[int, int], dict[str, float]]:
    """Sum up the slices of a series.

    Parameters
    ----------
    odds
        Shape (D,), from `discounted_odds`; at least one is a number.
    gap_mm
        Distance between neighbouring slices; None where it is not known.

    Returns
    -------
    run
        First and last-plus-one index of the most suspicious run.
    features
        Features by name, see `FEATURES`. Where no slice is left beside the run, the
        second says what the first says.
    """
    length = run_length(gap_mm)
    run = strongest_run(odds, length)
    first = float(np.nanmean(odds[slice(*run)]))
    rest = odds.copy()
    rest[slice(*run)] = np.nan
    second = first
    if np.isfinite(rest).any():
        second = float(np.nanmean(rest[slice(*strongest_run(rest, length))]))
    return run, {"strongest_run": first, "second_run": second}


HEALTHY_LOGIT = 1.5
"""Subtracted from the run's log-odds where a bundle was not calibrated on whole
series, since the most suspicious run of a healthy head's many slices is more
suspicious than a slice taken alone.

Set by hand, halfway between the highest of nine healthy heads (log-odds -2.0 to
-0.2, mean -1.1) and a T1 with contrast with a glioma (3.2); seven stacks of
`lgg` lay from 4.7 to 6.3. A glioma on T1 without contrast (0.5) falls below. Runs
were of eight slices, ten in one head and two in tumours, not measured off the
distance between slices. The model has trained on most of these patients, so
this flatters it, and so few series fix no rate.
"""

_LEAST_SHARE = 1e-12
"""Of a class in a run, so that there is always something to share out."""

KEY_SLICES = 3

MOSTLY_REFUSED = (
    "Most slices do not look like brain MRI of the kind the model knows, so the series "
    "gets no answer."
)
NOTHING_JUDGED = "No slice shows enough brain to be judged."
NO_CONTRAST = (
    "Nothing could be judged: the series has the same value everywhere the network "
    "looks."
)
LESION_NOT_VALIDATED = "Lesions that are no tumour are not validated on whole series."
NOT_VALIDATED = (
    "The probability of the whole series is taken from its most suspicious "
    "neighbouring slices; it is not validated on series that the model has never seen."
)
NOT_CALIBRATED = (
    "The model was not calibrated on whole series: its probability is that of the "
    "most suspicious neighbouring slices, lowered by a fixed amount, and its operating "
    "point is that of single slices."
)
"""Said of models of a user's own classes, beside `NOT_VALIDATED`."""
CLEAR_CLASSES = (
    "Which of {names} the series shows is told by the slices that decided about a "
    "tumour alone; what other slices show does not count."
)
VALIDATED = (
    "Measured by cross-validation on whole series of patients that a model so trained "
    "had never seen: of {patients} with a tumour, {sensitivity} of the series were not "
    "called free of it; of {healthy} without, {specificity} were called free of tumour."
)


def series_log_odds(
    p_tumor: NDArray[np.float64],
    heads: NDArray[np.int64],
    gap_mm: float | None,
    model: SeriesModel | None,
) -> tuple[tuple[int, int], float]:
    """Find the run that decides, and the log-odds of any tumour in the series.

    Parameters
    ----------
    p_tumor
        Shape (D,): probability of tumour, NaN where a slice was not judged; at
        least one is a number.
    heads
        Shape (D,): edge of the square that holds the head, in pixels.
    gap_mm
        Distance between neighbouring slices; None where it is not known.
    model
        Series model of the bundle. Without one, the run's mean less
        `HEALTHY_LOGIT`.

    Returns
    -------
    run, log_odds
        First and last-plus-one index of the run, and the series' log-odds.
    """
    if model is None:
        run = strongest_run(p_tumor, run_length(gap_mm))
        mean = np.array(np.nanmean(p_tumor[slice(*run)]))
        return run, float(log_odds(mean)) - HEALTHY_LOGIT
    odds = discounted_odds(p_tumor, heads, model.end_discount)
    run, features = series_features(odds, gap_mm)
    return run, model.intercept + sum(
        weight * features[name] for name, weight in model.weights.items()
    )


def series_probabilities(
    probabilities: NDArray[np.float64],
    run: tuple[int, int],
    odds: float,
    classes: Sequence[ClassName] = CLASSES,
) -> NDArray[np.float64]:
    """Share the series' probability of tumour out as its run names the classes.

    Parameters
    ----------
    probabilities
        Shape (D, K), NaN rows where a slice was not judged.
    run, odds
        From `series_log_odds`.
    classes
        The K classes. Several that are free of tumour share what is left likewise.

    Returns
    -------
    ndarray
        Shape (K,), summing to 1.
    """
    values = np.maximum(np.nanmean(probabilities[slice(*run)], axis=0), _LEAST_SHARE)
    clear = clear_places(classes)
    kinds = [place for place in range(len(classes)) if place not in clear]
    p_tumor = 1.0 / (1.0 + math.exp(-odds))
    values[kinds] *= p_tumor / values[kinds].sum()
    values[clear] *= (1.0 - p_tumor) / values[clear].sum()
    return np.asarray(values / values.sum(), np.float64)


def decide_series(
    values: NDArray[np.float64] | None,
    judged: int,
    refused: int,
    bundle: Bundle,
    point: str,
    lesions: Mapping[Lesion, float] | None = None,
) -> Outcome:
    """Answer for a series.

    Parameters
    ----------
    values
        Shape (K,), from `series_probabilities`; None where every slice that shows
        brain was refused, or none shows any.
    judged, refused
        Slices that show brain, and how many of these were refused.
    bundle, point
        The model, and a name of its operating points.
    lesions
        Probabilities of other lesions; by default the model knows none.

    Returns
    -------
    Outcome
        As for a slice, with the caveats that hold for every series.
    """
    if judged == 0:
        return Outcome(Answer.NOT_BRAIN_MRI, (), (NOTHING_JUDGED,))
    if values is None or 2 * refused > judged:
        return Outcome(Answer.NOT_BRAIN_MRI, (), (MOSTLY_REFUSED,))
    vascular = 0.0
    if lesions:
        other = np.array([lesions[Lesion.OTHER]])
        values = named_probabilities(values[None], other)[0]
        vascular = lesions[Lesion.VASCULAR]
    names = bundle.classes if bundle.has_own_classes else DECIDED
    options = prediction_set(values, bundle.prediction_sets.thresholds, names)
    threshold = bundle.series_points[point].threshold
    outcome = apply_operating_point(values, options, threshold, vascular, names)
    reasons = outcome.reasons
    if refused:
        were, do = ("was", "it does") if refused == 1 else ("were", "they do")
        reasons += (
            f"{refused} of the {judged} slices that show brain {were} refused as "
            f"unlike brain MRI of the kind the model knows; {do} not count.",
        )
    if outcome.finding is Answer.LESION:
        reasons += (LESION_NOT_VALIDATED,)
    reasons += (*_own_standing(bundle), _standing(bundle.series_model, point))
    return outcome._replace(reasons=reasons)


def _own_standing(bundle: Bundle) -> tuple[str, ...]:
    """Say what a model of a user's own classes cannot tell of a series."""
    if not bundle.has_own_classes:
        return ()
    reasons = () if bundle.series_model else (NOT_CALIBRATED,)
    clear = [bundle.classes[place] for place in clear_places(bundle.classes)]
    if len(clear) < 2:
        return reasons
    titles = [info_of(name).title.lower() for name in clear]
    names = f"{', '.join(titles[:-1])} and {titles[-1]}"
    return (*reasons, CLEAR_CLASSES.format(names=names))


def _standing(model: SeriesModel | None, point: str) -> str:
    """Say how far the probability of a series can be believed."""
    if model is None:
        return NOT_VALIDATED
    rates = model.operating_points[point]
    if rates.sensitivity is None or rates.specificity is None:
        return NOT_VALIDATED
    return VALIDATED.format(
        patients=model.patients,
        healthy=model.healthy_patients,
        sensitivity=in_percent(rates.sensitivity),
        specificity=in_percent(rates.specificity),
    )


def in_percent(rate: Rate) -> str:
    """Write a share with its interval, for example ``97 % (94 to 99)``."""
    return f"{rate.value:.0%} ({rate.low:.0%} to {rate.high:.0%})".replace("%", " %")


def key_slices(suspicion: Sequence[float | None], apart: int) -> tuple[int, ...]:
    """Choose the most suspicious slices, each well apart from the others.

    Parameters
    ----------
    suspicion
        Suspicion of each slice, in any unit; None where it was not judged.
    apart
        Least difference of their indices.
    """
    by_suspicion = sorted(
        ((-value, index) for index, value in enumerate(suspicion) if value is not None)
    )
    indices: list[int] = []
    for _, index in by_suspicion:
        if all(abs(index - other) >= apart for other in indices):
            indices.append(index)
        if len(indices) == KEY_SLICES:
            break
    return tuple(indices)
