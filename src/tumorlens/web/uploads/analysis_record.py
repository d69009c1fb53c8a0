"""What is known of one slice that was judged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tumorlens.errors import MissingFileError


@dataclass(frozen=True)
class Analysis:
    """One slice that was judged, without its pictures.

    Parameters
    ----------
    id
        Random, 128 bits, not to be guessed.
    made
        Seconds since 1970, UTC.
    document
        As `prediction_to_json` wrote it.
    """

    id: str
    made: float
    document: dict[str, Any]

    @property
    def date(self) -> datetime:
        """When it was made, in UTC."""
        return datetime.fromtimestamp(self.made, UTC)


def analysis_of(row: tuple[str, float, str]) -> Analysis:
    """Make an analysis of a row of the index: id, made, document."""
    return Analysis(row[0], row[1], json.loads(row[2]))


def missing_analysis() -> MissingFileError:
    """Make the error for an analysis that is not there."""
    return MissingFileError(
        "There is no such analysis here.",
        "It was deleted, its time is over, or it belongs to another browser. "
        "Analyse the picture again.",
    )
