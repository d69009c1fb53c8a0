"""Files of jobs, in a private folder, named by what they hold.

A file is written whole under a passing name first, and gets its own in the same
transaction as its row: it is there once that is written, and never half. Bytes that
came before lie in one file, whoever sent them; each job has its own row for it, with
its own owner and end, so that nobody learns what another has sent.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from sqlalchemy import Select, delete, insert, select, text, update
from sqlalchemy.orm import Session

from tumorlens.errors import DiskFullError, MissingFileError, OutputError
from tumorlens.jobs.database import FULL_DISK, Artifact, Blob, Database, portions

LEAST_FREE_BYTES = 256 * 2**20
"""Free bytes of the disk that results need: below them no input should be taken."""

_SMALL_DISK_BYTES = 4 * 2**30
_LEAST_FREE_PART = 20
"""On a smaller disk a twentieth has to be free."""

_UPSERT = text(
    # Both databases know it; SQLAlchemy would load a dialect of each, which takes long.
    "INSERT INTO blobs (digest, size) VALUES (:digest, :size) "
    "ON CONFLICT (digest) DO UPDATE SET size = excluded.size"
)
_PASSING = "incoming-"
_PASSING_SECONDS = 86_400.0
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class StagedFile:
    """A file that is written, and belongs to no job yet.

    Parameters
    ----------
    path
        Its passing name.
    digest
        SHA-256 of the content, in hexadecimal.
    size
        Bytes.
    durable
        Whether it survives a power cut.
    """

    path: Path
    digest: str
    size: int
    durable: bool


Content: TypeAlias = bytes | BinaryIO | Path
"""Bytes, what an open file holds from where it stands, or a private file of the same
disk, which then lies there once, under both names."""

Stage: TypeAlias = Callable[[Content], StagedFile]
"""Writes a file."""


class ArtifactStore:
    """Keeps the files of jobs; safe to use from threads.

    Parameters
    ----------
    database
        Database of the rows.
    folder
        Folder of the files; made where it is missing, and closed to others.
    alone
        Whether no other process writes there.

    Attributes
    ----------
    alone
        The same.
    attached_bytes
        Bytes of all files that `attach` was given so far, kept or not.

    Raises
    ------
    OSError
        The folder cannot be made.
    """

    def __init__(self, database: Database, folder: Path, *, alone: bool) -> None:
        self._database = database
        self._folder = folder
        self.alone = alone
        self.attached_bytes = 0
        folder.mkdir(mode=0o700, exist_ok=True)
        self._sweep_strays(0.0 if alone else _PASSING_SECONDS)
        self.collect()

    @contextmanager
    def staging(self, *, durable: bool = True) -> Iterator[Stage]:
        """Write files that `attach` takes up; those it does not are removed.

        Parameters
        ----------
        durable
            Whether they have to survive a power cut; that takes milliseconds each.

        Yields
        ------
        Stage
            Raises `OutputError` where the disk does not take a file.
        """
        staged: list[Path] = []

        def stage(content: Content) -> StagedFile:
            path = self._folder / f"{_PASSING}{secrets.token_hex(16)}"
            staged.append(path)
            try:
                return _write(path, content, durable)
            except OSError as error:
                reason = error.strerror or str(error)
                kind = DiskFullError if error.errno in FULL_DISK else OutputError
                raise kind(
                    f"{self._folder.parent} takes no file: {reason}.",
                    "Make room on its disk, and check that it may be written to.",
                ) from error

        try:
            yield stage
        finally:
            for path in staged:
                path.unlink(missing_ok=True)

    def attach(
        self,
        job: str,
        role: str,
        files: Mapping[str, StagedFile | None],
        *,
        is_new: bool = False,
    ) -> None:
        """Give files to a job, in place of those of the same names.

        Parameters
        ----------
        job
            Its id.
        role
            Role of the files.
        files
            Files by name; None notes a name without a file.
        is_new
            Whether the job has no files yet: then none is looked for.

        Raises
        ------
        OutputError
            Database or disk do not take them.
        """
        if not files:
            return
        staged = [file for file in files.values() if file is not None]
        with self._database.transaction() as session:
            session.flush()
            self.attached_bytes += sum(file.size for file in staged)
            self._settle(session, staged)
            names = list(files)
            for some in portions([] if is_new else names):
                # In place of what there was come new rows, listed as they came.
                earlier = select(Artifact.number).where(
                    Artifact.job == job,
                    Artifact.role == role,
                    Artifact.name.in_(some),
                )
                numbers = session.connection().scalars(earlier).all()
                if numbers:
                    rows = select(Artifact).where(Artifact.number.in_(numbers))
                    self.detach(session.scalars(rows).all())
            session.connection().execute(
                insert(Artifact),
                [
                    {
                        "job": job,
                        "role": role,
                        "name": name,
                        "digest": None if file is None else file.digest,
                        "size": 0 if file is None else file.size,
                    }
                    for name, file in files.items()
                ],
            )
            if any(file.durable for file in staged):
                self._sync()

    def of(self, job: str, role: str | None = None) -> list[Artifact]:
        """List a job's artefacts in the order in which they came."""
        wanted = select(Artifact).where(Artifact.job == job).order_by(Artifact.number)
        if role is not None:
            wanted = wanted.where(Artifact.role == role)
        with self._database.reading() as session:
            return list(session.scalars(wanted))

    def path(self, digest: str) -> Path:
        """Tell where a blob lies."""
        return self._folder / digest

    def read(self, job: str, role: str, name: str) -> bytes:
        """Read an artefact.

        Raises
        ------
        MissingFileError
            There is none, or not any more.
        """
        with self._database.reading() as session:
            row = session.execute(
                select(Artifact.digest, Artifact.size).where(
                    Artifact.job == job, Artifact.role == role, Artifact.name == name
                )
            ).one_or_none()
        if row is not None and row[0] is not None:
            try:
                data = self.path(row[0]).read_bytes()
            except OSError:
                data = b""
            # A file that was not waited for may be cut off by a power cut.
            if len(data) == row[1]:
                return data
        raise MissingFileError("There is no such file here.", "Compute it again.")

    def detach(self, artifacts: Collection[Artifact], *, known: bool = False) -> None:
        """Take files from their jobs.

        Parameters
        ----------
        artifacts
            Artifacts of `of`.
        known
            Whether it stays known that there were files of these names.
        """
        if not artifacts:
            return
        digests = [item.digest for item in artifacts if item.digest is not None]
        with self._database.transaction() as session:
            for some in portions([item.number for item in artifacts]):
                chosen = Artifact.number.in_(some)
                if known:
                    session.execute(
                        update(Artifact).where(chosen).values(digest=None, size=0)
                    )
                else:
                    session.execute(delete(Artifact).where(chosen))
            if digests:
                self._database.after_commit(lambda: self.collect(digests))

    def collect(self, digests: Collection[str] | None = None) -> None:
        """Remove blobs that no artefact needs any more.

        Parameters
        ----------
        digests
            Digests to look at; None for all.
        """
        unneeded = select(Blob).where(
            ~select(Artifact.number).where(Artifact.digest == Blob.digest).exists()
        )
        if digests is None:
            self._collect(unneeded)
            return
        for some in portions(list(digests)):
            self._collect(unneeded.where(Blob.digest.in_(some)))

    def has_room(self) -> bool:
        """Tell whether the disk has more than `LEAST_FREE_BYTES` left.

        Of a small one a part is enough.

        Raises
        ------
        OutputError
            The folder is not there any more.
        """
        try:
            disk = shutil.disk_usage(self._folder)
        except OSError as error:
            raise OutputError(
                f"{self._folder.parent} cannot be used: {error.strerror}."
            ) from error
        is_small = disk.total < _SMALL_DISK_BYTES
        return disk.free > (
            disk.total // _LEAST_FREE_PART if is_small else LEAST_FREE_BYTES
        )

    def _collect(self, unneeded: Select[Blob]) -> None:
        # What a power cut undoes of it is found again.
        with self._database.transaction(durable=False) as session:
            # Who attaches such a file meanwhile waits for its row, and finds it gone.
            for blob in session.scalars(
                unneeded.with_for_update(skip_locked=True)
            ).all():
                needed = select(Artifact.number).where(Artifact.digest == blob.digest)
                if session.execute(needed.limit(1)).first() is None:
                    # The file first: a row without one is found again.
                    self.path(blob.digest).unlink(missing_ok=True)
                    session.delete(blob)

    def _settle(self, session: Session, files: Sequence[StagedFile]) -> None:
        """Give staged files their names, with their rows locked."""
        if not files:
            return
        self._lock_rows(session, files)
        self._database.after_rollback(lambda: self._undo(files))
        try:
            for file in files:
                place = self.path(file.digest)
                # To take the place of a file makes some file systems wait for the disk.
                if file.durable or not _has_size(place, file.size):
                    file.path.replace(place)
        except OSError as error:
            kind = DiskFullError if error.errno in FULL_DISK else OutputError
            raise kind(
                f"{self._folder.parent} takes no file: {error.strerror}."
            ) from error

    def _lock_rows(self, session: Session, files: Sequence[StagedFile]) -> None:
        """Let the transaction have the blobs' rows, made where they are missing."""
        # In one order, so that two that need the same do not wait for each other.
        rows = sorted({(file.digest, file.size) for file in files})
        session.connection().execute(
            _UPSERT, [{"digest": digest, "size": size} for digest, size in rows]
        )

    def _undo(self, files: Sequence[StagedFile]) -> None:
        """Remove files that have their names while their rows came to nothing."""
        with self._database.transaction(durable=False) as session:
            self._lock_rows(session, files)
        self.collect([file.digest for file in files])

    def _sync(self) -> None:
        """Write the folder through to disk, so that new names survive a power cut."""
        if os.name == "nt":
            return
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _sweep_strays(self, seconds: float) -> None:
        """Remove files that no row names: nobody was told that they are kept."""
        with self._database.reading() as session:
            digests = set(session.scalars(select(Blob.digest)))
        for path in self._folder.iterdir():
            if path.name not in digests and _age(path) >= seconds:
                path.unlink(missing_ok=True)


def _write(path: Path, content: Content, durable: bool) -> StagedFile:
    hashed = hashlib.sha256()
    size = 0
    if isinstance(content, Path):
        path.hardlink_to(content)
        with path.open("rb") as file:
            for chunk in _chunks(file):
                hashed.update(chunk)
                size += len(chunk)
        return StagedFile(path, hashed.hexdigest(), size, durable)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in [content] if isinstance(content, bytes) else _chunks(content):
            hashed.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    return StagedFile(path, hashed.hexdigest(), size, durable)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
