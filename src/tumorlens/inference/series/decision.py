"""Many slices become one decision: a series' features, probability, and prediction.

Tested in `tests/inference/bundle/test_facts.py` and
`tests/inference/series/test_by_slices.py`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import taxonomy
from tumorlens.imaging.study import MRSequence, Plane, Series, VoxelGrid
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import (
    FLOAT32,
    TRAINED_ON,
    Precision,
    Rate,
    SeriesModel,
)
from tumorlens.inference.series.lesion import Lesion
from tumorlens.inference.slice.decision import (
    Outcome,
    apply_operating_point,
    named_probabilities,
    prediction_set,
)
from tumorlens.inference.slice.prediction import (
    Prediction,
    SequenceEstimate,
    of_report,
    sequence_caveat,
    short_repr,
)
from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    Answer,
    ClassName,
    Decided,
    Finding,
    clear_places,
    decision_of,
    info_of,
    is_no_lesion,
)


def p_tumor_of(probabilities: Mapping[ClassName, float]) -> float:
    """Give the probability of any tumour, from those of all classes."""
    clear = (share for name, share in probabilities.items() if is_no_lesion(name))
    return 1.0 - sum(clear)


class SeenSlices:
    """Results of the slices of a series, as far as they are kept.

    Parameters
    ----------
    series
        Series of D slices.
    classes
        The bundle's K classes.

    Attributes
    ----------
    probabilities
        Shape (D, K), calibrated; NaN rows where a slice was not judged or was
        refused.
    lesions
        Shape (D, 2): probabilities of a tumour of another kind, and of a vascular
        lesion; NaN likewise, and where the model knows neither.
    heads
        Shape (D,): edge of the square that holds the head, in pixels; 0 in those
        rows.
    skipped, refused
        How many slices show too little brain, and how many others are unlike
        a brain MRI.
    is_refused
        Shape (D,): which slices these others are.
    distances
        Shape (D,): `Decision.embedding_distance`; NaN where a slice was not judged.
    sequences
        Which MR sequence each slice that was judged is of.
    evidence
        Shape (D, H, W), uint8: 255 times the evidence, 0 in those rows; None
        where slices differ in size.
    """

    def __init__(self, series: Series, classes: Sequence[ClassName] = CLASSES) -> None:
        count = len(series.slices)
        self.classes = classes
        self.probabilities = np.full((count, len(classes)), np.nan)
        self.lesions = np.full((count, len(taxonomy.Lesion)), np.nan)
        self.heads = np.zeros(count, np.int64)
        self.skipped = self.refused = 0
        self.is_refused = np.zeros(count, bool)
        self.distances = np.full(count, np.nan)
        self.sequences: list[SequenceEstimate] = []
        self.evidence: NDArray[np.uint8] | None = None
        shapes = {item.pixels.shape for item in series.slices}
        if len(shapes) == 1:
            self.evidence = np.zeros((count, *shapes.pop()), np.uint8)

    @property
    def p_tumor(self) -> NDArray[np.float64]:
        """Probability of tumour of each slice; NaN where it was not judged."""
        clear = self.probabilities[:, clear_places(self.classes)].sum(axis=1)
        return np.asarray(1.0 - clear, np.float64)

    def estimated_sequence(self, stated: SequenceEstimate) -> SequenceEstimate:
        """Say of which sequence most slices are, header and name weighed by each.

        Parameters
        ----------
        stated
            What header and name say of the series; returned as it is where the network
            tells no sequences.
        """
        asked = [item for item in self.sequences if item.pixels is not None]
        if not asked:
            return stated
        sequence = Counter(item.sequence for item in asked).most_common(1)[0][0]
        looks = Counter(item.pixels for item in self.sequences).most_common(1)[0][0]
        known = [
            item.probability
            for item in self.sequences
            if item.sequence is sequence and item.probability is not None
        ]
        return replace(
            stated,
            sequence=sequence,
            probability=float(np.mean(known)) if known else None,
            pixels=looks,
        )

    def add(self, index: int, prediction: Prediction | None) -> None:
        """Keep what the network says of one slice; None for too little brain."""
        if prediction is None:
            self.skipped += 1
            return
        decision = prediction.decision
        self.distances[index] = decision.embedding_distance
        if decision.is_refused:
            self.refused += 1
            self.is_refused[index] = True
            return
        self.sequences.append(prediction.sequence)
        values = decision.raw_probabilities
        self.probabilities[index] = [values[name] for name in self.classes]
        for column, name in enumerate(taxonomy.Lesion):
            self.lesions[index, column] = decision.other_lesions.get(name, np.nan)
        self.heads[index] = prediction.head
        if self.evidence is not None:
            # Rounds and saturates in one pass.
            cv2.convertScaleAbs(
                prediction.explanation.evidence, self.evidence[index], 255.0
            )


@dataclass(frozen=True, repr=False)
class SeriesPrediction:
    """Everything known of one series.

    Parameters
    ----------
    source
        Name of the first slice's file, as the user knows it.
    plane
        Plane that the file states; None where it states none.
    sequence
        MR sequence that the file states; where it states none, the one that the slices
        look like, its name weighed; None where the model tells no sequences.
    slices, without_brain, refused
        How many slices there are; how many of them were not judged for want
        of brain; how many were refused as unlike a brain MRI.
    finding
        Whether there is a tumour; `Answer.NOT_BRAIN_MRI` where nothing could be
        judged.
    kinds
        Kinds of the tumour or lesion that are not ruled out, likeliest first; empty
        where the finding is neither.
    raw_probabilities
        Probability by class, summing to 1; of a series that was refused too, where
        they mean nothing. None where nothing could be judged.
    run
        First and last-plus-one index of the slices that decided; None where
        none could be judged, or the network saw the series as a whole.
    slice_p_tumor
        Calibrated probability of tumour of each slice; None where a slice was
        not judged or was refused.
    key_slices
        Indices of the most suspicious slices, well apart, strongest first.
    evidence
        Shape (D, H, W), uint8: 255 times the probability that the spot shows
        the tumour class which is likeliest in its slice; 0 in slices that were
        not judged. Over all planes that were judged, the mean of their log-odds.
        None where the slices differ in size, or nothing could be judged.
    affine_ras
        Shape (4, 4): (column, row, slice, 1) to RAS mm; None where the slices
        are no regular stack of known place. Where slices are missing it counts
        places, not slices.
    lesion
        None where no spot is outlined: where the series was refused, or called free
        of tumour.
    operating_point, model_version
        Operating point and version of the model that were used.
    model_precision
        Arithmetic of the graph that answered, ``float32`` or ``int8``.
    reasons
        Full sentences: why, and what to beware of.
    seconds
        From decoded slices to the finding.
    planes
        Probability of any tumour by each plane that was judged; empty where the
        plane is not known. The series' log-odds are the mean of theirs.
    size_measured
        Whether the model's error of the lesion's size was measured against
        outlines that radiologists drew; `reasons` state it.
    not_judged
        Full sentence: why nothing could be judged; it stands among the `reasons`
        too. None where anything was.
    place_guessed
        Whether `affine_ras` and the lesion's place follow a guess, as the series says.
    grid
        The grid of the volume's file; None where slices came one by one.
    known_sequences
        MR sequences that the model was measured on.
    places
        Where slices are missing: for each place along the stack the index of the
        slice in it, None for one that is missing. Empty where none is.
    other_lesions
        Probabilities of a tumour of another kind, which also counts as any tumour, and
        of a vascular lesion, which counts as none; empty where the model knows neither.
    seen
        What is kept of each slice, where a model of slices judged one plane alone; to
        judge the series together with others.
    """

    source: str
    plane: Plane | None
    sequence: MRSequence | None
    slices: int
    without_brain: int
    refused: int
    finding: Answer
    kinds: tuple[Finding, ...]
    raw_probabilities: Mapping[ClassName, float] | None
    run: tuple[int, int] | None
    slice_p_tumor: tuple[float | None, ...]
    key_slices: tuple[int, ...]
    evidence: NDArray[np.uint8] | None = field(repr=False)
    affine_ras: NDArray[np.float64] | None = field(repr=False)
    lesion: Lesion | None
    operating_point: str
    model_version: str
    reasons: tuple[str, ...]
    seconds: float
    planes: dict[Plane, float] = field(default_factory=dict)
    size_measured: bool = False
    not_judged: str | None = None
    place_guessed: bool = False
    known_sequences: tuple[MRSequence, ...] = TRAINED_ON
    grid: VoxelGrid | None = field(default=None, repr=False, compare=False)
    places: tuple[int | None, ...] = ()
    other_lesions: Mapping[taxonomy.Lesion, float] = field(default_factory=dict)
    seen: SeenSlices | None = field(default=None, repr=False, compare=False)
    model_precision: Precision = FLOAT32

    @property
    def sequence_caveat(self) -> str | None:
        """Say that the model was not measured on the series' sequence, if so."""
        return sequence_caveat(self.sequence, self.known_sequences)

    def __repr__(self) -> str:
        """Say what was judged, and both answers."""
        return short_repr(self, self.finding, self.kinds, self.p_tumor)

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `tumorlens scan --json` writes, as plain values."""
        document: dict[str, Any] = of_report("series", "series_to_json", self)
        return document

    def _repr_html_(self) -> str:
        """Show the answers and bars in a notebook."""
        html: str = of_report("notebook", "series_html", self)
        return html

    @property
    def decision(self) -> Decided:
        """Both answers in one word: a class where one kind is left, or a verdict."""
        return decision_of(self.finding, self.kinds)

    @property
    def is_refused(self) -> bool:
        """Whether nothing was judged, or nothing that is brain MRI."""
        return self.finding is Answer.NOT_BRAIN_MRI

    @property
    def probabilities(self) -> Mapping[ClassName, float] | None:
        """Probability by class, summing to 1; None where the series was refused."""
        return None if self.is_refused else self.raw_probabilities

    @property
    def predicted(self) -> ClassName | None:
        """Most probable of the classes; None where the series was refused."""
        values = self.probabilities
        return None if values is None else max(values, key=lambda name: values[name])

    @property
    def p_tumor(self) -> float | None:
        """Probability of any tumour in the series; None where it was refused."""
        values = self.probabilities
        return None if values is None else p_tumor_of(values)


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

_LEAST_SHARE = 1e-6
"""Of a class in a slice, so that no slice alone rules a class out."""

_SHOWS_IT = 0.5
"""Slices that are at least this share as suspicious as the most suspicious one say of
which kind the tumour is."""

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
VALIDATED_IN_SEQUENCE = (
    "Measured by cross-validation on whole series in {sequence} of patients that a "
    "model so trained had never seen:"
)
_MEASURED_GROUPS = {
    "labelled_lesions": "of {patients} with a tumour, {share} of the series were not "
    "called free of it",
    "same_scanner": "of the tumour-free parts of series of {patients} patients from "
    "the same scanners, {share} were called free of tumour",
    "healthy_strangers": "of {patients} healthy people from elsewhere, {share} were "
    "called free of tumour",
}
NOT_IN_SEQUENCE = "In {sequence} no whole series were measured."


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


def kind_weights(p_tumor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Say how much each slice counts when the series' kind of tumour is named.

    The run decides whether there is a tumour. Of which kind it is, all slices that show
    it tell better than the most suspicious ones alone (docs/experiments.md).

    Parameters
    ----------
    p_tumor
        Shape (D,): probability of tumour, NaN where a slice was not judged; at
        least one is a number.

    Returns
    -------
    ndarray
        Shape (D,), summing to 1: in proportion to the probability, 0 in slices less
        than half as suspicious as the most suspicious one.
    """
    known = np.nan_to_num(p_tumor)
    held = np.maximum(known, _LEAST_SHARE) * np.isfinite(p_tumor)
    weights = np.where(held >= _SHOWS_IT * held.max(), held, 0.0)
    return np.asarray(weights / weights.sum(), np.float64)


def kind_shares(kinds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pool what the slices say of which kind the tumour is.

    Parameters
    ----------
    kinds
        Shape (D, K): probability of each kind of tumour, NaN rows where a slice was not
        judged.

    Returns
    -------
    ndarray
        Shape (K,): the weighted geometric mean of the kinds' shares (a logarithmic
        opinion pool; Genest and Zidek 1986, Statistical Science), by `kind_weights`. It
        does not sum to 1.
    """
    weights = kind_weights(kinds.sum(axis=1))
    shares = np.nan_to_num(kinds)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    return np.asarray(np.exp(weights @ np.log(np.maximum(shares, _LEAST_SHARE))))


def series_probabilities(
    probabilities: NDArray[np.float64],
    run: tuple[int, int],
    odds: float,
    classes: Sequence[ClassName] = CLASSES,
) -> NDArray[np.float64]:
    """Share the series' probability of tumour out as its slices name the kinds.

    Parameters
    ----------
    probabilities
        Shape (D, K), NaN rows where a slice was not judged.
    run, odds
        From `series_log_odds`.
    classes
        The K classes. Several that are free of tumour share what is left as the run
        names them.

    Returns
    -------
    ndarray
        Shape (K,), summing to 1; the kinds by `kind_shares`.
    """
    values = np.maximum(np.nanmean(probabilities[slice(*run)], axis=0), _LEAST_SHARE)
    clear = clear_places(classes)
    kinds = [place for place in range(len(classes)) if place not in clear]
    values[kinds] = kind_shares(probabilities[:, kinds])
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
    lesions: Mapping[taxonomy.Lesion, float] | None = None,
    sequence: MRSequence | None = None,
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
    sequence
        MR sequence of the series, by which the caveats speak; None where it is not
        known, or the series is put together of several.

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
        other = np.array([lesions[taxonomy.Lesion.OTHER]])
        values = named_probabilities(values[None], other)[0]
        vascular = lesions[taxonomy.Lesion.VASCULAR]
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
    standing = _standing(bundle.series_model, point, sequence)
    reasons += (*_own_standing(bundle), *standing)
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


def _standing(
    model: SeriesModel | None, point: str, sequence: MRSequence | None
) -> tuple[str, ...]:
    """Say how far the probability of a series can be believed, by its sequence."""
    if model is None:
        return (NOT_VALIDATED,)
    rates = model.operating_points[point]
    if rates.sensitivity is None or rates.specificity is None:
        return (NOT_VALIDATED,)
    overall = VALIDATED.format(
        patients=model.patients,
        healthy=model.healthy_patients,
        sensitivity=in_percent(rates.sensitivity),
        specificity=in_percent(rates.specificity),
    )
    if sequence is None or not rates.measured:
        return (overall,)
    shares = rates.measured.get(sequence.word, {})
    said = [
        words.format(
            patients=shares[group].patients,
            share=in_percent(Rate(share.value, share.low, share.high)),
        )
        for group, words in _MEASURED_GROUPS.items()
        if (share := shares.get(group)) is not None
    ]
    if not said:
        return (overall, NOT_IN_SEQUENCE.format(sequence=sequence.value))
    start = VALIDATED_IN_SEQUENCE.format(sequence=sequence.value)
    return (f"{start} {'; '.join(said)}.",)


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
