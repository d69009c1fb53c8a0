"""The queue's tables: which series are in which state, and statements on them.

A series is ``receiving`` until it is judged, ``sending`` until its results have
arrived, then ``done``; ``failed`` where it was given up, ``missed`` while it could
not be fetched. An image has no file any more once that was removed, and none where
the server that has it did not give it.
"""

from __future__ import annotations

import sqlite3
from enum import Enum, auto

SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    uid TEXT PRIMARY KEY, state TEXT NOT NULL, changed REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS images (
    uid TEXT PRIMARY KEY, series TEXT NOT NULL, file TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (
    file TEXT PRIMARY KEY, series TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS reports (
    instance TEXT PRIMARY KEY, of TEXT NOT NULL, series TEXT NOT NULL,
    study TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS series_by_state ON series (state, due);
CREATE INDEX IF NOT EXISTS images_by_series ON images (series);
CREATE INDEX IF NOT EXISTS images_kept ON images (series) WHERE file != '';
CREATE INDEX IF NOT EXISTS results_by_series ON results (series);
CREATE INDEX IF NOT EXISTS reports_by_series ON reports (of);
"""
RECEIVING, SENDING, DONE, FAILED = "receiving", "sending", "done", "failed"
MISSED = "missed"

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 3600.0
MOST_ATTEMPTS = {RECEIVING: 10, SENDING: 180, MISSED: 30}
"""Before a series is given up: 40 minutes of judging, a week of sending, a day of
fetching."""

_SINCE = "SELECT uid FROM series WHERE changed <= ? AND state IN "
_JUDGED = f"{_SINCE} ('{SENDING}', '{DONE}', '{FAILED}')"
_OVER = f"{_SINCE} ('{DONE}', '{FAILED}')"


class Arrival(Enum):
    """What an image is to the queue."""

    NEW = auto()
    """Kept."""

    LATE = auto()
    """Kept; its series was judged without it, and will be judged anew."""

    AGAIN = auto()
    """Kept; its series was given up, and will be tried anew."""

    KNOWN = auto()
    """Not kept: it came before."""

    TOO_LATE = auto()
    """Not kept: its series was judged without it, and the other images are gone."""

    @property
    def kept(self) -> bool:
        """Whether the queue has its file."""
        return self in (Arrival.NEW, Arrival.LATE, Arrival.AGAIN)


def arrival_of(database: sqlite3.Connection, image: str, series: str) -> Arrival:
    """Tell what an image would be."""
    found = database.execute(
        "SELECT state FROM series WHERE uid = ?", (series,)
    ).fetchone()
    state = None if found is None else found[0]
    known = database.execute(
        "SELECT file, series FROM images WHERE uid = ?", (image,)
    ).fetchone()
    if known is not None and known[1] != series:
        return Arrival.KNOWN
    if state == FAILED:
        return Arrival.AGAIN
    if known is not None and known[0]:
        return Arrival.KNOWN
    if state in (None, RECEIVING):
        return Arrival.NEW
    files = database.execute(
        "SELECT DISTINCT file != '' FROM images WHERE series = ?", (series,)
    ).fetchall()
    if not files:
        # What was known of a series long ago is forgotten.
        return Arrival.NEW
    if (1,) in files:
        return Arrival.LATE
    return Arrival.TOO_LATE if known is None else Arrival.KNOWN


def keep(database: sqlite3.Connection, image: str, series: str, file: str) -> str:
    """Note an image that is kept; return the file it had before, or none: ``""``."""
    before = database.execute(
        "SELECT file FROM images WHERE uid = ?", (image,)
    ).fetchone()
    database.execute(
        "INSERT OR REPLACE INTO images VALUES (?, ?, ?)", (image, series, file)
    )
    return "" if before is None else str(before[0])


def receive(database: sqlite3.Connection, series: str, now: float) -> None:
    """Note that something of a series came."""
    database.execute(
        "INSERT INTO series (uid, state, changed) VALUES (?, ?, ?) "
        "ON CONFLICT (uid) DO UPDATE SET state = excluded.state, "
        "changed = excluded.changed, attempts = 0, due = 0",
        (series, RECEIVING, now),
    )


def files_of(database: sqlite3.Connection, table: str, series: str) -> list[str]:
    """Name the files of a series in ``images`` or ``results``, first come first."""
    rows = database.execute(
        f"SELECT file FROM {table} WHERE series = ? AND file != '' ORDER BY rowid",
        (series,),
    )
    return [name for (name,) in rows]


def replace_results(
    database: sqlite3.Connection, series: str, files: list[str]
) -> None:
    """Let a judged series have these results, and no others, to be sent."""
    database.execute("DELETE FROM results WHERE series = ?", (series,))
    database.executemany(
        "INSERT INTO results VALUES (?, ?)", [(file, series) for file in files]
    )
    database.execute(
        "UPDATE series SET state = ?, attempts = 0, due = 0 WHERE uid = ?",
        (SENDING if files else DONE, series),
    )


def postpone(database: sqlite3.Connection, series: str, now: float) -> float:
    """Let a series wait, twice as long each time.

    Returns
    -------
    float
        Seconds; infinite once it was tried as often as `MOST_ATTEMPTS` says, and is
        given up.
    """
    state, attempts = database.execute(
        "SELECT state, attempts FROM series WHERE uid = ?", (series,)
    ).fetchone()
    wait = min(FIRST_WAIT_SECONDS * 2.0 ** int(attempts), LONGEST_WAIT_SECONDS)
    database.execute(
        "UPDATE series SET attempts = attempts + 1, due = ? WHERE uid = ?",
        (now + wait, series),
    )
    if attempts + 1 < MOST_ATTEMPTS.get(state, 1):
        return wait
    database.execute("UPDATE series SET state = ? WHERE uid = ?", (FAILED, series))
    return float("inf")


def drop_files(database: sqlite3.Connection, until: float) -> list[str]:
    """Let judged series that got nothing since have no images' files.

    Those given up have no results any more either.

    Returns
    -------
    list of str
        The files' names; the images stay known.
    """
    dropped = [
        name
        for table, which in (("images", _JUDGED), ("results", _OVER))
        for (name,) in database.execute(
            f"SELECT file FROM {table} WHERE file != '' AND series IN ({which})",
            (until,),
        )
    ]
    database.execute(
        f"UPDATE images SET file = '' WHERE file != '' AND series IN ({_JUDGED})",
        (until,),
    )
    database.execute(f"DELETE FROM results WHERE series IN ({_OVER})", (until,))
    return dropped


def forget(database: sqlite3.Connection, until: float) -> None:
    """Forget images and reports of series that are over and got nothing since.

    That there was such a series stays known.
    """
    database.execute(
        f"DELETE FROM images WHERE file = '' AND series IN ({_OVER})", (until,)
    )
    database.execute(f"DELETE FROM reports WHERE of IN ({_OVER})", (until,))
