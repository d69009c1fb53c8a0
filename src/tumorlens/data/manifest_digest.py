"""A data set summed up in one number, so that a changed one is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tumorlens.data.manifest import TRAIN_ONLY, Record


def manifest_digest(records: Iterable[Record], *, contents: bool = False) -> str:
    """Sum up a data set in a number that changes when the set does.

    Parameters
    ----------
    records
        In any order; their order and the folder they lie in do not count.
    contents
        Whether the bytes of every picture and mask count too.

    Returns
    -------
    str
        SHA-256 in hex over file names, labels, patients, splits, folds,
        sources, sites and flags, and what trains only.
    """
    lines = sorted(
        "\t".join(
            (
                record.source,
                record.path.name,
                record.label or "",
                record.patient,
                record.mask.name if record.mask else "",
                record.split,
                "" if record.fold is None else str(record.fold),
                record.site,
                record.flag,
                # A set without it keeps the number that it had before there was one.
                *([TRAIN_ONLY] if record.train_only else []),
                _file_digest(record.path) if contents else "",
                _file_digest(record.mask) if contents and record.mask else "",
            )
        )
        for record in records
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
