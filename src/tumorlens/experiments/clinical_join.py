"""Labelled slices are joined with the rows of a clinical table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorlens.calibration.clinical.columns import FEWEST
from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError
from tumorlens.experiments.clinical_image import (
    ImageSide,
    image_by_bundle,
    image_by_folds,
)
from tumorlens.imaging.file_names import display_name
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.clinical.columns import ClinicalTable
from tumorlens.taxonomy import CLASSES


@dataclass(frozen=True)
class Joined:
    """N labelled slices, each with its row.

    Parameters
    ----------
    side
        What the image says of them.
    places
        N numbers of rows of the table.
    counts
        By class: ``patients`` with a row, and those ``without_row``.
    """

    side: ImageSide
    places: tuple[int, ...]
    counts: Mapping[str, Mapping[str, int]]

    def firsts(self) -> list[int]:
        """Position of each patient's first slice."""
        found: dict[str, int] = {}
        for position, record in enumerate(self.side.records):
            found.setdefault(record.group, position)
        return list(found.values())


def join_table(
    table: ClinicalTable,
    records: Sequence[Record],
    bundle: Bundle,
    calibrate_on: Path | None,
    include_flagged: bool,
    say: Callable[[str], None] = print,
) -> Joined:
    """Keep labelled slices that have a row, of classes with enough patients.

    Parameters
    ----------
    table
        A slice's row is its patient's; where the table has none, its file's.
    records
        Of the manifest.
    bundle, calibrate_on, include_flagged
        As of `tumorlens.experiments.clinical_run.ClinicalOrder`.
    say
        Receives lines of progress.

    Raises
    ------
    DatasetError
        No row fits the manifest, or fewer than two classes have enough
        patients who are held out.
    """
    usable = [
        row
        for row in records
        if (include_flagged or not row.flag) and not row.train_only
    ]
    has_row = {row for row in usable if _place(table, row) is not None}
    if not has_row:
        key = "patient" if table.by_patient else "file"
        raise DatasetError(
            f"No {key} of {display_name(table.path)} is in the manifest.",
            f"Write each {key} in the table as the manifest does.",
        )
    if calibrate_on is not None:
        everybody = image_by_folds(calibrate_on, records, bundle)
        side = everybody.take([row in has_row for row in everybody.records])
    else:
        usable = [row for row in usable if row.split != "test"]
        kept = [row for row in usable if row in has_row]
        side = image_by_bundle(bundle, kept, records, say)
    counts = _count(side.records, [row for row in usable if row not in has_row])
    enough = _classes_with_enough(counts, say)
    side = side.take([str(row.label) in enough for row in side.records])
    places = [_place(table, row) for row in side.records]
    return Joined(side, tuple(place for place in places if place is not None), counts)


def _place(table: ClinicalTable, record: Record) -> int | None:
    found = table.place_of_patient(record.patient) if record.patient else None
    return table.place_of_file(record.path) if found is None else found


def _count(
    with_row: Sequence[Record], without: Sequence[Record]
) -> dict[str, dict[str, int]]:
    found = [
        Counter(label for label, _ in {(row.label, row.group) for row in rows})
        for rows in (with_row, without)
    ]
    return {
        name.value: {"patients": found[0][name], "without_row": found[1][name]}
        for name in CLASSES
        if found[0][name] + found[1][name]
    }


def _classes_with_enough(
    counts: Mapping[str, Mapping[str, int]], say: Callable[[str], None]
) -> list[str]:
    people = {name: found["patients"] for name, found in counts.items()}
    enough = [name for name, count in people.items() if count >= FEWEST]
    if len(enough) < 2:
        stated = ", ".join(f"{name} {count}" for name, count in people.items())
        raise DatasetError(
            f"Columns are learned where two classes or more have {FEWEST} patients "
            f"with a row whom the network has not trained on; there are: {stated}.",
            "Give a table of more patients, or --calibrate-on a cross-validation, in "
            "which every patient is held out.",
        )
    for name, count in people.items():
        if name not in enough:
            say(
                f"Only {count} patients of the class '{name}' have a row; its "
                f"probability stays what the image says, as {FEWEST} are needed."
            )
    return enough
