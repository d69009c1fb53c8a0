"""The clinical model: what a patient's columns add to what the image says.

It is a multinomial logistic regression whose offset is the image's calibrated
log-probability. Where the columns and the image are independent within each
class, this is Bayes' rule: log p(class | image, columns) = log p(class | image)
+ log p(columns | class) + a constant.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BundleError, InputError
from tumorlens.imaging.formats import display_name
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import Reader
from tumorlens.inference.clinical.columns import (
    ClinicalTable,
    Column,
    State,
    category,
    column_to_json,
    encode,
    read_column,
)
from tumorlens.inference.slice.decision import (
    ClinicalUse,
    apply_point_and_rules,
    by_class,
    prediction_set,
    softmax,
)
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.taxonomy import CLASSES, Lesion, TumorClass

CLINICAL_FILE = "clinical.json"
FORMAT = "tumorlens-clinical/1"
LEAST_PROBABILITY = 1e-6
"""Below this the image's probability of a class counts as this, so that columns can
still speak."""


@dataclass(frozen=True)
class ClinicalModel:
    """Weights that move the image's log-probabilities by a patient's columns.

    Parameters
    ----------
    columns
        Columns in order; they become F numbers.
    classes
        K of them, that it was learned on. The probability of the others stays
        what the image says.
    image_weight
        Factor on the image's log-probabilities.
    bias
        K summands.
    weights
        Shape (F, K), float64.
    temperature
        Number above 0 by which the sum is divided.
    learned_on
        Free facts: of how many patients, and how.
    """

    columns: tuple[Column, ...]
    classes: tuple[TumorClass, ...]
    image_weight: float
    bias: tuple[float, ...]
    weights: NDArray[np.float64]
    temperature: float
    learned_on: Mapping[str, Any]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the F numbers."""
        return tuple(name for column in self.columns for name in column.features)

    def fuse(
        self, probabilities: NDArray[np.float64], features: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Move the image's probabilities by the columns.

        Parameters
        ----------
        probabilities
            Shape (N, 4): of the image, calibrated.
        features
            Shape (N, F), from `encode`.

        Returns
        -------
        ndarray
            Shape (N, 4), float64; rows sum to 1.
        """
        kept = [CLASSES.index(name) for name in self.classes]
        scores = self.image_weight * image_scores(probabilities)[:, kept]
        scores += np.asarray(self.bias) + features @ self.weights
        fused = np.array(probabilities, np.float64)
        share = fused[:, kept].sum(axis=1, keepdims=True)
        fused[:, kept] = share * softmax(scores / self.temperature)
        return fused

    def to_json(self) -> dict[str, Any]:
        """Return the model as a JSON object."""
        return {
            "format": FORMAT,
            "columns": [column_to_json(column) for column in self.columns],
            "classes": [name.value for name in self.classes],
            "image_weight": self.image_weight,
            "bias": list(self.bias),
            "weights": self.weights.tolist(),
            "temperature": self.temperature,
            "learned_on": dict(self.learned_on),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any], where: str) -> Self:
        """Read what `to_json` returned.

        Parameters
        ----------
        document
            Plain JSON.
        where
            File that it stands in, for messages.

        Raises
        ------
        BundleError
            A fact is not what it has to be.
        """
        facts = Reader(document, where)
        if facts.text("format") != FORMAT:
            facts.refuse("format", f"{FORMAT!r}; upgrade TumorLens")
        columns = tuple(read_column(item) for item in facts.items("columns"))
        classes = facts.strings("classes")
        if not set(classes) <= set(CLASSES) or len(set(classes)) < max(2, len(classes)):
            facts.refuse("classes", f"two or more of {[str(x) for x in CLASSES]}")
        count = sum(len(column.features) for column in columns)
        rows = facts.rows("weights", count, len(classes))
        temperature = facts.number("temperature")
        if temperature <= 0.0:
            facts.refuse("temperature", "a number above 0")
        return cls(
            columns,
            tuple(map(TumorClass, classes)),
            facts.number("image_weight"),
            facts.numbers("bias", len(classes)),
            np.array(rows, np.float64).reshape(count, len(classes)),
            temperature,
            dict(facts.object("learned_on").fields),
        )

    def check_table(self, table: ClinicalTable) -> None:
        """Make sure that a table can be used, before any work is done.

        Raises
        ------
        InputError
            None of the model's columns is there, or text stands for a number.
        """
        shown = display_name(table.path)
        self.check_names(table.columns, shown)
        for line, row in zip(table.lines, table.rows, strict=True):
            try:
                encode(self.columns, row)
            except InputError as error:
                raise InputError(
                    f"{shown}, line {line}: {error.message}", error.hint
                ) from error

    def check_names(self, given: Iterable[str], whose: str) -> None:
        """Make sure that one of the columns at least is given.

        Parameters
        ----------
        given
            Names of columns.
        whose
            What gives them, for the message.

        Raises
        ------
        InputError
            None is.
        """
        names = [column.name for column in self.columns]
        if not set(map(category, names)) & set(map(category, given)):
            raise InputError(
                f"{whose} has none of the model's clinical columns "
                f"({', '.join(names)}), only {', '.join(given)}.",
                "Name the columns as in the table that the model learned from.",
            )


def image_scores(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the image's log-probabilities, bounded below, of shape (N, 4)."""
    return np.asarray(np.log(np.maximum(probabilities, LEAST_PROBABILITY)))


def load_clinical_model(bundle: Bundle) -> ClinicalModel:
    """Read the clinical model of a bundle.

    Parameters
    ----------
    bundle
        A verified one, among whose files is `CLINICAL_FILE`.

    Raises
    ------
    BundleError
        The file cannot be read.
    """
    path = bundle.folder / CLINICAL_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON.") from error
    if not isinstance(document, dict):
        raise BundleError(f"{path} holds no JSON object.")
    return ClinicalModel.read(document, str(path))


NO_ROW = (
    "No clinical values are known for this picture; it is judged by the image alone."
)
WITH_COLUMNS = (
    "The probabilities count the clinical columns {names}; by the image alone the "
    "probability of a tumour is {alone:.1%}. Maps and outline are the image's alone."
)


def add_columns(
    prediction: Prediction,
    row: Mapping[str, Any] | None,
    model: ClinicalModel,
    bundle: Bundle,
) -> Prediction:
    """Decide anew by the image and a patient's columns together.

    Threshold, prediction set and rules are the bundle's: they speak of
    calibrated probabilities, and these are. A picture that is no brain MRI
    the model knows stays refused.

    Parameters
    ----------
    prediction
        Prediction by the image alone.
    row
        Values by column: text, numbers or None; None where nothing is known.
    model, bundle
        The clinical model, and the bundle that it belongs to.

    Raises
    ------
    InputError
        There is text where a number is needed, or none of the columns is given.
    """
    alone = prediction.decision
    if row is not None:
        model.check_names(row, "The patient's row")
    encoded = encode(model.columns, row or {})
    outside = encoded.of_state(State.OUTSIDE)
    use = ClinicalUse(
        used=encoded.of_state(State.USED) + outside,
        missing=encoded.of_state(State.MISSING),
        unknown=encoded.of_state(State.UNKNOWN),
        outside=outside,
        probabilities=alone.raw_probabilities,
        label=alone.label,
    )
    if alone.is_refused:
        return replace(prediction, clinical=use)
    if not use.used:
        return replace(prediction, clinical=use, notes=(*prediction.notes, NO_ROW))
    image = np.array([[alone.raw_probabilities[name] for name in CLASSES]])
    values = model.fuse(image, encoded.features[None])[0]
    options = prediction_set(values, bundle.prediction_sets.thresholds)
    outcome = apply_point_and_rules(
        values,
        options,
        bundle,
        alone.operating_point,
        (np.array(alone.slice_head), np.array(alone.evidence_head)),
        alone.brain_share,
        alone.other_lesions.get(Lesion.VASCULAR, 0.0),
    )
    note = WITH_COLUMNS.format(names=", ".join(use.used), alone=alone.raw_p_tumor)
    return replace(
        prediction,
        decision=replace(
            alone,
            raw_probabilities=by_class(values),
            finding=outcome.finding,
            kinds=outcome.kinds,
            prediction_set=options,
            reasons=outcome.reasons,
        ),
        clinical=use,
        notes=(*prediction.notes, note),
    )
