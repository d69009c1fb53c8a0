"""The state of a run in ``DEST/_state``: files, parts, and which of them are done.

SQLite keeps it on the disk: memory does not grow with the archive, and a process that
is killed leaves it whole.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tumorlens.errors import OutputError, SettingError
from tumorlens.imaging.formats import display_name
from tumorlens.scale.archive.sources import (
    ArchiveFile,
    FileHeader,
    ListedFile,
    Source,
    archive_file,
)

STATE_FOLDER = "_state"
_LEDGER_FILE = "ledger.sqlite"
_LOCK_FILE = "lock.sqlite"
_VERSION = 1
_FACTS = "facts"
_PLANNED = "planned"

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sources (
    id INTEGER PRIMARY KEY, given BLOB NOT NULL, base BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL,
    path BLOB NOT NULL,
    is_picture INTEGER NOT NULL,
    size INTEGER NOT NULL,
    slices INTEGER NOT NULL,
    series TEXT,
    unit INTEGER,
    part INTEGER,
    UNIQUE (source, path)
);
CREATE TABLE IF NOT EXISTS parts (
    id INTEGER PRIMARY KEY,
    is_done INTEGER NOT NULL DEFAULT 0,
    slices INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0
);
"""

# A unit is what is read together: the files of one series, or one other file. Its
# number is the rank of its first file by source and path, so that the plan depends
# on the archive alone and not on the order in which a file system lists it.
_UNITS = """
CREATE TABLE ranked AS
    SELECT id, row_number() OVER (ORDER BY source, path) AS rank, slices,
           coalesce('s' || series, 'f' || id) AS key
    FROM files WHERE is_picture;
CREATE TABLE units AS
    SELECT key, min(rank) AS unit, sum(slices) AS slices, 0 AS part
    FROM ranked GROUP BY key;
CREATE UNIQUE INDEX units_by_key ON units (key);
CREATE UNIQUE INDEX units_by_unit ON units (unit);
"""
_ASSIGN = """
CREATE UNIQUE INDEX ranked_by_id ON ranked (id);
UPDATE files SET (unit, part) = (
    SELECT units.unit, units.part FROM ranked JOIN units ON units.key = ranked.key
    WHERE ranked.id = files.id
) WHERE is_picture;
DROP TABLE units;
DROP TABLE ranked;
CREATE INDEX files_by_part ON files (part, unit);
CREATE INDEX files_by_unit ON files (unit);
INSERT INTO parts (id) SELECT DISTINCT part FROM files WHERE part IS NOT NULL;
"""


@dataclass(frozen=True)
class RunFacts:
    """What a run was asked for, which no later one into the same folder may change.

    Parameters
    ----------
    sources
        Sources as the user gave them.
    folder
        Where relative ones start.
    software
        Version of TumorLens.
    model
        Name and version of the bundle, and the digest of its description.
    operating_point
        Its name.
    part_size
        Slices in one part, about.
    maps
        Whether maps are written.
    own_classes
        Classes of a user's own, in the model's order; none for the four. They are the
        model's, so that they change with it alone.
    dicom
        Whether DICOM results are written.
    """

    sources: tuple[str, ...]
    folder: str
    software: str
    model: str
    operating_point: str
    part_size: int
    maps: bool
    own_classes: tuple[str, ...] = ()
    dicom: bool = False


@dataclass(frozen=True)
class PartTask:
    """The work of one part, complete in itself: any worker on any machine can do it.

    Parameters
    ----------
    number
        Number of the part, from 0.
    units
        Files that are read together, in the order of the rows.
    """

    number: int
    units: tuple[tuple[ArchiveFile, ...], ...]


@dataclass(frozen=True)
class PartCounts:
    """What came of one part, or of all parts together.

    Parameters
    ----------
    slices
        Slices that were judged.
    failed
        Rows of files that could not be used.
    seconds
        Time that workers took.
    """

    slices: int
    failed: int
    seconds: float


@dataclass(frozen=True)
class Inventory:
    """What the sources hold.

    Parameters
    ----------
    files
        Files to be judged.
    skipped
        Files of folders that are no picture.
    slices
        Slices in those files, as far as their starts tell.
    size
        Their bytes.
    parts
        Number of parts.
    """

    files: int
    skipped: int
    slices: int
    size: int
    parts: int


class Ledger:
    """The files and parts of one run; open in one process at a time.

    Parameters
    ----------
    folder
        DEST; made where it is missing.

    Raises
    ------
    OutputError
        The folder cannot be written, holds something else, or another run works in
        it.
    """

    def __init__(self, folder: Path) -> None:
        self.state = folder / STATE_FOLDER
        self._name = display_name(folder)
        try:
            self.state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise OutputError(f"{self._name} cannot be made: {reason}.") from error
        self._lock = self._locked()
        try:
            self._base = sqlite3.connect(self.state / _LEDGER_FILE)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.executescript(_TABLES)
        except sqlite3.Error as error:
            self._lock.close()
            raise OutputError(
                f"The state of {self._name} cannot be opened: {error}.",
                "Give another folder, or one whose disk has room.",
            ) from error

    def _locked(self) -> sqlite3.Connection:
        """Lock the folder until this process ends, however it ends."""
        try:
            lock = sqlite3.connect(self.state / _LOCK_FILE, timeout=0)
            lock.isolation_level = None
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            raise OutputError(
                f"Another run works in {self._name}.",
                "Wait until it ends, or give another folder.",
            ) from error
        return lock

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the ledger and unlock the folder."""
        self._base.close()
        self._lock.close()

    def start(self, facts: RunFacts) -> None:
        """Note what is asked for, or make sure that it is what was asked for before.

        Raises
        ------
        SettingError
            The folder holds the results of another call.
        """
        asked = {
            "version": _VERSION,
            "sources": list(facts.sources),
            "folder": facts.folder,
            "software": facts.software,
            "model": facts.model,
            "operating_point": facts.operating_point,
            "part_size": facts.part_size,
            "maps": facts.maps,
            "dicom": facts.dicom,
        }
        before = self._fact(_FACTS)
        if before is None:
            with self._base:
                self._set_fact(_FACTS, json.dumps(asked))
            return
        # Runs of earlier versions did not write any.
        stored: Mapping[str, object] = {"dicom": False, **json.loads(before)}
        other = [name for name, value in asked.items() if stored.get(name) != value]
        if other:
            differences = "; ".join(
                f"{name.replace('_', ' ')}: {_shown(stored.get(name))}, "
                f"now {_shown(asked[name])}"
                for name in other
            )
            raise SettingError(
                f"{self._name} holds the results of another call ({differences}).",
                "Give the same call, or another folder.",
            )

    def _fact(self, name: str) -> str | None:
        row = self._base.execute(
            "SELECT value FROM facts WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else str(row[0])

    def _set_fact(self, name: str, value: str) -> None:
        self._base.execute("REPLACE INTO facts VALUES (?, ?)", (name, value))

    @property
    def is_planned(self) -> bool:
        """Whether every file is listed and has its part."""
        return self._fact(_PLANNED) is not None

    def add_source(self, number: int, source: Source) -> None:
        """Note a source, which its files refer to by number."""
        with self._base:
            self._base.execute(
                "REPLACE INTO sources VALUES (?, ?, ?)",
                (number, os.fsencode(source.given), os.fsencode(source.base)),
            )

    def unknown_files(
        self, source: int, files: Sequence[ListedFile]
    ) -> list[ListedFile]:
        """Leave out files whose headers were read before the run was interrupted."""
        query = "SELECT 1 FROM files WHERE source = ? AND path = ?"
        return [
            file
            for file in files
            if not self._base.execute(
                query, (source, os.fsencode(file.path))
            ).fetchone()
        ]

    def add_files(
        self, source: int, files: Iterable[tuple[ListedFile, FileHeader]]
    ) -> None:
        """Note files and what their headers say."""
        with self._base:
            self._base.executemany(
                "INSERT OR IGNORE INTO files "
                "(source, path, is_picture, size, slices, series) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (
                        source,
                        os.fsencode(file.path),
                        header.is_picture,
                        header.size,
                        header.slices,
                        header.series,
                    )
                    for file, header in files
                ),
            )

    def plan(self, part_size: int) -> None:
        """Gather the files of each series, and cut the whole into parts.

        Parameters
        ----------
        part_size
            A part is full when it has so many slices; a series is never cut.
        """
        base = self._base
        for statement in ("DROP TABLE IF EXISTS ranked", "DROP TABLE IF EXISTS units"):
            base.execute(statement)
        with base:
            base.execute("BEGIN")
            _execute_all(base, _UNITS)
            base.executemany(
                "UPDATE units SET part = ? WHERE unit = ?", self._cut(part_size)
            )
            _execute_all(base, _ASSIGN)
            self._set_fact(_PLANNED, "yes")

    def _cut(self, part_size: int) -> Iterator[tuple[int, int]]:
        part = held = last = 0
        step = "SELECT unit, slices FROM units WHERE unit > ? ORDER BY unit LIMIT 1000"
        # Read page by page: the rows are changed while they are gone through.
        while page := self._base.execute(step, (last,)).fetchall():
            for unit, slices in page:
                if held and held + slices > part_size:
                    part, held = part + 1, 0
                held += slices
                yield part, unit
            last = page[-1][0]

    def inventory(self) -> Inventory:
        """Sum up what the sources hold."""
        files, slices, size = self._base.execute(
            "SELECT count(*), coalesce(sum(slices), 0), coalesce(sum(size), 0) "
            "FROM files WHERE is_picture"
        ).fetchone()
        (skipped,) = self._base.execute(
            "SELECT count(*) FROM files WHERE NOT is_picture"
        ).fetchone()
        (parts,) = self._base.execute("SELECT count(*) FROM parts").fetchone()
        return Inventory(files, skipped, slices, size, parts)

    def remaining_slices(self) -> int:
        """Count the slices of parts that are not done, as far as headers tell."""
        (slices,) = self._base.execute(
            "SELECT coalesce(sum(slices), 0) FROM files "
            "WHERE part IN (SELECT id FROM parts WHERE NOT is_done)"
        ).fetchone()
        return int(slices)

    def open_parts(self) -> Iterator[PartTask]:
        """Yield the work of parts that are not done, in order, one by one."""
        return map(self._task, self.part_numbers(done=False))

    def part_numbers(self, done: bool) -> Iterator[int]:
        """Yield the numbers of parts, in order: those that are done, or the others."""
        last = -1
        step = (
            "SELECT id FROM parts WHERE is_done = ? AND id > ? ORDER BY id LIMIT 1000"
        )
        # Page by page: parts are finished while they are gone through.
        while page := self._base.execute(step, (done, last)).fetchall():
            yield from (number for (number,) in page)
            last = page[-1][0]

    def _task(self, number: int) -> PartTask:
        units: dict[int, list[ArchiveFile]] = {}
        for unit, file in self._files("part = ?", (number,)):
            units.setdefault(unit, []).append(file)
        return PartTask(number, tuple(tuple(files) for files in units.values()))

    def sample(self, units: int, most_slices: int) -> PartTask:
        """Take a few units of open parts, spread over the archive.

        Parameters
        ----------
        units
            How many.
        most_slices
            Units of more slices are left out where there are others.
        """
        smallest, largest = self._base.execute(
            "SELECT min(unit), max(unit) FROM files WHERE part IN "
            "(SELECT id FROM parts WHERE NOT is_done)"
        ).fetchone()
        if smallest is None:
            return PartTask(0, ())
        chosen: dict[int, list[ArchiveFile]] = {}
        for step in range(units):
            start = smallest + (largest - smallest) * step // max(1, units - 1)
            row = self._base.execute(
                "SELECT unit FROM files JOIN parts ON parts.id = files.part "
                "WHERE NOT is_done AND unit BETWEEN ? AND ? "
                "GROUP BY unit ORDER BY sum(files.slices) > ?, unit LIMIT 1",
                (start, start + 1000, most_slices),
            ).fetchone()
            if row is not None and row[0] not in chosen:
                chosen[row[0]] = [file for _, file in self._files("unit = ?", row)]
        return PartTask(0, tuple(tuple(files) for files in chosen.values()))

    def _files(
        self, condition: str, values: tuple[int, ...]
    ) -> Iterator[tuple[int, ArchiveFile]]:
        rows = self._base.execute(
            "SELECT files.unit, sources.given, sources.base, files.path FROM files "
            f"JOIN sources ON sources.id = files.source WHERE {condition} "
            "ORDER BY files.unit, files.source, files.path",
            values,
        )
        for unit, given, base, path in rows:
            source = Source(os.fsdecode(given), os.fsdecode(base))
            yield unit, archive_file(source, os.fsdecode(path))

    def finish(self, number: int, counts: PartCounts) -> None:
        """Note that a part's file stands in its place."""
        with self._base:
            self._base.execute(
                "UPDATE parts SET is_done = 1, slices = ?, failed = ?, seconds = ? "
                "WHERE id = ?",
                (counts.slices, counts.failed, counts.seconds, number),
            )

    def reopen(self, number: int) -> None:
        """Note that a part's file is gone, so that it has to be done again."""
        with self._base:
            self._base.execute("UPDATE parts SET is_done = 0 WHERE id = ?", (number,))

    def counts(self) -> PartCounts:
        """Sum up all parts that are done."""
        row = self._base.execute(
            "SELECT coalesce(sum(slices), 0), coalesce(sum(failed), 0), "
            "coalesce(sum(seconds), 0.0) FROM parts WHERE is_done"
        ).fetchone()
        return PartCounts(*row)


def _execute_all(base: sqlite3.Connection, script: str) -> None:
    # `executescript` would commit what has been done so far.
    for statement in script.split(";"):
        if statement.strip():
            base.execute(statement)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(display_name(str(item)) for item in value)
    return str(value)
