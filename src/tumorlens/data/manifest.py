"""A data set is a list of records, read from a CSV or a tree of class folders.

`manifest_digest` sums it up in one number, so that a changed set is noticed. Patients
of DICOM files get pseudonyms, so that a data set keeps them apart. The MR sequences
that a network learns to tell apart are named here, with how sets spell them.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tumorlens.errors import DatasetError, InputError, MissingFileError, OutputError
from tumorlens.imaging.dicom.header import (
    parse,
    text,
)
from tumorlens.imaging.formats import SUFFIXES, display_name, is_dicom
from tumorlens.imaging.limits import check_file_size
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import (
    CLASSES,
    TUMOR_CLASSES,
    ClassName,
    Finding,
    Lesion,
    OwnClass,
    TumorClass,
    own_class_error,
    own_classes,
    parse_class,
)

LEARNED_SEQUENCES: tuple[MRSequence, ...] = (
    MRSequence.T1,
    MRSequence.T1_CONTRAST,
    MRSequence.T2,
    MRSequence.FLAIR,
)
"""MR sequences in the order of the outputs of a network's sequence head."""

_SPELLINGS = {
    "t1": MRSequence.T1,
    "t1w": MRSequence.T1,
    "t1c": MRSequence.T1_CONTRAST,
    "t1ce": MRSequence.T1_CONTRAST,
    "t1gd": MRSequence.T1_CONTRAST,
    "t1withcontrast": MRSequence.T1_CONTRAST,
    "t2": MRSequence.T2,
    "t2w": MRSequence.T2,
    "flair": MRSequence.FLAIR,
    "t2flair": MRSequence.FLAIR,
    "dwi": MRSequence.DIFFUSION,
    "pd": MRSequence.OTHER,
    "other": MRSequence.OTHER,
}


def parse_sequence(text: str) -> MRSequence | None:
    """Read a sequence's name in any of the spellings that public sets use.

    Parameters
    ----------
    text
        Name such as ``T1C``, ``t1ce`` or ``T1 with contrast``.

    Returns
    -------
    MRSequence or None
        None where the text names none.
    """
    return _SPELLINGS.get(re.sub(r"[^a-z0-9]", "", text.lower()))


def sequence_word(sequence: MRSequence | None) -> str:
    """Name a sequence in a manifest, such as ``T1C``; empty for None."""
    if sequence is None:
        return ""
    return sequence.word


COLUMNS = (
    "file",
    "label",
    "patient",
    "mask",
    "split",
    "source",
    "site",
    "plane",
    "flag",
)
TRAIN_ONLY = "train_only"
"""A column that a manifest has where a row says so."""
TUMOR = "tumor"
"""A column that says of classes of a user's own whether they are tumours."""
AT_TIMES = (TUMOR, TRAIN_ONLY, "fold", "sequence", "lesion", "kind")
"""Columns that a manifest has where any row fills them."""
EITHER = "either"
"""Value of the column ``lesion`` where nobody drew a stroke or denied one."""
LIKENESS = "like:"
"""Prefix of the patient of pictures that name none, and share one by likeness."""

_SURPLUS = "\0surplus"
_YES_OR_NO = {"": False, "no": False, "false": False, "yes": True, "true": True}


@dataclass(frozen=True)
class Record:
    """One picture of a data set and what is known of it.

    Parameters
    ----------
    path
        The picture.
    label
        One of the four classes, or of a user's own; None where nobody has stated it,
        or where it shows none of them, as a lesion of another kind.
    patient
        Patient, unique over all sources; empty where unknown. Records of
        one patient never part ways in a split.
    mask
        A picture of the same size, white where the tumour is.
    split
        One of `SPLITS`, or empty.
    source, site
        The data set and the hospital it comes from; empty where unknown.
    plane
        A value of `tumorlens.imaging.study.Plane`, or empty.
    flag
        Why the picture is set apart (``ct``, ``abnormal``); empty for a plain
        one. Training leaves flagged records out.
    train_only
        Whether the picture teaches the network and nothing else: no figure and
        no threshold rests on it.
    fold
        Number of the fold, from 0; None without folds.
    sequence
        MR sequence; None where unknown.
    lesion
        A value of `Lesion` where it shows that and none of the four classes;
        `EITHER` where nobody drew a stroke.
    kind
        The kind of tumour or lesion in the set's own word, such as ``schwannoma``;
        empty where the set names none.
    extra
        Every other column of the manifest, by name.
    """

    path: Path
    label: ClassName | None
    patient: str = ""
    mask: Path | None = None
    split: str = ""
    source: str = ""
    site: str = ""
    plane: str = ""
    flag: str = ""
    train_only: bool = False
    fold: int | None = None
    sequence: MRSequence | None = None
    lesion: str = ""
    kind: str = ""
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings that it may show: mostly one of `FINDINGS`, none where unknown."""
        if self.label is not None:
            return (self.label,)
        if self.lesion == EITHER:
            return TumorClass.NO_TUMOR, Lesion.VASCULAR
        return (Lesion(self.lesion),) if self.lesion else ()

    @property
    def group(self) -> str:
        """Group that it is counted in: the patient, or the picture alone."""
        return self.patient or str(self.path)


def read_manifest(
    path: Path,
    *,
    allow_unlabelled: bool = False,
    must_exist: bool = True,
    may_be_own: bool = False,
    report_skipped: Callable[[list[Path]], None] = lambda files: None,
) -> list[Record]:
    """Read a data set.

    Parameters
    ----------
    path
        A CSV with the columns of `COLUMNS` (``file`` is needed, paths are
        relative to the CSV's folder or absolute), or a folder that holds one
        folder a class, either directly or under ``Training``, ``Validation``
        and ``Testing``. There DICOM files alone tell whose they are (see
        `dicom_patient`).
    allow_unlabelled
        Whether a row may come without a class.
    must_exist
        Whether a row whose picture or mask is missing is an error.
    may_be_own
        Whether the column ``tumor`` may make the labels classes of a user's own.
    report_skipped
        Called with the files of a folder that are not listed, where there are
        any.

    Returns
    -------
    list of Record
        At least one, in the order of the rows, or sorted by path for a folder.

    Raises
    ------
    MissingFileError
        If `path` does not exist.
    DatasetError
        If the data set cannot be used; names file, line and value.
    """
    if path.is_dir():
        return read_tree(path, report_skipped=report_skipped)
    if not path.exists():
        raise MissingFileError(f"There is no manifest or folder at {path}.")
    records = _read_csv(path, allow_unlabelled, must_exist)
    own = class_names(records)
    if own and not may_be_own:
        raise DatasetError(
            f"{path} has classes of your own ({', '.join(own)}); this knows the four "
            "classes alone.",
            "Use `tumorlens data audit`, `data split`, `train` and `evaluate` with "
            f"them, or take the column {TUMOR} out.",
        )
    return records


def _read_csv(path: Path, allow_unlabelled: bool, must_exist: bool) -> list[Record]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey=_SURPLUS, restval="")
            _check_columns(path, reader.fieldnames)
            rows = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is not UTF-8 text (byte {error.start}).",
            "Save the manifest as CSV in UTF-8.",
        ) from error
    except (OSError, csv.Error) as error:
        raise DatasetError(
            f"{path} cannot be read as CSV: {error}.", "Check the file."
        ) from error
    if not rows:
        raise DatasetError(f"{path} has no rows.", "Add one row for each picture.")
    reading = _Reading(path, allow_unlabelled, must_exist, _own_labels(path, rows))
    return [reading.record(line, row) for line, row in rows]


def _own_labels(
    path: Path, rows: Sequence[tuple[int, dict[str, str]]]
) -> dict[str, OwnClass]:
    """Read the classes of a user's own, by name; none where the four are meant."""
    is_tumor: dict[str, bool] = {}
    labels: set[str] = set()
    for line, row in rows:
        named = {key.strip(): value for key, value in row.items() if key != _SURPLUS}
        value, label = (named.get(key, "").strip() for key in (TUMOR, "label"))
        labels |= {label} - {""}
        if not value:
            continue
        said = _YES_OR_NO.get(value.lower())
        if said is None or not label:
            raise DatasetError(
                f"{path}, line {line}: the column {TUMOR} says {value!r} of the label "
                f"{label!r}.",
                "Write yes or no beside each label: whether that class is a tumour.",
            )
        if is_tumor.setdefault(label, said) is not said:
            raise DatasetError(
                f"{path}, line {line}: the class {label!r} is a tumour in some rows "
                "and none in others.",
                f"Write the same in the column {TUMOR} of all its rows.",
            )
    four = {parse_class(name): said for name, said in is_tumor.items()}
    if not is_tumor or four == {x: x in TUMOR_CLASSES for x in TumorClass}:
        # All of the four, and nothing new about them.
        return {}
    untold = sorted(labels - set(is_tumor))
    wrong = own_class_error(is_tumor)
    if untold:
        wrong = f"The column {TUMOR} does not say whether {untold[0]!r} is a tumour."
    if wrong:
        raise DatasetError(
            f"{path}: {wrong}",
            f"The column {TUMOR} says yes or no of each of two or more classes; leave "
            "it out for the four classes of TumorLens.",
        )
    return {str(item): item for item in own_classes(is_tumor)}


def class_names(records: Sequence[Record]) -> tuple[OwnClass, ...]:
    """List a manifest's classes of a user's own; none where they are the four."""
    own = next((x.label for x in records if isinstance(x.label, OwnClass)), None)
    return () if own is None else own.siblings


def _check_columns(path: Path, names: Sequence[str] | None) -> None:
    if names is None:
        raise DatasetError(f"{path} is empty.", "Add a header and rows.")
    if "file" not in names:
        raise DatasetError(
            f"{path}, line 1: there is no column 'file', only {', '.join(names)}.",
            f"Name the columns {', '.join(COLUMNS)}, with commas between; "
            "'file' and 'label' are needed.",
        )


@dataclass(frozen=True)
class _Reading:
    """Turns rows of one CSV into records."""

    path: Path
    allow_unlabelled: bool
    must_exist: bool
    own: Mapping[str, OwnClass]

    def record(self, line: int, row: dict[str, str]) -> Record:
        if _SURPLUS in row:
            raise self._error(
                line, "has more values than the header has columns", "Quote commas."
            )
        row = {key.strip(): value.strip() for key, value in row.items()}
        if not row["file"]:
            raise self._error(line, "the column 'file' is empty", "Name the picture.")
        lesion = self._lesion(line, row)
        return Record(
            path=self._file(line, "file", row["file"]),
            label=self._label(line, row.get("label", ""), lesion),
            patient=row.get("patient", ""),
            mask=self._file(line, "mask", row["mask"]) if row.get("mask") else None,
            split=self._split(line, row.get("split", "")),
            source=row.get("source", ""),
            site=row.get("site", ""),
            plane=row.get("plane", ""),
            flag=row.get("flag", ""),
            train_only=self._train_only(line, row.get(TRAIN_ONLY, "")),
            fold=self._fold(line, row.get("fold", "")),
            sequence=self._sequence(line, row.get("sequence", "")),
            lesion=lesion,
            kind=row.get("kind", ""),
            extra={
                key: value
                for key, value in row.items()
                if key and key not in (*COLUMNS, *AT_TIMES)
            },
        )

    def _error(self, line: int, what: str, hint: str) -> DatasetError:
        return DatasetError(f"{self.path}, line {line}: {what}.", hint)

    def _file(self, line: int, column: str, value: str) -> Path:
        file = self.path.parent / value.replace("\\", "/")
        if self.must_exist and not file.is_file():
            raise self._error(
                line,
                f"the {column} {value!r} is not there ({file})",
                "Paths are relative to the manifest's folder, or absolute.",
            )
        return file

    def _label(self, line: int, value: str, lesion: str) -> ClassName | None:
        label = self.own.get(value) if self.own else parse_class(value)
        if label is None and (value or not (lesion or self.allow_unlabelled)):
            raise self._error(
                line, f"the label {value!r} is no class", class_hint("Use")
            )
        return label

    def _lesion(self, line: int, row: Mapping[str, str]) -> str:
        value = row.get("lesion", "")
        if value not in ("", EITHER, *Lesion):
            raise self._error(
                line,
                f"the column lesion says {value!r}",
                f"Write {', '.join(Lesion)} or {EITHER}, or leave it empty.",
            )
        if value and self.own:
            raise self._error(
                line,
                f"the column lesion says {value!r} beside classes of your own",
                f"Leave it empty, or make it a class: label and {TUMOR}.",
            )
        if value and row.get("label"):
            raise self._error(
                line,
                f"there are both the label {row['label']!r} and the lesion {value!r}",
                "A lesion is none of the four classes: leave one of both empty.",
            )
        return value

    def _sequence(self, line: int, value: str) -> MRSequence | None:
        sequence = parse_sequence(value)
        if value and sequence is None:
            raise self._error(
                line, f"the sequence {value!r} is unknown", "Use T1, T1C, T2 or FLAIR."
            )
        return sequence

    def _split(self, line: int, value: str) -> str:
        split = parse_split(value)
        if split is None:
            raise self._error(
                line, f"the split {value!r} is unknown", f"Use {', '.join(SPLITS)}."
            )
        return split

    def _train_only(self, line: int, value: str) -> bool:
        is_train_only = _YES_OR_NO.get(value.lower())
        if is_train_only is None:
            raise self._error(
                line,
                f"the column {TRAIN_ONLY} says {value!r}",
                "Write yes, or leave it empty.",
            )
        return is_train_only

    def _fold(self, line: int, value: str) -> int | None:
        if not value:
            return None
        if not value.isdecimal():
            raise self._error(
                line, f"the fold {value!r} is no number", "Use 0, 1, 2 and so on."
            )
        return int(value)


def read_tree(
    root: Path,
    *,
    tumors: Sequence[str] = (),
    patient: re.Pattern[str] | None = None,
    report_skipped: Callable[[list[Path]], None] = lambda files: None,
) -> list[Record]:
    """Read a data set from a tree of class folders.

    Parameters
    ----------
    root, tumors
        The same as for `read_class_folders`.
    patient
        What is searched for in a file's path below `root`, with ``/`` between
        folders: what its first group finds, or all of it where it has no group, names
        the patient. A file in which it finds nothing, and every file for None, has a
        patient only where it is DICOM (see `dicom_patient`).
    report_skipped
        The same as in `read_manifest`.

    Returns
    -------
    list of Record
        At least one. Patients are prefixed by the folder's name.

    Raises
    ------
    DatasetError
        The same as from `read_class_folders`.
    """
    files, skipped_files = read_class_folders(root, tumors)
    if skipped_files:
        report_skipped(skipped_files)
    source = root.resolve().name
    records = []
    for path, label, split in files:
        below = path.relative_to(root).as_posix()
        found = None if patient is None else patient.search(below)
        named = "" if found is None else found[min(1, len(found.groups()))] or ""
        who = f"{source}:{named}" if named else dicom_patient(path)
        records.append(Record(path, label, who, split=split, source=source))
    return records


def write_manifest(records: Sequence[Record], path: Path) -> None:
    """Write a data set as CSV.

    Parameters
    ----------
    records
        Records to write, in this order.
    path
        The CSV. Pictures under its folder are written relative to it, others
        absolute. An existing file is replaced as a whole.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    extras = sorted({key for record in records for key in record.extra})
    rows = [_row(record, path.parent) for record in records]
    empty = {name for name in AT_TIMES if not any(row[name] for row in rows)}
    names = [name for name in (*COLUMNS, *AT_TIMES, *extras) if name not in empty]
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, names, lineterminator="\n", extrasaction="ignore"
            )
            writer.writeheader()
            writer.writerows(rows)
        unfinished.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def column_value(record: Record, column: str) -> str:
    """Read a column of a row, one of the manifest's own or any other."""
    own = {
        "label": record.label or "",
        "plane": record.plane,
        "sequence": sequence_word(record.sequence),
        "site": record.site,
        "source": record.source,
    }
    return str(own.get(column, record.extra.get(column, "")))


def _row(record: Record, folder: Path) -> dict[str, str]:
    return {
        **{key: record.extra.get(key, "") for key in record.extra},
        "file": _relative(record.path, folder),
        "label": record.label or "",
        "patient": record.patient,
        "mask": _relative(record.mask, folder) if record.mask else "",
        "split": record.split,
        "source": record.source,
        "site": record.site,
        "plane": record.plane,
        "flag": record.flag,
        TRAIN_ONLY: "yes" if record.train_only else "",
        "fold": "" if record.fold is None else str(record.fold),
        "sequence": sequence_word(record.sequence),
        "lesion": record.lesion,
        "kind": record.kind,
        TUMOR: ("yes" if record.label.is_tumor else "no")
        if isinstance(record.label, OwnClass)
        else "",
    }


def _relative(path: Path, folder: Path) -> str:
    # `resolve` would follow links: a set made of links keeps its own names.
    full = Path(os.path.abspath(path))  # noqa: PTH100
    base = Path(os.path.abspath(folder))  # noqa: PTH100
    if full.is_relative_to(base):
        return full.relative_to(base).as_posix()
    return full.as_posix()


def manifest_digest(records: Iterable[Record], *, contents: bool = False) -> str:
    """Sum up a data set in a number that changes when the set does.

    Parameters
    ----------
    records
        Records; their order and the folder they lie in do not count.
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
                *(
                    [f"{TUMOR}={record.label.is_tumor}"]
                    if isinstance(record.label, OwnClass)
                    else []
                ),
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


ENDINGS = (*sorted(SUFFIXES), ".zip")
"""Endings of the names of files that are listed. An archive is one series: it lies
there on purpose, as the files that `predict` searches a folder for may not."""

_NAMED = 3

SPLITS = ("train", "validation", "test")

_SPLIT_SPELLINGS = {
    "": "",
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def parse_split(text: str) -> str | None:
    """Read a split's name in any of the spellings that public sets use.

    Parameters
    ----------
    text
        Name such as ``Training`` or ``val``.

    Returns
    -------
    str or None
        One of `SPLITS`, or empty for an empty text; None where the text names
        no split.
    """
    return _SPLIT_SPELLINGS.get(text.lower())


class ClassFile(NamedTuple):
    """A file in a folder named by class.

    Parameters
    ----------
    path
        The file.
    label
        Class that its folder's name states.
    split
        One of `SPLITS`; empty where the tree has none.
    """

    path: Path
    label: ClassName
    split: str


class ClassFolders(NamedTuple):
    """Labelled pictures of a tree of class folders.

    Parameters
    ----------
    files
        At least one picture, sorted by path within each class.
    skipped_files
        Files with another ending, or beside the class folders; hidden ones do
        not count.
    """

    files: list[ClassFile]
    skipped_files: list[Path]


def read_class_folders(root: Path, tumors: Sequence[str] = ()) -> ClassFolders:
    """List the files of a tree.

    Parameters
    ----------
    root
        Holds one folder a class, either directly or under ``Training``,
        ``Validation`` and ``Testing``.
    tumors
        Names of the folders that hold tumours: then every folder is a class of a
        user's own, by its name. None for the four classes.

    Raises
    ------
    DatasetError
        If folders have other names, or none holds a file to list; if a tumour has no
        folder, or the names cannot be classes.
    """
    levels = _levels(root)
    own = _own_folders(root, levels, tumors) if tumors else {}
    classes = [
        (child, label, split)
        for folder, split in levels.items()
        for child, label in _class_folders(folder, own)
    ]
    files, others = [], []
    for child, label, split in classes:
        for file in _shown(child.rglob("*")):
            if file.name.lower().endswith(ENDINGS):
                files.append(ClassFile(file, label, split))
            else:
                others.append(file)
    if not files:
        raise _nothing(root, bool(classes), others)
    places = dict.fromkeys((root, *levels))
    beside = [file for place in places for file in _shown(place.iterdir())]
    return ClassFolders(files, beside + others)


def _levels(root: Path) -> dict[Path, str]:
    """Folders that hold one folder a class, and their split."""
    tops = _folders(root)
    splits = {folder: split for folder in tops if (split := parse_split(folder.name))}
    if splits and len(splits) < len(tops):
        odd = ", ".join(f.name for f in tops if f not in splits)
        raise DatasetError(
            f"{root} holds folders of splits beside others: {odd}.",
            "Move the others away, or put them under Training or Testing.",
        )
    return splits or {root: ""}


def _own_folders(
    root: Path, levels: Iterable[Path], tumors: Sequence[str]
) -> dict[str, OwnClass]:
    """Make the classes that folders of other names hold, by name."""
    names = sorted({child.name for level in levels for child in _folders(level)})
    missing = sorted(set(tumors) - set(names))
    if missing:
        raise DatasetError(
            f"{root} has no folder {missing[0]!r}, only {', '.join(names) or 'none'}.",
            "Name the folders that hold tumours as they are written.",
        )
    is_tumor = {name: name in tumors for name in names}
    wrong = own_class_error(is_tumor)
    if wrong:
        raise DatasetError(
            f"{root}: {wrong}",
            "Give each of two or more classes a folder, and name those that are "
            "tumours.",
        )
    return {str(item): item for item in own_classes(is_tumor)}


def _class_folders(
    folder: Path, own: Mapping[str, OwnClass]
) -> list[tuple[Path, ClassName]]:
    labels: dict[Path, ClassName | None] = {
        child: own.get(child.name) if own else parse_class(child.name)
        for child in _folders(folder)
    }
    unknown = ", ".join(repr(c.name) for c, label in labels.items() if label is None)
    if unknown:
        raise DatasetError(
            f"{folder} holds folders that name no class: {unknown}.",
            "Name them " + CLASS_SPELLINGS + ", and move others away; or keep their "
            "names as classes of your own: `tumorlens data manifest` with --tumor "
            "for each that is a tumour.",
        )
    return [(child, label) for child, label in labels.items() if label is not None]


def _folders(folder: Path) -> list[Path]:
    return sorted(
        child
        for child in folder.iterdir()
        # __MACOSX is what archives made on a Mac leave behind.
        if child.is_dir() and not child.name.startswith((".", "__"))
    )


def _shown(paths: Iterable[Path]) -> list[Path]:
    return sorted(p for p in paths if not p.name.startswith(".") and p.is_file())


def _nothing(root: Path, named: bool, others: Sequence[Path]) -> DatasetError:
    if others:
        return DatasetError(
            f"The folders named by class in {root} hold no file that is read, only "
            f"{first_names(others)}.",
            f"Give files that end in {', '.join(ENDINGS)}.",
        )
    if named:
        return DatasetError(
            f"The folders named by class in {root} are empty.",
            "Put the pictures into them.",
        )
    return DatasetError(
        f"{root} holds no pictures in folders named by class.",
        class_hint("Name the folders"),
    )


def first_names(files: Sequence[Path]) -> str:
    """Name the first few of some files, and count the rest."""
    names = ", ".join(display_name(file.name) for file in files[:_NAMED])
    more = len(files) - _NAMED
    return f"{names} and {more:,} more" if more > 0 else names


CLASS_SPELLINGS = f"{', '.join(CLASSES)} or a common spelling of these"
"""How the four classes are written."""


def class_hint(verb: str) -> str:
    """Say how classes are written."""
    return (
        f"{verb} {CLASS_SPELLINGS}, or list classes of your own in a manifest whose "
        "column tumor says yes or no."
    )


_START_BYTES = 256


def dicom_patient(path: Path) -> str:
    """Name the patient of a file without saying who it is.

    The Patient ID counts together with its issuer (PS3.3, C.7.1.1), so that one
    person has one name in every set; where it is empty the study counts, since a study
    is of one patient.

    Parameters
    ----------
    path
        A file of any format.

    Returns
    -------
    str
        ``dicom:`` and 16 hex digits of a SHA-256; empty for another format, a file
        that cannot be read, and one that names neither. Who knows the IDs of a
        hospital can find them again: it is a pseudonym, and no anonymisation.
    """
    try:
        check_file_size(path.stat().st_size, str(path))
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
            if not is_dicom(start):
                return ""
            header = parse(start + file.read(), str(path))
    except (OSError, InputError):
        # Reading the picture will say why.
        return ""
    patient, study = text(header, "PatientID"), text(header, "StudyInstanceUID")
    if not patient and not study:
        return ""
    kind = ("patient", patient, text(header, "IssuerOfPatientID"))
    named = "\0".join(kind if patient else ("study", study))
    return f"dicom:{hashlib.sha256(named.encode()).hexdigest()[:16]}"
