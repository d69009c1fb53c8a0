"""A tree of folders named by class, or split, becomes a list of files and labels.

Tested in `tests/data/test_manifest.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tumorlens.errors import DatasetError
from tumorlens.imaging.formats import SUFFIXES, display_name
from tumorlens.taxonomy import CLASSES, TumorClass, parse_class

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
    label: TumorClass
    split: str


class ClassFolders(NamedTuple):
    """Labelled pictures of a tree of class folders.

    Parameters
    ----------
    files
        At least one picture, sorted by path within each class.
    passed_over
        Files with another ending, or beside the class folders; hidden ones do
        not count.
    """

    files: list[ClassFile]
    passed_over: list[Path]


def read_class_folders(root: Path) -> ClassFolders:
    """List the files of a tree.

    Parameters
    ----------
    root
        Holds one folder a class, either directly or under ``Training``,
        ``Validation`` and ``Testing``.

    Raises
    ------
    DatasetError
        If folders have other names, or none holds a file to list.
    """
    levels = _levels(root)
    classes = [
        (child, label, split)
        for folder, split in levels.items()
        for child, label in _class_folders(folder)
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


def _class_folders(folder: Path) -> list[tuple[Path, TumorClass]]:
    labels = {child: parse_class(child.name) for child in _folders(folder)}
    unknown = ", ".join(repr(c.name) for c, label in labels.items() if label is None)
    if unknown:
        raise DatasetError(
            f"{folder} holds folders that name no class: {unknown}.",
            class_mend("Name them") + " Move others away.",
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
        class_mend("Name the folders"),
    )


def first_names(files: Sequence[Path]) -> str:
    """Name the first few of some files, and count the rest."""
    names = ", ".join(display_name(file.name) for file in files[:_NAMED])
    more = len(files) - _NAMED
    return f"{names} and {more:,} more" if more > 0 else names


def class_mend(verb: str) -> str:
    """Say how classes are written."""
    return (
        f"{verb} {', '.join(CLASSES)} or a common spelling of these, or list classes "
        "of your own in a manifest whose column tumor says yes or no."
    )
