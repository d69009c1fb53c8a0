"""Results as Parquet: one row a slice or failure, the same columns in every file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tumorlens.errors import InputError, OutputError
from tumorlens.imaging.formats import display_name
from tumorlens.report.slice.document import csv_columns
from tumorlens.taxonomy import CLASSES, ClassName

SCHEMA = "tumorlens-archive/1"
"""Version of the columns, in the metadata of every file; it rises where one changes
its meaning or goes, not where one is added at the end."""

METADATA_KEY = b"tumorlens"
MAPS_FOLDER, DICOM_FOLDER = "_maps", "_dicom"
"""Readers of data sets pass over folders whose names start so."""

OK = "ok"
"""Status of what went well."""

_WHOLE = ("slice", "box_x0", "box_y0", "box_x1", "box_y1")
_NUMBERS = ("domain_score", "ms")
_PROBABILITY = "p_"

ACQUISITION_FIELDS: tuple[pa.Field, ...] = (
    pa.field("study", pa.string()),
    pa.field("series", pa.string()),
    pa.field("month", pa.string()),
    pa.field("manufacturer", pa.string()),
    pa.field("scanner", pa.string()),
    pa.field("field_strength", pa.float64()),
    pa.field("plane", pa.string()),
)
"""What a DICOM header says of the acquisition; empty for other formats."""

RUN_FIELDS: tuple[pa.Field, ...] = (
    pa.field("model", pa.string()),
    pa.field("operating_point", pa.string()),
    pa.field("maps", pa.string()),
    pa.field("dicom", pa.string()),
    pa.field("dicom_status", pa.string()),
)
"""What judged the slice; the start of its maps' names below `MAPS_FOLDER`, and of the
DICOM results of its series below `DICOM_FOLDER`; and why there are none of these."""

CLASSES_FACT = "classes"
"""In a file's metadata, the names of a user's own classes; absent for the four."""


def row_schema(classes: Sequence[ClassName] = CLASSES) -> pa.Schema:
    """Return the columns of every file of a run.

    Parameters
    ----------
    classes
        The bundle's classes, in its order.

    Returns
    -------
    pyarrow.Schema
        The columns of `predict --csv` in their order, then `ACQUISITION_FIELDS` and
        `RUN_FIELDS`.
    """
    predictions = [pa.field(name, _type_of(name)) for name in csv_columns(classes)]
    return pa.schema([*predictions, *ACQUISITION_FIELDS, *RUN_FIELDS])


def _type_of(column: str) -> pa.DataType:
    if column in _WHOLE:
        return pa.int32()
    is_number = column in _NUMBERS or column.startswith(_PROBABILITY)
    return pa.float64() if is_number else pa.string()


ROW_SCHEMA = row_schema()
"""The columns for the four classes."""

_PARTS_IN_A_FOLDER = 1_000


def part_path(number: int) -> Path:
    """Return where a part lies below DEST: a thousand parts in one folder."""
    return Path(f"{number // _PARTS_IN_A_FOLDER:05d}", f"part-{number:08d}.parquet")


def file_stem(number: int, row: int) -> str:
    """Return the start of the names of what goes with a row, below its folder."""
    return f"{number // _PARTS_IN_A_FOLDER:05d}/{number:08d}-{row:06d}"


def table_of(
    rows: Sequence[Mapping[str, Any]], schema: pa.Schema = ROW_SCHEMA
) -> pa.Table:
    """Turn rows into a table; a missing column is empty.

    Parameters
    ----------
    rows
        Values by column.
    schema
        From `row_schema`.
    """
    return pa.Table.from_pylist(list(rows), schema=schema)


def prediction_cells(
    cells: Sequence[str], schema: pa.Schema = ROW_SCHEMA
) -> dict[str, Any]:
    """Turn a row of `predict --csv` into typed values, without changing them.

    Parameters
    ----------
    cells
        Cells of `csv_row`.
    schema
        Schema of `row_schema`, for the same classes.
    """
    return {
        schema.names[place]: None if not cell else _typed(cell, schema.types[place])
        for place, cell in enumerate(cells)
    }


def _typed(cell: str, kind: pa.DataType) -> str | int | float:
    if kind == pa.string():
        return cell
    return int(cell) if kind == pa.int32() else float(cell)


def write_part(table: pa.Table, path: Path, state: Path, facts: dict[str, Any]) -> None:
    """Write a part whole or not at all, however the process ends.

    Parameters
    ----------
    table
        Table of the schema `row_schema`.
    path
        Place of the file; replaced where it exists.
    state
        Folder on the same disk for what is not finished.
    facts
        What the file's metadata say beside the schema's version: plain JSON values.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    told = json.dumps({"schema": SCHEMA, **facts}, sort_keys=True).encode()
    unfinished = state / f"{path.name}.unfinished"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            pq.write_table(
                table.replace_schema_metadata({METADATA_KEY: told}),
                file,
                compression="zstd",
            )
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise OutputError(
            f"{display_name(path)} cannot be written: {reason}.",
            "Make room, then run the same command again: it goes on.",
        ) from error


def _sync_folder(folder: Path) -> None:
    # A name is on the disk only once its folder is; Windows opens no folders.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_facts(path: Path) -> dict[str, Any]:
    """Read what a part's metadata say.

    Raises
    ------
    InputError
        It is no Parquet file of an archive's results, or of a later version.
    """
    name = display_name(path)
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{name} is no Parquet file that can be read.") from error
    facts: dict[str, Any] = json.loads(metadata.get(METADATA_KEY, b"{}"))
    if facts.get("schema") != SCHEMA:
        raise InputError(
            f"{name} has the schema {facts.get('schema', 'of another program')!r}, "
            f"not {SCHEMA!r}.",
            "Read it with the version of TumorLens that wrote it.",
        )
    return facts
