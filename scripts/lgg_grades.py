"""Make a manifest of gliomas by grade, and a table of their clinical columns.

``python scripts/lgg_grades.py DATA OUT`` reads the sets lgg and lgg_sequences and their
``lgg_clinical.csv`` and writes ``OUT/grades.csv``, with the classes ``grade 2``,
``grade 3`` and ``no tumor``, and ``OUT/columns.csv``. `make clinical`
(docs/clinical.md) learns from both.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tumorlens.data.manifest import Record, write_manifest
from tumorlens.data.sources import read_lgg, read_lgg_sequences, set_rows
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import OwnClass, is_no_lesion, own_classes

GRADES = {"1": "grade 2", "2": "grade 3"}
"""Codes of the source's column ``neoplasm_histologic_grade``."""

FREE = "no tumor"
COLUMNS = ("age", "sex", "laterality", "location")
SEXES = {"1": "female", "2": "male"}
"""Code of the source's column ``gender``."""

SIDES = {"1": "left", "3": "right"}
"""Code of the source's column ``laterality``."""

SEQUENCES = (MRSequence.T1_CONTRAST, MRSequence.FLAIR)
TUMOR_PLACES, FREE_PLACES = 5, 3
"""Places of a head, at most, with tumour and without; one is up to two pictures."""


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of lgg and lgg_sequences")
    parser.add_argument("out", type=Path, help="folder that gets both files")
    given = parser.parse_args()
    table = given.data / "lgg_sequences" / "lgg_clinical.csv"
    clinical = {f"lgg:{row['patient']}": row for row in set_rows(table, "patient")}
    slices = [*read_lgg(given.data / "lgg")]
    slices += read_lgg_sequences(given.data / "lgg_sequences")
    records = graded_slices(slices, clinical)
    write_manifest(records, given.out / "grades.csv")
    write_columns(records, clinical, given.out / "columns.csv")
    people = len({record.patient for record in records})
    print(f"{len(records)} slices of {people} patients written to {given.out}.")


def graded_slices(
    slices: Sequence[Record], clinical: Mapping[str, Mapping[str, str]]
) -> list[Record]:
    """Choose slices of each patient, and label those with tumour by its grade.

    Parameters
    ----------
    slices
        Rows of both sets.
    clinical
        Rows of the source's table, by patient as in `slices`.

    Returns
    -------
    list of Record
        For each patient who has a grade, slices in T1 with contrast and FLAIR, at
        places that are spread evenly over the tumour and over what is free of it.
    """
    labels = {
        str(item): item
        for item in own_classes({**dict.fromkeys(GRADES.values(), True), FREE: False})
    }
    of_place: dict[tuple[str, bool], dict[int, list[Record]]] = defaultdict(dict)
    for record in slices:
        grade = GRADES.get(
            clinical.get(record.patient, {}).get("neoplasm_histologic_grade", "")
        )
        if grade is None or record.train_only or record.sequence not in SEQUENCES:
            continue
        is_free = is_no_lesion(record.label)
        label: OwnClass = labels[FREE if is_free else grade]
        places = of_place[record.patient, is_free]
        places.setdefault(int(record.extra["slice"]), []).append(
            # One source: else the sequence would be balanced as if it were a hospital.
            replace(record, label=label, source="lgg")
        )
    return [
        record
        for (_, is_free), places in sorted(of_place.items())
        for place in spread(sorted(places), FREE_PLACES if is_free else TUMOR_PLACES)
        for record in places[place]
    ]


def spread(places: Sequence[int], count: int) -> list[int]:
    """Choose so many of the places, evenly and the same ones each time."""
    if len(places) <= count:
        return list(places)
    # The middle of each of so many equal parts.
    middles = ((2 * turn + 1) * len(places) // (2 * count) for turn in range(count))
    return [places[middle] for middle in middles]


def write_columns(
    records: Sequence[Record], clinical: Mapping[str, Mapping[str, str]], path: Path
) -> None:
    """Write what is known of a patient before any operation.

    Parameters
    ----------
    records
        Slices; those with tumour get a row, as the grade is asked of them alone.
    clinical
        The same as in `graded_slices`.
    path
        The table. Molecular groups, histology, survival and the like are not in it:
        nobody knows them when the picture is read. Ethnicity and race are left out.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", *COLUMNS))
        for record in records:
            if is_no_lesion(record.label):
                continue
            row = clinical[record.patient]
            place = row["tumor_location"]
            writer.writerow(
                (
                    record.path.absolute().as_posix(),
                    row["age_at_initial_pathologic"],
                    SEXES.get(row["gender"], ""),
                    SIDES.get(row["laterality"], ""),
                    # A code is a name and no number.
                    f"place {place}" if place else "",
                )
            )


if __name__ == "__main__":
    main()
