"""A queue whose series are fetched whole, rather than sent image by image.

Tested in `tests/pacs/test_queue.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sqlalchemy import select

from tumorlens.errors import ArchiveError
from tumorlens.jobs.artifacts import StagedFile
from tumorlens.jobs.database import Job, JobState
from tumorlens.pacs.queue import FETCH, IMAGE, KIND, SeriesQueue
from tumorlens.report.dicom.finding import SentResult

ORDER = "order"
"""Kind of the jobs that are steps of a worklist; over from the first."""


@dataclass(frozen=True)
class Order:
    """A step of a worklist that is ours.

    Parameters
    ----------
    transaction
        UID by which it is claimed; nobody else knows it.
    series
        Study and series UIDs of what is to be judged.
    began
        When it was taken, in seconds since 1970.
    item
        What its end repeats of the step, in DICOM JSON; nothing of the patient.
    is_claimed
        Whether it is known to be claimed.
    """

    transaction: str
    series: tuple[tuple[str, str], ...]
    began: float
    item: dict[str, Any]
    is_claimed: bool = False


class Outcome(NamedTuple):
    """How far a series is: not over yet, given up, or over with results.

    Parameters
    ----------
    is_open, has_failed
        Whether something is still to be done; whether it was given up.
    results
        What has arrived at the archive.
    """

    is_open: bool
    has_failed: bool = False
    results: tuple[SentResult, ...] = ()


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

    def outcome(self, series: str) -> Outcome:
        """Tell how far a series is."""
        job = self.jobs.named(KIND, series)
        if job is None or not job.state.is_over:
            return Outcome(is_open=True)
        if job.state is not JobState.DONE:
            return Outcome(is_open=False, has_failed=True)
        return Outcome(is_open=False, results=self._earlier(job))

    def orders(self) -> dict[str, Order]:
        """Give the steps that are ours, by their UIDs."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(Job).where(Job.kind == ORDER).order_by(Job.number)
            ).all()
        return {
            row.key or "": Order(
                row.document["transaction"],
                tuple((study, series) for study, series in row.document["series"]),
                row.document["began"],
                row.document["item"],
                row.document["is_claimed"],
            )
            for row in rows
        }

    def keep_order(self, uid: str, order: Order) -> None:
        """Keep a step that is to be claimed, or was."""
        with self._database.transaction() as session:
            row = self.jobs.locked(session, Job.kind == ORDER, Job.key == uid)
            if row is None:
                row = self.jobs.add(ORDER, ORDER, key=uid, state=JobState.DONE)
            row.document = asdict(order)

    def drop_order(self, uid: str) -> None:
        """Forget a step that is over, or not ours after all."""
        job = self.jobs.named(ORDER, uid)
        if job is not None:
            self.jobs.remove([job.id])

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
