"""A queue whose series are fetched whole, rather than sent image by image."""

from __future__ import annotations

from collections.abc import Iterable

from tumorlens.errors import ArchiveError
from tumorlens.pacs import queue_tables as tables
from tumorlens.pacs.queue import Queue
from tumorlens.pacs.queue_tables import FAILED, MISSED


class FetchQueue(Queue):
    """Knows which series are to be fetched, and which were; as `Queue`."""

    def due_in(self, series: str) -> float | None:
        """Tell in how many seconds a series is to be fetched.

        Returns
        -------
        float or None
            0 for a new one, more for one that was missed and has to wait; None
            for one that was fetched or given up.
        """
        with self._spool.transaction() as database:
            row = database.execute(
                "SELECT state, due FROM series WHERE uid = ?", (series,)
            ).fetchone()
        if row is None:
            return 0.0
        return max(0.0, row[1] - self._clock()) if row[0] == MISSED else None

    def attempts(self, series: str) -> int:
        """Tell how often a series was missed."""
        with self._spool.transaction() as database:
            row = database.execute(
                "SELECT attempts FROM series WHERE uid = ?", (series,)
            ).fetchone()
        return 0 if row is None else int(row[0])

    def add_whole(
        self, series: str, images: Iterable[bytes | None], *, partly: bool = False
    ) -> int:
        """Keep a series that is fetched at once: all of it, or nothing.

        Parameters
        ----------
        series
            Its UID; one that is due.
        images
            Whole DICOM files, None in place of one that could not be fetched; taken
            one by one. What they raise passes through.
        partly
            Take what there is; the series' job says how many are missing.

        Returns
        -------
        int
            How many there were.

        Raises
        ------
        ArchiveError
            One could not be fetched, and the series is not wanted partly.
        """
        files: list[str] = []
        missing = 0
        try:
            for data in images:
                if data is None:
                    missing += 1
                    continue
                self._make_room()
                files.append(self._spool.write(data, "image"))
            if missing and not partly:
                raise ArchiveError(
                    f"{missing} of {missing + len(files)} images could not be fetched.",
                    "Look into the server's log.",
                )
            with self._spool.transaction() as database:
                database.executemany(
                    "INSERT INTO images VALUES (?, ?, ?)",
                    [(file, series, file) for file in files]
                    + [(f"{series} missing {n}", series, "") for n in range(missing)],
                )
                tables.receive(database, series, self._clock())
        except BaseException:
            # An interrupt may come after the rows were written.
            with self._spool.transaction() as database:
                kept = tables.files_of(database, "images", series)
            self._spool.remove([file for file in files if file not in kept])
            raise
        return len(files)

    def miss(self, series: str, *, again: bool) -> None:
        """Note that a series could not be fetched.

        Parameters
        ----------
        series
            Its UID.
        again
            Whether it is to be tried again, as `postpone` says.
        """
        with self._spool.transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO series (uid, state, changed) VALUES (?, ?, ?)",
                (series, MISSED, self._clock()),
            )
            if again:
                tables.postpone(database, series, self._clock())
            else:
                database.execute(
                    "UPDATE series SET state = ? WHERE uid = ?", (FAILED, series)
                )
