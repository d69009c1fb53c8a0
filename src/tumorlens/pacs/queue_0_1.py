"""Reads the queue that TumorLens 0.1.0 left in a node's folder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tumorlens.errors import OutputError

_DATABASE = "queue.sqlite"


@dataclass(frozen=True)
class OlderSeries:
    """One series as the older queue knew it.

    Parameters
    ----------
    uid, state, changed, attempts, due
        Values as they stood in its table.
    images
        File of each image by its UID; None where it was removed or never came.
    results
        File of each result that was to be sent, by its place.
    reports
        Study, series and instance of each report that was sent.
    """

    uid: str
    state: str
    changed: float
    attempts: int
    due: float
    images: dict[str, Path | None]
    results: dict[str, Path | None]
    reports: list[tuple[str, str, str]]


def read_older(folder: Path) -> list[OlderSeries] | None:
    """Read an older queue, oldest series first; None where there is none.

    Raises
    ------
    OutputError
        It cannot be read, or an older node still uses it.
    """
    path = folder / _DATABASE
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as database:
            # As the older node did: one of both is refused.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            rows = database.execute(
                "SELECT uid, state, changed, attempts, due FROM series "
                "ORDER BY changed, rowid"
            ).fetchall()
            return [_series(database, folder, *row) for row in rows]
    except sqlite3.Error as error:
        raise OutputError(
            f"The older queue in {folder} cannot be taken over: {error}.",
            "Stop the older TumorLens that uses it; one process at a time.",
        ) from error


def remove_older(folder: Path) -> None:
    """Remove an older queue and its files."""
    for file in folder.glob("*.dcm"):
        file.unlink()
    # The database last: without it nobody would look for the files again.
    for end in ("-wal", "-shm", ""):
        (folder / f"{_DATABASE}{end}").unlink(missing_ok=True)


def _series(
    database: sqlite3.Connection,
    folder: Path,
    uid: str,
    state: str,
    changed: float,
    attempts: int,
    due: float,
) -> OlderSeries:
    images = database.execute(
        "SELECT uid, file FROM images WHERE series = ? ORDER BY rowid", (uid,)
    )
    results = database.execute(
        "SELECT file FROM results WHERE series = ? ORDER BY rowid", (uid,)
    )
    reports = database.execute(
        "SELECT study, series, instance FROM reports WHERE of = ? ORDER BY rowid",
        (uid,),
    )
    return OlderSeries(
        uid,
        state,
        changed,
        attempts,
        due,
        {image: folder / file if file else None for image, file in images},
        {str(place): folder / file for place, (file,) in enumerate(results)},
        reports.fetchall(),
    )
