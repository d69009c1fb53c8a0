"""The layout of every set that TumorLens learns from.

Each set is a folder with ``images/``, mostly ``masks/``, and a CSV of its own
columns; here they become records of one kind. The lists of pictures at the top were
made by eye: they name pictures whose set says something else, and judge no patient.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tumorlens.data.duplicates import NEAR_DUPLICATE, copies, groups, take_fingerprints
from tumorlens.data.manifest import (
    EITHER,
    LIKENESS,
    Record,
    parse_sequence,
    read_manifest,
)
from tumorlens.errors import DatasetError, MissingFileError
from tumorlens.imaging.study import MRSequence, Plane
from tumorlens.taxonomy import Lesion, TumorClass, parse_class

_BRISC_CT = """
    test_00601 test_00602 test_00604 test_00605 train_02545 train_02548 train_02559
    train_02560 train_02568 train_02570 train_02571 train_02592 train_02627
    train_02640 train_02645 train_02651 train_02652 train_02655 train_02660
    train_02662 train_02670 train_02673 train_02682 train_02690 train_02691
    train_02692 train_02694 train_02702 train_02711 train_02731 train_02733
    train_02740 train_02744 train_02753 train_02756 train_02758 train_02763
    train_02773 train_02776 train_02780 train_02787 train_02788 train_02800
    train_02802 train_02805 train_02807 train_02811 train_02813 train_02817
    train_02818
"""

_BRISC_ABNORMAL = """
    train_02635 train_02661 train_02736 train_02762 train_02779
"""

BRISC_FLAGS: dict[str, str] = {
    **dict.fromkeys(_BRISC_CT.split(), "ct"),
    **dict.fromkeys(_BRISC_ABNORMAL.split(), "abnormal"),
}
"""Flag by part and number, as in the file names of BRISC 2025's tumour-free
pictures: computed tomography, or a mass in plain sight."""


def brisc_flag(name: str) -> str:
    """Look up the flag of a picture by its file name.

    Parameters
    ----------
    name
        Name such as ``brisc2025_train_02813_no_ax_t1.jpg``.

    Returns
    -------
    str
        ``ct``, ``abnormal``, or empty.
    """
    return BRISC_FLAGS.get("_".join(name.split("_")[1:3]), "")


ALIKE = 0.75
"""Correlation from which pictures of unknown patients go into one group.

Looked at by eye on the sets at hand: from 0.8 most pairs show one head, below
0.75 most show two. A group too large costs a little balance, a group too
small lets a patient into training and test.
"""

_PLANES = {"ax": Plane.AXIAL, "co": Plane.CORONAL, "sa": Plane.SAGITTAL}
_FLAGS = {"ct": "ct", "visible_abnormality": "abnormal"}


def collect(
    folder: Path,
    sets: Sequence[str] = (),
    *,
    threads: int = 2,
    report_skipped: Callable[[list[Path]], None] = lambda files: None,
) -> list[Record]:
    """Turn a folder of known sets into one list of records.

    Parameters
    ----------
    folder
        Holds one or more of the sets in `SOURCES`, is one of them, or holds a
        folder a class.
    sets
        Keys of `SOURCES` to read alone; none for all that are there.
    threads
        Readers at work at a time, for grouping pictures by likeness.
    report_skipped
        The same as in `read_manifest`.

    Returns
    -------
    list of Record
        Patients are prefixed by their set. Where a set names no patients,
        pictures that look alike share one, over all such sets.

    Raises
    ------
    MissingFileError
        If there is no such folder.
    DatasetError
        If a set is not laid out as it should be, or one to read is not there.
    """
    if not folder.is_dir():
        raise MissingFileError(f"There is no folder {folder}.")
    places = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
    there = [
        (name, place)
        for place in places
        for name in SOURCES
        if (place / f"{name}.csv").is_file()
    ]
    missing = set(sets) - {name for name, _ in there}
    if missing:
        raise DatasetError(
            f"There is no set {', '.join(sorted(missing))} in {folder}.",
            f"Known are: {', '.join(SOURCES)}.",
        )
    record_lists = [
        list(SOURCES[name](place)) for name, place in there if not sets or name in sets
    ]
    if not record_lists:
        return read_manifest(folder, report_skipped=report_skipped)
    records = [record for part in record_lists for record in part]
    _check_files(records)
    return group_by_likeness(records, threads=threads)


def read_cheng(folder: Path) -> Iterator[Record]:
    """Read the set of Cheng et al.: a tumour and its outline on every slice."""
    for row in set_rows(folder / "cheng.csv", "id", "class", "patient", "plane"):
        yield Record(
            path=folder / "images" / f"{row['id']}.jpg",
            label=_label(folder, row["class"]),
            patient=f"cheng:{row['patient']}",
            mask=folder / "masks" / f"{row['id']}.png",
            source="cheng",
            plane=_PLANES.get(row["plane"], ""),
            sequence=MRSequence.T1_CONTRAST,
        )


def read_lgg(folder: Path, *, every_slice: bool = False) -> Iterator[Record]:
    """Read TCGA-LGG: glioma slices, and tumour-free ones two slices away.

    The slices at the top and the base of a head train only: a whole series has
    them too, but many show hardly any brain.

    Parameters
    ----------
    folder
        Folder of the set.
    every_slice
        Also those that only complete the series: tumour-free ones next to a
        tumour, whose edge they may show.
    """
    columns = ("id", "class", "patient", "site", "slice", "gap_to_tumor_slice", "use")
    for row in set_rows(folder / "lgg.csv", *columns):
        label = _label(folder, row["class"])
        drawn = label is not TumorClass.NO_TUMOR
        completes = row["use"] != "learn"
        if completes and row["gap_to_tumor_slice"] == "1" and not every_slice:
            continue
        yield Record(
            path=folder / "images" / f"{row['id']}.jpg",
            label=label,
            patient=f"lgg:{row['patient']}",
            mask=folder / "masks" / f"{row['id']}.png" if drawn else None,
            source="lgg",
            site=row["site"],
            plane=Plane.AXIAL,
            train_only=completes,
            sequence=MRSequence.T1_CONTRAST,
            extra={"slice": row["slice"]},
        )


def read_lgg_sequences(folder: Path) -> Iterator[Record]:
    """Read the other sequences of TCGA-LGG's slices: FLAIR, and T1 without contrast.

    As of T1 with contrast, slices at the ends of a head train only, and those next
    to a tumour are left out: what is drawn on FLAIR may begin there.
    """
    columns = ("file", "sequence", "class", "patient", "site", "slice", "mask", "use")
    rows = list(set_rows(folder / "lgg_sequences.csv", *columns))
    drawn: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row["mask"]:
            drawn[row["patient"]].add(int(row["slice"]))
    for row in rows:
        completes = row["use"] != "learn"
        number = int(row["slice"])
        beside = {number - 1, number + 1} & drawn[row["patient"]]
        if completes and beside and not row["mask"]:
            continue
        yield Record(
            path=folder / "images" / row["file"],
            label=_label(folder, row["class"]),
            patient=f"lgg:{row['patient']}",
            mask=folder / row["mask"] if row["mask"] else None,
            source="lgg_sequences",
            site=row["site"],
            plane=Plane.AXIAL,
            train_only=completes,
            sequence=_sequence(folder, row["sequence"]),
            extra={"slice": row["slice"]},
        )


def read_brain44(folder: Path) -> Iterator[Record]:
    """Read the 44-class web set: fifteen kinds in three sequences, no outlines."""
    columns = ("file", "class", "kind", "sequence", "group")
    for row in set_rows(folder / "brain44.csv", *columns):
        other = row["class"] == Lesion.OTHER
        yield Record(
            path=folder / "images" / row["file"],
            label=None if other else _label(folder, row["class"]),
            patient=f"brain44:{row['group']}",
            source="brain44",
            plane=Plane.AXIAL,
            sequence=_sequence(folder, row["sequence"]),
            lesion=Lesion.OTHER if other else "",
            kind="" if row["kind"] == "normal" else row["kind"],
        )


def read_soop(folder: Path) -> Iterator[Record]:
    """Read the strokes of SOOP: FLAIR without a skull, in three planes."""
    for row in set_rows(folder / "soop.csv", "file", "class", "plane", "patient"):
        stroke = row["class"] == "stroke"
        yield Record(
            path=folder / "images" / row["file"],
            label=None,
            patient=f"soop:{row['patient']}",
            mask=folder / "masks" / row["mask"] if row["mask"] else None,
            source="soop",
            plane=row["plane"],
            sequence=MRSequence.FLAIR,
            lesion=Lesion.VASCULAR if stroke else EITHER,
            kind="stroke" if stroke else "",
        )


def read_notumor(folder: Path) -> Iterator[Record]:
    """Read tumour-free web pictures; CT and abnormal ones carry a flag."""
    for row in set_rows(folder / "notumor.csv", "file", "flag"):
        flag = row["flag"].lower()
        yield Record(
            path=folder / "images" / row["file"],
            label=TumorClass.NO_TUMOR,
            source="notumor",
            flag=_FLAGS.get(flag, flag),
        )


def read_brisc_notumor(folder: Path) -> Iterator[Record]:
    """Read the tumour-free pictures of BRISC 2025; some carry a flag.

    Their names say T1, but some are T2 or FLAIR: the sequence stays unknown.
    """
    for row in set_rows(folder / "brisc_notumor.csv", "file", "plane"):
        yield Record(
            path=folder / "images" / row["file"],
            label=TumorClass.NO_TUMOR,
            source="brisc_notumor",
            plane=row["plane"],
            flag=brisc_flag(row["file"]),
        )


SOURCES: dict[str, Callable[[Path], Iterator[Record]]] = {
    "cheng": read_cheng,
    "lgg": read_lgg,
    "notumor": read_notumor,
    "brisc_notumor": read_brisc_notumor,
    "lgg_sequences": read_lgg_sequences,
    "brain44": read_brain44,
    "soop": read_soop,
}
"""Name, which is also that of the set's CSV, and reader."""

LABELLED_BY_CASE = ("brain44",)
"""Sets whose label says what the patient has: nobody knows which slices show it."""

UNCLEAR_LICENCES = ("brain44", "notumor")
"""Sets collected from the web whose pictures' licences are mixed, unclear or perhaps
not for commercial use."""


def group_by_likeness(records: list[Record], *, threads: int = 2) -> list[Record]:
    """Name a patient for pictures without one: those that look alike share it.

    Parameters
    ----------
    records
        Records with a patient are passed through.
    threads
        Readers at work at a time.

    Returns
    -------
    list of Record
        Records in the same order. The patient reads ``like:`` and the name of the
        group's first picture; a copy of a flagged picture gets its flag.
    """
    rows = [row for row, record in enumerate(records) if not record.patient]
    unnamed = [records[row] for row in rows]
    prints, problems = take_fingerprints(unnamed, threads=threads)
    if problems:
        raise DatasetError(
            problems[0], "Mend or remove the picture, then make the manifest again."
        )
    pairs = copies([item for item in prints if item is not None], ALIKE)
    same = [pair for pair in pairs if pair.similarity >= NEAR_DUPLICATE]
    flags: dict[int, set[str]] = defaultdict(set)
    copied = groups(len(rows), (pair[:2] for pair in same))
    for item, group in zip(unnamed, copied, strict=True):
        flags[group] |= {item.flag} - {""}
    result = list(records)
    alike = groups(len(rows), (pair[:2] for pair in pairs))
    for row, item, group, copy in zip(rows, unnamed, alike, copied, strict=True):
        result[row] = replace(
            item,
            patient=f"{LIKENESS}{unnamed[group].source}/{unnamed[group].path.stem}",
            flag=item.flag or min(flags[copy], default=""),
        )
    return result


def set_rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    """Read the rows of a set's CSV; raises `DatasetError` where a column lacks."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            missing = [c for c in columns if c not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(
                    f"{path} has no column {', '.join(missing)}.",
                    "Take the CSV that came with the set.",
                )
            yield from reader
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path} cannot be read as CSV: {error}.", "Check the file."
        ) from error


def _label(folder: Path, text: str) -> TumorClass:
    label = parse_class(text)
    if label is None:
        raise DatasetError(
            f"The class {text!r} in {folder} is none that is known.",
            "Take the CSV that came with the set.",
        )
    return label


def _sequence(folder: Path, text: str) -> MRSequence:
    sequence = parse_sequence(text)
    if sequence is None:
        raise DatasetError(
            f"The sequence {text!r} in {folder} is none that is known.",
            "Take the CSV that came with the set.",
        )
    return sequence


def _check_files(records: list[Record]) -> None:
    for record in records:
        for path in (record.path, record.mask):
            if path is not None and not path.is_file():
                raise DatasetError(
                    f"{path} is listed but missing.", "Copy the set again, as a whole."
                )
