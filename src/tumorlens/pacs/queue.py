"""The durable queue: what came, what is to be done, what to send.

A folder that only its owner may enter holds an SQLite database and the files.
Whatever was accepted survives a kill: a file is on the disk before its sender
is told so, and each step is one transaction.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorlens.errors import OutputError

_DATABASE = "queue.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    uid TEXT PRIMARY KEY, state TEXT NOT NULL, changed REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS images (
    uid TEXT PRIMARY KEY, series TEXT NOT NULL, file TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (
    file TEXT PRIMARY KEY, series TEXT NOT NULL);
"""
_RECEIVING, _SENDING, _DONE, _FAILED = "receiving", "sending", "done", "failed"
_MISSED = "missed"
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 3600.0
MOST_ATTEMPTS = 30


@dataclass(frozen=True)
class Job:
    """One series and its files.

    Parameters
    ----------
    series
        Its UID.
    files
        What was received, or what is to be sent.
    """

    series: str
    files: tuple[Path, ...]


class Queue:
    """Series on their way through; safe to use from threads, of one process.

    Parameters
    ----------
    folder
        Made where missing, and closed to everybody else.
    clock
        Seconds since 1970.

    Raises
    ------
    OutputError
        The folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            self._database = sqlite3.connect(
                folder / _DATABASE, timeout=1.0, check_same_thread=False
            )
            # A second process would judge the same series, and remove the files
            # that this one is writing.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            # A sender is told "stored" once: from then on a power cut loses nothing.
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA secure_delete = ON")
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"The folder {folder} cannot hold the queue: {error}.",
                "Choose a folder of your own with --folder; one process at a time.",
            ) from error
        self._remove_strays()

    def add(self, image: str, series: str, data: bytes) -> bool:
        """Keep one received image.

        Parameters
        ----------
        image, series
            Their UIDs; the file gets a name of ours.
        data
            The whole DICOM file.

        Returns
        -------
        bool
            False where the image, or its whole series, was there before:
            nothing is judged twice.

        Raises
        ------
        OutputError
            The disk does not take it.
        """
        with self._lock:
            if self._known(image, series):
                return False
            file = self._write(data, "image")
            try:
                with self._database:
                    self._database.execute(
                        "INSERT INTO images VALUES (?, ?, ?)", (image, series, file)
                    )
                    self._database.execute(
                        "INSERT INTO series (uid, state, changed) VALUES (?, ?, ?) "
                        "ON CONFLICT (uid) DO UPDATE SET changed = excluded.changed",
                        (series, _RECEIVING, self._clock()),
                    )
            except sqlite3.Error as error:
                (self.folder / file).unlink(missing_ok=True)
                raise OutputError(f"The queue does not take it: {error}.") from error
        return True

    def due_in(self, series: str) -> float | None:
        """Tell in how many seconds a series is to be fetched.

        Returns
        -------
        float or None
            0 for a new one, more for one that was missed and has to wait; None
            for one that was fetched or given up.
        """
        with self._lock:
            row = self._database.execute(
                "SELECT state, due FROM series WHERE uid = ?", (series,)
            ).fetchone()
        if row is None:
            return 0.0
        return max(0.0, row[1] - self._clock()) if row[0] == _MISSED else None

    def add_whole(self, series: str, images: Iterable[bytes]) -> int:
        """Keep a series that is fetched at once: all of it, or nothing.

        Parameters
        ----------
        series
            Its UID; one that is due.
        images
            Whole DICOM files; taken one by one. What they raise passes through.

        Returns
        -------
        int
            How many there were.

        Raises
        ------
        OutputError
            The disk does not take it.
        """
        files: list[str] = []
        try:
            for data in images:
                files.append(self._write(data, "image"))
            with self._lock, self._database:
                self._database.executemany(
                    "INSERT INTO images VALUES (?, ?, ?)",
                    [(file, series, file) for file in files],
                )
                self._database.execute(
                    "INSERT INTO series (uid, state, changed) VALUES (?, ?, ?) "
                    "ON CONFLICT (uid) DO UPDATE SET state = excluded.state, "
                    "changed = excluded.changed, attempts = 0, due = 0",
                    (series, _RECEIVING, self._clock()),
                )
        except BaseException as error:
            # An interrupt may come after the rows were written.
            kept = self._files("images", series)
            self._unlink([file for file in files if file not in kept])
            if isinstance(error, sqlite3.Error):
                raise OutputError(f"The queue does not take it: {error}.") from error
            raise
        return len(files)

    def miss(self, series: str, *, again: bool) -> None:
        """Note that a series could not be fetched.

        Parameters
        ----------
        series
            Its UID.
        again
            Whether it is to be tried again, as `postpone` says.
        """
        with self._lock, self._database:
            self._database.execute(
                "INSERT OR IGNORE INTO series (uid, state, changed) VALUES (?, ?, ?)",
                (series, _MISSED, self._clock()),
            )
            if not again:
                self._set(series, _FAILED)
        if again:
            self.postpone(series)

    def next_complete(self, quiet_seconds: float) -> Job | None:
        """Find a series to which nothing was added for a while; oldest first."""
        now = self._clock()
        with self._lock:
            return self._job(
                "SELECT uid FROM series WHERE state = ? AND changed <= ? AND due <= ? "
                "ORDER BY changed LIMIT 1",
                (_RECEIVING, now - quiet_seconds, now),
                "images",
            )

    def next_to_send(self) -> Job | None:
        """Find a series whose results are due to be sent."""
        with self._lock:
            return self._job(
                "SELECT uid FROM series WHERE state = ? AND due <= ? "
                "ORDER BY due LIMIT 1",
                (_SENDING, self._clock()),
                "results",
            )

    def put_results(self, series: str, results: Sequence[bytes]) -> None:
        """Keep what is to be sent, and forget what was received; in one step.

        A series without results (one that is none of ours to judge) is done.
        """
        files = [self._write(data, "result") for data in results]
        with self._lock, self._database:
            received = self._files("images", series)
            self._database.executemany(
                "INSERT INTO results VALUES (?, ?)", [(file, series) for file in files]
            )
            self._set(series, _SENDING if files else _DONE)
            self._database.execute(
                "UPDATE series SET attempts = 0, due = 0 WHERE uid = ?", (series,)
            )
            self._database.execute(
                "UPDATE images SET file = '' WHERE series = ?", (series,)
            )
        self._unlink(received)

    def sent(self, series: str, file: Path) -> None:
        """Note that one result has arrived; with the last one the series is done."""
        with self._lock, self._database:
            self._database.execute("DELETE FROM results WHERE file = ?", (file.name,))
            if not self._files("results", series):
                self._set(series, _DONE)
        self._unlink([file.name])

    def postpone(self, series: str) -> float:
        """Try again later, twice as late each time.

        Returns
        -------
        float
            Seconds to wait; infinite once it was tried `MOST_ATTEMPTS` times
            and is given up.
        """
        with self._lock, self._database:
            (attempts,) = self._database.execute(
                "SELECT attempts FROM series WHERE uid = ?", (series,)
            ).fetchone()
            wait = min(FIRST_WAIT_SECONDS * 2.0 ** int(attempts), LONGEST_WAIT_SECONDS)
            self._database.execute(
                "UPDATE series SET attempts = attempts + 1, due = ? WHERE uid = ?",
                (self._clock() + wait, series),
            )
            if attempts + 1 >= MOST_ATTEMPTS:
                self._set(series, _FAILED)
                return float("inf")
        return wait

    def counts(self) -> dict[str, int]:
        """Count the series by state."""
        with self._lock:
            rows = self._database.execute(
                "SELECT state, count(*) FROM series GROUP BY state"
            ).fetchall()
        return dict(rows)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def _known(self, image: str, series: str) -> bool:
        seen = self._database.execute(
            "SELECT 1 FROM images WHERE uid = ?", (image,)
        ).fetchone()
        judged = self._database.execute(
            "SELECT 1 FROM series WHERE uid = ? AND state != ?", (series, _RECEIVING)
        ).fetchone()
        return seen is not None or judged is not None

    def _write(self, data: bytes, kind: str) -> str:
        """Write a file that is wholly there or not at all, under a name of ours."""
        name = f"{kind}-{secrets.token_hex(16)}.dcm"
        try:
            descriptor = os.open(
                self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
            )
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            (self.folder / name).unlink(missing_ok=True)
            raise OutputError(f"{self.folder} takes no file: {error}.") from error
        return name

    def _set(self, series: str, state: str) -> None:
        self._database.execute(
            "UPDATE series SET state = ? WHERE uid = ?", (state, series)
        )

    def _job(self, query: str, values: tuple[object, ...], table: str) -> Job | None:
        row = self._database.execute(query, values).fetchone()
        if row is None:
            return None
        files = self._files(table, row[0])
        return Job(row[0], tuple(self.folder / name for name in files))

    def _files(self, table: str, series: str) -> list[str]:
        rows = self._database.execute(
            f"SELECT file FROM {table} WHERE series = ? AND file != '' ORDER BY rowid",
            (series,),
        )
        return [name for (name,) in rows]

    def _unlink(self, names: Sequence[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def _remove_strays(self) -> None:
        """Remove files that no row names: their senders were told nothing."""
        known = {
            name
            for table in ("images", "results")
            for (name,) in self._database.execute(f"SELECT file FROM {table}")
        }
        strays = [p.name for p in self.folder.glob("*.dcm") if p.name not in known]
        self._unlink(strays)
