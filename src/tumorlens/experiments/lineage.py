"""The line of models that a run started from: who shaped them shaped it too.

Tested in `tests/cli/model/test_train_weights.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.duplicates import TrainingCodes, take_fingerprints
from tumorlens.data.manifest import Record
from tumorlens.errors import BundleError, TrainingError
from tumorlens.evaluation.leakage import FINGERPRINTS, PARENTS, SHAPED
from tumorlens.inference.bundle.bundle import (
    DEFAULT_BUNDLE,
    WEIGHTS_FILE,
    Bundle,
    bundle_of_facts,
    read_document,
    sha256_of,
)

_FILE = "parent.json"
_BUNDLE_FOLDER = "bundle"


@dataclass(frozen=True)
class Parent:
    """The model whose weights a run started from.

    Parameters
    ----------
    sha256
        SHA-256 of its weights.
    bundle
        Its facts; None where no bundle of these weights was found, so that nobody
        knows who trained them.
    """

    sha256: str
    bundle: Bundle | None

    @classmethod
    def of(cls, weights: Path) -> Self:
        """Find the bundle that a file of weights is from.

        Parameters
        ----------
        weights
            Beside its `bundle.json`, in a run's folder, or a copy of what ships.

        Raises
        ------
        BundleError
            The file cannot be read.
        """
        sha256 = sha256_of(weights)
        for folder in (weights.parent, weights.parent / _BUNDLE_FOLDER, DEFAULT_BUNDLE):
            try:
                bundle = bundle_of_facts(read_document(folder), folder)
            except BundleError:
                continue
            if bundle.files.get(WEIGHTS_FILE) == sha256:
                return cls(sha256, bundle)
        return cls(sha256, None)

    def store(self, run: Path) -> None:
        """Keep it in the folder of a run, which may outlive the bundle."""
        facts = None if self.bundle is None else read_document(self.bundle.folder)
        (run / _FILE).write_text(
            json.dumps({"sha256": self.sha256, "facts": facts}) + "\n", encoding="utf-8"
        )

    @classmethod
    def stored(cls, run: Path) -> Self | None:
        """Read what `store` wrote; None for a run that started from no model.

        Raises
        ------
        TrainingError
            The file is damaged.
        """
        path = run / _FILE
        if not path.exists():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            facts = document["facts"]
            bundle = None if facts is None else bundle_of_facts(facts, path)
            return cls(str(document["sha256"]), bundle)
        except (OSError, ValueError, KeyError, TypeError, BundleError) as error:
            raise TrainingError(
                f"{path} does not say what the run started from: {error}.",
                "Start the run again in an empty folder.",
            ) from error

    def line(self) -> list[dict[str, Any]]:
        """List it and its own parents, for a provenance; plain JSON.

        Returns
        -------
        list of dict
            ``name``, ``version``, ``patients`` by split and ``fingerprints`` of each,
            the nearest first; only ``weights_sha256`` where that is all that is known.
        """
        own: dict[str, Any] = {"weights_sha256": self.sha256}
        if self.bundle is None:
            return [own]
        provenance = self.bundle.provenance
        patients = provenance.get("patients")
        by_split = patients if isinstance(patients, dict) else {}
        own |= {"name": self.bundle.name, "version": self.bundle.version}
        own["patients"] = {split: by_split.get(split, []) for split in SHAPED}
        if FINGERPRINTS in provenance:
            own[FINGERPRINTS] = provenance[FINGERPRINTS]
        return [own, *provenance.get(PARENTS, [])]


def parent_of_folds(
    folder: Path, weights: Path | None, *, begun: bool
) -> Parent | None:
    """Note whose weights the runs of a cross-validation start from, or check it.

    Parameters
    ----------
    folder
        Folder of the cross-validation.
    weights
        Keras weights that every run starts from; None for the network's own start.
    begun
        Whether a run of it has begun.

    Raises
    ------
    TrainingError
        The runs that have begun started from other weights.
    """
    parent = None if weights is None else Parent.of(weights)
    if begun:
        stored = Parent.stored(folder)
        if (stored and stored.sha256) != (parent and parent.sha256):
            raise TrainingError(
                f"{folder} holds folds that did not start from these weights.",
                "Give the same --weights as before, or another folder.",
            )
        return stored
    (folder / _FILE).unlink(missing_ok=True)
    if parent is not None:
        folder.mkdir(parents=True, exist_ok=True)
        parent.store(folder)
    return parent


def shaped_before(
    records: Sequence[Record], line: Sequence[Mapping[str, Any]]
) -> NDArray[np.bool_]:
    """Tell which pictures, or whose copies, have shaped a model of the line.

    Parameters
    ----------
    records
        N records.
    line
        Line that `Parent.line` has made.

    Returns
    -------
    ndarray
        Shape (N,): by patient, or by the fingerprints that the models carry.
    """
    patients = {
        patient
        for facts in line
        for names in facts.get("patients", {}).values()
        for patient in names
    } - {""}
    known = np.array([row.patient in patients for row in records], bool)
    codes = [
        TrainingCodes.parse(facts[FINGERPRINTS])
        for facts in line
        if FINGERPRINTS in facts
    ]
    if codes and records:
        prints = take_fingerprints(records)[0]
        for item in codes:
            known |= item.holds(prints)
    return known
