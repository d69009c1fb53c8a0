"""Upload: one picture that was judged, or one or several series.

Tested in `tests/web/uploads/test_store.py` and
`tests/web/uploads/test_series_store.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tumorlens.errors import MissingFileError
from tumorlens.jobs.queue import Progress

SENT, RESULT = "sent", "result"
"""Artefacts of an upload: its files as they came, until it is over, and what was made
of them."""

TRACE = "traceparent"
"""Key of a scan's document for the trace of the request that sent it, where requests
are traced."""

PICTURES = "pictures"
"""Name of the artefact with a picture's pixels and maps."""


class Kind(StrEnum):
    """Kind of an upload."""

    PICTURE = "picture"
    SCAN = "scan"


class State(StrEnum):
    """State of an upload."""

    WAITING = "waiting"
    READING = "reading"
    JUDGING = "judging"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """True where nothing more will happen."""
        return self in (State.DONE, State.FAILED, State.STOPPED)


@dataclass(frozen=True)
class Upload:
    """One slice that was judged, or one upload of one or several series.

    Parameters
    ----------
    id
        Random, 128 bits, not to be guessed.
    kind
        Picture or scan.
    owner
        The session it belongs to, or `ANYONE`.
    made
        Seconds since 1970, UTC.
    state
        State; a picture is done.
    document
        Plain JSON values. Of a picture as `prediction_to_json` wrote it. Of a scan
        ``label``, ``operating_point``, ``notes``, ``error`` (or None), ``series``,
        ``analyses`` (ids of single pictures) and ``has_report``: whether there is a
        PDF of all series; of several series also ``study``, what they show together.
    progress
        Slices that are judged; None where it is not being judged.
    kept_until
        Seconds since 1970 until which it is kept, since a reader has marked it; None
        where it is removed as all others.
    is_pinned
        Whether its owner keeps it until he says otherwise.
    """

    id: str
    kind: Kind
    owner: str
    made: float
    state: State
    document: dict[str, Any] = field(repr=False)
    progress: Progress | None = None
    kept_until: float | None = None
    is_pinned: bool = False

    @property
    def date(self) -> datetime:
        """Time of the upload, in UTC."""
        return datetime.fromtimestamp(self.made, UTC)

    @property
    def series(self) -> list[dict[str, Any]]:
        """Facts of each series of a scan; empty until it has been read."""
        series: list[dict[str, Any]] = self.document["series"]
        return series

    @property
    def study(self) -> dict[str, Any] | None:
        """What several series show together; None where nobody asked yet."""
        document: dict[str, Any] | None = self.document.get("study")
        return document


def missing(kind: Kind) -> MissingFileError:
    """Make the error for an upload that is not there."""
    what, again = {
        Kind.PICTURE: ("analysis", "Analyse the picture again."),
        Kind.SCAN: ("upload", "Send its files again."),
    }[kind]
    return MissingFileError(
        f"There is no such {what} here.",
        f"It was deleted, its time is over, or it belongs to another browser. {again}",
    )
