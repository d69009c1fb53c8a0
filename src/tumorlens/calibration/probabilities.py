"""Calibrated probabilities and prediction sets, fitted on validation patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from tumorlens.data.manifest import LEARNED_SEQUENCES
from tumorlens.inference.bundle.facts import (
    Calibration,
    CellCalibration,
    PredictionSets,
    SequenceHead,
)
from tumorlens.inference.slice.decision import calibrated_probabilities, pool_evidence
from tumorlens.taxonomy import (
    DECIDED,
    FINDINGS,
    NO_TUMOR_INDEX,
    TUMOR_FINDINGS,
    Finding,
    Lesion,
    clear_places,
    is_tumor,
)
from tumorlens.training.held_out import HeldOut

COVERAGE = 0.90
POOL_SIZES = (1, 2, 4, 8, 16, 32)
LEAST_EVIDENCE = 0.5
"""Least weight of the evidence head beside that of the slice head. Likelihood alone
leaves it next to none, since the slice head is surer on known scanners; on hospitals
that were left out the evidence head is the better one (docs/experiments.md)."""

_BIAS_PENALTY = 0.02
_SEQUENCE_PENALTY = 0.01
_TUMORS = [FINDINGS.index(name) for name in TUMOR_FINDINGS]
INSIDE = 0.5
"""Share of outline from which a cell counts as tumour."""


def fit_calibration(
    logits: NDArray[np.float32],
    evidence: NDArray[np.float32] | None,
    labels: NDArray[np.int64],
    sources: Sequence[str],
    names: Sequence[Finding] = FINDINGS,
) -> Calibration:
    """Fit how both heads combine, by likelihood.

    The tumour slices of a source weigh as much as any other source's, and so
    do its tumour-free ones: a large set of easy pictures is not to decide how
    the heads are to be believed on a small one that is hard.

    Parameters
    ----------
    logits, evidence
        Shapes (N, F) and (N, g, g, F): raw outputs on validation slices;
        evidence is None for a network without that head.
    labels
        Shape (N,): places in `FINDINGS`.
    sources
        N names of the sets, and at times sequences, that the slices are from.
    names
        What the outputs are of, in their order, where that is not `FINDINGS`.

    Returns
    -------
    Calibration
        The pool size with the best likelihood, and its weights.
    """
    weights = _source_weights(labels, sources, names)
    clear = clear_places(names)
    best: tuple[float, Calibration] | None = None
    count = 1 if evidence is None else evidence.shape[1] * evidence.shape[2]
    for cells in (size for size in POOL_SIZES if size <= count):
        pooled = None if evidence is None else pool_evidence(evidence, cells, clear)
        loss, fitted = _fit_weights(logits, pooled, labels, weights, cells)
        if best is None or loss < best[0]:
            best = loss, fitted
    assert best is not None
    return best[1]


def _fit_weights(
    logits: NDArray[np.float32],
    pooled: NDArray[np.float32] | None,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    cells: int,
) -> tuple[float, Calibration]:
    rows = np.arange(len(labels))
    second = np.zeros_like(logits) if pooled is None else pooled

    def unpack(values: NDArray[np.float64]) -> Calibration:
        bias = values[2:] - values[2:].mean()
        weight = float(np.exp(values[0]))
        return Calibration(
            weight,
            0.0 if pooled is None else weight * float(np.exp(values[1])),
            tuple(float(item) for item in bias),
            cells,
        )

    def loss(values: NDArray[np.float64]) -> float:
        facts = unpack(values)
        probabilities = calibrated_probabilities(logits, second, facts)
        likelihood = -(weights * np.log(probabilities[rows, labels] + 1e-12)).sum()
        return float(likelihood + _BIAS_PENALTY * np.square(facts.bias).mean())

    count = logits.shape[1]
    start = np.array([np.log(0.7), np.log(0.7), *[0.0] * count])
    ratio = (float(np.log(LEAST_EVIDENCE)), 5.0)
    bounds = [(-4.0, 3.0), ratio] + [(-6.0, 6.0)] * count
    result = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    return float(result.fun), unpack(result.x)


def fit_sequence_bias(
    calibration: Calibration,
    logits: NDArray[np.float32],
    pooled: NDArray[np.float32],
    sequences: NDArray[np.float64],
    labels: NDArray[np.int64],
    sources: Sequence[str],
) -> Calibration:
    """Fit what each MR sequence adds to a calibration of all.

    A network takes over from its training how common each kind is in a sequence; what
    it makes of it is put right here, by likelihood. Between tumour and none a
    sequence is only moved where the slices show both in it: else its sets' habits
    would be taken for odds.

    Parameters
    ----------
    calibration
        Calibration of `fit_calibration`.
    logits, pooled
        Shape (N, F): slice head, and pooled evidence.
    sequences
        Shape (N, S): probability of each MR sequence.
    labels, sources
        The same as in `fit_calibration`.

    Returns
    -------
    Calibration
        Calibration with `sequence_bias`.
    """
    rows, count = np.arange(len(labels)), sequences.shape[1]
    weights = _source_weights(labels, sources)
    likeliest = sequences.argmax(axis=1)
    tumor, clear = np.isin(labels, _TUMORS), labels == NO_TUMOR_INDEX
    free = np.zeros((count, logits.shape[1]), bool)
    for sequence in range(count):
        of_sequence = likeliest == sequence
        free[sequence, _TUMORS] = (of_sequence & tumor).any()
        free[sequence, NO_TUMOR_INDEX] = (of_sequence & tumor).any() and (
            of_sequence & clear
        ).any()

    def unpack(values: NDArray[np.float64]) -> Calibration:
        bias = np.zeros(free.shape)
        bias[free] = values
        return replace(calibration, sequence_bias=tuple(map(tuple, bias.tolist())))

    def loss(values: NDArray[np.float64]) -> float:
        probabilities = calibrated_probabilities(
            logits, pooled, unpack(values), sequences
        )
        likelihood = -(weights * np.log(probabilities[rows, labels] + 1e-12)).sum()
        return float(likelihood + _SEQUENCE_PENALTY * np.square(values).sum())

    if not free.any():
        return calibration
    start = np.zeros(int(free.sum()))
    return unpack(minimize(loss, start, method="L-BFGS-B").x)


def fit_sequence_head(held_out: HeldOut) -> SequenceHead | None:
    """Fit the temperature of a sequence head (Guo et al. 2017, arXiv:1706.04599).

    Every source and sequence weighs alike: a large set is not to decide how sure the
    head may be of a small one.

    Parameters
    ----------
    held_out
        Outputs on patients who did not train the network. Sequences that none shows
        are not measured.

    Returns
    -------
    SequenceHead or None
        None for a network without one, or where no slice's sequence is known.
    """
    is_learned = np.array(
        [row.sequence in LEARNED_SEQUENCES for row in held_out.records], bool
    )
    if held_out.sequence is None or not is_learned.any():
        return None
    rows = [row for row, kept in zip(held_out.records, is_learned, strict=True) if kept]
    keys = [(row.source, row.sequence) for row in rows]
    counts = Counter(keys)
    weights = np.array([1.0 / counts[key] for key in keys])
    weights /= weights.sum()
    truth = [LEARNED_SEQUENCES.index(row.sequence) for row in rows if row.sequence]
    outputs = held_out.sequence[is_learned]

    def loss(log_scale: float) -> float:
        head = SequenceHead(LEARNED_SEQUENCES, float(np.exp(log_scale)))
        true_probability = head.probabilities(outputs)[np.arange(len(truth)), truth]
        return float(-(weights * np.log(true_probability + 1e-12)).sum())

    minimum = minimize_scalar(loss, bounds=(-3.0, 2.0), method="bounded")
    shown = {row.sequence for row in rows}
    measured = tuple(item for item in LEARNED_SEQUENCES if item in shown)
    return SequenceHead(LEARNED_SEQUENCES, float(np.exp(minimum.x)), measured)


def _source_weights(
    labels: NDArray[np.int64],
    sources: Sequence[str],
    names: Sequence[Finding] = FINDINGS,
) -> NDArray[np.float64]:
    """Weigh slices so that every source's tumours, and its others, weigh alike."""
    tumors = [place for place, name in enumerate(names) if is_tumor(name)]
    kinds = [
        (source, bool(tumor))
        for source, tumor in zip(sources, np.isin(labels, tumors), strict=True)
    ]
    counts = Counter(kinds)
    weights = np.array([1.0 / counts[kind] for kind in kinds])
    return np.asarray(weights / weights.sum(), np.float64)


def fit_prediction_sets(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    names: Sequence[Finding] = DECIDED,
) -> PredictionSets:
    """Fix from which probability a class cannot be ruled out.

    Class by class (Mondrian, Vovk 2012), and every patient weighs alike in a
    class, whatever the number of slices: only patients are drawn
    independently (Dunn, Wasserman and Ramdas 2022, JASA). A slice of a new
    patient then has its class in the set at least as often as stated, on
    average over patients: hierarchical conformal prediction (Lee, Barber and
    Willett 2023, arXiv:2306.06342), whose one more patient, of whom nothing is
    known, is the finite-sample correction.

    Parameters
    ----------
    probabilities
        Shape (N, 4) or (N, 5), calibrated, in the order of `DECIDED`, on validation
        slices.
    labels
        Shape (N,): places in that order.
    patients
        N group keys.
    names
        What the probabilities are of, where that is not `DECIDED`.

    Returns
    -------
    PredictionSets
        One threshold for each class; 0 where its patients are too few, as
        eight are for 90 %, to rule it out of any slice. Another kind of tumour that
        nobody has is no answer: 1.
    """
    groups = np.asarray(patients)
    thresholds = {}
    for row, name in enumerate(names[: probabilities.shape[1]]):
        of_class = labels == row
        learned = of_class.any() or name is not Lesion.OTHER
        thresholds[name] = (
            _covering(probabilities[of_class, row], groups[of_class])
            if learned
            else 1.0
        )
    return PredictionSets(COVERAGE, thresholds)


def _covering(own: NDArray[np.float64], groups: NDArray[np.str_]) -> float:
    """Find the highest threshold that keeps the coverage, patients weighed alike.

    Parameters
    ----------
    own
        Shape (N,): the probability of their class, on slices of one class.
    groups
        Shape (N,): whose they are.
    """
    names, rows, counts = np.unique(groups, return_inverse=True, return_counts=True)
    # In units of one patient; one more may lie below every threshold.
    may_miss = len(names) - COVERAGE * (len(names) + 1) + 1e-9
    if may_miss < 0.0:
        return 0.0
    levels, places = np.unique(own, return_inverse=True)
    weights = np.bincount(places, 1.0 / counts[rows])
    missed = np.cumsum(weights) - weights
    return float(levels[missed <= may_miss][-1])


def fit_cells(
    evidence: NDArray[np.float32] | None,
    outlined: NDArray[np.float32],
    labels: NDArray[np.int64],
    clear: Sequence[int] = (NO_TUMOR_INDEX,),
) -> CellCalibration | None:
    """Fit the probability of tumour in a cell to radiologists' outlines.

    Platt scaling (Platt 1999) of the log-odds of the slice's own class. Every
    outlined slice weighs alike, whatever its grid.

    Parameters
    ----------
    evidence
        Shape (N, g, g, 4), float32, before softmax, on held-out slices; None
        for a network without that head.
    outlined
        Shape (N, g, g), float32: share of each cell inside the outline, NaN
        where there is none.
    labels
        Shape (N,): class indices.
    clear
        Places of the classes that are free of tumour.

    Returns
    -------
    CellCalibration or None
        None where no outline is there to fit on.
    """
    rows = np.flatnonzero(np.isfinite(outlined).all(axis=(1, 2)))
    rows = rows[~np.isin(labels[rows], clear)]
    if evidence is None or len(rows) == 0:
        return None
    true_evidence = evidence[rows, :, :, labels[rows]]
    none = evidence[rows][..., list(clear)].max(axis=-1)
    odds = (true_evidence - none).ravel().astype(np.float64)
    inside = (outlined[rows] >= INSIDE).ravel()
    sign = np.where(inside, -1.0, 1.0)

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (np.exp(values[0]) * odds + values[1])
        slope = sign / (1.0 + np.exp(np.clip(-margin, -50.0, 50.0)))
        gradient = np.array([(slope * odds).mean() * np.exp(values[0]), slope.mean()])
        return float(np.logaddexp(0.0, margin).mean()), gradient

    start = np.array([np.log(0.5), -2.0])
    bounds = [(-4.0, 2.0), (-12.0, 12.0)]
    minimum = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return CellCalibration(float(np.exp(minimum[0])), float(minimum[1]))
