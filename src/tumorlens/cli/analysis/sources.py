"""Paths given on the command line become files to read."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tumorlens.errors import InputError, MissingFileError, UnreadableFileError
from tumorlens.imaging.file_names import display_name, natural_order
from tumorlens.imaging.formats import START_BYTES, reader_of
from tumorlens.imaging.read import SUFFIXES
from tumorlens.inference.slice.results import Failure

ENDINGS = tuple(sorted(SUFFIXES))

_NAMED = 5
"""Kinds of files that are passed over, of which a note tells."""


def find_files(
    paths: Iterable[str], notes: list[str] | None = None
) -> list[str | Failure]:
    """List the files that paths, folders and patterns stand for.

    Parameters
    ----------
    paths
        A file is taken whatever its name; of a folder, searched through all
        its subfolders, every file that is a picture by its ending or its
        content and does not start with a dot; of a pattern (``*``, ``?``,
        ``[...]``, ``**``) every match.
    notes
        Where it is noted what of a folder was passed over.

    Returns
    -------
    list
        Paths in a stable order; a `Failure` where a folder or pattern leads
        to no picture.
    """
    notes = [] if notes is None else notes
    return [item for path in paths for item in _expand(path, notes)]


def _expand(path: str, notes: list[str]) -> Iterator[str | Failure]:
    # `Path.is_dir` and `exists` would raise where a folder above is closed.
    if os.path.isdir(path):  # noqa: PTH112
        yield from _search(path, notes)
    elif glob.has_magic(path) and not os.path.lexists(path):
        # `Path.glob` takes no absolute pattern.
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
        if not matches:
            yield _failure(
                path, MissingFileError(f"No file matches {display_name(path)}.")
            )
        for match in matches:
            folder = os.path.isdir(match)  # noqa: PTH112
            yield from _search(match, notes) if folder else (match,)
    else:
        yield path


def _search(folder: str, notes: list[str]) -> Iterator[str | Failure]:
    refused: list[OSError] = []
    others: Counter[str] = Counter()
    empty = True
    for place, folders, files in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files, key=natural_order):
            path = Path(place, name)
            if name.startswith("."):
                continue
            if name.lower().endswith(ENDINGS) or _is_picture(path):
                empty = False
                yield str(path)
            else:
                others[path.suffix.lower() or "no ending"] += 1
    for problem in refused:
        place = display_name(problem.filename or folder)
        yield _failure(place, UnreadableFileError(f"{place} cannot be opened."))
    if empty and not refused:
        endings = ", ".join(sorted(SUFFIXES))
        yield _failure(
            folder,
            MissingFileError(
                f"The folder {display_name(folder)} holds no picture.",
                f"Give a folder with DICOM files, or files that end in {endings}.",
            ),
        )
    elif others:
        kinds = ", ".join(display_name(kind) for kind, _ in others.most_common(_NAMED))
        count = others.total()
        what = "file was" if count == 1 else "files were"
        notes.append(
            f"{count} {what} passed over in {display_name(folder)}: no picture by name "
            f"or content ({kinds})."
        )


def _is_picture(path: Path) -> bool:
    """Tell by its content whether a file, whose name does not say it, is a picture."""
    try:
        if not path.is_file() or path.is_symlink():
            return False
        with path.open("rb") as file:
            return reader_of(file.read(START_BYTES)) is not None
    except OSError:
        return False


def _failure(path: str, error: InputError) -> Failure:
    return Failure(display_name(path), error.code, error.message, error.hint)
