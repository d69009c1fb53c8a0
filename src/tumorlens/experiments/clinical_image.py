"""What the image says of patients its network never saw: the clinical model's base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError
from tumorlens.evaluation.scoring.leakage import check_held_out
from tumorlens.evaluation.scoring.scored_slices import score_records
from tumorlens.experiments.cross_validation import held_out_by_folds
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.slice.decision import (
    calibrated_probabilities,
    class_view,
    pool_evidence,
)
from tumorlens.taxonomy import CLASSES

_BY_FOLDS = (
    "The image of each patient was judged by a network that trained without them; "
    "only the few numbers that calibrate it were fitted on all of them together."
)


@dataclass(frozen=True)
class ImageSide:
    """What the image says of N labelled slices.

    Parameters
    ----------
    records
        N of them.
    probabilities
        Shape (N, 4), calibrated.
    statement
        How far these are held out, in full sentences.
    """

    records: tuple[Record, ...]
    probabilities: NDArray[np.float64]
    statement: str

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, shape (N,)."""
        return np.array(
            [CLASSES.index(row.label) for row in self.records if row.label], np.int64
        )

    def take(self, kept: Sequence[bool]) -> ImageSide:
        """Keep some slices, by N of true and false."""
        return ImageSide(
            tuple(compress(self.records, kept)),
            self.probabilities[np.array(kept, bool)],
            self.statement,
        )


def image_by_folds(
    folder: Path, records: Sequence[Record], bundle: Bundle
) -> ImageSide:
    """Take what the networks of a cross-validation said.

    Parameters
    ----------
    folder
        Of the cross-validation.
    records
        Of its manifest.
    bundle
        Its calibration turns raw outputs into probabilities.

    Raises
    ------
    TrainingError
        No fold is complete there, or its pictures are others.
    """
    held = held_out_by_folds(folder, records)
    pooled = np.zeros_like(held.logits)
    if held.evidence is not None:
        pooled = pool_evidence(held.evidence, bundle.calibration.evidence_cells)
    head = bundle.sequence_head
    shares = None
    if head is not None and held.sequence is not None:
        shares = head.probabilities(held.sequence)
    found = class_view(
        calibrated_probabilities(held.logits, pooled, bundle.calibration, shares)
    )
    return ImageSide(held.records, found, _BY_FOLDS)


def image_by_bundle(
    bundle: Bundle,
    records: Sequence[Record],
    known: Sequence[Record],
    say: Callable[[str], None] = print,
) -> ImageSide:
    """Let a bundle judge the labelled patients who did not train it.

    Parameters
    ----------
    bundle
        Names those who trained it.
    records
        To be judged.
    known
        All of the manifest, to look for copies of what trained the bundle.
    say
        Receives lines of progress.

    Raises
    ------
    DatasetError
        Nobody is left.
    """
    named = bundle.provenance.get("patients")
    trained = set(named.get("train", ())) - {""} if isinstance(named, dict) else set()
    kept = [row for row in records if row.label and row.patient not in trained]
    count = len({row.patient for row in records} & trained)
    if count:
        say(f"{count} patients with a row trained the network; they are left out.")
    if not kept:
        raise DatasetError(
            "Every patient with a row trained the network, or is kept for the test.",
            "Give --calibrate-on a cross-validation, in which everybody is held out.",
        )
    say(f"Judging {len(kept)} slices by {bundle.name} {bundle.version}.")
    statement = check_held_out(bundle, kept, known)["statement"]
    scored = score_records(load_classifier(bundle.folder), kept, say=say)
    return ImageSide(tuple(scored.records), scored.probabilities, statement)
