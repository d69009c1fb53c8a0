"""A labelled picture is read as one slice, and a fair sample of a set is drawn.

A label speaks of one slice, so a file that holds several is refused. A sample has many
patients and every class, and is the same each time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tumorlens.data.manifest import Record
from tumorlens.errors import InputError
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Slice, Study


def read_one_slice(path: Path) -> Study:
    """Read a file that holds a single slice.

    Parameters
    ----------
    path
        Path of the file.

    Raises
    ------
    InputError
        It cannot be read, or holds several slices: which of them the label speaks
        of is not known, and those at the ends of a series show no tumour.
    """
    study = read_study(path)
    count = len(study.slices)
    if count > 1:
        raise InputError(
            f"{path} holds {count} slices, and its label speaks of one.",
            "Cut it with `tumorlens data slices`, or score whole series with "
            "`tumorlens compare-scans`.",
        )
    return study


def pick(records: Sequence[Record], count: int, seed: int = 0) -> list[Record]:
    """Draw records, one of each patient before a second of any.

    Parameters
    ----------
    records
        Records to draw from.
    count
        Largest number of slices.
    seed
        The same seed draws the same records, however they were sorted.

    Returns
    -------
    list of Record
        All of them where there are no more than `count`.
    """
    slices: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda item: str(item.path)):
        slices[record.group].append(record)
    rng = np.random.default_rng(seed)
    ranked = [
        (place, float(rng.random()), record)
        for _, own in sorted(slices.items())
        for place, record in enumerate(own[row] for row in rng.permutation(len(own)))
    ]
    ranked.sort(key=lambda item: item[:2])
    return [record for _, _, record in ranked[:count]]


def pick_of_each_class(
    records: Sequence[Record], count: int, seed: int = 0
) -> list[Record]:
    """Draw `count` labelled records of each class at most, as `pick` does."""
    drawn = []
    for label in sorted({item.label for item in records if item.label is not None}):
        drawn += pick([item for item in records if item.label == label], count, seed)
    return drawn


def read_labelled_slice(record: Record) -> Slice | None:
    """Read the slice that a record's label speaks of; None where it cannot be."""
    try:
        return read_one_slice(record.path).slices[0]
    except InputError:
        return None
