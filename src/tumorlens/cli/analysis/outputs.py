"""Where `tumorlens predict` shows and writes: the terminal, CSV, JSON and maps.

Tested in `tests/cli/analysis/test_predict.py`.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

import click

from tumorlens.cli._shared.output_files import STANDARD_OUTPUT, cannot_write
from tumorlens.inference.slice.results import Failure, Prediction
from tumorlens.report.slice.document import (
    CSV_COLUMNS,
    csv_row,
    failure_to_json,
    prediction_to_json,
)
from tumorlens.report.slice.overlay import map_pictures
from tumorlens.taxonomy import INFO, Verdict, decision_title

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


_NARROWEST = 16
_REST = "  {decision:<34} {tumor:>7}  {predicted:<24} {domain:>6}"
_REST_WIDTH = len(_REST.format(decision="", tumor="", predicted="", domain=""))


class Screen:
    """Prints a row for each result as it comes, with a bar below on a terminal.

    Parameters
    ----------
    total
        How many files there are.
    rows
        Whether to print rows; errors are printed in any case.
    """

    def __init__(self, total: int, rows: bool) -> None:
        self._rows = rows
        self._total = total
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last = ""
        columns = shutil.get_terminal_size((120, 24)).columns
        self._width = max(_NARROWEST, columns - _REST_WIDTH - 1)
        self._shorten = sys.stdout.isatty()

    def __enter__(self) -> Self:
        """Start the bar and print the heads of the columns."""
        # Imported only where a bar is shown: rich takes a while to load.
        if self._total > 1 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("Reading", total=self._total)
        if self._rows:
            self._line(
                "File",
                decision="Decision",
                tumor="Tumour",
                predicted="Most probable",
                domain="Domain",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, result: Prediction | Failure) -> None:
        """Print one result."""
        if isinstance(result, Failure):
            if self._rows:
                self._line(result.source, decision=f"failed: {result.code}")
            click.echo(f"Error: {result.message} {result.hint}".rstrip(), err=True)
        elif self._rows:
            self._show_prediction(result)
        first = isinstance(result, Failure) or result.index == 0
        if self._bar is not None and self._task is not None and first:
            self._bar.advance(self._task)

    def _show_prediction(self, result: Prediction) -> None:
        decision = result.decision
        name = result.source
        if result.index > 0:
            name = f"{name} slice {result.index}"
        share = decision.probabilities[decision.predicted]
        tumor = f"{decision.p_tumor:.1%}"
        predicted = f"{INFO[decision.predicted].title} {share:.1%}"
        # What the model does not know it cannot call free of tumour, not even here.
        if decision.label is Verdict.NOT_BRAIN_MRI:
            tumor = predicted = "-"
        self._line(
            name,
            decision=decision_title(decision.label),
            tumor=tumor,
            predicted=predicted,
            domain=f"{decision.domain_score:.2f}",
        )

    def _line(self, name: str, decision: str, **cells: str) -> None:
        if self._shorten and len(name) > self._width:
            name = "…" + name[1 - self._width :]
        empty = {"tumor": "", "predicted": "", "domain": ""}
        rest = _REST.format(decision=decision, **(empty | cells))
        click.echo(f"{name:<{self._width}}{rest}".rstrip())


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
        for kind, data in map_pictures(result).items():
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
