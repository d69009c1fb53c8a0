"""A list of whole series: files that hold one, and stacks of single slices."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorlens.errors import DatasetError, MissingFileError, OutputError
from tumorlens.taxonomy import TumorClass, parse_class

COLUMNS = ("scan", "label", "patient", "source", "file", "slice", "mask", "gap_mm")

ANY_TUMOR = "tumor"
"""Label of a series with a tumour whose type is not known."""


@dataclass(frozen=True)
class ScanPart:
    """A file of a series.

    Parameters
    ----------
    path
        One slice of a stack; or a whole series, a file or folder.
    place
        Place of the slice in its stack; None for a whole series. Numbers that are left
        out count as slices that were not judged.
    mask
        The outline, white inside: a picture of the slice's size, or a volume.
        A slice without one in a series with a tumour shows none.
    """

    path: Path
    place: int | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class ScanRecord:
    """A series and what is known of it.

    Parameters
    ----------
    name
        Unique in the list.
    label
        Class; None for a tumour whose type is not known.
    patient
        Patient, as the manifest of the slices names it.
    source
        The set it comes from.
    parts
        Parts in order of their places; one for a whole series.
    gap_mm
        Distance between neighbouring slices of a stack; None where not known.
    """

    name: str
    label: TumorClass | None
    patient: str
    source: str
    parts: tuple[ScanPart, ...]
    gap_mm: float | None = None

    @property
    def tumor(self) -> bool:
        """True where it shows any tumour."""
        return self.label is not TumorClass.NO_TUMOR

    @property
    def outlined(self) -> bool:
        """True where somebody drew the tumour."""
        return any(part.mask is not None for part in self.parts)


def read_scans(path: Path) -> list[ScanRecord]:
    """Read a list of series.

    Parameters
    ----------
    path
        A CSV with the columns of `COLUMNS`; rows of one ``scan`` form a stack.
        Paths are absolute, or relative to the CSV's folder.

    Raises
    ------
    MissingFileError, DatasetError
        Where it is missing or cannot be used; names file, line and value.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no list of series at {path}.")
    rows: dict[str, list[tuple[int, dict[str, str]]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            missing = [
                name for name in COLUMNS if name not in (reader.fieldnames or ())
            ]
            if missing:
                raise DatasetError(
                    f"{path} has no column {', '.join(missing)}.",
                    "Write the list by `tumorlens data scans`.",
                )
            for row in reader:
                rows.setdefault(row["scan"], []).append((reader.line_num, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path} cannot be read as CSV: {error}.", "Check the file."
        ) from error
    if not rows:
        raise DatasetError(f"{path} has no rows.", "Add one row for each file.")
    return [_scan(path, name, rows_of_series) for name, rows_of_series in rows.items()]


def _scan(
    path: Path, name: str, rows: Sequence[tuple[int, dict[str, str]]]
) -> ScanRecord:
    line, first = rows[0]
    for other, row in rows:
        if not row["patient"] or any(
            row[key] != first[key] for key in ("label", "patient", "source", "gap_mm")
        ):
            raise _error(
                path, other, f"series {name!r} is of no patient, or of two kinds"
            )
    label = parse_class(first["label"])
    if label is None and first["label"] != ANY_TUMOR:
        raise _error(path, line, f"the label {first['label']!r} is no class")
    parts = [_part(path, other, row) for other, row in rows]
    places = [part.place for part in parts if part.place is not None]
    if len(set(places)) != len(parts) and len(parts) > 1:
        raise _error(
            path, line, f"the slices of series {name!r} have no places, or twice"
        )
    return ScanRecord(
        name=name,
        label=label,
        patient=first["patient"],
        source=first["source"],
        parts=tuple(sorted(parts, key=lambda part: part.place or 0)),
        gap_mm=_gap(path, line, first["gap_mm"]),
    )


def _part(path: Path, line: int, row: dict[str, str]) -> ScanPart:
    file = path.parent / row["file"]
    mask = path.parent / row["mask"] if row["mask"] else None
    for item in (file, mask):
        if item is not None and not item.exists():
            raise _error(path, line, f"{str(item)!r} is not there")
    if row["slice"] and not row["slice"].isdecimal():
        raise _error(path, line, f"the slice {row['slice']!r} is no number")
    return ScanPart(file, int(row["slice"]) if row["slice"] else None, mask)


def _gap(path: Path, line: int, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise _error(path, line, f"the gap {text!r} is no length in mm")
    return value


def _error(path: Path, line: int, what: str) -> DatasetError:
    return DatasetError(
        f"{path}, line {line}: {what}.",
        f"Columns are {', '.join(COLUMNS)}; see docs/scans.md.",
    )


def write_scans(scans: Sequence[ScanRecord], path: Path) -> None:
    """Write a list of series as CSV, paths absolute; an old file is replaced.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for scan in scans:
                for part in scan.parts:
                    writer.writerow(_row(scan, part))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def _row(scan: ScanRecord, part: ScanPart) -> tuple[object, ...]:
    return (
        scan.name,
        scan.label or ANY_TUMOR,
        scan.patient,
        scan.source,
        part.path.absolute(),
        "" if part.place is None else part.place,
        "" if part.mask is None else part.mask.absolute(),
        "" if scan.gap_mm is None else scan.gap_mm,
    )
