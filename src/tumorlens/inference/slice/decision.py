"""Raw outputs become a decision: how sure, at which operating point, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import Slice
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import Calibration
from tumorlens.inference.slice.ood import OodModel
from tumorlens.inference.slice.results import Decision
from tumorlens.inference.slice.session import RawOutputs
from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    FINDINGS,
    INFO,
    NO_TUMOR_INDEX,
    TUMOR_CLASSES,
    TUMOR_FINDINGS,
    Decided,
    Finding,
    Lesion,
    TumorClass,
    Verdict,
)

OUT_OF_DISTRIBUTION = (
    "The picture is unlike the brain MRI slices that the model was trained on."
)
_TUMORS = [FINDINGS.index(name) for name in TUMOR_FINDINGS]
SEVERAL_CLASSES = "The model cannot rule out {names}."
WEAK_TUMOR = (
    "There are signs of a tumour, too weak to name one, too strong to call the slice "
    "free of tumour at this operating point."
)

_OTHER = FINDINGS.index(Lesion.OTHER)
_VASCULAR = FINDINGS.index(Lesion.VASCULAR)
_KINDS = len(TUMOR_CLASSES)


def pool_evidence(evidence: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """Turn evidence per cell into one log-odds per finding.

    The strongest cells decide, since a tumour may fill one cell or fifty:
    multiple-instance pooling by the mean of the top k.

    Parameters
    ----------
    evidence
        Shape (N, g, g, F), or (N, d, g, g, F) of volumes; float32, before
        softmax.
    cells
        How many of the strongest cells are averaged.

    Returns
    -------
    ndarray
        Shape (N, F), float32: log-odds against no tumour; 0 for no tumour.
    """
    odds = evidence - evidence[..., NO_TUMOR_INDEX : NO_TUMOR_INDEX + 1]
    odds = odds.reshape(len(evidence), -1, evidence.shape[-1])
    top = np.partition(odds, -cells, axis=1)[:, -cells:]
    return np.asarray(top.mean(axis=1), np.float32)


def calibrated_probabilities(
    logits: NDArray[np.float32],
    pooled: NDArray[np.float32],
    facts: Calibration,
    sequences: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Combine both heads into calibrated probabilities.

    Vector scaling (Guo et al. 2017, arXiv:1706.04599) with one temperature
    for each head. Where the calibration knows sequences, each slice is moved by the
    mean of their rows, weighed by how likely it is of each: the summands of tumours
    say which kind is likelier and leave the probability of any tumour as it was,
    those of the other findings are added as they are.

    Parameters
    ----------
    logits, pooled
        Shape (N, F): slice head, and `pool_evidence`.
    facts
        The bundle's factors.
    sequences
        Shape (N, S): probability of each MR sequence, by the pixels; None for a
        network without that head.

    Returns
    -------
    ndarray
        Shape (N, F), float64, one column for each finding; rows sum to 1.
    """
    values = (
        facts.slice_weight * logits.astype(np.float64)
        + facts.evidence_weight * pooled.astype(np.float64)
        + np.asarray(facts.bias)
    )
    if sequences is not None and facts.sequence_bias:
        values = moved_by_sequence(values, sequences @ np.array(facts.sequence_bias))
    return softmax(values)


def moved_by_sequence(
    values: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add a shift to log-odds, the tumours' own odds together left as they were.

    Parameters
    ----------
    values, shift
        Shape (N, F), in the order of `FINDINGS`.
    """
    found = values + shift
    before, after = (
        np.logaddexp.reduce(odds[:, _TUMORS], axis=1) for odds in (values, found)
    )
    found[:, _TUMORS] += (before - after)[:, None]
    return found


def sequence_shares(outputs: RawOutputs, bundle: Bundle) -> NDArray[np.float64] | None:
    """Give the probability of each MR sequence, shape (N, S), by the pixels alone.

    Returns
    -------
    ndarray or None
        None for a network without that head.
    """
    if outputs.sequence is None or bundle.sequence_head is None:
        return None
    return bundle.sequence_head.probabilities(outputs.sequence)


def softmax(values: NDArray[Any]) -> NDArray[np.float64]:
    """Turn log-odds of shape (N, F) into probabilities; rows sum to 1."""
    powers = np.exp(values.astype(np.float64) - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def by_class(values: NDArray[np.float64]) -> dict[TumorClass, float]:
    """Name the classes of four probabilities, shape (4,), in the taxonomy's order."""
    return {name: float(value) for name, value in zip(CLASSES, values, strict=True)}


def prediction_set(
    probabilities: NDArray[np.float64], thresholds: Mapping[Finding, float]
) -> tuple[Finding, ...]:
    """List the classes, and other tumours, that cannot be ruled out.

    Class-conditional ("Mondrian") split conformal prediction (Vovk 2012).

    Parameters
    ----------
    probabilities
        Shape (4,) or (5,), calibrated, in the order of `DECIDED`.
    thresholds
        Probability by class from which it is in the set.

    Returns
    -------
    tuple
        Never empty: the most probable class is always in it.
    """
    best = int(np.argmax(probabilities))
    return tuple(
        name
        for row, name in enumerate(DECIDED[: len(probabilities)])
        if row == best or probabilities[row] >= thresholds[name]
    )


def decide(
    outputs: RawOutputs,
    row: int,
    slice_: Slice,
    bundle: Bundle,
    ood: OodModel,
    operating_point: str,
    brain_share: float,
) -> Decision:
    """Decide what one slice shows.

    Below the operating point's probability of tumour a slice is called free
    of tumour. From it on it is never called so: it gets a tumour's name when
    that is the only tumour left in the prediction set and likelier than not,
    and is inconclusive otherwise. So is every slice that one of the bundle's
    rules holds back, whatever its probabilities.

    Parameters
    ----------
    outputs, row
        The network's outputs, and which of their rows to read.
    slice_
        What the row was made from.
    bundle
        Calibration, operating points, prediction sets and rules.
    ood
        The model that tells brain MRI from everything else.
    operating_point
        A name among the bundle's.
    brain_share
        How much brain the slice shows, 0 to 1.

    Raises
    ------
    SettingError
        The bundle has no such operating point.
    """
    point = bundle.point(operating_point)
    pooled = pool_evidence(
        outputs.evidence[row : row + 1], bundle.calibration.evidence_cells
    )
    logits = outputs.logits[row : row + 1]
    shares = sequence_shares(outputs, bundle)
    findings = calibrated_probabilities(
        logits,
        pooled,
        bundle.calibration,
        None if shares is None else shares[row : row + 1],
    )
    values, view = class_view(findings)[0], decided_view(findings)[0]
    slice_head, evidence_head = (
        class_view(softmax(head))[0] for head in (logits, pooled)
    )
    options = prediction_set(view, bundle.prediction_sets.thresholds)
    score = ood.score(outputs.embedding[row], outputs.logits[row], slice_.colorfulness)
    label: Decided
    reasons: tuple[str, ...] = ()
    if score < ood.threshold:
        label, reasons = Verdict.NOT_BRAIN_MRI, (OUT_OF_DISTRIBUTION,)
    else:
        label, reasons = apply_point_and_rules(
            view, options, bundle, point, (slice_head, evidence_head), brain_share
        )
    return Decision(
        probabilities=by_class(values),
        predicted=CLASSES[int(np.argmax(values))],
        label=label,
        operating_point=operating_point,
        prediction_set=options,
        domain_score=score,
        reasons=reasons,
        slice_head=tuple(map(float, slice_head)),
        evidence_head=tuple(map(float, evidence_head)),
        brain_share=brain_share,
        other_lesions=other_lesions(findings[0]),
    )


def apply_point_and_rules(
    values: NDArray[np.float64],
    options: tuple[Finding, ...],
    bundle: Bundle,
    point: str,
    heads: tuple[NDArray[np.float64], NDArray[np.float64]],
    brain_share: float,
) -> tuple[Decided, tuple[str, ...]]:
    """Decide a slice by an operating point and the bundle's rules.

    Parameters
    ----------
    values
        Shape (4,) or (5,), in the order of `DECIDED`: calibrated probabilities.
    options
        Their prediction set.
    bundle, point
        The bundle whose operating points and rules hold; name of one of these points.
    heads
        Shapes (4,): probabilities of the slice head and of the evidence head.
    brain_share
        How much brain the slice shows, 0 to 1.

    Returns
    -------
    decision, reasons
        Inconclusive wherever a rule holds the slice back.
    """
    threshold = bundle.operating_points[point].threshold
    decision, reasons = apply_operating_point(values, options, threshold)
    held = bundle.rules.reasons(*heads, brain_share)
    if held:
        return Verdict.INCONCLUSIVE, (*reasons, *held)
    return decision, reasons


def apply_operating_point(
    probabilities: NDArray[np.float64],
    options: tuple[Finding, ...],
    threshold: float,
) -> tuple[Decided, tuple[str, ...]]:
    """Turn calibrated probabilities into a decision.

    Parameters
    ----------
    probabilities
        Shape (4,) or (5,), in the order of `DECIDED`.
    options
        The prediction set.
    threshold
        The operating point's probability of tumour.

    Returns
    -------
    decision, reasons
        Reasons only where the decision is inconclusive.
    """
    if 1.0 - probabilities[NO_TUMOR_INDEX] < threshold:
        return TumorClass.NO_TUMOR, ()
    tumors = [name for name in options if name is not TumorClass.NO_TUMOR]
    likeliest = DECIDED[int(np.argmax(probabilities))]
    if len(tumors) == 1 and likeliest is tumors[0]:
        return likeliest, ()
    if likeliest is TumorClass.NO_TUMOR:
        return Verdict.INCONCLUSIVE, (WEAK_TUMOR,)
    names = " or ".join(INFO[name].title.lower() for name in options)
    return Verdict.INCONCLUSIVE, (SEVERAL_CLASSES.format(names=names),)


def class_view(findings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probabilities of the four classes, as a four-class network would.

    No tumour is whatever is none: vascular lesions too. A tumour of another kind is a
    tumour, so its share goes to the three kinds, in proportion to what each has.

    Parameters
    ----------
    findings
        Shape (N, F), rows sum to 1: in the order of `FINDINGS`, or of the four
        classes alone.

    Returns
    -------
    ndarray
        Shape (N, 4), rows sum to 1; one minus the last is the probability of any
        tumour.
    """
    if findings.shape[1] == len(CLASSES):
        return findings
    kinds = np.maximum(findings[:, :_KINDS], 1e-12)
    clear = findings[:, NO_TUMOR_INDEX] + findings[:, _VASCULAR]
    scale = (1.0 - clear) / kinds.sum(axis=1)
    return np.concatenate([kinds * scale[:, None], clear[:, None]], axis=1)


def decided_view(findings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probabilities of what a decision can name.

    Parameters
    ----------
    findings
        See `class_view`.

    Returns
    -------
    ndarray
        Shape (N, 5), rows sum to 1, in the order of `DECIDED`; of a network that
        knows the four classes alone (N, 4).
    """
    if findings.shape[1] == len(CLASSES):
        return findings
    view = findings[:, : len(DECIDED)].copy()
    view[:, NO_TUMOR_INDEX] += findings[:, _VASCULAR]
    return view


def named_probabilities(
    probabilities: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give what a decision can name, from the four-class view and other tumours.

    Parameters
    ----------
    probabilities
        Shape (N, 4), from `class_view`.
    other
        Shape (N,): probability of a tumour of another kind; NaN where the model
        knows none.

    Returns
    -------
    ndarray
        Shape (N, 5), rows sum to 1, in the order of `DECIDED`.
    """
    share = np.where(np.isfinite(other), other, 0.0)
    tumor = 1.0 - probabilities[:, NO_TUMOR_INDEX]
    kept = 1.0 - share / np.maximum(tumor, 1e-12)
    scale = np.ones_like(probabilities)
    scale[:, :_KINDS] = np.maximum(kept, 0.0)[:, None]
    return np.concatenate([probabilities * scale, share[:, None]], axis=1)


def other_lesions(findings: NDArray[np.float64]) -> dict[Lesion, float]:
    """Name the probabilities of lesions that are none of the four classes.

    Parameters
    ----------
    findings
        Shape (F,), of one slice.

    Returns
    -------
    dict
        Empty for a network that knows the four classes alone.
    """
    if len(findings) == len(CLASSES):
        return {}
    return {
        Lesion.OTHER: float(findings[_OTHER]),
        Lesion.VASCULAR: float(findings[_VASCULAR]),
    }
