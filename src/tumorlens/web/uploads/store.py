"""Analyses that were made, kept privately and for a stated time only.

A folder that only its owner may enter holds an SQLite index with each
analysis's document, one file of 8-bit pictures for each, a folder for each
scan (see `scan_store`), and the key that signs cookies.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tumorlens.errors import BusyError, OutputError
from tumorlens.inference.slice.results import Prediction
from tumorlens.report.slice.document import prediction_from_json, prediction_to_json
from tumorlens.report.slice.overlay import grey_map, window_picture
from tumorlens.settings import SETTINGS
from tumorlens.web.uploads.analysis_record import (
    Analysis,
    analysis_of,
    missing_analysis,
)
from tumorlens.web.uploads.eviction import giving_way, total_bytes, under_way_fits
from tumorlens.web.uploads.private_folder import (
    INDEX,
    open_index,
    private_folder,
    signing_key,
)
from tumorlens.web.uploads.series_record import Scan
from tumorlens.web.uploads.series_store import ScanStore

_SWEEPS_SECONDS = 30.0

ANYONE = ""
"""Owner of an analysis that whoever knows its id may see: one of the API's."""


class Store:
    """Keeps analyses until their time is over; safe to use from threads.

    Parameters
    ----------
    folder
        Made if it is missing, and closed to everybody else; None for a
        temporary one that `close` removes.
    retention_seconds
        How long an analysis is kept.
    limit_bytes
        Of all pictures and scans together; beyond it the oldest go, but for scans
        that wait or are being judged.
    clock
        Seconds since 1970.

    Raises
    ------
    OutputError
        Where the folder cannot be made or written to.
    """

    def __init__(
        self,
        folder: Path | None,
        retention_seconds: float,
        limit_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._temporary = folder is None
        self.retention_seconds = retention_seconds
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._sweeper: threading.Thread | None = None
        try:
            self.folder = private_folder(folder)
            self._index = open_index(self.folder / INDEX)
            self.key = signing_key(self.folder / "key")
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"The store {folder or tempfile.gettempdir()} cannot be used: {error}.",
                "Choose a folder of your own with --store.",
            ) from error
        self.scans = ScanStore(
            self.folder, self._index, self._lock, clock, retention_seconds
        )
        self._closers: list[Callable[[], None]] = []
        self.sweep()

    def add(self, prediction: Prediction, owner: str) -> Analysis:
        """Keep a prediction with its pictures, in 8 bits.

        Parameters
        ----------
        prediction
            Of one slice.
        owner
            The session it belongs to, or `ANYONE`.

        Raises
        ------
        OutputError
            Where the disk is full or the folder is gone.
        """
        explanation = prediction.explanation
        pictures = np.stack(
            [
                window_picture(prediction.pixels),
                grey_map(explanation.evidence),
                grey_map(explanation.gradcam),
            ]
        )
        document = prediction_to_json(prediction)
        analysis = Analysis(secrets.token_urlsafe(16), self._clock(), document)
        path = self._path(analysis.id)
        try:
            np.save(path, pictures)
            with self._lock, self._index:
                self._index.execute(
                    "INSERT INTO analyses VALUES (?, ?, ?, ?, ?)",
                    (
                        analysis.id,
                        owner,
                        analysis.made,
                        pictures.nbytes,
                        json.dumps(document),
                    ),
                )
        except (OSError, sqlite3.Error) as error:
            path.unlink(missing_ok=True)
            raise OutputError(
                f"{prediction.source} was judged, but the result cannot be kept: "
                f"{error}.",
                "Make room on the disk, or delete analyses.",
            ) from error
        self.make_room(analysis.id)
        return analysis

    def get(self, analysis_id: str, owner: str) -> Analysis:
        """Find an analysis.

        Raises
        ------
        MissingFileError
            Where there is none, it is another's, or its time is over.
        """
        with self._lock:
            row = self._index.execute(
                "SELECT id, made, document FROM analyses "
                "WHERE id = ? AND owner = ? AND made > ?",
                (analysis_id, owner, self._oldest()),
            ).fetchone()
        if row is None:
            raise missing_analysis()
        return analysis_of(row)

    def prediction(self, analysis: Analysis) -> Prediction:
        """Put an analysis together with its pictures again.

        Returns
        -------
        Prediction
            With pixels and maps in steps of 1/255.

        Raises
        ------
        MissingFileError
            Where the pictures were removed meanwhile.
        """
        try:
            pictures = np.load(self._path(analysis.id), allow_pickle=False)
        except OSError as error:
            raise missing_analysis() from error
        pixels, evidence, gradcam = pictures.astype(np.float32) / np.float32(255.0)
        return prediction_from_json(analysis.document, pixels, evidence, gradcam)

    def owned(self, owner: str) -> tuple[Analysis, ...]:
        """Return a session's analyses, the newest first."""
        with self._lock:
            rows = self._index.execute(
                "SELECT id, made, document FROM analyses "
                "WHERE owner = ? AND made > ? ORDER BY made DESC, rowid DESC",
                (owner, self._oldest()),
            ).fetchall()
        return tuple(analysis_of(row) for row in rows)

    def delete(self, analysis_id: str, owner: str) -> None:
        """Remove one analysis.

        Raises
        ------
        MissingFileError
            Where there is none, or it is another's.
        """
        if not self._remove("id = ? AND owner = ?", (analysis_id, owner)):
            raise missing_analysis()

    def delete_all(self, owner: str) -> int:
        """Remove all analyses of a session; return how many there were."""
        return self._remove("owner = ?", (owner,))

    def sweep(self) -> int:
        """Remove all analyses and scans whose time is over; return how many."""
        return self._remove("made <= ?", (self._oldest(),)) + self.scans.sweep()

    def start_sweeper(self) -> None:
        """Sweep from time to time, in a thread, until `close`."""
        self._sweeper = threading.Thread(target=self._sweep_on, daemon=True)
        self._sweeper.start()

    def before_close(self, closer: Callable[[], None]) -> None:
        """Have something stopped before the store closes: who still writes to it."""
        self._closers.append(closer)

    def close(self) -> None:
        """Stop all work on it, and remove the folder if it was temporary."""
        for closer in self._closers:
            closer()
        self._stopped.set()
        if self._sweeper is not None:
            self._sweeper.join()
        with self._lock:
            self._index.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep_on(self) -> None:
        while not self._stopped.wait(min(_SWEEPS_SECONDS, self.retention_seconds / 4)):
            try:
                self.sweep()
            except (OSError, sqlite3.Error):
                # A full disk or a busy index today; the next sweep tries again,
                # and until then nothing that is over is shown.
                continue

    def _oldest(self) -> float:
        return self._clock() - self.retention_seconds

    def _path(self, analysis_id: str) -> Path:
        return self.folder / f"{analysis_id}.npy"

    def make_room(self, newest: str) -> None:
        """Remove the oldest results, but `newest`, until all fits.

        Scans that wait or are being judged stay: their senders were told so.
        """
        with self._lock:
            for item in giving_way(self._index, self._limit_bytes, newest):
                if item.is_scan:
                    self.scans.remove(item.id)
                else:
                    self._remove("id = ?", (item.id,))

    @property
    def overflows(self) -> bool:
        """Whether more is kept than the limit, as nothing of it may give way."""
        with self._lock:
            return total_bytes(self._index) > self._limit_bytes

    def admit(self, scan: Scan) -> None:
        """Keep a scan whose files have come, and make room for it.

        Raises
        ------
        BusyError
            Where it does not fit beside the others that wait or are being judged.
        OutputError
            Where the disk is full or the folder is gone.
        """
        with self._lock:
            self.scans.save(scan)
            if not under_way_fits(self._index, self._limit_bytes):
                raise BusyError(
                    "The store has no room for this scan beside those that wait.",
                    "Try again in a few minutes; whoever runs the server can set "
                    f"{SETTINGS['store_mb'].option}.",
                )
            self.make_room(scan.id)

    def delete_scan(self, scan_id: str, owner: str) -> None:
        """Remove a scan, all its files, and the analyses of its single pictures.

        Raises
        ------
        MissingFileError
            Where there is none, or it is another's.
        """
        with self._lock:
            scan = self.scans.get(scan_id, owner)
            for analysis_id in scan.document["analyses"]:
                self._remove("id = ?", (analysis_id,))
            self.scans.remove(scan_id)

    def _remove(self, condition: str, values: tuple[str | float, ...]) -> int:
        with self._lock:
            rows = self._index.execute(
                f"SELECT id FROM analyses WHERE {condition}", values
            ).fetchall()
            for (analysis_id,) in rows:
                # The file goes first: an index row without a file is harmless.
                self._path(analysis_id).unlink(missing_ok=True)
            with self._index:
                self._index.execute(f"DELETE FROM analyses WHERE {condition}", values)
        return len(rows)
