"""The durable queue: what came, what is to be done, what to send.

Whatever was accepted survives a kill: a file is on the disk before its sender
is told so, and each step is one transaction. An image that comes late to a judged
series lets the whole of it be judged anew, as long as the others are kept; one that
comes to a series that was given up lets it be tried anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorlens.errors import OutputError
from tumorlens.pacs import queue_tables as tables
from tumorlens.pacs.queue_tables import DONE, RECEIVING, SENDING, Arrival
from tumorlens.pacs.spool import LEAST_FREE_BYTES, Spool
from tumorlens.report.dicom.finding import EarlierReport

REMEMBERED_SECONDS = 30 * 86_400.0
"""For so long the images of a judged series are known, and ignored when they come
again."""


@dataclass(frozen=True)
class Job:
    """One series and its files.

    Parameters
    ----------
    series
        Its UID.
    files
        What was received, or what is to be sent.
    earlier
        Reports of the series that have been sent.
    missing
        How many images it is known to have beside those.
    """

    series: str
    files: tuple[Path, ...]
    earlier: tuple[EarlierReport, ...] = ()
    missing: int = 0


class Queue:
    """Series on their way through; safe to use from threads, of one process.

    Parameters
    ----------
    folder
        Made where missing, and closed to everybody else.
    keep_seconds
        How long the images of a judged series stay on the disk after the last one
        came, so that the series can be judged anew where more come.
    clock
        Seconds since 1970.

    Raises
    ------
    OutputError
        The folder cannot be used, or another process uses it. Every method raises
        it where the disk or the database fails.
    """

    def __init__(
        self,
        folder: Path,
        keep_seconds: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._keep_seconds = keep_seconds
        self.folder = folder
        self._spool = Spool(folder, tables.SCHEMA)
        with self._spool.transaction() as database:
            known = database.execute(
                "SELECT file FROM images UNION SELECT file FROM results"
            ).fetchall()
        # Files that no row names: their senders were told nothing.
        self._spool.keep_only({name for (name,) in known})

    def add(self, image: str, series: str, data: bytes) -> Arrival:
        """Keep one received image, unless it is there already.

        Parameters
        ----------
        image, series
            Their UIDs; the file gets a name of ours.
        data
            The whole DICOM file.
        """
        with self._spool.transaction() as database:
            arrival = tables.arrival_of(database, image, series)
            if arrival is Arrival.TOO_LATE:
                # Known from now on, so that it is told once.
                database.execute(
                    "INSERT INTO images VALUES (?, ?, '')", (image, series)
                )
        if not arrival.kept:
            return arrival
        self._make_room()
        file, gone = self._spool.write(data, "image"), ""
        try:
            with self._spool.transaction() as database:
                # Another thread may have been faster.
                arrival = tables.arrival_of(database, image, series)
                if arrival.kept:
                    gone = tables.keep(database, image, series, file)
                    tables.receive(database, series, self._clock())
        except OutputError:
            self._spool.remove([file])
            raise
        if not arrival.kept:
            gone = file
        if gone:
            self._spool.remove([gone])
        return arrival

    def next_complete(self, quiet_seconds: float) -> Job | None:
        """Find a series to which nothing was added for a while; oldest first."""
        now = self._clock()
        return self._job(
            "SELECT uid FROM series WHERE state = ? AND changed <= ? AND due <= ? "
            "ORDER BY changed LIMIT 1",
            (RECEIVING, now - quiet_seconds, now),
            "images",
        )

    def next_to_send(self) -> Job | None:
        """Find a series whose results are due to be sent."""
        return self._job(
            "SELECT uid FROM series WHERE state = ? AND due <= ? ORDER BY due LIMIT 1",
            (SENDING, self._clock()),
            "results",
        )

    def put_results(self, job: Job, results: Sequence[bytes]) -> bool:
        """Keep what is to be sent of a series, in place of what was not sent yet.

        A series without results (one that is none of ours to judge) is done.

        Parameters
        ----------
        job
            From `next_complete`.
        results
            Whole DICOM files.

        Returns
        -------
        bool
            False where more images of the series came in the meantime: nothing is
            kept, and it will be judged with them.
        """
        files: list[str] = []
        try:
            for data in results:
                files.append(self._spool.write(data, "result"))
            with self._spool.transaction() as database:
                received = tables.files_of(database, "images", job.series)
                whole = set(received) == {path.name for path in job.files}
                gone = files
                if whole:
                    gone = tables.files_of(database, "results", job.series)
                    tables.replace_results(database, job.series, files)
        except OutputError:
            self._spool.remove(files)
            raise
        self._spool.remove(gone)
        if self._keep_seconds <= 0:
            self.clean()
        return whole

    def sent(
        self, series: str, file: Path, report: EarlierReport | None = None
    ) -> None:
        """Note that one result has arrived; with the last one the series is done.

        Parameters
        ----------
        series, file
            As in the job.
        report
            What the file is, where it is a report.
        """
        with self._spool.transaction() as database:
            database.execute("DELETE FROM results WHERE file = ?", (file.name,))
            if report is not None:
                database.execute(
                    "INSERT OR IGNORE INTO reports VALUES (?, ?, ?, ?)",
                    (report.instance, series, report.series, report.study),
                )
            if not tables.files_of(database, "results", series):
                # It may be receiving again.
                database.execute(
                    "UPDATE series SET state = ? WHERE uid = ? AND state = ?",
                    (DONE, series, SENDING),
                )
        self._spool.remove([file.name])

    def postpone(self, series: str) -> float:
        """Try again later, twice as late each time.

        Returns
        -------
        float
            Seconds to wait; infinite where it was tried too often, and is given up.
        """
        with self._spool.transaction() as database:
            return tables.postpone(database, series, self._clock())

    def clean(self) -> None:
        """Remove the files that have been kept long enough.

        These are images of judged series, and all of series given up. After
        `REMEMBERED_SECONDS` it is forgotten which images there were.
        """
        now = self._clock()
        self._drop(now - self._keep_seconds)
        with self._spool.transaction() as database:
            tables.forget(database, now - REMEMBERED_SECONDS)

    def counts(self) -> dict[str, int]:
        """Count the series by state."""
        with self._spool.transaction() as database:
            rows = database.execute(
                "SELECT state, count(*) FROM series GROUP BY state"
            ).fetchall()
        return dict(rows)

    def close(self) -> None:
        """Close the database."""
        self._spool.close()

    def _drop(self, until: float) -> None:
        with self._spool.transaction() as database:
            files = tables.drop_files(database, until)
        self._spool.remove(files)

    def _make_room(self) -> None:
        if self._spool.has_room():
            return
        # What is only kept in case more comes has to give way.
        self._drop(self._clock())
        if not self._spool.has_room():
            raise OutputError(
                f"The disk of {self.folder} has less than "
                f"{LEAST_FREE_BYTES // 2**20} MB left.",
                "Make room on it.",
            )

    def _job(self, query: str, values: tuple[object, ...], table: str) -> Job | None:
        with self._spool.transaction() as database:
            row = database.execute(query, values).fetchone()
            if row is None:
                return None
            files = tables.files_of(database, table, row[0])
            missing = database.execute(
                "SELECT count(*) FROM images WHERE series = ? AND file = ''", row
            ).fetchone()
            earlier = database.execute(
                "SELECT study, series, instance FROM reports WHERE of = ? "
                "ORDER BY rowid",
                row,
            ).fetchall()
        return Job(
            row[0],
            tuple(self.folder / name for name in files),
            tuple(EarlierReport(*item) for item in earlier),
            missing[0],
        )
