"""Uploaded scans: what is known of each, and its files, while its time lasts.

Each scan has a row in the store's index and a folder of its own beside it.
Files are written under the lock that rows are removed under, so nothing is
left behind by a scan that is removed while it is computed.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tumorlens.errors import MissingFileError, OutputError
from tumorlens.web.uploads.series_record import Scan, State

_FOLDER_START = "scan-"
UPLOAD = "upload"
"""Folder of the files as they were sent, until they have been read."""


_RESTARTED = {
    "code": "interrupted",
    "message": "The server was stopped before this scan was judged.",
    "mend": "Send it again.",
}


class ScanStore:
    """Keeps scans; made by `Store`, with its folder, index and lock.

    Parameters
    ----------
    folder
        The store's.
    index, lock
        The open index, and what guards it.
    clock
        Seconds since 1970.
    retention_seconds
        How long a scan is kept.
    """

    def __init__(
        self,
        folder: Path,
        index: sqlite3.Connection,
        lock: threading.RLock,
        clock: Callable[[], float],
        retention_seconds: float,
    ) -> None:
        self._folder = folder
        self._index = index
        self._lock = lock
        self._clock = clock
        self._retention_seconds = retention_seconds
        self._recover()

    def create(self, label: str, owner: str, operating_point: str) -> Scan:
        """Begin a scan without files.

        Raises
        ------
        OutputError
            Where the disk is full or the folder is gone.
        """
        document: dict[str, Any] = {
            "label": label,
            "operating_point": operating_point,
            "notes": [],
            "error": None,
            "series": [],
            "analyses": [],
            "has_report": False,
        }
        scan = Scan(
            secrets.token_urlsafe(16), owner, self._clock(), State.WAITING, document
        )
        try:
            with self._lock, self._index:
                self._index.execute(
                    "INSERT INTO scans VALUES (?, ?, ?, 0, ?, ?)",
                    (scan.id, owner, scan.made, scan.state, json.dumps(document)),
                )
                self._home(scan.id).mkdir()
                self.upload_folder(scan.id).mkdir()
        except (OSError, sqlite3.Error) as error:
            raise _cannot_keep(error) from error
        return scan

    def get(self, scan_id: str, owner: str) -> Scan:
        """Find a scan.

        Raises
        ------
        MissingFileError
            Where there is none, it is another's, or its time is over.
        """
        found = self._rows("id = ? AND owner = ? AND made > ?", scan_id, owner)
        if not found:
            raise missing_scan()
        return found[0]

    def find(self, scan_id: str) -> Scan | None:
        """Find a scan whoever owns it: for those who compute, not for requests."""
        found = self._rows("id = ? AND made > ?", scan_id)
        return found[0] if found else None

    def exists(self, scan_id: str) -> bool:
        """Tell whether a scan is still there: asked at every slice, so in haste."""
        with self._lock:
            row = self._index.execute(
                "SELECT 1 FROM scans WHERE id = ? AND made > ?",
                (scan_id, self._oldest()),
            ).fetchone()
        return row is not None

    def owned(self, owner: str) -> tuple[Scan, ...]:
        """Return a session's scans, the newest first."""
        return self._rows("owner = ? AND made > ?", owner)

    def save(self, scan: Scan, **files: bytes) -> bool:
        """Keep a scan's new state and document, and files of it.

        Parameters
        ----------
        scan
            As it is now.
        **files
            Content by name.

        Returns
        -------
        bool
            False where the scan was removed meanwhile: nothing was written.

        Raises
        ------
        OutputError
            Where the disk is full or the folder is gone.
        """
        try:
            with self._lock, self._index:
                if not self.exists(scan.id):
                    return False
                for name, data in files.items():
                    self._path(scan.id, name).write_bytes(data)
                size = sum(
                    item.stat().st_size
                    for item in self._home(scan.id).rglob("*")
                    if item.is_file()
                )
                self._index.execute(
                    "UPDATE scans SET state = ?, document = ?, size = ? WHERE id = ?",
                    (scan.state, json.dumps(scan.document), size, scan.id),
                )
        except (OSError, sqlite3.Error) as error:
            raise _cannot_keep(error) from error
        return True

    def read(self, scan: Scan, name: str) -> bytes:
        """Read a file of a scan.

        Raises
        ------
        MissingFileError
            Where it is not there, or not any more.
        """
        try:
            return self._path(scan.id, name).read_bytes()
        except OSError as error:
            raise missing_scan() from error

    def upload_folder(self, scan_id: str) -> Path:
        """Return the folder of the files as they were sent."""
        return self._home(scan_id) / UPLOAD

    def drop_upload(self, scan_id: str) -> None:
        """Remove the files as they were sent."""
        shutil.rmtree(self.upload_folder(scan_id), ignore_errors=True)

    def delete_all(self, owner: str) -> int:
        """Remove all scans of a session; return how many there were."""
        return self._remove("owner = ?", owner)

    def remove(self, scan_id: str) -> None:
        """Remove a scan, whoever owns it."""
        self._remove("id = ?", scan_id)

    def sweep(self) -> int:
        """Remove every scan whose time is over; return how many."""
        return self._remove("made <= ?", self._oldest())

    def _recover(self) -> None:
        """End what a stopped server left: no scan waits for ever."""
        with self._lock, self._index:
            rows = self._index.execute("SELECT id, state, document FROM scans")
            known = set()
            for scan_id, state, text in rows.fetchall():
                known.add(f"{_FOLDER_START}{scan_id}")
                if State(state).is_over:
                    continue
                self.drop_upload(scan_id)
                document = {**json.loads(text), "error": _RESTARTED}
                self._index.execute(
                    "UPDATE scans SET state = ?, document = ? WHERE id = ?",
                    (State.FAILED, json.dumps(document), scan_id),
                )
        for folder in self._folder.glob(f"{_FOLDER_START}*"):
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def _rows(self, condition: str, *values: str) -> tuple[Scan, ...]:
        with self._lock:
            rows = self._index.execute(
                "SELECT id, owner, made, state, document FROM scans "
                f"WHERE {condition} ORDER BY made DESC, rowid DESC",
                (*values, self._oldest()),
            ).fetchall()
        return tuple(
            Scan(row[0], row[1], row[2], State(row[3]), json.loads(row[4]))
            for row in rows
        )

    def _remove(self, condition: str, value: str | float) -> int:
        with self._lock, self._index:
            rows = self._index.execute(
                f"SELECT id FROM scans WHERE {condition}", (value,)
            ).fetchall()
            for (scan_id,) in rows:
                shutil.rmtree(self._home(scan_id), ignore_errors=True)
            self._index.execute(f"DELETE FROM scans WHERE {condition}", (value,))
        return len(rows)

    def _oldest(self) -> float:
        return self._clock() - self._retention_seconds

    def _home(self, scan_id: str) -> Path:
        return self._folder / f"{_FOLDER_START}{scan_id}"

    def _path(self, scan_id: str, name: str) -> Path:
        return self._home(scan_id) / name


def missing_scan() -> MissingFileError:
    """Make the error for a scan that is not there."""
    return MissingFileError(
        "There is no such scan here.",
        "It was deleted, its time is over, or it belongs to another browser. "
        "Send the scan again.",
    )


def _cannot_keep(error: Exception) -> OutputError:
    return OutputError(
        f"The scan cannot be kept: {error}.",
        "Make room on the disk, or delete analyses.",
    )
