"""Paths given on the command line become files to read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tumorlens.errors import InputError, MissingFileError, UnreadableFileError
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.read import SUFFIXES
from tumorlens.inference.slice.results import Failure

ENDINGS = tuple(sorted(SUFFIXES))


def find_files(paths: Iterable[str]) -> list[str | Failure]:
    """List the files that paths, folders and patterns stand for.

    Parameters
    ----------
    paths
        A file is taken whatever its name; of a folder, searched through all
        its subfolders, every file whose name ends like a picture's and does
        not start with a dot; of a pattern (``*``, ``?``, ``[...]``, ``**``)
        every match.

    Returns
    -------
    list
        Paths in a stable order; a `Failure` where a folder or pattern leads
        to no picture.
    """
    return [item for path in paths for item in _expand(path)]


def _expand(path: str) -> Iterator[str | Failure]:
    # `Path.is_dir` and `exists` would raise where a folder above is closed.
    if os.path.isdir(path):  # noqa: PTH112
        yield from _search(path)
    elif glob.has_magic(path) and not os.path.lexists(path):
        # `Path.glob` takes no absolute pattern.
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
        if not matches:
            yield _failure(
                path, MissingFileError(f"No file matches {display_name(path)}.")
            )
        for match in matches:
            yield from _search(match) if os.path.isdir(match) else (match,)  # noqa: PTH112
    else:
        yield path


def _search(folder: str) -> Iterator[str | Failure]:
    refused: list[OSError] = []
    found = False
    for place, folders, files in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(ENDINGS):
                found = True
                yield str(Path(place, name))
    for problem in refused:
        place = display_name(problem.filename or folder)
        yield _failure(place, UnreadableFileError(f"{place} cannot be opened."))
    if not found and not refused:
        endings = ", ".join(sorted(SUFFIXES))
        yield _failure(
            folder,
            MissingFileError(
                f"The folder {display_name(folder)} holds no picture.",
                f"Give a folder with files that end in {endings}.",
            ),
        )


def _failure(path: str, error: InputError) -> Failure:
    return Failure(display_name(path), error.code, error.message, error.hint)
