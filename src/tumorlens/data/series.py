"""Whole series to learn from: lists of them, stacks of slices, slices of volumes.

A list names files that hold a series, and stacks of slices; it is known of public sets
which they hold. Sets that come as pictures are piled up patient by patient.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import (
    Record,
    class_hint,
    dicom_patient,
    parse_sequence,
    sequence_word,
)
from tumorlens.data.skull_stripping import strip_picture
from tumorlens.data.sources import set_rows
from tumorlens.errors import DatasetError, MissingFileError, OutputError
from tumorlens.imaging.geometry import volume_of
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import MRSequence, Plane
from tumorlens.taxonomy import TumorClass, parse_class

_NEEDED = ("scan", "label", "patient", "source", "file", "slice", "mask", "gap_mm")
COLUMNS = (*_NEEDED, "sequence")

ANY_TUMOR = "tumor"
"""Label of a series with a tumour whose type is not known."""


@dataclass(frozen=True)
class SeriesPart:
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
class SeriesRecord:
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
    sequence
        MR sequence; None where not known.
    """

    name: str
    label: TumorClass | None
    patient: str
    source: str
    parts: tuple[SeriesPart, ...]
    gap_mm: float | None = None
    sequence: MRSequence | None = None

    @property
    def tumor(self) -> bool:
        """True where it shows any tumour."""
        return self.label is not TumorClass.NO_TUMOR

    @property
    def outlined(self) -> bool:
        """True where somebody drew the tumour."""
        return any(part.mask is not None for part in self.parts)


def read_series_list(path: Path) -> list[SeriesRecord]:
    """Read a list of series.

    Parameters
    ----------
    path
        A CSV with the columns of `COLUMNS`, the last of which may be missing; rows of
        one ``scan`` form a stack. Paths are absolute, or relative to the CSV's folder.

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
                name for name in _NEEDED if name not in (reader.fieldnames or ())
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
    return [
        _series_record(path, name, rows_of_series)
        for name, rows_of_series in rows.items()
    ]


def _series_record(
    path: Path, name: str, rows: Sequence[tuple[int, dict[str, str]]]
) -> SeriesRecord:
    line, first = rows[0]
    same = ("label", "patient", "source", "gap_mm", "sequence")
    for other, row in rows:
        if not row["patient"] or any(row.get(key) != first.get(key) for key in same):
            raise _error(
                path, other, f"series {name!r} is of no patient, or of two kinds"
            )
    label = parse_class(first["label"])
    if label is None and first["label"] != ANY_TUMOR:
        raise _error(path, line, f"the label {first['label']!r} is no class")
    word = first.get("sequence", "")
    sequence = parse_sequence(word)
    if word and sequence is None:
        raise _error(path, line, f"the sequence {word!r} is not known")
    parts = [_part(path, other, row) for other, row in rows]
    places = [part.place for part in parts if part.place is not None]
    if len(set(places)) != len(parts) and len(parts) > 1:
        raise _error(
            path, line, f"the slices of series {name!r} have no places, or twice"
        )
    return SeriesRecord(
        name=name,
        label=label,
        patient=first["patient"],
        source=first["source"],
        parts=tuple(sorted(parts, key=lambda part: part.place or 0)),
        gap_mm=_gap(path, line, first["gap_mm"]),
        sequence=sequence,
    )


def _part(path: Path, line: int, row: dict[str, str]) -> SeriesPart:
    file = path.parent / row["file"]
    mask = path.parent / row["mask"] if row["mask"] else None
    for item in (file, mask):
        if item is not None and not item.exists():
            raise _error(path, line, f"{str(item)!r} is not there")
    if row["slice"] and not row["slice"].isdecimal():
        raise _error(path, line, f"the slice {row['slice']!r} is no number")
    return SeriesPart(file, int(row["slice"]) if row["slice"] else None, mask)


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


def write_series_list(records: Sequence[SeriesRecord], path: Path) -> None:
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
            for record in records:
                for part in record.parts:
                    writer.writerow(_row(record, part))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def _row(record: SeriesRecord, part: SeriesPart) -> tuple[object, ...]:
    return (
        record.name,
        record.label or ANY_TUMOR,
        record.patient,
        record.source,
        part.path.absolute(),
        "" if part.place is None else part.place,
        "" if part.mask is None else part.mask.absolute(),
        "" if record.gap_mm is None else record.gap_mm,
        sequence_word(record.sequence),
    )


FREE_OF_TUMOR = 2
"""Slices away from any outlined one, from which on a slice counts as tumour-free."""

CHENG_GAP_MM = 7.0
"""Slices of 6 mm with gaps of 1 mm."""

LEAST_SLICES = 3
"""Fewer slices of one tumour are no stack."""

_TUMOR = {
    "brain1_image.nrrd": "brain1_label.nrrd",
    "brain2_image.nrrd": "brain2_label.nrrd",
}
_HEALTHY = ("t1_crop.nii.gz", "long_patient20_study2_T1W.nii.gz")
_GLIOMA = ("TCGA-FG-6692_T1.nii.gz", "TCGA-FG-6692_T1Gd.nii.gz")


def collect_series(folder: Path) -> list[SeriesRecord]:
    """List the series of the known sets.

    Parameters
    ----------
    folder
        Holds one or more of the sets in `SERIES_SOURCES`.

    Returns
    -------
    list of SeriesRecord
        T1 with and without contrast, and FLAIR; patients are named as in the
        manifest of the slices.

    Raises
    ------
    DatasetError
        If it holds none, or one that is not laid out as it should be.
    """
    records = [
        record
        for name, read in SERIES_SOURCES.items()
        if (folder / name).is_dir()
        for record in read(folder / name)
    ]
    if not records:
        raise DatasetError(
            f"{folder} holds none of the sets {', '.join(SERIES_SOURCES)}.",
            "Give the folder that holds their folders, or write the list by hand.",
        )
    return records


def lgg_series(folder: Path) -> Iterator[SeriesRecord]:
    """Read TCGA-LGG's T1 with contrast: three series of each patient, see `_three`."""
    columns = ("id", "patient", "slice", "mask_px", "gap_to_tumor_slice")
    patients: dict[str, list[_Judged]] = defaultdict(list)
    for row in set_rows(folder / "lgg.csv", *columns):
        drawn = int(row["mask_px"]) > 0
        part = SeriesPart(
            folder / "images" / f"{row['id']}.jpg",
            int(row["slice"]),
            folder / "masks" / f"{row['id']}.png" if drawn else None,
        )
        is_free = int(row["gap_to_tumor_slice"]) >= FREE_OF_TUMOR
        patients[row["patient"]].append((part, is_free))
    for name, parts in patients.items():
        yield from _three(f"lgg:{name}", "lgg", MRSequence.T1_CONTRAST, parts)


def lgg_sequence_series(folder: Path) -> Iterator[SeriesRecord]:
    """Read TCGA-LGG's FLAIR and T1 without contrast, as `lgg_series`."""
    columns = ("file", "sequence", "patient", "slice", "mask")
    series: dict[tuple[str, str], list[SeriesPart]] = defaultdict(list)
    for row in set_rows(folder / "lgg_sequences.csv", *columns):
        mask = folder / row["mask"] if row["mask"] else None
        part = SeriesPart(folder / "images" / row["file"], int(row["slice"]), mask)
        series[row["patient"], row["sequence"]].append(part)
    for (name, word), parts in series.items():
        drawn = [part.place or 0 for part in parts if part.mask is not None]
        judged = [
            (part, all(abs((part.place or 0) - x) >= FREE_OF_TUMOR for x in drawn))
            for part in parts
        ]
        sequence = parse_sequence(word)
        yield from _three(f"lgg:{name}", "lgg_sequences", sequence, judged)


_Judged = tuple[SeriesPart, bool]
"""A slice, and whether it is far enough from any outlined one to be free of tumour."""


def _three(
    patient: str,
    source: str,
    sequence: MRSequence | None,
    slices: Sequence[_Judged],
) -> Iterator[SeriesRecord]:
    """Give a patient's whole series, and two made out of it.

    One keeps the tumour-free slices alone, the other also the two in the middle
    of the tumour: a tumour as thin as none in the set, without which a rule
    learns that tumours are thick. Slices keep their places, so that no run
    reaches across what was taken out.
    """
    ordered = sorted(slices, key=lambda item: item[0].place or 0)
    whole = [part for part, _ in ordered]
    free = [replace(part, mask=None) for part, is_free in ordered if is_free]
    name = patient if source == "lgg" else f"{patient}:{sequence_word(sequence)}"

    def record(
        end: str, label: TumorClass, parts: Sequence[SeriesPart]
    ) -> SeriesRecord:
        of = f"{source}_thin" if end == ":thin" else source
        return SeriesRecord(
            f"{name}{end}", label, patient, of, tuple(parts), sequence=sequence
        )

    outlined = [part for part in whole if part.mask is not None]
    if outlined:
        yield record("", TumorClass.GLIOMA, whole)
    if len(free) < LEAST_SLICES:
        return
    yield record(":rest", TumorClass.NO_TUMOR, free)
    if len(outlined) < 2:
        return
    middle = len(outlined) // 2
    thin = [replace(part, mask=None) for part in outlined[middle - 1 : middle + 1]]
    parts = sorted([*free, *thin], key=lambda part: part.place or 0)
    yield record(":thin", TumorClass.GLIOMA, parts)


def cheng_series(folder: Path) -> Iterator[SeriesRecord]:
    """Read the set of Cheng et al.: the slices that show one tumour in one plane."""
    columns = ("id", "class", "patient", "record", "plane")
    stacks = defaultdict(list)
    for row in set_rows(folder / "cheng.csv", *columns):
        stacks[row["patient"], row["record"], row["plane"], row["class"]].append(row)
    for (patient, record, plane, label), rows in stacks.items():
        if len(rows) < LEAST_SLICES:
            continue
        numbers = sorted(int(row["id"]) for row in rows)
        parts = [
            SeriesPart(
                folder / "images" / f"{number}.jpg",
                place,
                folder / "masks" / f"{number}.png",
            )
            for place, number in enumerate(numbers)
        ]
        yield SeriesRecord(
            f"cheng:{record}:{plane}:{label}",
            parse_class(label),
            f"cheng:{patient}",
            "cheng",
            tuple(parts),
            CHENG_GAP_MM,
            MRSequence.T1_CONTRAST,
        )


def volume_series(folder: Path) -> Iterator[SeriesRecord]:
    """Read the volumes that are T1 with or without contrast."""
    t1 = MRSequence.T1
    for path in sorted(folder.iterdir()):
        stem = path.name.split(".")[0]
        part = (SeriesPart(path),)
        if path.name.startswith("IXI"):
            patient = f"ixi:{stem}"
            clear = TumorClass.NO_TUMOR
            yield SeriesRecord(patient, clear, patient, "ixi", part, sequence=t1)
        elif path.name in _HEALTHY:
            patient = f"volumes:{stem}"
            clear = TumorClass.NO_TUMOR
            yield SeriesRecord(patient, clear, patient, "volumes", part, sequence=t1)
        elif path.name in _GLIOMA:
            patient, word = f"lgg:{stem.split('_')[0]}", stem.split("_")[1]
            yield SeriesRecord(
                f"volumes:{stem}",
                TumorClass.GLIOMA,
                patient,
                "volumes",
                part,
                sequence=parse_sequence(word),
            )
        elif path.name in _TUMOR:
            outlined = SeriesPart(path, mask=folder / _TUMOR[path.name])
            name = f"volumes:{stem}"
            contrast = MRSequence.T1_CONTRAST
            yield SeriesRecord(
                name, None, name, "volumes", (outlined,), sequence=contrast
            )


def dicom_series(folder: Path) -> Iterator[SeriesRecord]:
    """Read the series: a healthy volunteer, and a patient with a tumour."""
    volunteer, patient = folder / "volunteer", folder / "brainix"
    t1 = MRSequence.T1
    if volunteer.is_dir():
        name, part = "dicom:volunteer", SeriesPart(volunteer)
        whose, clear = _patient_of(volunteer, name), TumorClass.NO_TUMOR
        yield SeriesRecord(name, clear, whose, "volumes", (part,), sequence=t1)
    if patient.is_dir():
        name = "dicom:brainix"
        part = SeriesPart(patient / "T1", mask=patient / "ROI.nii.gz")
        whose = _patient_of(patient / "T1", name)
        yield SeriesRecord(name, None, whose, "volumes", (part,), sequence=t1)


def _patient_of(series: Path, name: str) -> str:
    # As a manifest of its slices names them: a network that they trained is not to
    # judge the series.
    first = min(series.iterdir(), default=series)
    return dicom_patient(first) or name


SERIES_SOURCES: dict[str, Callable[[Path], Iterator[SeriesRecord]]] = {
    "lgg": lgg_series,
    "lgg_sequences": lgg_sequence_series,
    "cheng": cheng_series,
    "volumes": volume_series,
    "dicom": dicom_series,
}
"""Name of the set's folder, and reader."""


MANIFEST = "volumes.csv"
WHOLE = "whole"
"""Value of the column `part` for a series that was not cut."""

TUMOR_SLAB = 0.05
"""A slab with at least this share of a series' outline shows the tumour; with none
of it, none; between it is left out."""


@dataclass(frozen=True)
class _Pile:
    """The slices of a patient.

    Parameters
    ----------
    rows
        Rows from the feet upwards.
    pixels, inside
        Shape (D, H, W), uint8; `inside` is 1 in the outline, and None where a
        slice with a tumour has none.
    """

    rows: list[Record]
    pixels: NDArray[np.uint8]
    inside: NDArray[np.uint8] | None

    @property
    def label(self) -> TumorClass:
        """The tumour that any slice shows."""
        shown = {row.label for row in self.rows} - {TumorClass.NO_TUMOR, None}
        if len(shown) > 1:
            names = ", ".join(sorted(str(name) for name in shown))
            raise DatasetError(
                f"The slices of {self.rows[0].patient} show {names}.",
                "Give each series a patient of its own, with one kind of tumour.",
            )
        return next((TumorClass(x) for x in shown if x), TumorClass.NO_TUMOR)


def stack_slices(
    records: Sequence[Record],
    out: Path,
    *,
    height_mm: float,
    pixel_mm: float,
    slabs: int | None = None,
) -> list[Record]:
    """Write a NIfTI volume for each patient, and one with the outline.

    Parameters
    ----------
    records
        Axial slices, the front on top, with patient and a column ``slice`` that
        counts from the feet upwards.
    out
        Folder for the volumes; created where missing.
    height_mm
        Height that the slices of a patient span together, in mm.
    pixel_mm
        Edge of a pixel, in mm.
    slabs
        Also write so many slabs of each patient whose tumour is outlined, cut
        across the body. See `TUMOR_SLAB` for what they are said to show.

    Returns
    -------
    list of Record
        Records with the column ``part``: ``whole``, or for example ``2/3``.

    Raises
    ------
    DatasetError
        A slice has no patient, no number, no class or another size.
    OutputError
        The folder cannot be written.
    """
    by_patient: dict[str, list[Record]] = {}
    for record in records:
        if not record.patient or not record.extra.get("slice", "").isdecimal():
            raise DatasetError(
                f"{record.path} has no patient, or no number in the column 'slice'.",
                "Fill both: slices are piled up by number, from the feet upwards.",
            )
        by_patient.setdefault(record.patient, []).append(record)
    stacks = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for rows in by_patient.values():
            pile = _pile(sorted(rows, key=lambda row: int(row.extra["slice"])))
            gap = height_mm / len(pile.rows)
            for part, kept, label in _parts(pile, slabs):
                stacks.append(_write(pile, part, kept, label, (gap, pixel_mm), out))
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}.") from error
    return stacks


def _pile(rows: list[Record]) -> _Pile:
    pictures: list[NDArray[Any]] = []
    outlines: list[NDArray[Any] | None] = []
    for row in rows:
        picture = cv2.imread(str(row.path), cv2.IMREAD_GRAYSCALE)
        drawn = None
        if row.mask is not None:
            drawn = cv2.imread(str(row.mask), cv2.IMREAD_GRAYSCALE)
        elif row.label is TumorClass.NO_TUMOR and picture is not None:
            drawn = np.zeros_like(picture)
        if row.label is None or picture is None:
            raise DatasetError(f"{row.path} has no class or is no picture.", "Mend it.")
        shape = pictures[0].shape if pictures else picture.shape
        if picture.shape != shape or (drawn is not None and drawn.shape != shape):
            raise DatasetError(
                f"{row.path} or its outline has another size than {shape}.",
                "Export all slices of a patient at one size.",
            )
        pictures.append(picture)
        outlines.append(drawn)
    masks = [(drawn > 127).astype(np.uint8) for drawn in outlines if drawn is not None]
    inside = np.stack(masks) if len(masks) == len(rows) else None
    return _Pile(rows, np.stack(pictures).astype(np.uint8), inside)


def _parts(
    pile: _Pile, slabs: int | None
) -> Iterator[tuple[str, NDArray[np.int64], TumorClass]]:
    count = len(pile.rows)
    if count > 1:
        yield WHOLE, np.arange(count), pile.label
    if slabs is None or pile.inside is None or not pile.inside.any():
        return
    voxels = pile.inside.sum(axis=(1, 2), dtype=np.int64)
    for number, kept in enumerate(np.array_split(np.arange(count), slabs), start=1):
        share = voxels[kept].sum() / voxels.sum()
        if len(kept) < 2 or 0.0 < share < TUMOR_SLAB:
            continue
        label = pile.label if share else TumorClass.NO_TUMOR
        yield f"{number}/{slabs}", kept, label


def _write(
    pile: _Pile,
    part: str,
    kept: NDArray[np.int64],
    label: TumorClass,
    size_mm: tuple[float, float],
    out: Path,
) -> Record:
    gap, pixel = size_mm
    name = pile.rows[0].patient.replace(":", "_").replace("/", "_")
    if part != WHOLE:
        name += "_" + part.replace("/", "of")
    # Columns run to the patient's left, rows to the back: away from RAS.
    affine = np.diag([-pixel, -pixel, gap, 1.0])
    affine[2, 3] = gap * kept[0]
    path = out / f"{name}.nii.gz"
    _save(pile.pixels[kept], affine, path)
    mask = None
    if pile.inside is not None and label is not TumorClass.NO_TUMOR:
        mask = out / f"{name}_outline.nii.gz"
        _save(pile.inside[kept], affine, mask)
    first = pile.rows[0]
    return Record(
        path.absolute(),
        label,
        patient=first.patient,
        mask=None if mask is None else mask.absolute(),
        split=first.split,
        source=first.source,
        site=first.site,
        plane=Plane.AXIAL,
        flag=first.flag,
        fold=first.fold,
        extra={"part": part},
    )


def _save(voxels: NDArray[np.uint8], affine: NDArray[np.float64], path: Path) -> None:
    image = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        np.transpose(voxels, (2, 1, 0)), affine
    )
    header: Any = image.header
    header.set_xyzt_units("mm")
    nibabel.save(image, path)


MIN_HEAD = 0.35
"""Slices that show less head than this share of the plane's fullest are left out."""

_PLANE_OF_AXIS = (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)


def cut_volumes(
    volumes: Sequence[Path],
    out: Path,
    *,
    label: str,
    source: str,
    every_mm: float,
    stripped: bool = False,
    sequence: MRSequence | None = None,
) -> list[Record]:
    """Cut volumes into pictures and label them.

    Parameters
    ----------
    volumes
        Whole heads, one patient each: NIfTI or NRRD files, or folders of one DICOM
        series.
    out
        Folder for the pictures; created where missing.
    label
        Class of every slice of every volume, as a manifest spells it.
    source
        Name of the set.
    every_mm
        Distance between slices, in mm.
    stripped
        Take the skull off each slice (see `strip_picture`), and leave out those
        whose brain is not found.
    sequence
        MR sequence of all of them; None where unknown.

    Returns
    -------
    list of Record
        One for each picture: 8-bit PNG with square pixels, as a radiologist
        sees it (face up or to the left, head up).

    Raises
    ------
    DatasetError
        One is no regular stack of slices, or the label is none.
    InputError
        One cannot be read.
    MissingExtraError
        If skulls are to be taken off and the extra ``train`` is not installed.
    """
    tumor_class = parse_class(label)
    if tumor_class is None:
        raise DatasetError(
            f"The class {label!r} is none that is known.", class_hint("Give")
        )
    show = strip_picture if stripped else lambda picture: picture
    records = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for volume in volumes:
            patient = volume.name.split(".")[0]
            for plane, number, picture in slices_of(_read(volume), every_mm):
                path = out / f"{patient}_{plane.value}_{number:03d}.png"
                shown = show(picture)
                if shown is None:
                    continue
                _, packed = cv2.imencode(".png", shown)
                path.write_bytes(packed.tobytes())
                records.append(
                    Record(
                        path.absolute(),
                        tumor_class,
                        patient=f"{source}:{patient}",
                        source=source,
                        plane=plane.value,
                        sequence=sequence,
                        extra={"slice": str(number)},
                    )
                )
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}.") from error
    return records


def slices_of(
    volume: tuple[NDArray[np.float32], tuple[float, float, float]], every_mm: float
) -> Iterator[tuple[Plane, int, NDArray[np.uint8]]]:
    """Cut one volume into pictures of three planes.

    Parameters
    ----------
    volume
        Voxels of shape (X, Y, Z), axes to the right, front and top, and their
        size in mm.
    every_mm
        Distance between slices, in mm.

    Yields
    ------
    plane, number, picture
        The slice's place along its axis, and uint8 pixels.
    """
    voxels, spacing = volume
    top = float(np.percentile(voxels, 99.8))
    scaled = np.clip(voxels / max(top, 1e-6), 0.0, 1.0)
    for axis, plane in enumerate(_PLANE_OF_AXIS):
        others = [other for other in range(3) if other != axis]
        head = (scaled > 0.08).mean(axis=tuple(others))
        step = max(1, round(every_mm / spacing[axis]))
        for number in range(step // 2, voxels.shape[axis], step):
            if head[number] < MIN_HEAD * head.max():
                continue
            # Up in the picture is the second axis of the two that are left.
            flat = np.take(scaled, number, axis=axis).T[::-1]
            if plane is Plane.SAGITTAL:
                flat = flat[:, ::-1]  # face to the left
            across, up = spacing[others[0]], spacing[others[1]]
            fine = min(across, up)
            size = (
                round(flat.shape[1] * across / fine),
                round(flat.shape[0] * up / fine),
            )
            grey = cv2.resize(np.rint(flat * 255.0).astype(np.uint8), size)
            yield plane, number, grey.astype(np.uint8)


def _read(path: Path) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    series = read_study(path).series
    volume = volume_of(series[0]) if len(series) == 1 else None
    if volume is None:
        raise DatasetError(
            f"{path} is no whole series: one regular stack of slices is needed.",
            "Cut one series out of it first.",
        )
    # Axes to columns, rows and slices; then to the right, front and top.
    grid: Any = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        volume.voxels.transpose(2, 1, 0), volume.affine_ras
    )
    canonical = nibabel.as_closest_canonical(grid)  # type: ignore[no-untyped-call]
    voxels = np.asarray(canonical.dataobj, np.float32)
    zooms = [float(size) for size in canonical.header.get_zooms()]
    return voxels, (zooms[0], zooms[1], zooms[2])
