"""A store: a private folder with its lock, its database, its files and its queue.

Results are removed by age, or as the room is used up. What is kept until a stated time,
such as a result that a reader has marked, goes by that time, and is the last of its
owner's to make room.

Nothing that waits or is worked on is ever removed, nor are its parts; nor is what its
owner has pinned. Who needs room
gives his own oldest results first, and then only those who keep more than he does:
nobody's results go because somebody sent much.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, aliased

from tumorlens.errors import OutputError
from tumorlens.jobs.artifacts import ArtifactStore
from tumorlens.jobs.database import OVER, Artifact, Database, Job
from tumorlens.jobs.queue import JobQueue, RetryPolicy

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FolderLock:
    """Holds a file's lock, which the operating system frees when the process ends.

    The file itself stays: whether it exists says nothing.

    Parameters
    ----------
    path
        The file, made where it is missing.

    Raises
    ------
    OutputError
        Another process, or another store of this one, holds the lock.
    OSError
        The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        # Children that are started later do not inherit it.
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            raise OutputError(
                f"The store {path.parent} is locked: another process uses it.",
                "Stop that one, or choose another folder; one process at a time.",
            ) from error

    def close(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)


_MOST_AT_ONCE = 500
_Whole = aliased(Job)


@dataclass(frozen=True)
class Retention:
    """Removes jobs with their files; safe to use from threads.

    Parameters
    ----------
    database, queue, artifacts
        Parts of one store.
    limit_bytes
        Limit of all files that jobs have, each counted for each job.
    """

    database: Database
    queue: JobQueue
    artifacts: ArtifactStore
    limit_bytes: int

    def expire(self, before: float, now: float) -> int:
        """Remove what was over before a time; return how many jobs that were.

        Parameters
        ----------
        before
            Seconds since 1970, as are all times.
        now
            What is kept until a later time stays.
        """
        removed = 0
        while True:
            with self.database.transaction() as session:
                # The time of a part begins when the whole is over.
                end = func.coalesce(_Whole.finished, Job.finished)
                is_over = or_(_kept_until().is_(None), _kept_until() <= now)
                old = session.scalars(
                    _removable().where(end <= before, is_over).limit(_MOST_AT_ONCE)
                ).all()
                removed += self.queue.remove([job.id for job in old])
            if not old:
                return removed

    def used_bytes(self) -> int:
        """Add up the files of all jobs."""
        with self.database.reading() as session:
            total = session.scalar(select(func.coalesce(func.sum(Artifact.size), 0)))
        return int(total or 0)

    def pinned_bytes(self) -> int:
        """Add up the files of all jobs that are pinned."""
        with self.database.reading() as session:
            total = session.scalar(
                select(func.coalesce(func.sum(Artifact.size), 0))
                .join(Job, Job.id == Artifact.job)
                .where(Job.pinned.is_not(None))
            )
        return int(total or 0)

    def waiting_fits(self) -> bool:
        """Tell whether what is not over fits; one job alone always does."""
        sizes = (
            select(func.sum(Artifact.size))
            .join(Job, Job.id == Artifact.job)
            .where(Job.state.not_in(OVER))
            .group_by(Job.id)
        )
        with self.database.reading() as session:
            sizes_of_owner = [int(size) for size in session.scalars(sizes) if size]
        return len(sizes_of_owner) <= 1 or sum(sizes_of_owner) <= self.limit_bytes

    def make_room(self, newest: Job) -> bool:
        """Remove results until all fits, but never those of who keeps less.

        Parameters
        ----------
        newest
            Job whose files came last; it stays.

        Returns
        -------
        bool
            Whether all fits now.
        """
        with self.database.transaction() as session:
            excess = self.used_bytes() - self.limit_bytes
            while excess > 0:
                job = self._oldest(session, newest.owner, newest)
                if job is None:
                    job = self._oldest_of_the_greediest(session, newest)
                if job is None:
                    return False
                self.queue.remove([job.id])
                session.flush()
                excess = self.used_bytes() - self.limit_bytes
        return True

    def _oldest(self, session: Session, owner: str, newest: Job) -> Job | None:
        # The newest may be a part of a job, or have parts.
        spared_ids = (
            [newest.id] if newest.parent is None else [newest.id, newest.parent]
        )
        return session.scalars(
            _removable()
            .where(
                Job.owner == owner,
                Job.id.not_in(spared_ids),
                or_(Job.parent.is_(None), Job.parent != newest.id),
            )
            .order_by(_kept_until().is_not(None), Job.finished, Job.number)
            .limit(1)
        ).one_or_none()

    def _oldest_of_the_greediest(self, session: Session, newest: Job) -> Job | None:
        usage = (
            select(Job.owner, func.sum(Artifact.size).label("bytes"))
            .join(Artifact, Artifact.job == Job.id)
            .group_by(Job.owner)
            .order_by(func.sum(Artifact.size).desc(), Job.owner)
        )
        sizes_by_owner = session.execute(usage).all()
        own_size = next(
            (size for owner, size in sizes_by_owner if owner == newest.owner), 0
        )
        for owner, size in sizes_by_owner:
            if owner != newest.owner and size > own_size:
                job = self._oldest(session, owner, newest)
                if job is not None:
                    return job
        return None


def _removable() -> Select[Job]:
    """Select jobs that are over, not pinned, and no part of one that is not over."""
    return (
        select(Job)
        .outerjoin(_Whole, _Whole.id == Job.parent)
        .where(
            Job.state.in_(OVER),
            Job.pinned.is_(None),
            or_(_Whole.id.is_(None), _Whole.state.in_(OVER)),
        )
    )


def _kept_until() -> ColumnElement[float | None]:
    """Time until which a job of `_removable` is kept: a part as long as the whole."""
    return func.coalesce(_Whole.kept_until, Job.kept_until)


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
