"""Answers of a bundle for labelled slices: everything that figures are made of.

The worst errors among them are listed, to look at.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.labelled_slices import read_one_slice
from tumorlens.data.manifest import Record, class_names
from tumorlens.errors import DatasetError, InputError
from tumorlens.imaging.preprocess.slice import prepare
from tumorlens.imaging.study import MRSequence, Series, Slice, Study
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import FLOAT32
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.slice.decision import Decision
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.statistics import center_map, pointing, read_outline
from tumorlens.taxonomy import (
    CLASSES,
    Decided,
    Finding,
    Lesion,
    clear_places,
    is_no_lesion,
)

_LISTED = ("decisions", "sequences")
"""Columns of a scored set that are no numbers."""

_SLICES_AT_A_TIME = 16


@dataclass(frozen=True)
class ScoredSlices:
    """N labelled slices with what is true and what a bundle said.

    Parameters
    ----------
    records
        N of them, labelled.
    probabilities
        Shape (N, K), calibrated, for the K `classes`: the four, or a user's own.
    slice_head, evidence_head
        Shape (N, 4): softmax of the slice head's logits, and of the pooled
        evidence log-odds.
    decisions
        N of them.
    sets
        Shape (N, 4): which classes are in the prediction set.
    domain_scores
        Shape (N,), 0 to 1.
    brain_shares
        Shape (N,): how much of the head's square is brain; see `Decision`.
    peak_inside, dice
        Shape (N,): does the evidence map's peak lie inside the outline (1 or
        0), and its Dice at half height; NaN without an outline.
    gradcam_peak_inside, gradcam_dice
        The same for Grad-CAM.
    center_peak_inside, center_dice
        The same for a map of the head's middle, the baseline.
    outline_shares
        Shape (N,): outline's area over that of the head's square; NaN without.
    sharpness
        Shape (N,): variance of the Laplacian of the network's input
        (Pech-Pacheco et al. 2000, ICPR); low for a blurred picture.
    thresholds, balanced_thresholds
        Shape (N,): probability of tumour from which the operating points
        ``screening`` and ``balanced`` call a tumour; NaN where the bundle has
        no such point. Folds that are pooled have different ones.
    lesions
        Shape (N, 2): probability of a tumour of another kind, and of a vascular
        lesion; NaN where the bundle knows none.
    sequences
        N MR sequences, as the network tells them from the pixels; None where it
        tells none.
    """

    records: Sequence[Record]
    probabilities: NDArray[np.float64]
    slice_head: NDArray[np.float64]
    evidence_head: NDArray[np.float64]
    decisions: Sequence[Decided]
    sets: NDArray[np.bool_]
    domain_scores: NDArray[np.float64]
    brain_shares: NDArray[np.float64]
    peak_inside: NDArray[np.float64]
    dice: NDArray[np.float64]
    gradcam_peak_inside: NDArray[np.float64]
    gradcam_dice: NDArray[np.float64]
    center_peak_inside: NDArray[np.float64]
    center_dice: NDArray[np.float64]
    outline_shares: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    balanced_thresholds: NDArray[np.float64]
    lesions: NDArray[np.float64]
    sequences: Sequence[MRSequence | None]

    @property
    def labelled(self) -> ScoredSlices:
        """Those that show one of the four classes: all other figures are of them."""
        return self.take(np.array([row.label is not None for row in self.records]))

    @property
    def classes(self) -> Sequence[Finding]:
        """The classes, in the order of probabilities: the four, or a user's own."""
        return class_names(self.records) or CLASSES

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, shape (N,)."""
        names = self.classes
        return np.array(
            [names.index(item.label) for item in self.records if item.label],
            np.int64,
        )

    @property
    def groups(self) -> list[str]:
        """The patient of each slice, or the picture alone."""
        return [item.group for item in self.records]

    @property
    def tumor(self) -> NDArray[np.bool_]:
        """Slices that show a tumour, shape (N,)."""
        return by_slice(self).tumor

    @property
    def p_tumor(self) -> NDArray[np.float64]:
        """Calibrated probability of any tumour, shape (N,)."""
        return by_slice(self).p_tumor

    @staticmethod
    def concatenate(sets: Sequence[ScoredSlices]) -> ScoredSlices:
        """Pool sets, as those of cross-validation's folds, in their order."""
        return ScoredSlices(
            **{
                field.name: _joined([getattr(item, field.name) for item in sets])
                for field in fields(ScoredSlices)
            }
        )

    def take(self, rows: NDArray[Any]) -> ScoredSlices:
        """Keep some slices: positions, or shape (N,) of true and false."""
        positions = np.arange(len(self.records))[rows]
        return ScoredSlices(
            **{
                field.name: _taken(getattr(self, field.name), positions)
                for field in fields(ScoredSlices)
            }
        )


def _joined(parts: Sequence[Any]) -> Any:  # noqa: ANN401 - a list or an array
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [item for part in parts for item in part]


def _taken(values: Any, positions: NDArray[np.int64]) -> Any:  # noqa: ANN401
    if isinstance(values, np.ndarray):
        return values[positions]
    return [values[row] for row in positions]


def score_records(
    classifier: Classifier,
    records: Sequence[Record],
    operating_point: str | None = None,
    say: Callable[[str], None] = print,
    lesions: bool = False,
) -> ScoredSlices:
    """Judge labelled pictures as a user would have them judged.

    Parameters
    ----------
    classifier
        The classifier, whose bundle is loaded.
    records
        Rows of a manifest; those without a label are left out.
    operating_point
        Name of the point at which `decisions` are made; the bundle's own by default.
    say
        Receives a line for each file that cannot be read, or that holds more
        than the one slice that its label can speak of.
    lesions
        True where rows that show another lesion than the four classes are judged too.

    Returns
    -------
    ScoredSlices
        The slices in the order of `records`.

    Raises
    ------
    DatasetError
        No picture could be judged, or an outline does not fit its picture.
    """
    judged_records: list[Record] = []
    rows: list[dict[str, Any]] = []
    wanted = [row for row in records if row.label or (lesions and row.lesion)]
    for record, prediction in _judged(classifier, wanted, operating_point, say):
        judged_records.append(record)
        rows.append(_row(record, prediction, classifier.bundle))
    if not rows:
        raise DatasetError(
            "None of the listed pictures could be judged.",
            "Run `tumorlens data audit` on the manifest to see why.",
        )
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in rows])
        for name in rows[0]
        if name not in _LISTED
    }
    listed: dict[str, Any] = {name: [row[name] for row in rows] for name in _LISTED}
    return ScoredSlices(records=judged_records, **listed, **columns)


def _judged(
    classifier: Classifier,
    records: Sequence[Record],
    operating_point: str | None,
    say: Callable[[str], None],
) -> Iterator[tuple[Record, Prediction]]:
    read: deque[Record] = deque()

    def studies() -> Iterator[Study]:
        for record in records:
            try:
                study = read_one_slice(record.path)
            except InputError as error:
                say(f"Left out: {error}")
                continue
            read.append(record)
            yield study

    for result in classifier.predict_many(studies(), operating_point=operating_point):
        assert isinstance(result, Prediction)  # It was read before.
        yield read.popleft(), result


def _row(record: Record, prediction: Prediction, bundle: Bundle) -> dict[str, Any]:
    decision = prediction.decision
    square, crop = prepare(prediction.pixels, bundle.preprocessing)
    maps = (
        prediction.explanation.evidence,
        prediction.explanation.gradcam,
        center_map(crop, prediction.height, prediction.width),
    )
    points = [(np.nan, np.nan)] * len(maps)
    outline_share = np.nan
    if record.mask is not None and not is_no_lesion(record.label):
        inside = read_outline(record.mask, (prediction.height, prediction.width))
        points = [pointing(heat, inside) for heat in maps]
        outline_share = float(inside.sum()) / crop.side**2
    return {
        "probabilities": [decision.raw_probabilities[x] for x in bundle.classes],
        "slice_head": decision.slice_head,
        "evidence_head": decision.evidence_head,
        "decisions": decision.label,
        "sets": [name in decision.prediction_set for name in bundle.classes],
        "domain_scores": float(decision.domain_score),
        "brain_shares": decision.brain_share,
        "peak_inside": points[0][0],
        "dice": points[0][1],
        "gradcam_peak_inside": points[1][0],
        "gradcam_dice": points[1][1],
        "center_peak_inside": points[2][0],
        "center_dice": points[2][1],
        "outline_shares": outline_share,
        "sharpness": float(cv2.Laplacian(square[:, :, 0], cv2.CV_32F).var()),
        "thresholds": _threshold(bundle, "screening"),
        "balanced_thresholds": _threshold(bundle, "balanced"),
        "lesions": [decision.other_lesions.get(name, np.nan) for name in Lesion],
        "sequences": prediction.sequence.pixels,
    }


def _threshold(bundle: Bundle, name: str) -> float:
    point = bundle.operating_points.get(name)
    return np.nan if point is None else point.threshold


@dataclass(frozen=True)
class Judgements:
    """N things that were judged.

    Parameters
    ----------
    labels
        Class indices, shape (N,).
    probabilities
        Shape (N, K).
    groups
        N group keys, over which intervals are made.
    thresholds
        Thresholds by operating point, shape (N,): NaN where there is none.
    classes
        The K classes, in the order of probabilities.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    groups: Sequence[str]
    thresholds: Mapping[str, NDArray[np.float64]]
    classes: Sequence[Finding] = CLASSES

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class, shape (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def tumor(self) -> NDArray[np.bool_]:
        """Those that show a tumour, shape (N,)."""
        return ~np.isin(self.labels, clear_places(self.classes))

    @property
    def p_tumor(self) -> NDArray[np.float64]:
        """Probability of any tumour, shape (N,)."""
        clear = self.probabilities[:, clear_places(self.classes)]
        return np.asarray(1.0 - clear.sum(axis=1))


def by_slice(scored_slices: ScoredSlices) -> Judgements:
    """Take every slice as it was judged."""
    return Judgements(
        scored_slices.labels,
        scored_slices.probabilities,
        scored_slices.groups,
        {
            "screening": scored_slices.thresholds,
            "balanced": scored_slices.balanced_thresholds,
        },
        scored_slices.classes,
    )


def by_patient(scored_slices: ScoredSlices) -> Judgements:
    """Mean the probabilities over a patient's slices of one class.

    A patient of a set that has tumour and tumour-free slices of the same
    series counts once for each. Thresholds, the same for all slices that one
    bundle judged, are averaged too.
    """
    return averaged(by_slice(scored_slices))


def averaged(slices: Judgements) -> Judgements:
    """Do the same for slices that were judged in any other way."""
    keys = np.array(
        [
            f"{label}\t{name}"
            for label, name in zip(slices.labels, slices.groups, strict=True)
        ]
    )
    _, first, rows, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(rows, values) / counts)

    return Judgements(
        slices.labels[first],
        np.stack([mean(column) for column in slices.probabilities.T], axis=1),
        [slices.groups[row] for row in first],
        {name: mean(values) for name, values in slices.thresholds.items()},
        slices.classes,
    )


@dataclass(frozen=True)
class MeasuredBundle:
    """A bundle and the slices that it is measured on.

    Several stand for a cross-validation: each fold's bundle with the patients
    that it left out. Figures are then of all of them together.

    Parameters
    ----------
    classifier
        The classifier, whose bundle is loaded.
    records
        Rows of patients that no other of the bundles is measured on.
    """

    classifier: Classifier
    records: Sequence[Record]


def share_of_each(count: int, measured_bundles: Sequence[MeasuredBundle]) -> int:
    """Say how many of `count` slices each bundle is measured on, at least one."""
    return max(1, count // max(1, len(measured_bundles)))


def judge_slices(classifier: Classifier, slices: Iterable[Slice]) -> list[Decision]:
    """Judge slices a few at a time, so that their maps are not kept.

    Parameters
    ----------
    classifier
        The classifier, whose bundle is loaded.
    slices
        Each is judged by itself.
    """
    waiting = iter(slices)
    decisions: list[Decision] = []
    while chunk := tuple(islice(waiting, _SLICES_AT_A_TIME)):
        study = Study((Series(chunk),))
        decisions += [item.decision for item in classifier.predict_study(study)]
    return decisions


WORST = 40
TRACED_SETS = ("cheng", "lgg")
"""Sets whose licence lets line drawings of their pictures be published: CC BY 4.0,
and CC BY by TCIA; the model card names them."""

_MOST_KINDS = 6
_OF_A_PATIENT = 2
"""Neighbouring slices fail alike; more of one patient would crowd out others."""

Predict = Callable[[Record], Prediction]
"""A function from a record to the prediction of the slice that its label speaks of."""


def worst_errors(
    scored_slices: ScoredSlices, count: int = WORST
) -> list[dict[str, Any]]:
    """Find the slices whose most probable class is wrong, the surest first.

    Parameters
    ----------
    scored_slices
        The set.
    count
        Largest number of errors; of one patient, two at most.

    Returns
    -------
    list of dict
        Plain JSON: ``row`` in the set, ``file`` (its name alone), ``source``,
        ``true``, ``said``, ``sure`` (the probability of what was said),
        ``true_probability``, and ``decision``.
    """
    predicted = scored_slices.probabilities.argmax(axis=1)
    sure = scored_slices.probabilities.max(axis=1)
    true_probability = scored_slices.probabilities[
        np.arange(len(predicted)), scored_slices.labels
    ]
    wrong = np.flatnonzero(predicted != scored_slices.labels)
    counts: Counter[str] = Counter()
    errors: list[dict[str, Any]] = []
    for row in wrong[np.lexsort((true_probability[wrong], -sure[wrong]))]:
        record = scored_slices.records[row]
        counts[record.group] += 1
        if counts[record.group] > _OF_A_PATIENT:
            continue
        errors.append(
            {
                "row": int(row),
                "file": record.path.name,
                "source": record.source,
                "true": str(record.label),
                "said": str(scored_slices.classes[predicted[row]]),
                "sure": float(sure[row]),
                "true_probability": float(true_probability[row]),
                "decision": str(scored_slices.decisions[row]),
            }
        )
        if len(errors) == count:
            break
    return errors


def typical_errors(
    scored_slices: ScoredSlices, most: int = _MOST_KINDS
) -> list[dict[str, Any]]:
    """Find the commonest kinds of error, of each the surest that may be drawn.

    Parameters
    ----------
    scored_slices
        The set.
    most
        Kinds at most: what is true and what was said.

    Returns
    -------
    list of dict
        Plain JSON: ``row`` in the set, ``source``, ``true``, ``said``, ``sure`` (the
        probability of what was said), and ``slices``: how many of the set are wrong
        in this way. A kind without a slice of `TRACED_SETS` is left out.
    """
    predicted = scored_slices.probabilities.argmax(axis=1)
    sure = scored_slices.probabilities.max(axis=1)
    wrong: list[int] = np.flatnonzero(predicted != scored_slices.labels).tolist()
    kinds = Counter(
        (int(scored_slices.labels[row]), int(predicted[row])) for row in wrong
    )
    errors: list[dict[str, Any]] = []
    for (true, call), count in sorted(kinds.items(), key=lambda item: -item[1]):
        rows = [
            row
            for row in wrong
            if (scored_slices.labels[row], predicted[row]) == (true, call)
            and scored_slices.records[row].source in TRACED_SETS
        ]
        if not rows or len(errors) == most:
            continue
        row = max(rows, key=lambda place: sure[place])
        errors.append(
            {
                "row": row,
                "source": scored_slices.records[row].source,
                "true": str(scored_slices.classes[true]),
                "said": str(scored_slices.classes[call]),
                "sure": float(sure[row]),
                "slices": count,
            }
        )
    return errors


def predictor(classifier: Classifier) -> Predict:
    """Return what predicts any record by one bundle."""

    def predict(record: Record) -> Prediction:
        predictions = classifier.predict(record.path)
        return predictions[0] if isinstance(predictions, list) else predictions

    return predict


def fold_predictor(bundles: Mapping[int, Path]) -> Predict:
    """Return what predicts a record by the bundle that left its fold out.

    Parameters
    ----------
    bundles
        Folders by fold; each is loaded when it is first asked.

    Returns
    -------
    callable
        It raises `DatasetError` for a record of a fold without a bundle.
    """

    @cache
    def predictor_of(fold: int | None) -> Predict:
        if fold is None or fold not in bundles:
            raise DatasetError(
                f"No bundle left the fold {fold} out.",
                f"Ask for records of the folds {sorted(bundles)}.",
            )
        return predictor(load_classifier(bundles[fold], precision=FLOAT32))

    return lambda record: predictor_of(record.fold)(record)
