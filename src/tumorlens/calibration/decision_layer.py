"""Everything that turns raw outputs into a decision, fitted in one go.

What is fitted is tested in `tests/experiments/test_cross_validation.py`, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.calibration.operating_points import (
    HIGHEST_THRESHOLD,
    fit_slice_points,
)
from tumorlens.calibration.probabilities import (
    COVERAGE,
    fit_calibration,
    fit_cells,
    fit_prediction_sets,
    fit_sequence_bias,
    fit_sequence_head,
)
from tumorlens.data.manifest import Record, sequence_word
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import (
    Calibration,
    CellCalibration,
    OperatingPoint,
    PredictionSets,
    Rules,
    SequenceHead,
    disagreement,
)
from tumorlens.inference.slice.decision import (
    calibrated_probabilities,
    class_view,
    decided_view,
    pool_evidence,
    softmax,
)
from tumorlens.statistics import calibration_error
from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    FINDINGS,
    NO_TUMOR_INDEX,
    Finding,
    clear_places,
)
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import Network

MOST_RIGHT_LOST = 0.02
"""Share of the right answers that a rule may hold back."""
GUARD_COSTS = 0.005
"""Share of the slices that the guard against the ends of a series may hold back."""
FEWEST_SEEN = 10
"""Patients who must have shown as little brain for such slices to be judged."""
_FEWEST_PATIENTS = 3
_Z = 1.96


@dataclass(frozen=True)
class _Answers:
    """Answers for N slices of P patients.

    Parameters
    ----------
    right
        Shape (N,).
    rows
        Shape (N,): patient of each slice, 0 to P - 1.
    weights
        Shape (N,): one over the patient's slices, so that patients weigh alike.
    """

    right: NDArray[np.bool_]
    rows: NDArray[np.int64]
    weights: NDArray[np.float64]


def fit_rules(
    slice_head: NDArray[np.float64],
    evidence_head: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    brain_shares: NDArray[np.float64] | None,
    names: Sequence[Finding] = CLASSES,
) -> Rules:
    """Choose from where on a slice is held back, so that each rule costs little.

    A rule is off where it would not pay: where what it holds back is not wrong
    more often than the rest. Too little brain is held back even so where next
    to nobody was seen with as little: how often the network is right there is
    not known.

    Parameters
    ----------
    slice_head, evidence_head
        Shape (N, 4): probabilities of each head alone, on validation slices.
    probabilities
        Shape (N, 4), calibrated.
    labels
        Shape (N,): class indices.
    patients
        N group keys. Every patient weighs alike, whatever the number of
        slices.
    brain_shares
        Shape (N,), 0 to 1: how much brain they show. None for whole series,
        which have no such rule.
    names
        The classes, in their order.
    """
    _, rows, counts = np.unique(
        np.asarray(patients), return_inverse=True, return_counts=True
    )
    right = np.asarray(probabilities.argmax(axis=1) == labels)
    answers = _Answers(right, rows, 1.0 / counts[rows])
    return Rules(
        head_disagreement=_paying_level(
            disagreement(slice_head, evidence_head, names), answers
        ),
        min_brain_share=None
        if brain_shares is None
        else _fit_brain(brain_shares, answers),
    )


def _paying_level(values: NDArray[np.float64], answers: _Answers) -> float | None:
    """Find the level that catches most errors for each slice that it holds back.

    Few slices make any share look good, so the lower end of the share's
    interval counts (Wilson 1927), over patients.

    Parameters
    ----------
    values
        Shape (N,): held back from the level on; 0 is never.
    answers
        Answers to the same slices.
    """
    right, weights = answers.right, answers.weights
    best: float | None = None
    # Below this, holding back is no better than drawing slices blindly.
    most = float(weights[~right].sum() / weights.sum())
    allowed = MOST_RIGHT_LOST * weights[right].sum()
    for level in np.unique(values[values > 0.0])[::-1]:
        held_out = values >= level
        if weights[held_out & right].sum() > allowed:
            break
        patients = len(np.unique(answers.rows[held_out]))
        if patients < _FEWEST_PATIENTS:
            continue
        caught = float(weights[held_out & ~right].sum() / weights[held_out].sum())
        low = _wilson_low(caught, patients)
        if low > most:
            best, most = float(level), low
    return best


def _wilson_low(share: float, count: int) -> float:
    spread = _Z * np.sqrt(share * (1.0 - share) / count + (_Z / (2 * count)) ** 2)
    return float((share + _Z**2 / (2 * count) - spread) / (1.0 + _Z**2 / count))


def _fit_brain(shares: NDArray[np.float64], answers: _Answers) -> float | None:
    """Find the share of brain below which holding back pays, or is a guard."""
    pays = _paying_level(1.0 - shares, answers)
    level = _unseen(shares, answers)
    if pays is not None:
        # The rule holds below its share, not at it.
        level = max(level, float(shares[1.0 - shares < pays].min(initial=1.0)))
    return level or None


def _unseen(shares: NDArray[np.float64], answers: _Answers) -> float:
    """Find the share of brain below which too few patients were seen, or 0.

    Parameters
    ----------
    shares
        Shape (N,).
    answers
        Answers to the same slices.
    """
    order = np.argsort(shares, kind="stable")
    _, first = np.unique(answers.rows[order], return_index=True)
    place = np.sort(first)[:FEWEST_SEEN][-1]
    weights = answers.weights[order]
    costs = (np.cumsum(weights) - weights) / weights.sum()
    return float(shares[order][min(place, int((costs <= GUARD_COSTS).sum()) - 1)])


@dataclass(frozen=True)
class DecisionLayer:
    """Calibration, operating points, sets and rules that a bundle decides by.

    Parameters
    ----------
    calibration, operating_points, prediction_sets, rules
        The same as in a bundle.
    cells
        None where no outline could be compared with evidence.
    sequence_head
        None where the network has none.
    """

    calibration: Calibration
    operating_points: dict[str, OperatingPoint]
    prediction_sets: PredictionSets
    rules: Rules
    cells: CellCalibration | None
    sequence_head: SequenceHead | None = None

    def probabilities(self, held_out: HeldOut) -> NDArray[np.float64]:
        """Calibrated probabilities of what a decision can name, shape (N, 4 or 5)."""
        return _probabilities(held_out, self.calibration, self.sequence_head)

    def check(self, held_out: HeldOut) -> dict[str, Any]:
        """Say how good the decisions are on other patients."""
        held_out = held_out.take(held_out.labels >= 0)
        probabilities, labels = self.probabilities(held_out), held_out.decided
        return {
            "slices": len(labels),
            "patients": len({row.group for row in held_out.records}),
            "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
            "calibration_error": calibration_error(probabilities, labels),
            "operating_points": {
                name: point.to_json() for name, point in self.operating_points.items()
            },
        }


FEWEST_PATIENTS = 10
"""Patients of each class that calibration, thresholds and rates need. With ten, a
share of 100 % may be 69 % in truth (exact 95 % interval); a prediction set that holds
the truth nine times in ten needs nine."""
_UNFITTED_CELLS = 8


def too_few_patients(
    records: Sequence[Record], classes: Sequence[Finding]
) -> dict[Finding, int]:
    """Count the patients of classes that have fewer than `FEWEST_PATIENTS`.

    Parameters
    ----------
    records
        Held-out records.
    classes
        Classes that have to be there.

    Returns
    -------
    dict
        Number of patients by class; empty where there are enough of each.
    """
    patients: dict[Finding, set[str]] = {name: set() for name in classes}
    for row in records:
        if len(row.findings) == 1 and row.findings[0] in patients:
            patients[row.findings[0]].add(row.group)
    counts = {name: len(groups) for name, groups in patients.items()}
    return {name: count for name, count in counts.items() if count < FEWEST_PATIENTS}


def inherited_layer(parent: Bundle) -> DecisionLayer:
    """Take calibration, thresholds, rates, sets and rules over from a bundle."""
    return DecisionLayer(
        parent.calibration,
        parent.operating_points,
        parent.prediction_sets,
        parent.rules,
        parent.cells,
        parent.sequence_head,
    )


def unfitted_layer(network: Network, cells: int) -> DecisionLayer:
    """Decide without a figure: nothing is fitted, and nothing is claimed.

    Both heads weigh alike, a tumour is called from one half on, no class is ever
    ruled out, and the operating points have no rates.

    Parameters
    ----------
    network
        The network that was trained.
    cells
        Number of cells of its evidence; 0 for a network without that head.
    """
    count, own = len(network.findings), network.own_classes
    weight = 0.5 if cells else 1.0
    decided = own or (DECIDED if count > len(CLASSES) else CLASSES)
    point = OperatingPoint(HIGHEST_THRESHOLD, None, None)
    return DecisionLayer(
        Calibration(
            weight,
            1.0 - weight,
            (0.0,) * count,
            min(_UNFITTED_CELLS, max(cells, 1)),
        ),
        {"screening": point, "balanced": point},
        PredictionSets(COVERAGE, dict.fromkeys(decided, 0.0)),
        Rules(),
        None,
        SequenceHead(network.sequences, 1.0) if network.sequences else None,
    )


def fit_decision_layer(
    held_out: HeldOut, brain_shares: NDArray[np.float64] | None
) -> DecisionLayer:
    """Fit calibration, thresholds, prediction sets and rules.

    Parameters
    ----------
    held_out
        Outputs on patients who did not train the network. Slices of which it is
        not known what they show fit nothing.
    brain_shares
        Shape (N,), 0 to 1: how much brain each of its slices shows; see
        `tumorlens.imaging.preprocess.slice`. None for whole series.
    """
    is_labelled = held_out.labels >= 0
    held_out = held_out.take(is_labelled)
    if brain_shares is not None:
        brain_shares = brain_shares[is_labelled]
    groups = [row.group for row in held_out.records]
    head = fit_sequence_head(held_out)
    sources = [
        row.source if head is None else f"{row.source} {sequence_word(row.sequence)}"
        for row in held_out.records
    ]
    names: tuple[Finding, ...] = held_out.own_classes or FINDINGS
    calibration = fit_calibration(
        held_out.logits, held_out.evidence, held_out.labels, sources, names
    )
    if head is not None and held_out.sequence is not None:
        calibration = fit_sequence_bias(
            calibration,
            held_out.logits,
            _pooled(held_out, calibration),
            head.probabilities(held_out.sequence),
            held_out.labels,
            sources,
        )
    probabilities = _probabilities(held_out, calibration, head)
    return DecisionLayer(
        calibration,
        fit_slice_points(
            1.0 - probabilities[:, clear_places(names)].sum(axis=1),
            # Only tumour or none counts there.
            np.where(held_out.shows_tumor, NO_TUMOR_INDEX - 1, NO_TUMOR_INDEX)
            if held_out.own_classes
            else held_out.decided,
            held_out.records,
            held_out.outlined.mean(axis=(1, 2)),
            by_sequence=head is not None,
        ),
        fit_prediction_sets(
            probabilities, held_out.decided, groups, held_out.own_classes or DECIDED
        ),
        _fit_rules(held_out, calibration, probabilities, brain_shares),
        fit_cells(
            held_out.evidence, held_out.outlined, held_out.labels, clear_places(names)
        ),
        head,
    )


def _fit_rules(
    held_out: HeldOut,
    calibration: Calibration,
    probabilities: NDArray[np.float64],
    brain_shares: NDArray[np.float64] | None,
) -> Rules:
    spots = _pooled(held_out, calibration)
    groups = [row.group for row in held_out.records]
    names = held_out.own_classes or CLASSES
    whole, local = (
        class_view(softmax(head), names) for head in (held_out.logits, spots)
    )
    rules = fit_rules(
        *(whole, local, probabilities, held_out.decided, groups, brain_shares), names
    )
    # Without an evidence head there is nobody to disagree with.
    return (
        replace(rules, head_disagreement=None) if held_out.evidence is None else rules
    )


def _probabilities(
    held_out: HeldOut, calibration: Calibration, head: SequenceHead | None
) -> NDArray[np.float64]:
    shares = None
    if head is not None and held_out.sequence is not None:
        shares = head.probabilities(held_out.sequence)
    findings = calibrated_probabilities(
        held_out.logits, _pooled(held_out, calibration), calibration, shares
    )
    return decided_view(findings, held_out.own_classes or CLASSES)


def _pooled(held_out: HeldOut, calibration: Calibration) -> NDArray[np.float32]:
    if held_out.evidence is None:
        return np.zeros_like(held_out.logits)
    clear = clear_places(held_out.own_classes or CLASSES)
    return pool_evidence(held_out.evidence, calibration.evidence_cells, clear)
