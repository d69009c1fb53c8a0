"""A store: a private folder with its lock, its database, its files and its queue."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import URL

from tumorlens.errors import OutputError
from tumorlens.jobs.artifacts import ArtifactStore
from tumorlens.jobs.database import Database
from tumorlens.jobs.lock import FolderLock
from tumorlens.jobs.queue import JobQueue, RetryPolicy

DATABASE, LOCK, FILES = "jobs.sqlite", "lock", "files"
_TEMPORARY = "tumorlens-"
_YOUNG_SECONDS = 60.0


class JobStore:
    """Everything that one server keeps.

    Parameters
    ----------
    folder
        Made where it is missing, and closed to everybody else; None for a temporary
        one that `close` removes.
    policies
        Retry policies of the queue, by stage.
    url
        URL of a database that several processes share like the folder; None for
        an SQLite file in the folder, which is for one process at a time.
    clock
        Seconds since 1970.

    Attributes
    ----------
    folder, database, artifacts, queue
        Its parts.

    Raises
    ------
    OutputError
        Folder or database cannot be used, or another process uses them.
    SettingError
        The URL is none, or its driver is not installed.
    """

    def __init__(
        self,
        folder: Path | None,
        policies: Mapping[str, RetryPolicy],
        *,
        url: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._is_temporary = folder is None
        try:
            if folder is None:
                remove_abandoned()
                folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            self._lock = FolderLock(folder / LOCK) if url is None else None
        except OSError as error:
            raise _unusable(folder, error.strerror or str(error)) from error
        self.folder = folder
        alone = url is None
        if url is None:
            url = sqlite_url(folder)
        try:
            self.database = Database(url)
        except BaseException:
            self._unlock()
            raise
        try:
            self.artifacts = ArtifactStore(self.database, folder / FILES, alone=alone)
            self.queue = JobQueue(
                self.database, self.artifacts, policies, alone=alone, clock=clock
            )
        except BaseException as error:
            self.database.close()
            self._unlock()
            if isinstance(error, OSError):
                raise _unusable(folder, error.strerror or str(error)) from error
            raise

    def close(self) -> None:
        """Close the database, and remove the folder if it was temporary."""
        self.database.close()
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def open_database(folder: Path | None, url: str | None) -> Database:
    """Open the database of a store, also while a server uses it.

    Parameters
    ----------
    folder
        Folder of the store, made where it is missing; None where `url` is given.
    url
        URL of the database; None for the one in the folder.

    Raises
    ------
    OutputError
        Folder or database cannot be used.
    SettingError
        The URL is none, or its driver is not installed.
    """
    if url is not None:
        return Database(url)
    assert folder is not None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from error
    return Database(sqlite_url(folder))


def sqlite_url(folder: Path) -> str:
    """Name the database in a store's folder, whatever letters its path has."""
    return URL.create("sqlite", database=str(folder / DATABASE)).render_as_string()


def remove_abandoned() -> None:
    """Remove the temporary stores of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
        lock = folder / LOCK
        try:
            if time.time() - lock.stat().st_mtime < _YOUNG_SECONDS:
                continue
            held = FolderLock(lock)
        except (OSError, OutputError):
            # None of ours, none of a store, or in use.
            continue
        shutil.rmtree(folder, ignore_errors=True)
        held.close()


def _unusable(folder: Path | None, reason: str) -> OutputError:
    return OutputError(
        f"The store {folder or tempfile.gettempdir()} cannot be used: {reason}.",
        "Choose a folder of your own; one process at a time.",
    )
