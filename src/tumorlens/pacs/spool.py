"""The folder of the queue: a database and files, closed to everybody else."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tumorlens.errors import OutputError

_DATABASE = "queue.sqlite"

LEAST_FREE_BYTES = 256 * 2**20
"""Of the disk, below which no image is taken: results and others need room, too."""


class Spool:
    """A folder with an SQLite database and files; for threads of one process.

    Parameters
    ----------
    folder
        Made where missing, and closed to everybody else.
    schema
        SQL that makes what is missing.

    Raises
    ------
    OutputError
        The folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path, schema: str) -> None:
        self.folder = folder
        self._lock = threading.RLock()
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
            self._database.executescript(schema)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"The folder {folder} cannot hold the queue: {error}.",
                "Choose a folder of your own with --folder; one process at a time.",
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Keep the others out, and write all or nothing; not to be nested.

        Raises
        ------
        OutputError
            The database does not do it.
        """
        with self._lock:
            try:
                with self._database:
                    yield self._database
            except sqlite3.Error as error:
                raise OutputError(
                    f"The queue in {self.folder} does not take it: {error}.",
                    "Check that its disk is not full.",
                ) from error

    def write(self, data: bytes, kind: str) -> str:
        """Write a file that is wholly there or not at all, under a name of ours.

        Parameters
        ----------
        data
            All of it.
        kind
            Begins the name.

        Returns
        -------
        str
            The name.

        Raises
        ------
        OutputError
            The disk does not take it.
        """
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
            self.remove([name])
            raise OutputError(f"{self.folder} takes no file: {error}.") from error
        return name

    def has_room(self) -> bool:
        """Tell whether the disk has more than `LEAST_FREE_BYTES` left.

        Raises
        ------
        OutputError
            The folder is not there any more.
        """
        try:
            return shutil.disk_usage(self.folder).free > LEAST_FREE_BYTES
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be used: {error}.") from error

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, where they are there."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def keep_only(self, known: set[str]) -> None:
        """Remove every file of ours but those."""
        self.remove([p.name for p in self.folder.glob("*.dcm") if p.name not in known])

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()
