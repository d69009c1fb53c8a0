"""Tumour slices made ready for the tests of explanations, and the maps of them.

Tested in `tests/evaluation/explanations/test_faithfulness.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.labelled_slices import pick, read_labelled_slice
from tumorlens.data.manifest import Record
from tumorlens.evaluation.scoring.scored_slices import MeasuredBundle, share_of_each
from tumorlens.imaging.preprocess.slice import Crop, prepare
from tumorlens.imaging.study import Series, Slice, Study
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.classifier import Classifier
from tumorlens.inference.slice.decision import RawOutputs
from tumorlens.inference.slice.prediction import cell_probabilities
from tumorlens.inference.slice.session import Session
from tumorlens.taxonomy import CLASSES, TUMOR_CLASSES

MAPS = ("evidence", "gradcam")
"""The maps that are tested, by name."""

_ROWS_AT_A_TIME = 16


@dataclass(frozen=True)
class Case:
    """A tumour slice.

    Parameters
    ----------
    record
        The slice's row of the manifest, with its outline if there is one.
    slice_
        The picture.
    pixels
        Shape (S, S, 3), float32, 0 to 1: the network's input.
    crop
        Place of the input in the picture.
    column
        Index of the class that the served maps of this slice speak of.
    bundle
        The bundle whose maps are asked for.
    """

    record: Record
    slice_: Slice
    pixels: NDArray[np.float32]
    crop: Crop
    column: int
    bundle: Bundle


def read_cases(measured_bundles: Sequence[MeasuredBundle], count: int) -> list[Case]:
    """Draw tumour slices, of as many patients as there are, and read them.

    Parameters
    ----------
    measured_bundles
        Bundles, which say which class their maps speak of, and records: flagged
        ones are left out; those with an outline come before others.
    count
        Largest number of slices, shared evenly by bundles and tumour classes.
    """
    each = share_of_each(count // len(TUMOR_CLASSES), measured_bundles)
    cases = []
    for item in measured_bundles:
        for label in TUMOR_CLASSES:
            labelled = [
                row for row in item.records if row.label is label and not row.flag
            ]
            drawn = [row for row in labelled if row.mask is not None]
            for record in pick(drawn or labelled, each):
                slice_ = read_labelled_slice(record)
                if slice_ is not None:
                    cases.append(_case(item.classifier, record, slice_))
    return cases


def by_bundle(cases: Sequence[Case]) -> Iterator[tuple[Bundle, list[Case]]]:
    """Sort cases by whose maps are asked for, in their order."""
    for _, own in groupby(cases, key=lambda case: case.bundle.folder):
        together = list(own)
        yield together[0].bundle, together


def with_network(cases: Sequence[Case]) -> Iterator[tuple[Session, Case]]:
    """Give each case the network whose maps are asked for, loaded once."""
    for bundle, own in by_bundle(cases):
        session = Session(bundle)
        for case in own:
            yield session, case


def _case(classifier: Classifier, record: Record, slice_: Slice) -> Case:
    (judged,) = classifier.predict_study(Study((Series((slice_,)),)))
    pixels, crop = prepare(slice_.pixels, classifier.bundle.preprocessing)
    column = CLASSES.index(judged.explanation.explained)
    return Case(record, slice_, pixels, crop, column, classifier.bundle)


def run(session: Session, inputs: NDArray[np.float32]) -> RawOutputs:
    """Run the network on many inputs, a few at a time.

    Parameters
    ----------
    session
        The network.
    inputs
        Shape (N, S, S, 3), float32, 0 to 1; N is at least 1.
    """
    parts = [
        session.run(inputs[start : start + _ROWS_AT_A_TIME])
        for start in range(0, len(inputs), _ROWS_AT_A_TIME)
    ]
    return RawOutputs(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.evidence for part in parts]),
        np.concatenate([part.gradcam for part in parts]),
        np.concatenate([part.embedding for part in parts]),
    )


def draw_maps(
    outputs: RawOutputs, cases: Sequence[Case]
) -> dict[str, NDArray[np.float32]]:
    """Draw both maps of each row, over the network's input, as they are served.

    Parameters
    ----------
    outputs
        N rows.
    cases
        N of them: they say what each row's maps speak of.

    Returns
    -------
    dict
        Maps by the names in `MAPS`, shape (N, g, g) each with a g of its own, not
        negative: probability of the class in each cell, and Grad-CAM.
    """
    rows = np.arange(len(cases))
    columns = [case.column for case in cases]
    shares = [
        cell_probabilities(cells, case.column, case.bundle.cells)
        for cells, case in zip(outputs.evidence, cases, strict=True)
    ]
    return {
        "evidence": np.stack(shares),
        "gradcam": np.asarray(outputs.gradcam[rows, :, :, columns], np.float32),
    }


def is_constant(heat: NDArray[np.float32]) -> bool:
    """Tell whether a map shows nothing: no spot stands out from the others."""
    return float(np.ptp(heat)) <= 1e-6 * max(float(heat.max()), 1e-6)
