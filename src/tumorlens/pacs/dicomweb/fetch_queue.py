"""A queue whose series are fetched whole, rather than sent image by image.

Tested in `tests/pacs/test_queue.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from tumorlens.errors import ArchiveError
from tumorlens.jobs.artifacts import StagedFile
from tumorlens.jobs.database import JobState
from tumorlens.pacs.queue import FETCH, IMAGE, KIND, SeriesQueue


class FetchQueue(SeriesQueue):
    """Knows which series are to be fetched, and which were; as `SeriesQueue`."""

    def due_in(self, series: str) -> float | None:
        """Tell in how many seconds a series is to be fetched.

        Returns
        -------
        float or None
            0 for a new one, more for one that was missed and has to wait; None
            for one that was fetched or given up.
        """
        job = self.jobs.named(KIND, series)
        if job is None:
            return 0.0
        if job.stage != FETCH or job.state.is_over:
            return None
        return max(0.0, job.due - self._clock())

    def attempts(self, series: str) -> int:
        """Tell how often a series was missed."""
        job = self.jobs.named(KIND, series)
        return 0 if job is None else job.attempts

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
            Number of images.

        Raises
        ------
        ArchiveError
            One could not be fetched, and the series is not wanted partly.
        """
        files: dict[str, StagedFile | None] = {}
        with self._artifacts.staging() as stage:
            for place, data in enumerate(images):
                name = f"{series} {place}"
                if data is None:
                    files[name] = None
                    continue
                self._make_room()
                files[name] = stage(data)
            missing = sum(file is None for file in files.values())
            if missing and not partly:
                raise ArchiveError(
                    f"{missing} of {len(files)} images could not be fetched.",
                    "Look into the server's log.",
                )
            with self._database.transaction() as session:
                row = self._receive(session, series, self._row(session, series))
                self._artifacts.attach(row.id, IMAGE, files)
        return len(files) - missing

    def miss(self, series: str, *, again: bool) -> None:
        """Note that a series could not be fetched.

        Parameters
        ----------
        series
            Its UID.
        again
            Whether it is to be tried again, as `postpone` says.
        """
        with self._database.transaction() as session:
            row = self._row(session, series)
            if row is None:
                row = self.jobs.add(KIND, FETCH, key=series)
                session.flush()
            if again:
                self.jobs.postpone(row)
            else:
                self.jobs.end(row, JobState.FAILED)
