"""`tumorlens predict`: files, folders and patterns in, predictions out."""

from __future__ import annotations

import csv
import glob
import json
import os
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

import click

from tumorlens.cli._shared import (
    STANDARD_OUTPUT,
    cannot_write,
    check_files,
    make_folder,
    model_option,
    operating_point_option,
    precision_option,
    share_heaps,
    threads_option,
    write_bytes,
)
from tumorlens.errors import InputError, MissingFileError, UnreadableFileError
from tumorlens.imaging.archive import archive_contents
from tumorlens.imaging.bids import GIVE_A_SCAN, reason_aside
from tumorlens.imaging.formats import (
    START_BYTES,
    SUFFIXES,
    WHAT_IS_READ,
    display_name,
    format_of,
    is_dicomdir,
    is_named_archive,
    natural_order,
    unknown_format,
)
from tumorlens.imaging.limits import MAX_FILE_BYTES
from tumorlens.imaging.read import belonging_files
from tumorlens.imaging.readers.detached import data_file_names
from tumorlens.imaging.study import left_out
from tumorlens.inference.classifier import DEFAULT_BATCH, Classifier, load_classifier
from tumorlens.inference.slice.prediction import Failure, Prediction
from tumorlens.report.slice.document import (
    RESEARCH_USE,
    csv_columns,
    csv_row,
    failure_to_json,
    prediction_to_json,
)
from tumorlens.report.slice.overlay import map_pictures
from tumorlens.report.words import headline, percent
from tumorlens.taxonomy import ClassName

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tumorlens.inference.clinical import ClinicalTable


ALL_READ, SOME_FAILED, NONE_READ = 0, 1, 2
_ENDINGS = tuple(sorted(SUFFIXES))

_NAMED = 5
"""Kinds of files that are passed over, of which a note tells."""

_MAP_THREADS = 2
_MAPS_AHEAD = 4
"""Slices whose maps may wait to be drawn: each holds its picture."""

_NARROWEST = 16
_REST = "  {finding:<54} {tumor:>10}  {domain:>6}"
_REST_WIDTH = len(_REST.format(finding="", tumor="", domain=""))


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--csv", "csv_path", metavar="F", help="Write a table to this file.")
@click.option(
    "--json",
    "json_path",
    metavar="F|-",
    help="Write a JSON array to this file, or with - to the standard output.",
)
@click.option(
    "--maps",
    metavar="DIR",
    help="Write STEM.evidence.png, STEM.gradcam.png and STEM.overlay.png for each "
    "slice into this folder. A second input of the same stem becomes STEM-2; "
    "further slices of one file become STEM.slice1, STEM.slice2 ...",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 1024),
    default=DEFAULT_BATCH,
    show_default=True,
    help="Slices in one forward pass.",
)
@click.option(
    "--clinical",
    "table_path",
    metavar="TABLE.csv",
    help="Also count these clinical columns; the column 'file' names the picture, or "
    "the folder or archive that holds a patient's pictures, from the table's folder.",
)
@threads_option
@precision_option
@operating_point_option
@model_option
def predict(
    paths: tuple[str, ...],
    csv_path: str | None,
    json_path: str | None,
    maps: str | None,
    batch: int,
    table_path: str | None,
    threads: int | None,
    precision: str,
    operating_point: str | None,
    model: str | None,
) -> int:
    """Say what MRI slices show, how sure that is, and where.

    PATH is a picture (PNG, JPEG, TIFF, BMP, WebP, GIF), an archive of pictures
    (zip, tar), a folder (searched with its subfolders) or a pattern. A file that
    cannot be read becomes a row with its error, and the rest goes on. Exit status:
    0 all read, 1 some failed, 2 wrong use or nothing could be read.

    For research use only: TumorLens is not a medical device.
    """
    share_heaps()
    check_files(csv_path, json_path)
    if maps is not None:
        make_folder(maps)
    notes: list[str] = []
    files = find_files(paths, notes)
    classifier = load_classifier(
        model, threads, side_by_side=len(files) > 1, precision=precision
    )
    table = None if table_path is None else _table(Path(table_path), classifier)
    rows = STANDARD_OUTPUT not in (csv_path, json_path)
    start = time.perf_counter()
    done = failed = alone = 0
    with ExitStack() as stack:
        screen = stack.enter_context(Screen(len(files), rows))
        classes = classifier.bundle.classes
        outputs = open_outputs(stack, csv_path, json_path, maps, classes)
        for result in _judge(classifier, files, batch, operating_point):
            if table is not None and isinstance(result, Prediction):
                place = table.place_of_file(result.source)
                row = None if place is None else table.rows[place]
                result = classifier.with_columns(result, row)
                alone += place is None
            screen.show(result)
            for output in outputs:
                output.write(result)
            failed += isinstance(result, Failure)
            done += isinstance(result, Prediction)
    seconds = time.perf_counter() - start
    facts = classifier.bundle
    click.echo(
        f"{done} slice{'' if done == 1 else 's'} in {seconds:.1f} s, {failed} failed; "
        f"{facts.name} {facts.version}, "
        f"{operating_point or facts.default_operating_point}.\n{RESEARCH_USE}",
        err=not rows,
    )
    for note in notes:
        click.echo(f"Note: {note}", err=not rows)
    if table is not None and alone:
        click.echo(
            f"{alone} of {done} slices have no row in {display_name(table.path)}; they "
            "were judged by the image alone.",
            err=True,
        )
    if done == 0:
        return NONE_READ
    return SOME_FAILED if failed else ALL_READ


def _table(path: Path, classifier: Classifier) -> ClinicalTable:
    """Read a table, and make sure that it fits the model and names files."""
    from tumorlens.inference.clinical import read_clinical_table

    model = classifier.clinical_model()
    table = read_clinical_table(path)
    if not table.by_file:
        raise InputError(
            f"{display_name(path)} does not say which files its rows are of: a picture "
            "does not tell whose it is.",
            "Add a column 'file': a picture's path, or that of a patient's folder.",
        )
    model.check_table(table)
    return table


def _judge(
    classifier: Classifier,
    files: Sequence[str | Failure],
    batch: int,
    operating_point: str | None,
) -> Iterator[Prediction | Failure]:
    """Keep the order, though folders without pictures have failed already."""
    for is_failure, group in groupby(files, lambda item: isinstance(item, Failure)):
        if is_failure:
            yield from (item for item in group if isinstance(item, Failure))
        else:
            paths = (item for item in group if isinstance(item, str))
            yield from classifier.predict_many(paths, batch, operating_point)


def find_files(
    paths: Iterable[str], notes: list[str] | None = None
) -> list[str | Failure]:
    """List the files that paths, folders and patterns stand for.

    Parameters
    ----------
    paths
        A file is taken whatever its name; of a folder, searched through all
        its subfolders, every file that is a picture or an archive of pictures by
        its ending or its content and does not start with a dot, but for what by
        its name is no image; of a pattern (``*``, ``?``,
        ``[...]``, ``**``) every match.
    notes
        Notes of the files of a folder that were skipped.

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
    aside: list[tuple[str, InputError]] = []
    known: list[InputError] = []
    empty = True
    for place, folders, files in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        belonging = belonging_files(Path(place), files)
        for name in sorted(files, key=natural_order):
            path = Path(place, name)
            if name.startswith(".") or name in belonging:
                continue
            reason = reason_aside(name)
            if reason:
                error = InputError(f"{display_name(path)} {reason}.", GIVE_A_SCAN)
                aside.append((display_name(path), error))
                continue
            if name.lower().endswith(_ENDINGS):
                empty = False
                yield str(path)
                continue
            start = _start_of(path)
            if _is_picture(path, start):
                empty = False
                yield str(path)
            elif not is_dicomdir(start):
                others[path.suffix.lower() or "no ending"] += 1
                foreign = unknown_format(start, display_name(path))
                if foreign.hint != WHAT_IS_READ:
                    known.append(foreign)
    for problem in refused:
        place = display_name(problem.filename or folder)
        yield _failure(place, UnreadableFileError(f"{place} cannot be opened."))
    notes += left_out(aside)
    reasons = [*(error for _, error in aside), *known]
    if empty and not refused and reasons:
        # What is nearest to a picture says best why there is none.
        yield _failure(folder, reasons[0])
    elif empty and not refused:
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


def _is_picture(path: Path, start: bytes) -> bool:
    """Tell by its content whether a file, whose name does not say it, can be read."""
    if is_named_archive(start, path.name):
        return _holds_pictures(path)
    return format_of(start) is not None or bool(data_file_names(start, path.name))


def _holds_pictures(path: Path) -> bool:
    """Tell whether an archive holds a picture, or is broken: reading it tells more."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return True
        contents = archive_contents(path.read_bytes(), path.name, [])
        return next(contents, None) is not None
    except (InputError, OSError):
        return True


def _start_of(path: Path) -> bytes:
    """Read the first bytes of an ordinary file; none of anything else."""
    try:
        if not path.is_file() or path.is_symlink():
            return b""
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError:
        return b""


def _failure(path: str, error: InputError) -> Failure:
    return Failure.of(display_name(path), error)


class Screen:
    """Prints a row for each result as it comes, with a bar below on a terminal.

    Parameters
    ----------
    total
        Number of files.
    rows
        Whether to print rows; errors are printed in any case.
    """

    def __init__(self, total: int, rows: bool) -> None:
        self._rows = rows
        self._total = total
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._said: tuple[str, tuple[str, ...]] = ("", ())
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
                finding="Finding",
                tumor="Any tumour",
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
                self._line(result.source, finding=f"Failed: {result.code}")
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
            name = f"{name} slice {result.index + 1}"
        # What the model does not know has no probability, not even here.
        p_tumor = decision.p_tumor
        self._line(
            name,
            finding=headline(result),
            tumor="-" if p_tumor is None else percent(p_tumor),
            domain=f"{decision.domain_score:.2f}",
        )
        # Of a file or archive of many slices they are said once.
        source_notes = (result.source.partition("#")[0], result.notes)
        for note in result.notes if source_notes != self._said else ():
            click.echo(f"  Note: {note}")
        self._said = source_notes

    def _line(self, name: str, finding: str, **cells: str) -> None:
        if self._shorten and len(name) > self._width:
            name = "…" + name[1 - self._width :]
        empty = {"tumor": "", "domain": ""}
        rest = _REST.format(finding=finding, **(empty | cells))
        click.echo(f"{name:<{self._width}}{rest}".rstrip())


class Output(Protocol):
    """Takes results one by one."""

    def write(self, result: Prediction | Failure) -> None:
        """Take one result."""


class CsvOutput:
    """One row a slice or failure, in the order of `csv_columns`."""

    def __init__(self, file: IO[str], classes: Sequence[ClassName]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(csv_columns(classes))
        self._classes = classes

    def write(self, result: Prediction | Failure) -> None:
        """Write one row."""
        self._writer.writerow(csv_row(result, self._classes))


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
    ``.sliceN`` follows, N as in the column ``slice``. They are drawn in threads, while
    the next slices are judged; all are there once the work ends.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._used: set[str] = set()
        self._stem = ""
        self._pool = ThreadPoolExecutor(_MAP_THREADS, thread_name_prefix="maps")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what is being drawn, and raise what went wrong."""
        self._pool.shutdown(wait=True, cancel_futures=error is not None)
        while error is None and self._waiting:
            self._waiting.popleft().result()

    def write(self, result: Prediction | Failure) -> None:
        """Have the three pictures of one slice written.

        Raises
        ------
        OutputError
            Where those of this slice or an earlier one cannot be written.
        """
        if isinstance(result, Failure):
            return
        stem = self._name(result)
        self._waiting.append(self._pool.submit(self._draw, result, stem))
        if len(self._waiting) > _MAPS_AHEAD:
            self._waiting.popleft().result()

    def _draw(self, result: Prediction, stem: str) -> None:
        for kind, data in map_pictures(result).items():
            write_bytes(self._folder / f"{stem}.{kind}.png", data)

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
    stack: ExitStack,
    csv_path: str | None,
    json_path: str | None,
    maps: str | None,
    classes: Sequence[ClassName],
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
    classes
        The bundle's.

    Raises
    ------
    OutputError
        Where a file cannot be written.
    """
    outputs: list[Output] = []
    if csv_path is not None:
        outputs.append(CsvOutput(stack.enter_context(_open(csv_path)), classes))
    if json_path is not None:
        file = stack.enter_context(_open(json_path))
        outputs.append(stack.enter_context(JsonOutput(file)))
    if maps is not None:
        outputs.append(stack.enter_context(MapsOutput(maps)))
    return outputs


def _open(path: str) -> AbstractContextManager[IO[str]]:
    if path == STANDARD_OUTPUT:
        return nullcontext(sys.stdout)
    try:
        return Path(path).open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise cannot_write(path, error) from error
