"""Overlap of two sets of pictures: copies, near copies, patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tumorlens.data.duplicates.copies import take_fingerprints
from tumorlens.data.duplicates.fingerprint import Fingerprint
from tumorlens.data.duplicates.neighbours import near_pairs
from tumorlens.data.manifest import Record

_EXAMPLES = 5


@dataclass(frozen=True)
class Overlap:
    """Numbers of pictures and patients that a set shares with another.

    Parameters
    ----------
    pictures, compared_with
        Numbers of pictures of either that could be read.
    identical
        Number of pictures that are there pixel for pixel.
    copies
        Number of pictures that are there, or nearly so: compressed again, resized,
        brightened or mirrored.
    same_patient
        Number of pictures of a patient who is there.
    shared
        Number of pictures that are copies, or show a patient who is there.
    examples
        The first few of these, by file name.
    """

    pictures: int
    compared_with: int
    identical: int
    copies: int
    same_patient: int
    shared: int
    examples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all as a JSON object (schema ``tumorlens-overlap/1``)."""
        return {
            "schema": "tumorlens-overlap/1",
            **vars(self),
            "examples": list(self.examples),
        }


def measure_overlap(
    records: Sequence[Record],
    others: Sequence[Record],
    known: Sequence[Record] = (),
    *,
    threads: int = 2,
    progress: Callable[[int], None] = lambda done: None,
) -> Overlap:
    """Look for pictures, and patients, of one set in another.

    Parameters
    ----------
    records
        The set in question, such as a test part.
    others
        The other one, such as a training part.
    known
        A set that names patients: a copy of one of its pictures, in either
        set, is taken for a picture of that patient.
    threads
        Readers at work at a time.
    progress
        Called with the number of pictures read so far, of all three sets.
    """
    everything = [*records, *others, *known]
    prints, _ = take_fingerprints(everything, threads=threads, progress=progress)
    own_rows = range(len(records))
    theirs = range(len(records), len(records) + len(others))
    alike = _Likeness(prints)
    named: dict[int, set[str]] = defaultdict(set)
    for row in range(theirs.stop, len(everything)):
        for place in alike.near(row):
            named[place].add(everything[row].patient)

    def people(row: int) -> set[str]:
        return ({everything[row].patient} | named[alike.place(row)]) - {""}

    there = {alike.place(row) for row in theirs if prints[row]} - {_NOWHERE}
    patients = set().union(*(people(row) for row in theirs))
    identical = [row for row in own_rows if alike.place(row) in there]
    copies = [row for row in own_rows if alike.near(row) & there]
    same = [row for row in own_rows if people(row) & patients]
    shared = sorted({*copies, *same})
    return Overlap(
        sum(prints[row] is not None for row in own_rows),
        sum(prints[row] is not None for row in theirs),
        len(identical),
        len(copies),
        len(same),
        len(shared),
        tuple(everything[row].path.name for row in shared[:_EXAMPLES]),
    )


_NOWHERE = -1
"""Place of a picture that cannot be read, or is blank: a copy of nothing."""


class _Likeness:
    """Index of many pictures that tells which are the same, or nearly.

    Parameters
    ----------
    prints
        Fingerprints of N pictures. Those that are the same pixel for pixel get
        one place.
    """

    def __init__(self, prints: Sequence[Fingerprint | None]) -> None:
        places: dict[str, int] = {}
        first: list[Fingerprint] = []
        self._places: list[int] = []
        for item in prints:
            if item is None or item.blank:
                self._places.append(_NOWHERE)
                continue
            if item.pixels_digest not in places:
                places[item.pixels_digest] = len(first)
                first.append(item)
            self._places.append(places[item.pixels_digest])
        self._near: dict[int, set[int]] = defaultdict(set)
        if first:
            for pair in near_pairs(np.stack([item.views for item in first])):
                self._near[pair.first].add(pair.second)
                self._near[pair.second].add(pair.first)

    def place(self, row: int) -> int:
        """Tell where a picture stands; the same for the same pixels."""
        return self._places[row]

    def near(self, row: int) -> set[int]:
        """List the places of a picture and of its near copies."""
        place = self._places[row]
        return set() if place == _NOWHERE else {place, *self._near[place]}
