"""A worker: reads a part's files, judges their slices, makes its rows."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tumorlens.errors import (
    InputError,
    MissingFileError,
    TooLargeError,
    TooManyBrokenError,
)
from tumorlens.imaging.dicom.frames import Frame, frames_of
from tumorlens.imaging.dicom.grouping import arrange
from tumorlens.imaging.dicom.header import (
    numbers,
    quiet,
    text,
)
from tumorlens.imaging.formats import START_BYTES, display_name, is_dicom
from tumorlens.imaging.limits import MAX_STUDY_PIXELS, BrokenFiles
from tumorlens.imaging.read import read_study
from tumorlens.imaging.readers.detached import data_file_names, joined
from tumorlens.imaging.study import Series, Slice, Study, left_out
from tumorlens.inference.bundle.bundle import FACTS_FILE
from tumorlens.inference.bundle.facts import FLOAT32
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.slice.prediction import Failure, Prediction
from tumorlens.report.slice.document import csv_row
from tumorlens.report.slice.overlay import map_pictures
from tumorlens.scale.archive.ledger import PartCounts, PartTask
from tumorlens.scale.archive.parquet import (
    DICOM_FOLDER,
    MAPS_FOLDER,
    OK,
    file_stem,
    prediction_cells,
    row_schema,
    table_of,
)
from tumorlens.scale.archive.sources import (
    ArchiveFile,
    FileHeader,
    is_url,
    read_file,
    read_headers,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

COPY = "copy"
"""Status of a file that repeats another one of its series."""

_READERS = 2
_SLICES_AT_ONCE = 16
_UNITS_AHEAD = 4
_FILES_AHEAD = 256
_LONGEST_WORD = 64
_WORDS = {
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "manufacturer": "Manufacturer",
    "scanner": "ManufacturerModelName",
}
_GAUSS = 100.0
"""Above, a field strength is meant in gauss: no magnet has so many tesla."""


@dataclass(frozen=True)
class PartResult:
    """The rows of one part, and the maps that go with them.

    Parameters
    ----------
    number
        Number of the part.
    table
        Its rows, in the order of its files and their slices.
    files
        Maps and DICOM results by their name below DEST; empty where nobody asked.
    counts
        What came of it.
    """

    number: int
    table: pa.Table
    files: dict[str, bytes]
    counts: PartCounts


@dataclass(frozen=True)
class _Stack:
    """A series of DICOM slices that is also judged as a whole.

    Parameters
    ----------
    series, notes
        The series, and what was left out or parted when it was read.
    """

    series: Series
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _ReadSlice:
    """A slice on its way to its row.

    Parameters
    ----------
    slice
        The slice.
    acquisition
        What its header says, by column.
    stack
        The series that it is of; None where it is of no DICOM series of several.
    """

    slice: Slice
    acquisition: dict[str, Any]
    stack: _Stack | None = None


@dataclass(frozen=True)
class _ReadUnit:
    """A unit's slices and failures.

    Parameters
    ----------
    items
        Slices and failures, in the order of the rows.
    alone
        Files that are too much to be read together, to be read one by one.
    """

    items: list[_ReadSlice | Failure]
    alone: tuple[ArchiveFile, ...] = field(default=())


class PartWorker:
    """One network session and all that it takes to judge parts.

    Parameters
    ----------
    model
        Folder of a bundle; None for the one that is shipped.
    threads
        Threads of one forward pass; None for one each physical core.
    operating_point
        A name of the bundle; None for its own choice.
    maps
        Whether to make the maps' pictures.
    dicom
        Whether to judge DICOM series as a whole too, and make results of them.

    Raises
    ------
    BundleError, SettingError
        As `load_classifier` raises them.
    """

    def __init__(
        self,
        model: str | None,
        threads: int | None,
        operating_point: str | None,
        maps: bool,
        dicom: bool = False,
    ) -> None:
        # Of whatever machine: parts of an archive are judged alike.
        self._classifier = load_classifier(model, threads, precision=FLOAT32)
        self.operating_point = self._classifier.point(operating_point)
        self._maps = maps
        self._of_series = SeriesClassifier(self._classifier) if dicom else None
        bundle = self._classifier.bundle
        self.own_classes = tuple(map(str, bundle.classes * bundle.has_own_classes))
        self._classes = bundle.classes
        self._schema = row_schema(bundle.classes)
        self._model = f"{bundle.name} {bundle.version}"

    def model(self) -> str:
        """Return the bundle's name and version, and a digest of all that it states."""
        description = (Path(self._classifier.bundle.folder) / FACTS_FILE).read_bytes()
        return f"{self._model} ({hashlib.sha256(description).hexdigest()[:16]})"

    def read_headers(
        self, files: Sequence[ArchiveFile], asked_for: Sequence[bool]
    ) -> list[FileHeader]:
        """Read the starts of files; see `read_headers`."""
        return read_headers(files, asked_for)

    def judge(self, task: PartTask) -> PartResult:
        """Judge a part.

        Batches do not reach beyond a part, so that its rows depend on nothing else.

        Parameters
        ----------
        task
            Complete in itself.

        Raises
        ------
        SourceDownError
            An object store does not answer.
        """
        start = time.perf_counter()
        rows: list[dict[str, Any]] = []
        files: dict[str, bytes] = {}
        failed = 0
        stack: _Stack | None = None
        first = 0
        for result, item in self._results(task):
            row = {
                **prediction_cells(csv_row(result, self._classes), self._schema),
                **({} if item is None else item.acquisition),
                "model": self._model,
                "operating_point": self.operating_point,
            }
            failed += isinstance(result, Failure)
            if self._maps and isinstance(result, Prediction):
                row["maps"] = stem = file_stem(task.number, len(rows))
                for kind, picture in map_pictures(result).items():
                    files[f"{MAPS_FOLDER}/{stem}.{kind}.png"] = picture
            here = None if item is None else item.stack
            if here is not stack:
                # No more than one series is held: it is judged when it is complete.
                self._judge_stack(stack, task.number, first, rows, files)
                stack, first = here, len(rows)
            rows.append(row)
        self._judge_stack(stack, task.number, first, rows, files)
        counts = PartCounts(len(rows) - failed, failed, time.perf_counter() - start)
        table = table_of(rows, self._schema)
        return PartResult(task.number, table, files, counts)

    def _judge_stack(
        self,
        stack: _Stack | None,
        part: int,
        first: int,
        rows: list[dict[str, Any]],
        files: dict[str, bytes],
    ) -> None:
        """Judge a series as `scan` does, make its results, and name them in its rows.

        Parameters
        ----------
        stack
            The series; None for none.
        part
            Number of the part.
        first, rows
            Its rows are those from the first on.
        files
            Receives the results.
        """
        if stack is None or self._of_series is None:
            return
        # Takes long to import, and only this output needs it.
        from tumorlens.report.dicom.results import RESULT_KINDS, results_of

        try:
            prediction = self._of_series.predict(stack.series, self.operating_point)
            name = self._classifier.bundle.name
            judged = results_of(stack.series, prediction, name, notes=stack.notes)
        except InputError as error:
            told: dict[str, str] = {"dicom_status": error.code}
        else:
            stem = file_stem(part, first)
            told = {"dicom": stem, "dicom_status": OK}
            for kind, data in zip(RESULT_KINDS, judged.results, strict=False):
                files[f"{DICOM_FOLDER}/{stem}.{kind}.dcm"] = data
        for row in rows[first:]:
            row.update(told)

    def _results(
        self, task: PartTask
    ) -> Iterator[tuple[Prediction | Failure, _ReadSlice | None]]:
        items = _read_ahead(task.units)
        # Slices are judged in batches across files; failures keep their place.
        while batch := list(islice(items, _SLICES_AT_ONCE)):
            slices = [item.slice for item in batch if not isinstance(item, Failure)]
            judged = self._classifier.predict_slices(slices, self.operating_point)
            for item in batch:
                if isinstance(item, Failure):
                    yield item, None
                else:
                    yield next(judged), item


def _read_ahead(
    units: Sequence[tuple[ArchiveFile, ...]],
) -> Iterator[_ReadSlice | Failure]:
    """Read units in threads, a few ahead, in order."""
    queue: deque[tuple[Future[_ReadUnit], int]] = deque()
    ahead = 0
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
    waiting = deque(units)
    try:
        while queue or waiting:
            while waiting and (
                not queue
                or (
                    len(queue) < _UNITS_AHEAD
                    and ahead + len(waiting[0]) <= _FILES_AHEAD
                )
            ):
                unit = waiting.popleft()
                queue.append((pool.submit(_read_unit, unit), len(unit)))
                ahead += len(unit)
            future, files = queue.popleft()
            ahead -= files
            unit_read = future.result()
            yield from unit_read.items
            for file in unit_read.alone:
                yield from _read_alone(file).items
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read_unit(files: tuple[ArchiveFile, ...]) -> _ReadUnit:
    return _read_alone(files[0]) if len(files) == 1 else _read_series(files)


def _read_alone(file: ArchiveFile) -> _ReadUnit:
    """Read one file, whatever its format."""
    try:
        study = _read_study(file)
    except InputError as error:
        return _ReadUnit([_failure(file.name, error)])
    return _ReadUnit(
        [item for series in study.series for item in _series_items(series, study.notes)]
    )


def _read_study(file: ArchiveFile) -> Study:
    if not is_url(file.location):
        path = Path(file.location)
        # A folder that stands for itself is closed or empty, and not to be searched.
        return read_study(read_file(file) if path.is_dir() else path, file.name)
    data = read_file(file)
    folder, _, name = file.location.rpartition("/")
    seconds = data_file_names(data, name) if len(data) <= START_BYTES else ()
    for second in seconds:
        with suppress(MissingFileError):
            beside = ArchiveFile(f"{folder}/{second}", display_name(second))
            data = joined(data, read_file(beside), file.name)
            break
    return read_study(data, file.name)


def _read_series(files: tuple[ArchiveFile, ...]) -> _ReadUnit:
    """Read the files of one DICOM series, wherever they lie; each gets its row."""
    frames: list[Frame] = []
    failures: list[tuple[str, InputError]] = []
    broken = BrokenFiles("The series")
    pixels = 0
    try:
        for file in files:
            with broken.passing_over(file.name, failures):
                data = read_file(file)
                # It may have been replaced since its header was read.
                if not is_dicom(data):
                    raise InputError(f"{file.name} is no longer a DICOM file.")
                read = frames_of(data, file.name)
                pixels += sum(frame.slice.pixels.size for frame in read)
                frames += read
            if pixels > MAX_STUDY_PIXELS:
                raise TooLargeError("The series holds too many pixels.")
    except (TooLargeError, TooManyBrokenError):
        return _ReadUnit([], files)
    arranged = arrange(frames)
    notes = (*arranged.notes, *left_out(failures))
    items = [
        item for series in arranged.series for item in _series_items(series, notes)
    ]
    told = {item.slice.source for item in items if not isinstance(item, Failure)}
    for name, error in (*failures, *arranged.failures):
        if name not in told:
            told.add(name)
            items.append(_failure(name, error))
    items += [_copy(file.name) for file in files if file.name not in told]
    return _ReadUnit(items)


def _series_items(
    series: Series, notes: tuple[str, ...]
) -> Iterator[_ReadSlice | Failure]:
    if not series.headers:
        for slice_ in series.slices:
            yield _ReadSlice(slice_, _plane_of(slice_))
        return
    stack = _Stack(series, notes) if len(series.slices) > 1 else None
    for slice_, header in zip(series.slices, series.headers, strict=True):
        acquisition = {**_plane_of(slice_), **acquisition_of(header)}
        yield _ReadSlice(slice_, acquisition, stack)


def _plane_of(slice_: Slice) -> dict[str, Any]:
    return {"plane": None if slice_.plane is None else slice_.plane.value}


def acquisition_of(header: Dataset) -> dict[str, Any]:
    """Read what a DICOM header says of the acquisition, and nothing of the patient.

    Parameters
    ----------
    header
        Header of one slice.

    Returns
    -------
    dict
        The columns of `ACQUISITION_FIELDS` but the plane. The field strength is in
        tesla; of the date the month alone is kept.
    """
    # Values are parsed when they are asked for, and warnings would quote them.
    with quiet():
        date = text(header, "StudyDate") or text(header, "SeriesDate")
        strength = numbers(header, "MagneticFieldStrength", 1)
        words = {name: _word(header, keyword) for name, keyword in _WORDS.items()}
    is_date = len(date) == 8 and date.isdecimal()
    tesla = None if strength is None else strength[0]
    if tesla is not None and tesla > _GAUSS:
        tesla /= 10_000.0
    return {
        **words,
        "month": f"{date[:4]}-{date[4:6]}" if is_date else None,
        "field_strength": tesla,
    }


def _word(header: Dataset, keyword: str) -> str | None:
    value = text(header, keyword)[:_LONGEST_WORD]
    shown = "".join(char if char.isprintable() else " " for char in value).strip()
    return shown or None


def _failure(name: str, error: InputError) -> Failure:
    return Failure(name, error.code, error.message, error.hint)


def _copy(name: str) -> Failure:
    return Failure(name, COPY, f"{name} repeats another file of its series.", "")
