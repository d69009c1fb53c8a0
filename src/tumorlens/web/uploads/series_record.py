"""What is known of an uploaded scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How far a scan is."""

    WAITING = "waiting"
    READING = "reading"
    JUDGING = "judging"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self in (State.DONE, State.FAILED, State.STOPPED)


@dataclass(frozen=True)
class Scan:
    """One upload of one or several series.

    Parameters
    ----------
    id
        Random, 128 bits, not to be guessed.
    owner
        The session it belongs to, or `ANYONE`.
    made
        Seconds since 1970, UTC.
    state
        How far it is.
    document
        Plain JSON values. ``label``, ``operating_point``, ``notes``, ``error``
        (or None), ``series``, ``analyses`` (ids of single pictures) and
        ``has_report``: whether there is a PDF of all series.
    """

    id: str
    owner: str
    made: float
    state: State
    document: dict[str, Any] = field(repr=False)

    @property
    def date(self) -> datetime:
        """When it was sent, in UTC."""
        return datetime.fromtimestamp(self.made, UTC)

    @property
    def series(self) -> list[dict[str, Any]]:
        """What is known of each series; empty until the files have been read."""
        found: list[dict[str, Any]] = self.document["series"]
        return found
