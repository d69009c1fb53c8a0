"""Raw outputs become a decision: how sure, at which operating point, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import warn_of_old_name
from tumorlens.imaging.study import Slice
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import (
    LITTLE_BRAIN,
    Calibration,
    Margins,
    disagreement,
    disagrees,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    FINDINGS,
    NO_TUMOR_INDEX,
    TUMOR_CLASSES,
    TUMOR_FINDINGS,
    Answer,
    ClassName,
    Decided,
    Finding,
    Lesion,
    clear_places,
    decision_of,
    info_of,
    is_no_lesion,
    is_tumor,
)

OUT_OF_DISTRIBUTION = (
    "The picture is unlike the brain MRI slices that the model was trained on."
)
_TUMORS = [FINDINGS.index(name) for name in TUMOR_FINDINGS]
COLOURED = "The picture is in colour, as photographs are; brain MRI is grey."
OPEN_KIND = "The kind is open: the model cannot tell {names} apart here."
WEAK_TUMOR = (
    "There is a faint sign of a tumour: less likely than not, but too strong to speak "
    "of no tumour at this operating point."
)
UNSURE_TUMOR = (
    "A tumour is likelier than not, but not sure enough to be called one at this "
    "operating point."
)
SOME_LESION = (
    "There is a sign of a lesion, and the model cannot tell whether it is a tumour."
)
LIKELIER = 0.5
"""From this probability on something is likelier than not."""
COLOURFUL = 0.06
"""From this colourfulness on a refused picture is taken for a photograph."""

_OTHER = FINDINGS.index(Lesion.OTHER)
_VASCULAR = FINDINGS.index(Lesion.VASCULAR)
_KINDS = len(TUMOR_CLASSES)

_Parts: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Probabilities of findings, shape (1, F) each: calibrated, of the slice head, of the
evidence head."""


@dataclass(frozen=True)
class RawOutputs:
    """What the network says, uncalibrated, of F findings in the taxonomy's order.

    Parameters
    ----------
    logits
        Shape (N, F), float32: slice head before softmax.
    evidence
        Shape (N, g, g, F), float32: evidence head before softmax, square; of
        volumes (N, d, g, g, F).
    gradcam
        Shape (N, h, h, F), float32, not negative: Grad-CAM of each finding's
        logit, over the last convolution's cells; of volumes (N, c, h, h, F).
    embedding
        Shape (N, E), float32: pooled features.
    sequence
        Shape (N, S), float32: sequence head before softmax; None for a network
        without one.
    """

    logits: NDArray[np.float32]
    evidence: NDArray[np.float32]
    gradcam: NDArray[np.float32]
    embedding: NDArray[np.float32]
    sequence: NDArray[np.float32] | None = None

    def with_rows(self, rows: Sequence[int], others: RawOutputs) -> RawOutputs:
        """Put the rows of other outputs, in their order, in the place of some."""
        places = list(rows)
        changed: dict[str, Any] = {}
        for name, values in vars(self).items():
            if values is not None:
                changed[name] = values.copy()
                changed[name][places] = getattr(others, name)
        return RawOutputs(**changed)


@dataclass(frozen=True)
class Decision:
    """What one slice shows, how sure that is, and whether to believe it.

    Parameters
    ----------
    raw_probabilities
        Calibrated, by class, summing to 1; of a picture that was refused too, where
        they mean nothing.
    finding
        Whether there is a tumour.
    kinds
        Kinds of the tumour or lesion that are not ruled out, likeliest first; empty
        where the finding is neither.
    operating_point
        Name of the operating point.
    prediction_set
        Classes, and tumours of another kind, that cannot be ruled out at the
        bundle's stated coverage.
    domain_score
        0 to 1; 1 for a brain MRI like those the model knows.
    reasons
        Full sentences: why the finding is uncertain, the kind open, or the picture
        refused.
    slice_head, evidence_head
        Four probabilities of each head alone, uncalibrated, in the taxonomy's
        order; empty in a decision that was stored without them.
    brain_share
        How much brain the slice shows, 0 to 1 (`tumorlens.imaging.preprocess.slice`).
    other_lesions
        Calibrated probabilities of lesions that are none of the four classes;
        empty where the model knows none. A tumour of another kind also counts in
        the probability of any tumour, a vascular lesion in that of no tumour.
    embedding_distance
        How much farther the slice is from the training slices than brain MRI is on
        average, in standard deviations; 0 in a decision that was stored.
    """

    raw_probabilities: Mapping[ClassName, float]
    finding: Answer
    kinds: tuple[Finding, ...]
    operating_point: str
    prediction_set: tuple[Finding, ...]
    domain_score: float
    reasons: tuple[str, ...] = field(default=())
    slice_head: tuple[float, ...] = field(default=())
    evidence_head: tuple[float, ...] = field(default=())
    brain_share: float = 1.0
    other_lesions: Mapping[Lesion, float] = field(default_factory=dict)
    embedding_distance: float = field(default=0.0, compare=False)

    @property
    def decision(self) -> Decided:
        """Old name of `label`; it goes with the next release."""
        warn_of_old_name("decision.decision", "decision.label")
        return self.label

    @property
    def label(self) -> Decided:
        """Both answers in one word: a class where one kind is left, or a verdict."""
        return decision_of(self.finding, self.kinds)

    @property
    def is_refused(self) -> bool:
        """Whether the picture was refused as no brain MRI, so that no number holds."""
        return self.finding is Answer.NOT_BRAIN_MRI

    @property
    def probabilities(self) -> Mapping[ClassName, float] | None:
        """Calibrated probabilities, summing to 1; None of a refused picture."""
        return None if self.is_refused else self.raw_probabilities

    @property
    def predicted(self) -> ClassName | None:
        """Most probable of the classes; None of a refused picture."""
        return None if self.is_refused else self.raw_predicted

    @property
    def raw_predicted(self) -> ClassName:
        """Most probable of the classes, of a refused picture too."""
        values = self.raw_probabilities
        return max(values, key=lambda name: values[name])

    @property
    def p_tumor(self) -> float | None:
        """Calibrated probability of any tumour; None of a refused picture."""
        return None if self.is_refused else self.raw_p_tumor

    @property
    def raw_p_tumor(self) -> float:
        """Probability of any tumour, of a refused picture too."""
        return 1.0 - sum(
            value
            for name, value in self.raw_probabilities.items()
            if is_no_lesion(name)
        )

    @property
    def likeliest_lesion(self) -> Finding:
        """The most probable of all tumours and other lesions."""
        other = self.other_lesions.get(Lesion.OTHER, 0.0)
        # In the four-class view the three kinds share what another kind has.
        share = 1.0 - other / max(self.raw_p_tumor, 1e-12)
        lesions: dict[Finding, float] = {
            name: share * value
            for name, value in self.raw_probabilities.items()
            if not is_no_lesion(name)
        }
        for name, value in self.other_lesions.items():
            lesions[name] = value
        return max(lesions, key=lambda name: lesions[name])


@dataclass(frozen=True)
class ClinicalUse:
    """Which clinical columns a decision counts, and what it was without them.

    Parameters
    ----------
    used, missing
        Names of the columns with a value, and of those without.
    unknown
        Those whose category the model has not learned; they do not count.
    outside
        Those of `used` whose number is far from what the model has learned,
        and was cut off.
    probabilities, label
        Probabilities and label by the image alone; of a refused picture the
        probabilities mean nothing.
    """

    used: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    outside: tuple[str, ...]
    probabilities: Mapping[ClassName, float]
    label: Decided


def pool_evidence(
    evidence: NDArray[np.float32],
    cells: int,
    clear: Sequence[int] = (NO_TUMOR_INDEX,),
) -> NDArray[np.float32]:
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
    clear
        Places of the classes that are free of tumour.

    Returns
    -------
    ndarray
        Shape (N, F), float32: log-odds against no tumour; 0 for no tumour, of whatever
        class: between these the slice head alone decides.
    """
    odds = evidence - evidence[..., list(clear)].max(axis=-1, keepdims=True)
    odds[..., list(clear)] = 0.0
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
    moved = values + shift
    before, after = (
        np.logaddexp.reduce(odds[:, _TUMORS], axis=1) for odds in (values, moved)
    )
    moved[:, _TUMORS] += (before - after)[:, None]
    return moved


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


def by_class(
    values: NDArray[np.float64], names: Sequence[ClassName] = CLASSES
) -> dict[ClassName, float]:
    """Name the classes of probabilities, one for each, in their order."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def prediction_set(
    probabilities: NDArray[np.float64],
    thresholds: Mapping[Finding, float],
    names: Sequence[Finding] = DECIDED,
) -> tuple[Finding, ...]:
    """List the classes, and other tumours, that cannot be ruled out.

    Class-conditional ("Mondrian") split conformal prediction (Vovk 2012).

    Parameters
    ----------
    probabilities
        Shape (4,) or (5,), calibrated, in the order of `DECIDED`.
    thresholds
        Probability by class from which it is in the set.
    names
        What the probabilities are of, where that is not `DECIDED`.

    Returns
    -------
    tuple
        Never empty: the most probable class is always in it.
    """
    best = int(np.argmax(probabilities))
    return tuple(
        name
        for row, name in enumerate(names[: len(probabilities)])
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

    Two questions are answered apart: is there a tumour (`apply_operating_point`),
    and of which kind (`possible_kinds`). The bundle's rules may make a slice
    uncertain, or its kind open, whatever its probabilities.

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
    seen = _seen(outputs, row, slice_, bundle, ood)
    return _decision(seen, slice_, bundle, ood, operating_point, brain_share)


def firm_decision(
    outputs: RawOutputs,
    row: int,
    slice_: Slice,
    bundle: Bundle,
    ood: OodModel,
    operating_point: str,
    brain_share: float,
    margins: Margins,
) -> Decision | None:
    """Decide, unless errors as large as the margins could change the decision.

    Each finding's log-odds are moved up and down by itself, in the calibrated
    probabilities and in both heads, and the answers compared.

    Parameters
    ----------
    outputs, row, slice_, bundle, ood, operating_point, brain_share
        The same as for `decide`.
    margins
        How far what a faster graph says may be from what float32 says.

    Returns
    -------
    Decision or None
        None where the decision is closer to a border.
    """
    seen = _seen(outputs, row, slice_, bundle, ood)
    apart = log_odds_of(seen.score) - log_odds_of(ood.threshold)
    if abs(apart) <= margins.domain:
        return None
    if apart > 0.0:
        point = bundle.point(operating_point)
        if not _is_firm(seen.parts, bundle, point, brain_share, margins.findings):
            return None
    return _decision(seen, slice_, bundle, ood, operating_point, brain_share)


class _Seen(NamedTuple):
    """What outputs say of one slice, before anything is decided.

    Parameters
    ----------
    parts
        See `finding_probabilities`.
    score, distance
        Domain score, and distance of the embedding.
    """

    parts: _Parts
    score: float
    distance: float


def _seen(
    outputs: RawOutputs, row: int, slice_: Slice, bundle: Bundle, ood: OodModel
) -> _Seen:
    embedding = outputs.embedding[row]
    return _Seen(
        finding_probabilities(outputs, row, bundle),
        ood.score(embedding, outputs.logits[row], slice_.colorfulness),
        ood.distance(embedding),
    )


def _decision(
    seen: _Seen,
    slice_: Slice,
    bundle: Bundle,
    ood: OodModel,
    operating_point: str,
    brain_share: float,
) -> Decision:
    point = bundle.point(operating_point)
    names = bundle.classes
    findings, *heads = seen.parts
    values, view = class_view(findings, names)[0], decided_view(findings, names)[0]
    slice_head, evidence_head = (class_view(head, names)[0] for head in heads)
    decided = names if bundle.has_own_classes else DECIDED
    options = prediction_set(view, bundle.prediction_sets.thresholds, decided)
    lesions = {} if bundle.has_own_classes else other_lesions(findings[0])
    if seen.score < ood.threshold:
        outcome = _refused(slice_)
    else:
        outcome = apply_point_and_rules(
            view,
            options,
            bundle,
            point,
            (slice_head, evidence_head),
            brain_share,
            lesions.get(Lesion.VASCULAR, 0.0),
        )
    return Decision(
        raw_probabilities=by_class(values, names),
        finding=outcome.finding,
        kinds=outcome.kinds,
        operating_point=operating_point,
        prediction_set=options,
        domain_score=seen.score,
        reasons=outcome.reasons,
        slice_head=tuple(map(float, slice_head)),
        evidence_head=tuple(map(float, evidence_head)),
        brain_share=brain_share,
        other_lesions=lesions,
        embedding_distance=seen.distance,
    )


def finding_probabilities(outputs: RawOutputs, row: int, bundle: Bundle) -> _Parts:
    """Give probabilities of one row's findings, shape (1, F).

    Parameters
    ----------
    outputs, row, bundle
        The same as for `decide`.

    Returns
    -------
    findings, slice_head, evidence_head
        Calibrated, and of each head alone.
    """
    pooled = pool_evidence(
        outputs.evidence[row : row + 1],
        bundle.calibration.evidence_cells,
        clear_places(bundle.classes),
    )
    logits = outputs.logits[row : row + 1]
    shares = sequence_shares(outputs, bundle)
    findings = calibrated_probabilities(
        logits,
        pooled,
        bundle.calibration,
        None if shares is None else shares[row : row + 1],
    )
    return findings, softmax(logits), softmax(pooled)


def _is_firm(
    parts: _Parts, bundle: Bundle, point: str, brain_share: float, margin: float
) -> bool:
    """Tell whether both answers stay, whichever finding moves by the margin."""
    names = bundle.classes
    steps = np.eye(parts[0].shape[1])
    moves = margin * np.concatenate([0.0 * steps[:1], steps, -steps])
    # The least is far below what any threshold asks.
    findings, *heads = [softmax(np.log(np.maximum(x, 1e-12)) + moves) for x in parts]
    views = decided_view(findings, names)
    slice_heads, evidence_heads = (class_view(head, names) for head in heads)
    own = bundle.has_own_classes
    vascular = np.zeros(len(views))
    if not own and findings.shape[1] > _VASCULAR:
        vascular = findings[:, _VASCULAR]
    held = disagrees(bundle.rules, disagreement(slice_heads, evidence_heads, names))
    firm = _is_plainly_firm(views, vascular, held, bundle, point)
    if firm is not None:
        return firm
    decided = names if own else DECIDED
    thresholds = bundle.prediction_sets.thresholds
    answers = set()
    for place, view in enumerate(views):
        options = prediction_set(view, thresholds, decided)
        outcome = apply_point_and_rules(
            view,
            options,
            bundle,
            point,
            (slice_heads[place], evidence_heads[place]),
            brain_share,
            float(vascular[place]),
        )
        answers.add((outcome.finding, outcome.kinds))
    return len(answers) == 1


def _is_plainly_firm(
    views: NDArray[np.float64],
    vascular: NDArray[np.float64],
    held: NDArray[np.bool_],
    bundle: Bundle,
    point: str,
) -> bool | None:
    """Answer for most slices, without going through every answer; None for others.

    Parameters
    ----------
    views
        Shape (M, K): probabilities of what is decided, as moved.
    vascular, held
        Shape (M,): probability of a vascular lesion; whether the rule on heads holds.
    """
    names = bundle.classes if bundle.has_own_classes else DECIDED
    names = names[: views.shape[1]]
    threshold = bundle.operating_points[point].threshold
    p_tumor = 1.0 - views[:, clear_places(names)].sum(axis=1)
    is_tumor_said = p_tumor >= max(threshold, LIKELIER)
    if held.any():
        return None
    if not is_tumor_said.any():
        borders = (
            is_cleared(p_tumor, threshold),
            vascular >= LIKELIER,
            p_tumor + vascular >= LIKELIER,
        )
        return all(bool(border.all()) or not border.any() for border in borders)
    if not is_tumor_said.all():
        return False
    limits = np.array([bundle.prediction_sets.thresholds[name] for name in names])
    kinds = [place for place, name in enumerate(names) if is_tumor(name)]
    best = kinds[int(np.argmax(views[0, kinds]))]
    others = [place for place in kinds if place != best]
    is_alone = bool((views[:, others] < limits[others]).all())
    return True if is_alone and bool((views[:, best] >= LIKELIER).all()) else None


def log_odds_of(share: float) -> float:
    """Turn a probability into log-odds; 0 and 1 become large, and stay finite."""
    kept = min(max(share, 1e-12), 1.0 - 1e-12)
    return float(np.log(kept / (1.0 - kept)))


def _refused(slice_: Slice) -> Outcome:
    coloured = (COLOURED,) if slice_.colorfulness >= COLOURFUL else ()
    return Outcome(Answer.NOT_BRAIN_MRI, (), (OUT_OF_DISTRIBUTION, *coloured))


class Outcome(NamedTuple):
    """Both answers about a slice or series, and why.

    Parameters
    ----------
    finding
        Whether there is a tumour.
    kinds
        Kinds that are not ruled out, likeliest first; of a tumour at least one.
    reasons
        Full sentences: why the finding is uncertain, or the kind open.
    """

    finding: Answer
    kinds: tuple[Finding, ...] = ()
    reasons: tuple[str, ...] = ()


def apply_point_and_rules(
    values: NDArray[np.float64],
    options: tuple[Finding, ...],
    bundle: Bundle,
    point: str,
    heads: tuple[NDArray[np.float64], NDArray[np.float64]],
    brain_share: float,
    vascular: float = 0.0,
) -> Outcome:
    """Answer for a slice, by an operating point and the bundle's rules.

    Parameters
    ----------
    values, options, vascular
        See `apply_operating_point`.
    bundle, point
        The bundle whose operating points and rules hold; name of one of these points.
    heads
        Shapes (4,): probabilities of the slice head and of the evidence head.
    brain_share
        How much brain the slice shows, 0 to 1.

    Returns
    -------
    Outcome
        Uncertain wherever the slice shows too little brain. Heads that name different
        tumours leave the kind open, and make a slice uncertain that would else be
        called free of tumour.
    """
    threshold = bundle.operating_points[point].threshold
    names = bundle.classes
    decided = names if bundle.has_own_classes else DECIDED
    outcome = apply_operating_point(values, options, threshold, vascular, decided)
    held = bundle.rules.reasons(*heads, brain_share, names)
    if not held:
        return outcome
    reasons = (*outcome.reasons, *held)
    if LITTLE_BRAIN in held or outcome.finding is not Answer.TUMOR:
        return Outcome(Answer.UNCERTAIN, (), reasons)
    named = {names[int(np.argmax(head))] for head in heads}
    kinds = _by_probability({*outcome.kinds, *named}, values, decided)
    if outcome.kinds == kinds:
        return Outcome(Answer.TUMOR, kinds, reasons)
    return Outcome(Answer.TUMOR, kinds, (open_kind(kinds), *held))


def apply_operating_point(
    probabilities: NDArray[np.float64],
    options: tuple[Finding, ...],
    threshold: float,
    vascular: float = 0.0,
    names: Sequence[Finding] = DECIDED,
) -> Outcome:
    """Turn calibrated probabilities into both answers.

    A tumour is said only where it is likelier than not and reaches the operating
    point, and no tumour only where it is neither. So whatever the threshold is,
    nothing is called free of a tumour that is likelier than not.

    Parameters
    ----------
    probabilities
        Shape (4,) or (5,), in the order of `DECIDED`.
    options
        The prediction set.
    threshold
        The operating point's probability of tumour.
    vascular
        Probability of a vascular lesion, which is part of that of no tumour; 0 for a
        network that knows none.
    names
        What the probabilities are of, where that is not `DECIDED`.
    """
    p_tumor = 1.0 - probabilities[clear_places(names)].sum()
    is_clear = bool(is_cleared(p_tumor, threshold))
    if not is_clear and p_tumor >= max(threshold, LIKELIER):
        kinds = possible_kinds(probabilities, options, names)
        reasons = () if len(kinds) == 1 else (open_kind(kinds),)
        return Outcome(Answer.TUMOR, kinds, reasons)
    if not is_clear:
        reason = UNSURE_TUMOR if p_tumor >= LIKELIER else WEAK_TUMOR
        return Outcome(Answer.UNCERTAIN, (), (reason,))
    if vascular >= LIKELIER:
        return Outcome(Answer.LESION, (Lesion.VASCULAR,))
    if p_tumor + vascular >= LIKELIER:
        return Outcome(Answer.UNCERTAIN, (), (SOME_LESION,))
    return Outcome(Answer.NO_TUMOR)


def is_cleared(
    p_tumor: float | NDArray[np.float64], threshold: float | NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell what an operating point leaves free of tumour, unless a rule holds.

    Figures of a bundle count by it too, so that they are of what is served.

    Parameters
    ----------
    p_tumor
        Calibrated probability of any tumour, of any shape.
    threshold
        The operating point's, of the same shape or one for all.
    """
    return np.asarray(np.less(p_tumor, np.minimum(threshold, LIKELIER)))


def possible_kinds(
    probabilities: NDArray[np.float64],
    options: tuple[Finding, ...],
    names: Sequence[Finding] = DECIDED,
) -> tuple[Finding, ...]:
    """List the kinds of a tumour that are not ruled out.

    Parameters
    ----------
    probabilities
        Shape (4,) or (5,), in the order of `DECIDED`; a tumour is likelier than not.
    options
        The prediction set.
    names
        The same as in `apply_operating_point`.

    Returns
    -------
    tuple
        Likeliest first, never empty: the tumours of the prediction set, and the
        likeliest ones until together they are likelier than not.
    """
    kinds, share = [], 0.0
    for name in _by_probability(filter(is_tumor, names), probabilities, names):
        if name in options or share < LIKELIER:
            kinds.append(name)
            share += probabilities[names.index(name)]
    return tuple(kinds)


def _by_probability(
    findings: Iterable[Finding],
    probabilities: NDArray[np.float64],
    names: Sequence[Finding],
) -> tuple[Finding, ...]:
    """Sort findings that the network knows by falling probability."""
    places = (names.index(name) for name in findings)
    known = [place for place in places if place < len(probabilities)]
    known.sort(key=lambda place: (-probabilities[place], place))
    return tuple(names[place] for place in known)


def open_kind(kinds: tuple[Finding, ...]) -> str:
    """Say which kinds are left of an open one."""
    return OPEN_KIND.format(
        names=" or ".join(info_of(name).title.lower() for name in kinds)
    )


def class_view(
    findings: NDArray[np.float64], names: Sequence[Finding] = CLASSES
) -> NDArray[np.float64]:
    """Give the probabilities of the four classes, as a four-class network would.

    No tumour is whatever is none: vascular lesions too. A tumour of another kind is a
    tumour, so its share goes to the three kinds, in proportion to what each has.

    Parameters
    ----------
    findings
        Shape (N, F), rows sum to 1: in the order of `FINDINGS`, or of the
        classes alone.
    names
        The bundle's classes; a user's own are returned as they are.

    Returns
    -------
    ndarray
        Shape (N, 4), rows sum to 1; one minus the last is the probability of any
        tumour.
    """
    if findings.shape[1] == len(names):
        return findings
    kinds = np.maximum(findings[:, :_KINDS], 1e-12)
    clear = findings[:, NO_TUMOR_INDEX] + findings[:, _VASCULAR]
    scale = (1.0 - clear) / kinds.sum(axis=1)
    return np.concatenate([kinds * scale[:, None], clear[:, None]], axis=1)


def decided_view(
    findings: NDArray[np.float64], names: Sequence[Finding] = CLASSES
) -> NDArray[np.float64]:
    """Give the probabilities of what a decision can name.

    Parameters
    ----------
    findings, names
        See `class_view`.

    Returns
    -------
    ndarray
        Shape (N, 5), rows sum to 1, in the order of `DECIDED`; of a network that
        knows the four classes alone (N, 4).
    """
    if findings.shape[1] == len(names):
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
