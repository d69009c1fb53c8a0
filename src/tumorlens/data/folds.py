"""A manifest's folds: its own, or dealt out where it has none."""

from __future__ import annotations

from pathlib import Path

from tumorlens.data.duplicates.copies import linked_copies
from tumorlens.data.manifest import Record, read_manifest
from tumorlens.data.split import split_into_folds
from tumorlens.errors import DatasetError

USUAL_FOLDS = 5


def records_in_folds(
    manifest: Path, folds: int | None, *, include_flagged: bool = False
) -> list[Record]:
    """Read a manifest whose rows are in folds, or deal them out.

    Parameters
    ----------
    manifest
        With a fold for each row, or for none.
    folds
        How many there are to be; None for as many as the manifest has, or
        `USUAL_FOLDS` where it has none.
    include_flagged
        Also use rows that the manifest flags.

    Raises
    ------
    DatasetError
        The manifest is dealt to another number of folds, or not all of its
        rows are.
    """
    records = read_manifest(manifest)
    if all(row.fold is None for row in records):
        links = linked_copies(records)
        records = split_into_folds(records, folds or USUAL_FOLDS, links=links)
    dealt = {row.fold for row in records}
    count = folds or max(2, len(dealt - {None}))
    if dealt != set(range(count)):
        raise DatasetError(
            f"{manifest} is not dealt to the folds 0 to {count - 1}.",
            f"Run `tumorlens data split --folds {count}` on it.",
        )
    return [row for row in records if include_flagged or not row.flag]
