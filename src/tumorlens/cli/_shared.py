"""Options that several commands share, and the files that commands write.

Options have the types of paths that they take. Files are checked before any work is
done, and written. Tables of figures are shown in the terminal.

Tested in `tests/cli/analysis/test_predict.py`, `tests/cli/data/test_data.py` and
`tests/cli/model/test_evaluate.py`.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tumorlens.errors import OutputError
from tumorlens.imaging.formats import display_name

if TYPE_CHECKING:
    from tumorlens.report import page_parts


PATH = click.Path(path_type=Path)
"""A file or a folder, which need not exist."""
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)

store_option = click.option(
    "--store",
    type=FOLDER,
    envvar="TUMORLENS_STORE",
    required=True,
    help="The server's folder. Environment: TUMORLENS_STORE.",
)
operating_point_option = click.option(
    "--operating-point",
    envvar="TUMORLENS_OPERATING_POINT",
    metavar="screening|balanced",
    help="How to weigh missed tumours against false alarms.  [default: the model's]",
)

model_option = click.option(
    "--model",
    envvar="TUMORLENS_MODEL",
    metavar="DIR",
    help="A model bundle other than the shipped one.",
)

threads_option = click.option(
    "--threads",
    envvar="TUMORLENS_THREADS",
    type=click.IntRange(1, 1024),
    help="Threads of one forward pass.  [default: the processor's cores]",
)

precision_option = click.option(
    "--precision",
    envvar="TUMORLENS_PRECISION",
    type=click.Choice(["auto", "float32", "int8"]),
    default="auto",
    show_default=True,
    help="Arithmetic of the network; auto: whichever graph of the model is faster on "
    "this machine.",
)

manifest_option = click.option(
    "--data",
    "manifest",
    type=PATH,
    required=True,
    help="Manifest (CSV) or folder with a folder a class.",
)
"""Labelled pictures, as `tumorlens.data.manifest.read_manifest` takes them."""

split_option = click.option(
    "--split",
    default="test",
    show_default=True,
    help="Which part of the manifest to score; 'all' for every row.",
)

figures_option = click.option(
    "--json", "json_path", type=PATH, help="Write all figures."
)

calibrate_on_option = click.option(
    "--calibrate-on",
    type=EXISTING_FOLDER,
    default=None,
    help="Fix calibration and thresholds on this cross-validation's held-out patients.",
)

readers_option = click.option(
    "--threads",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Pictures that are read at the same time.",
)
"""Threads that read pictures, for commands that run no network."""


STANDARD_OUTPUT = "-"


def check_files(*paths: str | Path | None) -> None:
    """Make sure that files can be written, before any work is done.

    Parameters
    ----------
    paths
        Paths of files; None for those that nobody asked for, ``-`` for the standard
        output.

    Raises
    ------
    OutputError
        Where a folder is missing or closed, or a folder has a file's name.
    """
    for path in paths:
        if path is not None and str(path) != STANDARD_OUTPUT:
            _check_file(Path(path))


def _check_file(path: Path) -> None:
    try:
        if not path.parent.is_dir():
            raise OutputError(
                f"The folder {display_name(path.parent)} does not exist.",
                "Make it, or give another file name.",
            )
        if path.is_dir():
            raise OutputError(f"{display_name(path)} is a folder.", "Give a file name.")
        may_write = os.access(path if path.exists() else path.parent, os.W_OK)
    except OSError as error:
        raise cannot_write(path, error) from error
    if not may_write:
        raise OutputError(f"{display_name(path)} may not be written.")


def make_folder(path: str | Path) -> None:
    """Make a folder, or make sure that files can be written into it.

    Raises
    ------
    OutputError
        Where it cannot be made or is closed.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"Nothing may be written into {display_name(path)}.")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any plain JSON
    """Write plain values as indented JSON.

    Parameters
    ----------
    path
        Path of the file; replaced where it exists.
    value
        Value that JSON can hold.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    try:
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file; raises `OutputError` where it cannot be written."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: str | Path, error: OSError) -> OutputError:
    """Say which file cannot be written, and why."""
    reason = (error.strerror or "unknown reason").lower()
    return OutputError(f"{display_name(path)} cannot be written: {reason}.")


def show_tables(tables: Iterable[page_parts.Table]) -> None:
    """Print tables, their first column to the left and the others to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=max(100, Console().width))
    for item in tables:
        table = Table(title=item.title)
        for number, name in enumerate(item.columns):
            table.add_column(name, justify="left" if number == 0 else "right")
        for row in item.rows:
            table.add_row(*row)
        console.print(table)


_ARENA_MAX, _ARENAS = -8, 2
"""M_ARENA_MAX of glibc's malloc.h, and how many threads share."""

_MMAP_THRESHOLD, _LARGE_BYTES = -3, 2**19
"""M_MMAP_THRESHOLD, and the size: the model's input and most pictures are larger."""


def share_heaps() -> None:
    """Let all threads share two heaps, and large arrays go back when they are free.

    Called before there are other threads. glibc would give up to eight times as many
    heaps as there are cores, and would soon put large arrays there, too; what pictures
    and drawings leave in each stays there. Other libraries have no such settings.
    """
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)
        if set_option is not None:
            set_option(_ARENA_MAX, _ARENAS)
            set_option(_MMAP_THRESHOLD, _LARGE_BYTES)
