"""Fingerprints of a whole data set, and the copies that they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tumorlens.data.duplicates.fingerprint import Fingerprint, fingerprint
from tumorlens.data.duplicates.neighbours import NEAR_DUPLICATE, Pair, near_pairs
from tumorlens.data.manifest import Record
from tumorlens.errors import InputError


def take_fingerprints(
    records: Sequence[Record],
    *,
    threads: int = 2,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[Fingerprint | None], list[str]]:
    """Take the fingerprint of every picture.

    Returns
    -------
    fingerprints
        One for each record; None for a picture that cannot be read.
    problems
        A sentence for each of those.
    """

    def take(record: Record) -> Fingerprint | str:
        try:
            return fingerprint(record.path)
        except InputError as error:
            return error.message

    prints: list[Fingerprint | None] = []
    problems: list[str] = []
    with ThreadPoolExecutor(threads) as pool:
        for done, item in enumerate(pool.map(take, records), start=1):
            if isinstance(item, str):
                problems.append(item)
            prints.append(None if isinstance(item, str) else item)
            progress(done)
    return prints, problems


def copies(
    prints: Sequence[Fingerprint], threshold: float = NEAR_DUPLICATE
) -> list[Pair]:
    """Find pictures that are copies of one another.

    Parameters
    ----------
    prints
        Fingerprints of the pictures.
    threshold
        Correlation from which two pictures are copies; see `near_pairs`.

    Returns
    -------
    list of Pair
        Exact copies have similarity 1 and are linked to the first of them
        alone, near ones are found among the pictures that differ.
    """
    first: dict[str, int] = {}
    pairs = []
    for row, item in enumerate(prints):
        # Blank pictures are all alike, and no copies of one another.
        if item.blank:
            continue
        first_row = first.setdefault(item.pixels_digest, row)
        if first_row != row:
            pairs.append(Pair(first_row, row, 1.0, False))
    rows = list(first.values())
    if rows:
        views = np.stack([prints[row].views for row in rows])
        pairs += [
            pair._replace(first=rows[pair.first], second=rows[pair.second])
            for pair in near_pairs(views, threshold)
        ]
    return pairs


def measured_pairs(
    pairs: Sequence[Pair], records: Sequence[Record]
) -> list[tuple[int, int]]:
    """Leave out copies that both train only.

    No figure rests on either, and the tops of two heads look alike.

    Parameters
    ----------
    pairs
        Pairs of `copies`.
    records
        Records to compare.

    Returns
    -------
    list of pairs
        Positions in `records`.
    """
    return [
        (pair.first, pair.second)
        for pair in pairs
        if not (records[pair.first].train_only and records[pair.second].train_only)
    ]


def linked_copies(
    records: Sequence[Record],
    *,
    threads: int = 2,
    progress: Callable[[int], None] = lambda done: None,
) -> list[tuple[int, int]]:
    """Find which records of a set must stay together because they are copies.

    Parameters
    ----------
    records
        The set; pictures that cannot be read are linked to nothing.
    threads, progress
        The same as in `take_fingerprints`.

    Returns
    -------
    list of pairs
        Positions in `records`; see `measured_pairs`.
    """
    prints, _ = take_fingerprints(records, threads=threads, progress=progress)
    rows = [row for row, item in enumerate(prints) if item is not None]
    pairs = [
        pair._replace(first=rows[pair.first], second=rows[pair.second])
        for pair in copies([item for item in prints if item is not None])
    ]
    return measured_pairs(pairs, records)
