"""The audit trail: who did what with which result, when, from where, how it ended.

Each line of the file holds the digest of the line before, so that a line changed,
taken out or put in breaks the chain. Whoever has noted an end, which `tumorlens audit
verify` prints, also sees that later lines were cut off.

Names and codes are those of DICOM's audit messages (PS3.15, A.5).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from tumorlens.errors import OutputError

logger = logging.getLogger(__name__)

AUDIT_FILE = "audit.jsonl"
"""Name of the file in a store."""

_FIRST = "0" * 64
_TAIL_BYTES = 2**16
_NO_EVENT = (
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
    RecursionError,
)
"""What a line raises that somebody has put in: it may be any JSON, or none."""


class AuditEvent(StrEnum):
    """Kind of an event, as DICOM names it."""

    ACTIVITY = "Application Activity"
    AUTHENTICATION = "User Authentication"
    IMPORT = "Import"
    EXPORT = "Export"
    ACCESS = "DICOM Instances Accessed"
    DELETION = "DICOM Study Deleted"


class AuditAction(StrEnum):
    """Action code: create, read, update, delete, execute."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class AuditOutcome(StrEnum):
    """Outcome code: success, or a failure of the user or of the server."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"
    SERIOUS_FAILURE = "8"

    @classmethod
    def of(cls, is_well: bool) -> AuditOutcome:
        """Return success, or a failure of the user."""
        return cls.SUCCESS if is_well else cls.MINOR_FAILURE


@dataclass(frozen=True)
class AuditReport:
    """Result of `verify`.

    Parameters
    ----------
    events
        Number of events of which the chain is whole.
    head
        Digest of the last of them.
    problem
        What is wrong with the next line; None where there is none.
    """

    events: int
    head: str
    problem: str | None = None


class AuditTrail:
    """Appends events to a file; safe to use from threads and several processes.

    Parameters
    ----------
    path
        The file, made where it is missing, and closed to others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        # Size of the file, number and digest of its last line, as this left them.
        self._end: tuple[int, int, str] = (0, 0, _FIRST)

    def record(
        self,
        event: AuditEvent,
        action: AuditAction,
        outcome: AuditOutcome,
        *,
        user: str = "",
        origin: str = "",
        objects: Sequence[str] = (),
        detail: str = "",
    ) -> None:
        """Append an event.

        Parameters
        ----------
        event, action, outcome
            What happened.
        user
            Who did it; empty where nobody is logged in.
        origin
            Address of the machine.
        objects
            Ids of the results.
        detail
            A word of ours, such as a route; nothing that anybody typed.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        fields: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "action": action,
            "outcome": outcome,
            "user": user,
            "origin": origin,
            "objects": list(objects),
            "detail": detail,
        }
        try:
            with self._guard, _locked(self._path) as file:
                size = file.seek(0, os.SEEK_END)
                if size != self._end[0]:
                    # Another process has written meanwhile.
                    self._end = _last(file, size)
                _, number, previous = self._end
                line = {"number": number + 1, **fields, "previous": previous}
                line["digest"] = _digest(line)
                file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
                file.flush()
                self._end = (file.seek(0, os.SEEK_END), number + 1, line["digest"])
        except OSError as error:
            raise OutputError(
                f"The audit trail {self._path} cannot be written: {error.strerror}."
            ) from error


def note_event(
    trail: AuditTrail | None,
    kind: tuple[AuditEvent, AuditAction],
    outcome: AuditOutcome,
    *,
    user: str = "",
    origin: str = "",
    objects: Sequence[str] = (),
    detail: str = "",
) -> None:
    """Append an event; where that fails, the log says so and the work goes on.

    Parameters
    ----------
    trail
        The trail; None for none.
    kind
        Event and action.
    outcome, user, origin, objects, detail
        The same as for `AuditTrail.record`.
    """
    if trail is None:
        return
    try:
        trail.record(
            *kind, outcome, user=user, origin=origin, objects=objects, detail=detail
        )
    except OutputError as error:
        logger.error("%s", error)


def verify(path: Path, noted: str | None = None) -> AuditReport:
    """Follow the chain of an audit trail from its first line to its last.

    Parameters
    ----------
    path
        The file.
    noted
        Digest that was the last one at some time, and has to be in the chain.

    Raises
    ------
    OutputError
        The file cannot be read.
    """
    events, head, is_noted = 0, _FIRST, noted is None
    try:
        with path.open("rb") as file:
            for row in file:
                try:
                    line = json.loads(row)
                    digest, right = line.pop("digest"), _digest(line)
                except _NO_EVENT:
                    return AuditReport(events, head, f"Line {events + 1} is no event.")
                if line.get("previous") != head or line.get("number") != events + 1:
                    problem = f"Line {events + 1} does not follow the one before."
                    return AuditReport(events, head, problem)
                if digest != right:
                    problem = f"Line {events + 1} was changed."
                    return AuditReport(events, head, problem)
                events, head = events + 1, digest
                is_noted = is_noted or digest == noted
    except OSError as error:
        raise OutputError(
            f"The audit trail {path} cannot be read: {error.strerror}.",
            "Give the server's folder with --store.",
        ) from error
    if not is_noted:
        return AuditReport(
            events, head, "The noted end is not in the trail: it was cut."
        )
    return AuditReport(events, head)


def _digest(line: dict[str, Any]) -> str:
    text = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _last(file: IO[bytes], size: int) -> tuple[int, int, str]:
    """Read number and digest of the last line; give them after the file's size."""
    tail, length = b"", _TAIL_BYTES
    # A line is as long as it names results: there is an end of the one before, too.
    while tail.count(b"\n") < 2 and len(tail) < size:
        file.seek(max(0, size - length))
        tail, length = file.read(), 2 * length
    whole = tail.rfind(b"\n") + 1
    if whole < len(tail):
        # The machine stopped while it wrote: nobody was told that this is kept.
        size += whole - len(tail)
        file.truncate(size)
    rows = tail[:whole].splitlines()
    try:
        line = json.loads(rows[-1])
        return size, int(line["number"]), str(line["digest"])
    except _NO_EVENT:
        # It is new; or somebody changed it, which `verify` says.
        return size, 0, _FIRST


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        # Closed, the file is let go.
        yield file
