"""Sections of `bundle.json`, typed and checked as they are read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NoReturn, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BundleError
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import CLASSES, Finding, clear_places, info_of

_LARGEST = 1e300
"""Keeps out infinities, NaN and whole numbers that no float can hold."""

TRAINED_ON: tuple[MRSequence, ...] = (MRSequence.T1, MRSequence.T1_CONTRAST)
"""Sequences that a model knows which does not say so."""


@dataclass(frozen=True)
class Reader:
    """A JSON object whose values are checked as they are read.

    Parameters
    ----------
    fields
        The object.
    where
        Place of the object, for messages: the file, then the keys that lead here.

    Every method raises `BundleError` where the value is not of its kind.
    """

    fields: Mapping[str, Any]
    where: str

    def refuse(self, key: str, wanted: str) -> NoReturn:
        """Say that a value is not what it has to be."""
        if key not in self.fields:
            raise BundleError(f"{self.where} has no {key!r} ({wanted}).")
        value = str(self.fields[key])[:80]
        raise BundleError(f"{self.where}: {key!r} is {value!r}, not {wanted}.")

    def text(self, key: str) -> str:
        """Return text that is not empty."""
        value = self.fields.get(key)
        if not isinstance(value, str) or not value:
            self.refuse(key, "text")
        return value

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self.fields.get(key)
        if value is None or not _is_number(value):
            self.refuse(key, "a number")
        return float(value)

    def share(self, key: str) -> float:
        """Return a number in [0, 1]."""
        value = self.number(key)
        if not 0.0 <= value <= 1.0:
            self.refuse(key, "a number from 0 to 1")
        return value

    def whole(self, key: str, least: int) -> int:
        """Return a whole number of at least `least`."""
        value = self.fields.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.refuse(key, f"a whole number from {least}")
        return value

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """Return a list of `count` finite numbers."""
        value = self.fields.get(key)
        if (
            not isinstance(value, list)
            or len(value) != count
            or not all(map(_is_number, value))
        ):
            self.refuse(key, f"a list of {count} numbers")
        return tuple(float(item) for item in value)

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
            self.refuse(key, "a list of texts")
        return tuple(value)

    def rows(self, key: str, count: int, width: int) -> list[list[float]]:
        """Return `count` lists of `width` finite numbers each."""
        value = self.fields.get(key)
        if (
            not isinstance(value, list)
            or len(value) != count
            or not all(isinstance(row, list) and len(row) == width for row in value)
            or not all(_is_number(item) for row in value for item in row)
        ):
            self.refuse(key, f"{count} lists of {width} numbers")
        return [[float(item) for item in row] for row in value]

    def items(self, key: str) -> Iterator[Reader]:
        """Go through a list of objects."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not all(isinstance(x, dict) for x in value):
            self.refuse(key, "a list of objects")
        for place, item in enumerate(value):
            yield Reader(item, f"{self.where}: {key}[{place}]")

    def object(self, key: str) -> Reader:
        """Return an object, as a reader of its own."""
        value = self.fields.get(key)
        if not isinstance(value, dict):
            self.refuse(key, "an object")
        return Reader(value, f"{self.where}: {key}")

    def objects(self, key: str) -> Iterator[tuple[str, Reader]]:
        """Go through an object whose values are objects."""
        inner = self.object(key)
        for name in inner.fields:
            yield name, inner.object(name)


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -_LARGEST < value < _LARGEST
    )


@dataclass(frozen=True)
class Rate:
    """A figure with its 95 % interval; a share is 0 to 1."""

    value: float
    low: float
    high: float

    @classmethod
    def read(cls, facts: Reader, key: str) -> Rate:
        """Read a share.

        Raises
        ------
        BundleError
            Where one of its three numbers is missing or none from 0 to 1.
        """
        rate = facts.object(key)
        return cls(rate.share("value"), rate.share("low"), rate.share("high"))


@dataclass(frozen=True)
class MeasuredShare(Rate):
    """A share with its 95 % interval, and what it was counted on.

    Parameters
    ----------
    slices, patients
        Numbers of slices (of a whole series' operating points: of series) and patients.
        Every patient weighs alike in the share.
    """

    slices: int
    patients: int

    @classmethod
    def read(cls, facts: Reader, key: str) -> MeasuredShare:
        """Read one; raises `BundleError` as `Rate.read`."""
        share, counts = Rate.read(facts, key), facts.object(key)
        return cls(
            share.value,
            share.low,
            share.high,
            counts.whole("slices", 1),
            counts.whole("patients", 1),
        )


ALL_SEQUENCES = "all"
"""Key of what was measured over every MR sequence."""


@dataclass(frozen=True)
class OperatingPoint:
    """Threshold from which on a slice or a series is called a tumour.

    Parameters
    ----------
    threshold
        Threshold on the calibrated probability of any tumour, 0 to 1.
    sensitivity, specificity
        Figures measured on patients kept apart from training, over all their slices
        or series. Both are None where too few such patients were there.
    measured
        What the threshold finds and what it costs: by MR sequence (`ALL_SEQUENCES`
        first), then by group of slices or series, see
        `tumorlens.calibration.operating_points.slice_groups`. Empty in a bundle that
        does not say.
    """

    threshold: float
    sensitivity: Rate | None
    specificity: Rate | None
    measured: dict[str, dict[str, MeasuredShare]] = field(default_factory=dict)

    @classmethod
    def read(cls, facts: Reader) -> OperatingPoint:
        """Read one; raises `BundleError` as `Rate.read`."""
        rates = ("sensitivity", "specificity")
        is_measured = any(key in facts.fields for key in rates)
        sensitivity, specificity = (
            Rate.read(facts, key) if is_measured else None for key in rates
        )
        return cls(
            facts.share("threshold"),
            sensitivity,
            specificity,
            {
                sequence: {name: MeasuredShare.read(part, name) for name in part.fields}
                for sequence, part in facts.objects("measured")
            }
            if "measured" in facts.fields
            else {},
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; what nobody measured is left out."""
        return {
            key: value for key, value in asdict(self).items() if value not in ({}, None)
        }


@dataclass(frozen=True)
class Calibration:
    """Weights that make the two heads one calibrated probability.

    Parameters
    ----------
    slice_weight, evidence_weight
        Factors on the logits of the slice head and of the pooled evidence.
    bias
        One summand for each of the F findings, in their order.
    evidence_cells
        How many of the strongest cells are averaged when evidence is pooled.
    sequence_bias
        One row of F summands for each MR sequence that the network tells apart, in
        the order of its outputs; empty where the calibration is one for all. See
        `tumorlens.inference.slice.decision.calibrated_probabilities`.
    """

    slice_weight: float
    evidence_weight: float
    bias: tuple[float, ...]
    evidence_cells: int
    sequence_bias: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def read(
        cls, facts: Reader, most_cells: int, findings: int, sequences: int = 0
    ) -> Calibration:
        """Read one out of a bundle.

        Parameters
        ----------
        facts
            The bundle's section.
        most_cells
            Cells of the evidence grid.
        findings, sequences
            How many findings and MR sequences the network tells apart.

        Raises
        ------
        BundleError
            Where a value is wrong, or more cells are pooled than there are.
        """
        cells = facts.whole("evidence_cells", 1)
        if cells > most_cells:
            facts.refuse("evidence_cells", "at most the number of evidence cells")
        return cls(
            facts.number("slice_weight"),
            facts.number("evidence_weight"),
            facts.numbers("bias", findings),
            cells,
            tuple(map(tuple, facts.rows("sequence_bias", sequences, findings)))
            if "sequence_bias" in facts.fields
            else (),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; one calibration for all names no sequences."""
        document = asdict(self)
        if not self.sequence_bias:
            del document["sequence_bias"]
        return document


@dataclass(frozen=True)
class CellCalibration:
    """Weights that make a cell's evidence the probability that it shows a tumour.

    Parameters
    ----------
    scale, bias
        Factor on the log-odds of a tumour class against none, and summand.
        Training weighs tumour and background alike, so uncorrected cells
        call too much tumour.
    """

    scale: float = 1.0
    bias: float = 0.0

    @classmethod
    def read(cls, facts: Reader) -> CellCalibration:
        """Read one; raises `BundleError` where a value is no number."""
        return cls(facts.number("scale"), facts.number("bias"))


@dataclass(frozen=True)
class PredictionSets:
    """Conformal prediction sets (class-conditional).

    Parameters
    ----------
    coverage
        How often the set holds the true class, 0 to 1.
    thresholds
        By class, and by other lesions that a decision can name: the calibrated
        probability from which it is in the set.
    """

    coverage: float
    thresholds: dict[Finding, float]

    @classmethod
    def read(cls, facts: Reader, names: Sequence[Finding]) -> PredictionSets:
        """Read the thresholds of some findings.

        Raises
        ------
        BundleError
            A value is missing, or no share.
        """
        thresholds = facts.object("thresholds")
        return cls(
            facts.share("coverage"), {name: thresholds.share(name) for name in names}
        )


HEADS_DISAGREE = (
    "The model's two ways of looking disagree: the slice as a whole looks like "
    "{whole}, its most suspicious spots look like {spots}."
)
LITTLE_BRAIN = (
    "The slice shows too little brain to be judged, as slices at the top or the base "
    "of the head do."
)


@dataclass(frozen=True)
class Rules:
    """Thresholds of the rules; None where a rule is off.

    Parameters
    ----------
    head_disagreement
        The disagreement of the heads, 0 to 1, from which on the kind is open.
    min_brain_share
        The share of brain, 0 to 1, below which a slice is uncertain.
    """

    head_disagreement: float | None = None
    min_brain_share: float | None = None

    @classmethod
    def read(cls, facts: Reader) -> Self:
        """Read the rules of a bundle.

        Parameters
        ----------
        facts
            The bundle's `rules` object.

        Raises
        ------
        BundleError
            A threshold is no share; or there is a rule that is unknown here,
            since a bundle must not be served without one of its rules.
        """
        known = asdict(cls())
        for name in facts.fields:
            if name not in known:
                raise BundleError(
                    f"{facts.where} holds {name!r}, a rule that this TumorLens "
                    "does not know.",
                    "Upgrade TumorLens.",
                )
        return cls(
            **{name: facts.share(name) for name in known if name in facts.fields}
        )

    def to_json(self) -> dict[str, Any]:
        """Return the rules that are on as a JSON object."""
        return {
            name: level for name, level in asdict(self).items() if level is not None
        }

    def reasons(
        self,
        slice_head: NDArray[np.float64],
        evidence_head: NDArray[np.float64],
        brain_share: float,
        names: Sequence[Finding] = CLASSES,
    ) -> tuple[str, ...]:
        """Say why a slice is uncertain, or its kind open.

        Parameters
        ----------
        slice_head, evidence_head
            Shape (4,): probabilities of each head alone.
        brain_share
            Share of brain in the slice, 0 to 1.
        names
            The classes, in the order of the heads.

        Returns
        -------
        tuple of str
            Full sentences; empty where every rule lets the slice pass.
        """
        texts = []
        heads = slice_head[None], evidence_head[None]
        if disagrees(self, disagreement(*heads, names))[0]:
            whole, spots = (info_of(names[int(np.argmax(head))]) for head in heads)
            texts.append(
                HEADS_DISAGREE.format(
                    whole=whole.title.lower(), spots=spots.title.lower()
                )
            )
        if lacks_brain(self, np.array([brain_share]))[0]:
            texts.append(LITTLE_BRAIN)
        return tuple(texts)


def disagreement(
    slice_head: NDArray[np.float64],
    evidence_head: NDArray[np.float64],
    names: Sequence[Finding] = CLASSES,
) -> NDArray[np.float64]:
    """Measure how firmly the two heads name different tumours.

    Where one names a tumour and the other none, the calibrated probability
    already weighs them; the strongest spots alone look like a tumour in many a
    slice that is free of any, so that such a disagreement says little.

    Parameters
    ----------
    slice_head, evidence_head
        Shape (N, 4): probabilities of each head alone.
    names
        The classes, in their order.

    Returns
    -------
    ndarray
        Shape (N,), 0 to 1: the probability with which the less sure of the
        two names its tumour; 0 where both name the same, or one names none.
    """
    whole, spots = slice_head.argmax(axis=1), evidence_head.argmax(axis=1)
    clear = clear_places(names)
    differ = (whole != spots) & ~np.isin(whole, clear) & ~np.isin(spots, clear)
    firmness = np.minimum(slice_head.max(axis=1), evidence_head.max(axis=1))
    return np.where(differ, firmness, 0.0)


def disagrees(rules: Rules, shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell where the rule on the heads holds.

    Parameters
    ----------
    rules
        Rules of a bundle.
    shares
        Shape (N,), from `disagreement`.
    """
    level = rules.head_disagreement
    if level is None:
        return np.zeros(len(shares), bool)
    return np.asarray((shares > 0.0) & (shares >= level))


def lacks_brain(rules: Rules, shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell where the rule on the brain holds.

    Parameters
    ----------
    rules
        Rules of a bundle.
    shares
        Shape (N,), from `tumorlens.imaging.preprocess.slice.brain_share`.
    """
    level = rules.min_brain_share
    return np.zeros(len(shares), bool) if level is None else np.asarray(shares < level)


FEATURES = ("strongest_run", "second_run")
"""Mean log-odds of tumour over the most suspicious run of neighbouring slices, and
over the most suspicious one among the slices left (`series.features`). A false alarm
mostly stands alone; a lesion mostly reaches beyond the run, or shows in what is left
of it."""


@dataclass(frozen=True)
class OutlineFacts:
    """Evidence from which on a voxel counts as lesion, and the errors of that.

    Parameters
    ----------
    level
        Probability of tumour, smoothed along slices, above 0 and below 1.
    dice
        Mean overlap with the outlines that radiologists drew, 0 to 1.
    size_error
        Median error of the longest side within slices, as a share of it.
    patients
        Number of patients on whom it was measured.
    """

    level: float
    dice: Rate
    size_error: Rate
    patients: int

    @classmethod
    def read(cls, facts: Reader) -> OutlineFacts:
        """Read them out of a bundle; raises `BundleError` where one is wrong."""
        level = facts.share("level")
        if level in (0.0, 1.0):
            facts.refuse("level", "a number between 0 and 1")
        # An error can be larger than the size itself: it is no share.
        error = facts.object("size_error")
        size = Rate(*(error.number(key) for key in ("value", "low", "high")))
        return cls(level, Rate.read(facts, "dice"), size, facts.whole("patients", 1))


@dataclass(frozen=True)
class SeriesModel:
    """Logistic regression from the slices of a series to the probability of any tumour.

    Parameters
    ----------
    end_discount
        How much less slices at the ends of a head are trusted, see
        `tumorlens.inference.series.decision.discounted_odds`; not negative.
    weights
        Weight by name of the feature, see `FEATURES`.
    intercept
        Log-odds where every feature is 0.
    operating_points
        Thresholds on that probability, with the rates measured by
        cross-validation; each of the bundle's own names, once.
    patients, healthy_patients
        Numbers of patients with and without a tumour, on whom they were measured.
    outline
        Facts on the lesion's outline; None where no outlines were at hand.
    """

    end_discount: float
    weights: dict[str, float]
    intercept: float
    operating_points: dict[str, OperatingPoint]
    patients: int
    healthy_patients: int
    outline: OutlineFacts | None

    @classmethod
    def read(cls, facts: Reader, points: Iterable[str]) -> SeriesModel:
        """Read one out of a bundle.

        Parameters
        ----------
        facts
            The bundle's section.
        points
            Names of the bundle's operating points.

        Raises
        ------
        BundleError
            Where a value is wrong, or a feature is not known here.
        """
        weights = facts.object("weights")
        for name in weights.fields:
            if name not in FEATURES:
                raise BundleError(
                    f"{weights.where} holds {name!r}, a feature of series that this "
                    "TumorLens does not know.",
                    "Upgrade TumorLens.",
                )
        discount = facts.number("end_discount")
        if discount < 0.0:
            facts.refuse("end_discount", "a number from 0")
        own = {
            name: OperatingPoint.read(point)
            for name, point in facts.objects("operating_points")
        }
        for name in points:
            if name not in own:
                facts.refuse("operating_points", f"an object with {name!r}")
        return cls(
            end_discount=discount,
            weights={name: weights.number(name) for name in weights.fields},
            intercept=facts.number("intercept"),
            operating_points=own,
            patients=facts.whole("patients", 1),
            healthy_patients=facts.whole("healthy_patients", 1),
            outline=OutlineFacts.read(facts.object("outline"))
            if facts.fields.get("outline") is not None
            else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        points = {key: point.to_json() for key, point in self.operating_points.items()}
        return asdict(self) | {"operating_points": points}


@dataclass(frozen=True)
class SequenceSum:
    """How the log-odds of one place in several sequences are added up.

    Parameters
    ----------
    sequences
        MR sequences that it is for, each once.
    weights
        Factor on the log-odds of a tumour in each of them; not negative.
    bias
        Summand.
    auroc
        Area under the ROC curve, tumour or none, slice by slice inside hospitals on
        which the sum was not fitted; None where it was not measured.
    """

    sequences: tuple[MRSequence, ...]
    weights: tuple[float, ...]
    bias: float
    auroc: Rate | None = None

    @classmethod
    def equal(cls, sequences: Sequence[MRSequence]) -> Self:
        """Weigh sequences alike: the mean of their log-odds, which nobody fitted."""
        return cls(tuple(sequences), (1.0 / len(sequences),) * len(sequences), 0.0)

    @classmethod
    def read(cls, facts: Reader) -> Self:
        """Read one out of a bundle; raises `BundleError` where a value is wrong."""
        names = _sequences(facts, "sequences")
        if not names or len(set(names)) < len(names):
            facts.refuse("sequences", "a list of different sequences")
        weights = facts.numbers("weights", len(names))
        if min(weights) < 0.0:
            facts.refuse("weights", "a list of numbers from 0")
        has_auroc = facts.fields.get("auroc") is not None
        return cls(
            names,
            weights,
            facts.number("bias"),
            Rate.read(facts, "auroc") if has_auroc else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            **asdict(self),
            "sequences": [item.value for item in self.sequences],
            "weights": list(self.weights),
        }

    def log_odds(
        self, odds: Mapping[MRSequence, NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Add up the log-odds (N,) of each of its sequences, shape (N,)."""
        columns = np.stack([odds[item] for item in self.sequences], axis=-1)
        return np.asarray(columns @ np.array(self.weights) + self.bias)


@dataclass(frozen=True)
class StudyModel:
    """How several MR sequences of one place are judged together.

    Parameters
    ----------
    sums
        One for each set of sequences that was fitted; of one sequence alone it leaves
        the log-odds as they are.
    patients, slices
        Numbers of patients, and of their slices in any sequence, on whom they were
        fitted.
    """

    sums: tuple[SequenceSum, ...]
    patients: int
    slices: int

    @classmethod
    def read(cls, facts: Reader) -> Self:
        """Read one out of a bundle; raises `BundleError` where a value is wrong."""
        sums = tuple(SequenceSum.read(item) for item in facts.items("sums"))
        if not sums:
            facts.refuse("sums", "a list of at least one sum")
        return cls(sums, facts.whole("patients", 1), facts.whole("slices", 1))

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**asdict(self), "sums": [item.to_json() for item in self.sums]}

    def sum_of(self, sequences: Collection[MRSequence]) -> SequenceSum | None:
        """Choose the sum of as many of some sequences as were fitted together.

        Returns
        -------
        SequenceSum or None
            Of several of one size the one with the highest area under the curve;
            None where none of the sequences was fitted.
        """
        fitting = [item for item in self.sums if set(item.sequences) <= set(sequences)]
        return max(
            fitting,
            key=lambda item: (
                len(item.sequences),
                0.0 if item.auroc is None else item.auroc.value,
            ),
            default=None,
        )


@dataclass(frozen=True)
class SequenceHead:
    """Facts by which a network's sequence head is read.

    Parameters
    ----------
    sequences
        Sequences that it tells apart, in the order of its outputs.
    scale
        Factor on its outputs, fitted on patients kept apart, so that its
        probabilities are as often right as they say (Guo et al. 2017).
    measured
        Sequences that the whole model was measured on; of others its figures do not
        speak.
    """

    sequences: tuple[MRSequence, ...]
    scale: float
    measured: tuple[MRSequence, ...] = ()

    @classmethod
    def read(cls, facts: Reader) -> Self:
        """Read one out of a bundle; raises `BundleError` where a value is wrong."""
        names = _sequences(facts, "names")
        if not names:
            facts.refuse("names", "a list of sequences")
        return cls(names, facts.number("scale"), _sequences(facts, "measured"))

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "names": [item.value for item in self.sequences],
            "scale": self.scale,
            "measured": [item.value for item in self.measured],
        }

    def probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Turn outputs of shape (N, S) into probabilities; rows sum to 1."""
        values = self.scale * outputs.astype(np.float64)
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sequences(facts: Reader, key: str) -> tuple[MRSequence, ...]:
    known = {item.value: item for item in MRSequence}
    names = facts.strings(key)
    if not set(names) <= set(known):
        facts.refuse(key, f"a list of some of {sorted(known)}")
    return tuple(known[name] for name in names)


Precision = Literal["float32", "int8"]
"""Arithmetic of a graph: `model.onnx` is float32, faster graphs may lie beside it."""
FLOAT32: Precision = "float32"

LEAST_EQUAL = 0.995
"""Share of decisions in which a faster graph has to agree with float32, at least."""
MOST_AUROC_FALL = 0.001
MOST_ECE_RISE = 0.005


@dataclass(frozen=True)
class Agreement:
    """How well a faster graph agrees with the float32 one, slice by slice.

    Parameters
    ----------
    measured_on
        In words: ``cross-validation``, where the graphs of folds judged the patients
        that they had left out; ``held-out patients``, on whom nothing was trained; or
        ``training patients``.
    slices, patients
        Numbers of slices, and of patients (or groups of like pictures).
    equal_decisions
        Share of slices with the same finding, the same kinds and so the same decision.
    judged_again
        Share of slices that were so close to a border that float32 judged them again.
    auroc_change, ece_change
        AUROC (tumour or none) and expected calibration error of the faster graph, less
        those of float32.
    ood_pictures
        Number of pictures that are no brain MRI, beside the slices.
    ood_auroc_change
        AUROC of the domain score, slices against those pictures, of the faster graph,
        less that of float32.
    """

    measured_on: str
    slices: int
    patients: int
    equal_decisions: float
    judged_again: float
    auroc_change: float
    ece_change: float
    ood_pictures: int
    ood_auroc_change: float

    @classmethod
    def read(cls, facts: Reader) -> Self:
        """Read one out of a bundle; raises `BundleError` where a value is wrong."""
        return cls(
            facts.text("measured_on"),
            facts.whole("slices", 1),
            facts.whole("patients", 1),
            facts.share("equal_decisions"),
            facts.share("judged_again"),
            facts.number("auroc_change"),
            facts.number("ece_change"),
            facts.whole("ood_pictures", 1),
            facts.number("ood_auroc_change"),
        )

    def shortfalls(self) -> tuple[str, ...]:
        """Say which limits do not hold, in full sentences; empty where all hold."""
        texts = []
        if self.equal_decisions < LEAST_EQUAL:
            texts.append(
                f"Decisions agree in {100 * self.equal_decisions:.2f} %, and have to "
                f"in {100 * LEAST_EQUAL:g} %."
            )
        for title, change in (
            ("AUROC (tumour or none)", self.auroc_change),
            ("AUROC of the domain score", self.ood_auroc_change),
        ):
            if change < -MOST_AUROC_FALL:
                texts.append(
                    f"{title} falls by {-change:.4f}, and may by {MOST_AUROC_FALL:g}."
                )
        if self.ece_change > MOST_ECE_RISE:
            texts.append(
                f"ECE rises by {self.ece_change:.4f}, and may by {MOST_ECE_RISE:g}."
            )
        return tuple(texts)


@dataclass(frozen=True)
class Margins:
    """How far a faster graph's log-odds may be from float32's, mostly.

    Where a decision is closer to a border, float32 judges the slice again.

    Parameters
    ----------
    findings
        Log-odds of one finding; not negative.
    domain
        Log-odds of the domain score; not negative.
    """

    findings: float
    domain: float

    @classmethod
    def read(cls, facts: Reader) -> Self:
        """Read them out of a bundle; raises `BundleError` where a value is wrong."""
        values = facts.number("findings"), facts.number("domain")
        if min(values) < 0.0:
            facts.refuse("findings" if values[0] < 0.0 else "domain", "from 0")
        return cls(*values)


@dataclass(frozen=True)
class FastPath:
    """A faster graph beside `model.onnx`, with the same input and outputs.

    Parameters
    ----------
    file
        Its name in the bundle's folder.
    sha256
        Its SHA-256 in hexadecimal: the figures are of this file alone.
    float32_nodes
        Convolutions that stayed in float32, since integers cost too much there.
    margins
        Where decisions are closer to a border, float32 judges again.
    agreements
        At least one, all within the limits: of the graph itself, or of graphs that were
        made of folds in the same way; where nothing is held out for the graph itself,
        of both.
    """

    file: str
    sha256: str
    float32_nodes: tuple[str, ...]
    margins: Margins
    agreements: tuple[Agreement, ...]

    @property
    def judged_again(self) -> float:
        """Share of slices that float32 judges again, the largest that was measured."""
        return max((item.judged_again for item in self.agreements), default=0.0)

    @classmethod
    def read(cls, facts: Reader, files: Mapping[str, str]) -> Self:
        """Read one out of a bundle.

        Parameters
        ----------
        facts
            The bundle's section.
        files
            SHA-256 by file name, as the bundle lists it.

        Raises
        ------
        BundleError
            There are no figures, they do not hold the limits, or they are of another
            file.
        """
        file, digest = facts.text("file"), facts.text("sha256")
        if files.get(file) != digest:
            raise BundleError(
                f"{facts.where}: its figures are of another {file} than the bundle "
                "lists (the SHA-256 differs).",
                "Make the path anew: tumorlens quantise.",
            )
        agreements = tuple(Agreement.read(item) for item in facts.items("agreements"))
        if not agreements:
            facts.refuse("agreements", "a list of at least one measurement")
        for item in agreements:
            if item.shortfalls():
                raise BundleError(
                    f"{facts.where} does not agree with float32 "
                    f"({item.measured_on}): {' '.join(item.shortfalls())}",
                    "Make the path anew: tumorlens quantise.",
                )
        nodes, margins = facts.strings("float32_nodes"), facts.object("margins")
        return cls(file, digest, nodes, Margins.read(margins), agreements)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            **asdict(self),
            "float32_nodes": list(self.float32_nodes),
            "agreements": [asdict(item) for item in self.agreements],
        }


def read_paths(facts: Reader, files: Mapping[str, str]) -> dict[Precision, FastPath]:
    """Read the faster graphs of a bundle, by their arithmetic.

    Parameters
    ----------
    facts
        The bundle's `paths` object.
    files
        SHA-256 by file name, as the bundle lists it.

    Raises
    ------
    BundleError
        One is unknown here, or must not answer; see `FastPath.read`.
    """
    known = [item for item in get_args(Precision) if item != FLOAT32]
    for name in facts.fields:
        if name not in known:
            raise BundleError(
                f"{facts.where} holds {name!r}, a path that this TumorLens does not "
                "know.",
                "Upgrade TumorLens.",
            )
    return {
        cast(Precision, name): FastPath.read(item, files)
        for name, item in ((name, facts.object(name)) for name in facts.fields)
    }
