"""Whether figures are held out: no patient and no copy shaped the model before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.duplicates.copies import take_fingerprints
from tumorlens.data.duplicates.copy_codes import TrainingCodes
from tumorlens.data.manifest import LIKENESS, Record
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.page_parts import Section, Table

FINGERPRINTS = "fingerprints"
"""Key of the training pictures' codes in a bundle's provenance."""

_SHAPED = ("train", "validation")
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
        What the figures are measured on.
    known
        Other records at hand. Those of the bundle's training and validation
        patients confirm what the codes take for a copy, and are looked at instead
        where the bundle carries no codes.

    Returns
    -------
    dict
        Plain JSON: ``held_out`` is true only where the bundle says who shaped
        it, every slice names its patient, none of them is among the former, all
        their pictures could be looked at, and no picture is a copy of one. Besides
        ``statement`` (a sentence), the counts: ``shared_patients`` by split,
        ``shared_slices``, ``unnamed_slices``, ``likeness_slices`` (whose patient is
        a group of like pictures), ``copies`` (None where nobody could look) with
        ``copies_by_source`` and a few files as ``examples``, ``compared_with``
        pictures, and ``patients_unseen``: who shaped the model, but has no
        picture to compare with.
    """
    named = bundle.provenance.get("patients")
    by_split = named if isinstance(named, dict) else {}
    shaped = {split: set(by_split.get(split, ())) - {""} for split in _SHAPED}
    everybody = set().union(*shaped.values())
    patients = {record.patient for record in evaluated} - {""}
    at_hand = [row for row in known if row.patient in everybody]
    carried = isinstance(bundle.provenance.get(FINGERPRINTS), str)
    unseen = set() if carried else everybody - {row.patient for row in at_hand}
    codes = _codes_of(bundle, at_hand)
    copies = None if codes is None else _copies(codes, evaluated, at_hand)
    found: dict[str, Any] = {
        "slices": len(evaluated),
        "patients_known": bool(everybody),
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
        "compared_with": 0 if codes is None else len(codes),
        "patients_unseen": len(unseen),
    }
    objections = _objections(found)
    return {
        "held_out": not objections,
        "statement": _statement(found, objections),
        **found,
    }


def _codes_of(bundle: Bundle, known: Sequence[Record]) -> TrainingCodes | None:
    text = bundle.provenance.get(FINGERPRINTS)
    if isinstance(text, str):
        codes = TrainingCodes.parse(text)
    else:
        codes = TrainingCodes.make(take_fingerprints(known)[0])
    return codes if len(codes) else None


def _copies(
    codes: TrainingCodes, evaluated: Sequence[Record], at_hand: Sequence[Record]
) -> NDArray[np.bool_]:
    prints = take_fingerprints(evaluated)[0]
    found = codes.holds(prints)
    rows = np.flatnonzero(found)
    if len(rows) and at_hand:
        theirs = take_fingerprints(at_hand)[0]
        found[rows] = codes.confirms([prints[row] for row in rows], theirs)
    return found


def _by_source(
    copies: NDArray[np.bool_], evaluated: Sequence[Record]
) -> dict[str, int]:
    sources = [row.source for row, copy in zip(evaluated, copies, strict=True) if copy]
    return {name: sources.count(name) for name in sorted(set(sources))}


def _objections(found: Mapping[str, Any]) -> list[str]:
    objections = []
    if not found["patients_known"]:
        objections.append("the bundle does not say whose slices it was made from")
    if found["shared_slices"]:
        count = sum(found["shared_patients"].values())
        objections.append(
            f"{found['shared_slices']} of {found['slices']} slices are of {count} "
            "patients who trained or tuned the model"
        )
    if found["unnamed_slices"]:
        objections.append(
            f"{found['unnamed_slices']} of {found['slices']} slices name no patient, "
            "so nobody can tell whether theirs trained or tuned it (fill the "
            "manifest's column `patient`)"
        )
    if found["copies"]:
        objections.append(
            f"{found['copies']} of the pictures scored are copies, or nearly, of ones "
            "that trained or tuned it"
        )
    if found["copies"] is None:
        objections.append(
            "copies could not be looked for, as the bundle carries no fingerprints of "
            "its training pictures and the manifest does not list them"
        )
    elif found["patients_unseen"]:
        objections.append(
            "copies could not be looked for among the pictures of "
            f"{found['patients_unseen']} patients who trained or tuned it: the bundle "
            "carries no fingerprints, and the manifest does not list them"
        )
    return objections


def _statement(found: Mapping[str, Any], objections: Sequence[str]) -> str:
    if objections:
        return f"These figures are NOT held out: {'; '.join(objections)}."
    return (
        "These figures are held out: no patient here trained or tuned the model, and "
        "no picture is a copy, by its fingerprint, of one of "
        f"{found['compared_with']} that did.{likeness_words(found['likeness_slices'])}"
    )


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


def section(figures: Mapping[str, Any]) -> Section:
    """Show what `check_held_out` found."""
    copies = "not looked for" if figures["copies"] is None else str(figures["copies"])
    rows = [
        ("Slices scored", str(figures["slices"])),
        *(
            (f"Patients also in the bundle's split '{split}'", str(count))
            for split, count in figures["shared_patients"].items()
        ),
        ("Slices of these patients", str(figures["shared_slices"])),
        ("Slices that name no patient", str(figures["unnamed_slices"])),
        ("Copies, or nearly, of training pictures", copies),
        *(
            (f"of these, from '{name}'", str(count))
            for name, count in figures["copies_by_source"].items()
        ),
        *(("for example", name) for name in figures["examples"]),
        ("Training pictures compared with", str(figures["compared_with"])),
    ]
    return Section(
        "held-out",
        "Held out" if figures["held_out"] else "Not held out",
        (figures["statement"],),
        (Table("", ("", "Number"), rows),),
    )
