"""A run over an archive: list, plan, estimate, judge, and write each part once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from tumorlens.errors import InputError, OutputError
from tumorlens.imaging.formats import display_name
from tumorlens.scale.archive.ledger import (
    STATE_FOLDER,
    Inventory,
    Ledger,
    PartCounts,
    PartTask,
    RunFacts,
)
from tumorlens.scale.archive.parquet import (
    CLASSES_FACT,
    part_path,
    read_facts,
    write_part,
)
from tumorlens.scale.archive.part_worker import PartResult, PartWorker
from tumorlens.scale.archive.sources import (
    ListedFile,
    archive_file,
    list_files,
    open_source,
)
from tumorlens.scale.archive.workers import HeaderTask, Workers

_FILES_OF_A_HEADER_TASK = 256
_SAMPLE_UNITS = 6
_SAMPLE_SLICES = 64

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Estimate:
    """What a run will take, from a few of its own files.

    Parameters
    ----------
    slices
        Slices that are still to be judged, about.
    rate
        Slices a second of one worker, reading included; 0 where none of the sample
        could be judged.
    workers
        Their number.
    measured
        Slices that were judged for it.
    row_bytes
        Bytes of one row before they are compressed.
    """

    slices: int
    rate: float
    workers: int
    measured: int
    row_bytes: float

    @property
    def seconds(self) -> float:
        """Time that the run will take; 0 where nothing could be measured."""
        return self.slices / (self.rate * self.workers) if self.rate else 0.0

    @property
    def worker_hours(self) -> float:
        """Time of all workers together, in hours."""
        return self.seconds * self.workers / 3600.0

    @property
    def result_bytes(self) -> int:
        """Size that the results, without maps and DICOM, will hardly pass, in bytes."""
        return round(self.slices * self.row_bytes)


class ArchiveRun:
    """One run into one folder; a context manager.

    What is done stays done: every method may be called again after the process was
    killed, and goes on from where it was.

    Parameters
    ----------
    folder
        DEST.
    facts
        What is asked for.

    Raises
    ------
    OutputError
        The folder cannot be used, or another run works in it.
    SettingError
        It holds the results of another call.
    """

    def __init__(self, folder: Path, facts: RunFacts) -> None:
        self._folder = folder
        self._facts = facts
        _check_folder(folder)
        self._ledger = Ledger(folder)
        try:
            self._ledger.start(facts)
        except BaseException:
            self._ledger.__exit__(None, None, None)
            raise

    def __enter__(self) -> ArchiveRun:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Unlock the folder."""
        self._ledger.__exit__(None, None, None)

    @property
    def is_planned(self) -> bool:
        """Whether the archive was listed before; new files in it are not looked for."""
        return self._ledger.is_planned

    def list_archive(self, workers: Workers, progress: Progress) -> Inventory:
        """List every file, read its header, and cut the archive into parts.

        Parameters
        ----------
        workers
            Read the headers.
        progress
            Called with how many more files are known.

        Raises
        ------
        DatasetError, InputError, SettingError, SourceDownError
            A source cannot be listed.
        """
        ledger = self._ledger
        if not ledger.is_planned:
            for number, given in enumerate(self._facts.sources):
                self._list_source(number, given, workers, progress)
            ledger.plan(self._facts.part_size)
        return ledger.inventory()

    def _list_source(
        self, number: int, given: str, workers: Workers, progress: Progress
    ) -> None:
        ledger, source = self._ledger, open_source(given)
        ledger.add_source(number, source)
        listed = list_files(given)
        batches: dict[int, Sequence[ListedFile]] = {}
        places = count()

        def tasks() -> Iterator[HeaderTask]:
            while files := list(islice(listed, _FILES_OF_A_HEADER_TASK)):
                unknown = ledger.unknown_files(number, files)
                progress(len(files) - len(unknown))
                if unknown:
                    batches[next(places)] = unknown
                    yield (
                        [archive_file(source, file.path) for file in unknown],
                        [file.asked_for for file in unknown],
                    )

        for place, headers in workers.read_headers(tasks()):
            files = batches.pop(place)
            ledger.add_files(number, zip(files, headers, strict=True))
            progress(len(files))

    def recover(self) -> int:
        """Find out what is done, by the files that stand in their places.

        A part whose file was moved into place and not yet noted is done; one that was
        noted and whose file is gone has to be done again.

        Returns
        -------
        int
            Number of parts that are done.
        """
        for unfinished in self._ledger.state.glob("*.unfinished"):
            unfinished.unlink()
        ledger = self._ledger
        for number in ledger.part_numbers(done=True):
            if not (self._folder / part_path(number)).is_file():
                ledger.reopen(number)
        for number in ledger.part_numbers(done=False):
            counts = self._found(number)
            if counts is not None:
                ledger.finish(number, counts)
        return sum(1 for _ in ledger.part_numbers(done=True))

    def _found(self, number: int) -> PartCounts | None:
        path = self._folder / part_path(number)
        if not path.is_file():
            return None
        try:
            facts = read_facts(path)
        except InputError:
            return None
        return PartCounts(facts["slices"], facts["failed"], facts["seconds"])

    def estimate(self, worker: PartWorker, workers: int) -> Estimate:
        """Measure a few units, spread over what is still to be done.

        Parameters
        ----------
        worker
            Judges them; their rows are thrown away.
        workers
            How many the run will have.
        """
        left = self._ledger.remaining_slices()
        task = self._ledger.sample(_SAMPLE_UNITS, _SAMPLE_SLICES)
        if not task.units:
            return Estimate(0, 0.0, workers, 0, 0.0)
        # The first pass of a session takes longer than all others.
        worker.judge(PartTask(0, task.units[:1]))
        result = worker.judge(task)
        counts, table = result.counts, result.table
        rate = counts.slices / counts.seconds if counts.slices else 0.0
        row_bytes = table.nbytes / max(1, table.num_rows)
        return Estimate(left, rate, workers, counts.slices, row_bytes)

    def judge(self, workers: Workers, progress: Progress) -> PartCounts:
        """Judge every part that is not done, and write it.

        Parameters
        ----------
        workers
            Judge the parts.
        progress
            Called with how many more slices and failures are written.

        Returns
        -------
        PartCounts
            Counts of all parts, those that were done before among them.

        Raises
        ------
        OutputError
            A result cannot be written.
        SourceDownError
            An object store does not answer.
        """
        for result in workers.judge(self._ledger.open_parts()):
            self._write(result)
            progress(result.counts.slices + result.counts.failed)
        return self._ledger.counts()

    def _write(self, result: PartResult) -> None:
        counts = result.counts
        # The part goes last: where it stands, its maps and DICOM results do.
        for name, data in result.files.items():
            path = self._folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            except OSError as error:
                reason = (error.strerror or "unknown reason").lower()
                raise OutputError(
                    f"{display_name(path)} cannot be written: {reason}."
                ) from error
        facts: dict[str, Any] = {
            "part": result.number,
            "software": self._facts.software,
            "model": self._facts.model,
            "operating_point": self._facts.operating_point,
            "slices": counts.slices,
            "failed": counts.failed,
            "seconds": round(counts.seconds, 3),
        }
        if self._facts.own_classes:
            facts[CLASSES_FACT] = list(self._facts.own_classes)
        path = self._folder / part_path(result.number)
        write_part(result.table, path, self._ledger.state, facts)
        self._ledger.finish(result.number, counts)


def _check_folder(folder: Path) -> None:
    """Refuse a folder with Parquet of somebody else: all of it would be results."""
    if (folder / STATE_FOLDER).exists() or not folder.is_dir():
        return
    if next(folder.rglob("*.parquet"), None) is not None:
        raise OutputError(
            f"{display_name(folder)} holds other Parquet files.",
            "Give an empty folder: all Parquet below it counts as results.",
        )
