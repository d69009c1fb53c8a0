"""Where `tumorlens predict` writes: CSV, JSON and maps."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from tumorlens.cli._shared.output_files import STANDARD_OUTPUT, cannot_write
from tumorlens.inference.slice.results import Failure, Prediction
from tumorlens.report.slice.document import failure_to_json, prediction_to_json
from tumorlens.report.slice.overlay import encode_png, grey_png, render_overlay
from tumorlens.report.slice.table import CSV_COLUMNS, csv_row


class Output(Protocol):
    """Takes results one by one."""

    def write(self, result: Prediction | Failure) -> None:
        """Take one result."""


class CsvOutput:
    """One row a slice or failure, in the order of `CSV_COLUMNS`."""

    def __init__(self, file: IO[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(CSV_COLUMNS)

    def write(self, result: Prediction | Failure) -> None:
        """Write one row."""
        self._writer.writerow(csv_row(result))


class JsonOutput:
    """A JSON array of documents, written one by one.

    The array is closed however the work ends, so that the file can be read.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._before = "[\n"

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the array."""
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")
        self._file.flush()

    def write(self, result: Prediction | Failure) -> None:
        """Write one document."""
        document = (
            failure_to_json(result)
            if isinstance(result, Failure)
            else prediction_to_json(result)
        )
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        self._file.write(self._before + text)
        self._before = ",\n"


class MapsOutput:
    """Three pictures a slice: the evidence, Grad-CAM, and the overlay.

    Files are named after the input's stem. A second input with the same stem
    gets ``STEM-2``, a third ``STEM-3``; from the second slice of one file on,
    ``.sliceN`` follows, N as in the column ``slice``.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._used: set[str] = set()
        self._stem = ""

    def write(self, result: Prediction | Failure) -> None:
        """Write the three pictures of one slice."""
        if isinstance(result, Failure):
            return
        stem = self._name(result)
        explanation = result.explanation
        overlay = render_overlay(result.pixels, explanation, "evidence")
        pictures = {
            "evidence": grey_png(explanation.evidence),
            "gradcam": grey_png(explanation.gradcam),
            "overlay": encode_png(overlay),
        }
        for kind, data in pictures.items():
            path = self._folder / f"{stem}.{kind}.png"
            try:
                path.write_bytes(data)
            except OSError as error:
                raise cannot_write(str(path), error) from error

    def _name(self, result: Prediction) -> str:
        if result.index > 0:
            return f"{self._stem}.slice{result.index}"
        stem = first = Path(result.source).stem
        number = 1
        # Some file systems take names that differ in case only for one name.
        while stem.casefold() in self._used:
            number += 1
            stem = f"{first}-{number}"
        self._used.add(stem.casefold())
        self._stem = stem
        return stem


def open_outputs(
    stack: ExitStack, csv_path: str | None, json_path: str | None, maps: str | None
) -> list[Output]:
    """Open every output that was asked for.

    Parameters
    ----------
    stack
        Closes them.
    csv_path, json_path
        Files; ``-`` is the standard output.
    maps
        A folder that exists.

    Raises
    ------
    OutputError
        Where a file cannot be written.
    """
    outputs: list[Output] = []
    if csv_path is not None:
        outputs.append(CsvOutput(stack.enter_context(_open(csv_path))))
    if json_path is not None:
        file = stack.enter_context(_open(json_path))
        outputs.append(stack.enter_context(JsonOutput(file)))
    if maps is not None:
        outputs.append(MapsOutput(maps))
    return outputs


def _open(path: str) -> AbstractContextManager[IO[str]]:
    if path == STANDARD_OUTPUT:
        return nullcontext(sys.stdout)
    try:
        return Path(path).open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise cannot_write(path, error) from error
