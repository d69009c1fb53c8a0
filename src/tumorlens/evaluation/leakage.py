"""Checks that figures are held out: no patient and no copy shaped the model before.

A run may start from other models. Who shaped any of that line of models shaped it too.

Tested in `tests/evaluation/test_leakage.py` and
`tests/cli/model/test_train_weights.py`.
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
from tumorlens.data.manifest import LIKENESS, Record
from tumorlens.errors import BundleError, TrainingError
from tumorlens.inference.bundle.bundle import (
    DEFAULT_BUNDLE,
    WEIGHTS_FILE,
    Bundle,
    bundle_of_facts,
    read_document,
    sha256_of,
)

FINGERPRINTS = "fingerprints"
"""Key of the training pictures' codes in a bundle's provenance."""

PARENTS = "parents"
"""Key of the models that a bundle's weights started from, the nearest first, in its
provenance."""

SHAPED = ("train", "validation")
"""Splits whose patients shape a model: weights, calibration and thresholds."""

_EXAMPLES = 5


def check_held_out(
    bundle: Bundle, evaluated: Sequence[Record], known: Sequence[Record] = ()
) -> dict[str, Any]:
    """Compare the slices of an evaluation with those that made a bundle.

    Parameters
    ----------
    bundle
        Its provenance names patients by split and, if it is recent, carries
        the training pictures' codes.
    evaluated
        Records that the figures are measured on.
    known
        Other records at hand. Those of the bundle's training and validation
        patients confirm what the codes take for a copy, and are looked at instead
        where the bundle carries no codes.

    Returns
    -------
    dict
        Plain JSON: ``held_out`` is true only where the bundle says who shaped
        it, and so does every model of the line that its weights started from, every
        slice names its patient, none of them is among the former, all
        their pictures could be looked at, and no picture is a copy of one. Besides
        ``statement`` (a sentence), the counts: ``shared_patients`` by split,
        ``shared_slices``, ``unnamed_slices``, ``likeness_slices`` (whose patient is
        a group of like pictures), ``copies`` (None where nobody could look) with
        ``copies_by_source`` and a few files as ``examples``, ``compared_with``
        pictures, ``patients_unseen`` (who shaped the model, but has no picture to
        compare with), ``parents``: the number of models in the line, and
        ``unknown_parents``: those that do not say who shaped them. All counts are
        over the whole line.
    """
    parents = [dict(facts) for facts in bundle.provenance.get(PARENTS, ())]
    line = [bundle.provenance, *parents]
    shaped = {
        split: set().union(*(_names(facts, split) for facts in line))
        for split in SHAPED
    }
    everybody = set().union(*shaped.values())
    patients = {record.patient for record in evaluated} - {""}
    at_hand = [row for row in known if row.patient in everybody]
    without_codes = set().union(
        *(
            _names(facts, split)
            for facts in line
            for split in SHAPED
            if not isinstance(facts.get(FINGERPRINTS), str)
        )
    )
    unseen = without_codes - {row.patient for row in at_hand}
    codes = _codes_of(line, at_hand)
    copies = _copies(codes, evaluated, at_hand) if codes else None
    counts: dict[str, Any] = {
        "slices": len(evaluated),
        "patients_known": any(_names(bundle.provenance, split) for split in SHAPED),
        "parents": len(parents),
        "unknown_parents": sum(
            not any(_names(facts, split) for split in SHAPED) for facts in parents
        ),
        "shared_patients": {
            split: len(names & patients) for split, names in shaped.items()
        },
        "shared_slices": sum(record.patient in everybody for record in evaluated),
        "unnamed_slices": sum(not record.patient for record in evaluated),
        "likeness_slices": sum(row.patient.startswith(LIKENESS) for row in evaluated),
        "copies": None if copies is None else int(copies.sum()),
        "copies_by_source": {} if copies is None else _by_source(copies, evaluated),
        "examples": []
        if copies is None
        else [evaluated[row].path.name for row in np.flatnonzero(copies)[:_EXAMPLES]],
        "compared_with": sum(map(len, codes)),
        "patients_unseen": len(unseen),
    }
    objections = _objections(counts)
    return {
        "held_out": not objections,
        "statement": _statement(counts, objections),
        **counts,
    }


def _names(facts: Mapping[str, Any], split: str) -> set[str]:
    """Name the patients of a split by a provenance; none where it does not say."""
    by_split = facts.get("patients")
    return set(by_split.get(split, ())) - {""} if isinstance(by_split, dict) else set()


def _codes_of(
    line: Sequence[Mapping[str, Any]], known: Sequence[Record]
) -> list[TrainingCodes]:
    texts = [facts.get(FINGERPRINTS) for facts in line]
    codes = [TrainingCodes.parse(text) for text in texts if isinstance(text, str)]
    if len(codes) < len(line):
        codes.append(TrainingCodes.make(take_fingerprints(known)[0]))
    return [item for item in codes if len(item)]


def _copies(
    codes: Sequence[TrainingCodes],
    evaluated: Sequence[Record],
    at_hand: Sequence[Record],
) -> NDArray[np.bool_]:
    prints = take_fingerprints(evaluated)[0]
    theirs = None
    is_copy = np.zeros(len(evaluated), bool)
    for item in codes:
        rows = np.flatnonzero(item.holds(prints))
        if len(rows) and at_hand:
            theirs = theirs or take_fingerprints(at_hand)[0]
            rows = rows[item.confirms([prints[row] for row in rows], theirs)]
        is_copy[rows] = True
    return is_copy


def _by_source(
    copies: NDArray[np.bool_], evaluated: Sequence[Record]
) -> dict[str, int]:
    sources = [row.source for row, copy in zip(evaluated, copies, strict=True) if copy]
    return {name: sources.count(name) for name in sorted(set(sources))}


def _objections(counts: Mapping[str, Any]) -> list[str]:
    objections = []
    if not counts["patients_known"]:
        objections.append("the bundle does not say whose slices it was made from")
    if counts["unknown_parents"]:
        objections.append(
            "the model started from weights of which nobody knows whose slices made "
            "them"
        )
    if counts["shared_slices"]:
        count = sum(counts["shared_patients"].values())
        objections.append(
            f"{counts['shared_slices']} of {counts['slices']} slices are of {count} "
            "patients who trained or tuned the model"
        )
    if counts["unnamed_slices"]:
        objections.append(
            f"{counts['unnamed_slices']} of {counts['slices']} slices name no patient, "
            "so nobody can tell whether theirs trained or tuned it (fill the "
            "manifest's column `patient`)"
        )
    if counts["copies"]:
        objections.append(
            f"{counts['copies']} of the pictures scored are copies, or nearly, of ones "
            "that trained or tuned it"
        )
    if counts["copies"] is None:
        objections.append(
            "copies could not be looked for, as the bundle carries no fingerprints of "
            "its training pictures and the manifest does not list them"
        )
    elif counts["patients_unseen"]:
        objections.append(
            "copies could not be looked for among the pictures of "
            f"{counts['patients_unseen']} patients who trained or tuned it: the bundle "
            "carries no fingerprints, and the manifest does not list them"
        )
    return objections


def _statement(counts: Mapping[str, Any], objections: Sequence[str]) -> str:
    if objections:
        return f"These figures are NOT held out: {'; '.join(objections)}."
    return (
        "These figures are held out: no patient here trained or tuned "
        f"{_models(counts)}, and no picture is a copy, by its fingerprint, of one of "
        f"{counts['compared_with']} that did."
        + likeness_words(counts["likeness_slices"])
    )


def _models(counts: Mapping[str, Any]) -> str:
    if not counts["parents"]:
        return "the model"
    models = "the one" if counts["parents"] == 1 else f"any of the {counts['parents']}"
    return f"the model or {models} that it started from"


def likeness_words(slices: int) -> str:
    """Say of how many slices a patient stands for pictures that look alike.

    Returns
    -------
    str
        A sentence with a space before it; empty for none.
    """
    if not slices:
        return ""
    return (
        f" Of {slices} slices no patient is known: pictures that look alike count as "
        "one, and another slice of the same head may have been missed."
    )


def pool_leakage(leakage: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Join what was found of every fold.

    Parameters
    ----------
    leakage
        What `check_held_out` says of each fold's bundle and of the slices it
        was scored on; at least one fold.

    Returns
    -------
    dict
        Plain JSON: ``held_out`` is true only where it is for every fold;
        ``statement`` is a sentence on all of them; ``slices`` and
        ``unnamed_slices`` are counted over them; ``folds`` holds each one's own, by
        its number as text.
    """
    leaking = [fold for fold, item in leakage.items() if not item["held_out"]]
    return {
        "held_out": not leaking,
        "statement": _pooled_statement(leakage, leaking),
        "slices": sum(item["slices"] for item in leakage.values()),
        "unnamed_slices": sum(item["unnamed_slices"] for item in leakage.values()),
        "folds": {str(fold): dict(item) for fold, item in sorted(leakage.items())},
    }


def _pooled_statement(
    leakage: Mapping[int, Mapping[str, Any]], leaking: list[int]
) -> str:
    if leaking:
        names = ", ".join(str(fold) for fold in sorted(leaking))
        first = leakage[min(leaking)]["statement"]
        return (
            f"These figures are NOT held out in {len(leaking)} of {len(leakage)} folds "
            f"({names}). Fold {min(leaking)}: {first}"
        )
    return (
        f"These figures are held out: in each of {len(leakage)} folds no patient "
        "scored trained that fold's network or set its calibration, thresholds or "
        "rules, and no picture is a copy, by its fingerprint, of one that did."
        + likeness_words(sum(item["likeness_slices"] for item in leakage.values()))
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
