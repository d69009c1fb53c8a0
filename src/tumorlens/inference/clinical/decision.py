"""A decision by the image and a patient's columns together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.clinical.columns import State, encode
from tumorlens.inference.clinical.model import ClinicalModel
from tumorlens.inference.slice.decision import (
    apply_point_and_rules,
    by_class,
    prediction_set,
)
from tumorlens.inference.slice.results import ClinicalUse, Prediction
from tumorlens.taxonomy import CLASSES, TumorClass, Verdict

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
        Of the image alone.
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
    found = encode(model.columns, row or {})
    outside = found.of_state(State.OUTSIDE)
    use = ClinicalUse(
        used=found.of_state(State.USED) + outside,
        missing=found.of_state(State.MISSING),
        unknown=found.of_state(State.UNKNOWN),
        outside=outside,
        probabilities=alone.probabilities,
        label=alone.label,
    )
    if not use.used:
        return replace(prediction, clinical=use, notes=(*prediction.notes, NO_ROW))
    image = np.array([[alone.probabilities[name] for name in CLASSES]])
    values = model.fuse(image, found.features[None])[0]
    options = prediction_set(values, bundle.prediction_sets.thresholds)
    label: TumorClass | Verdict = alone.label
    reasons: Sequence[str] = alone.reasons
    if alone.label is not Verdict.NOT_BRAIN_MRI:
        label, reasons = apply_point_and_rules(
            values,
            options,
            bundle,
            alone.operating_point,
            (np.array(alone.slice_head), np.array(alone.evidence_head)),
            alone.brain_share,
        )
    note = WITH_COLUMNS.format(names=", ".join(use.used), alone=alone.p_tumor)
    return replace(
        prediction,
        decision=replace(
            alone,
            probabilities=by_class(values),
            predicted=CLASSES[int(np.argmax(values))],
            label=label,
            prediction_set=options,
            reasons=tuple(reasons),
        ),
        clinical=use,
        notes=(*prediction.notes, note),
    )
