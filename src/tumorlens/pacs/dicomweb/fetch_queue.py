"""A queue whose series are fetched whole, rather than sent image by image.

A poller looks for new series on a DICOMweb server, and takes each into the queue once.

Tested in `tests/pacs/test_queue.py` and `tests/pacs/dicomweb/test_poller.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import select

from tumorlens.errors import (
    ArchiveAccessError,
    ArchiveDownError,
    ArchiveError,
    SettingError,
    TooLargeError,
    TumorLensError,
)
from tumorlens.jobs.artifacts import StagedFile
from tumorlens.jobs.database import Job, JobState
from tumorlens.pacs.dicomweb.client import Archive, SeriesEntry, StudyEntry
from tumorlens.pacs.queue import FETCH, IMAGE, KIND, SeriesQueue
from tumorlens.pacs.worker import Delivery
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


logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 600.0
"""Between two looks at a server that is down."""

ATTEMPTS_FOR_ALL = 10
"""Number of times that a series is fetched before it is judged without the images
that the server does not give: 40 minutes."""


class Poller:
    """Takes series that are new and complete from a server into the queue.

    A series is complete when two looks find as many images of it.

    Parameters
    ----------
    archive
        The server.
    queue
        Queue for the series; it knows which were there before.
    days
        Number of days back that studies are looked for; 0 for those of today.
    orders
        Gives the StudyInstanceUIDs of which an analysis is ordered: these alone are
        taken then, of whatever day. It raises `ConnectionError` where nobody says.
    wants
        Tells which series of these studies are ordered, of which a report may be
        there; by default all that have none.
    """

    def __init__(
        self,
        archive: Archive,
        queue: FetchQueue,
        days: int,
        orders: Callable[[], set[str]] | None = None,
        wants: Callable[[SeriesEntry], bool] | None = None,
    ) -> None:
        self._archive = archive
        self._queue = queue
        self._days = days
        self._orders = orders
        self._wants = wants
        # Images of each study that has nothing left to take, and of each series that
        # is waited for, by its study, at the last look.
        self._settled: dict[str, int | None] = {}
        self._images: dict[str, dict[str, int | None]] = {}
        self._stopped = threading.Event()

    def keep_on(self, seconds: float) -> None:
        """Look every so often, until `stop`; less often while that fails.

        Raises
        ------
        Exception
            Where the first look fails, and not because the server is down.
        """
        failures, first = 0, True
        while not self._stopped.is_set():
            try:
                self.look()
                failures, first = 0, False
            except _StoppedError:
                return
            except Exception as error:
                if first and not isinstance(error, ArchiveDownError):
                    raise
                failures += 1
                # Texts of others may quote what a server says of a patient.
                ours = isinstance(error, TumorLensError)
                logger.warning("%s", error if ours else f"{type(error).__name__}.")
            longest = max(seconds, LONGEST_PAUSE_SECONDS)
            self._stopped.wait(min(seconds * 2.0 ** min(failures, 20), longest))

    def stop(self) -> None:
        """Let `keep_on` end, from another thread; what is half fetched is removed."""
        self._stopped.set()

    def look(self) -> None:
        """Look once, and take what is new and complete."""
        listed = self._listed()
        # What is not listed any more does not come back.
        uids = {study.uid for study in listed}
        for image_counts in (self._settled, self._images):
            for uid in image_counts.keys() - uids:
                del image_counts[uid]
        for study in listed:
            if study.images is not None and (
                self._settled.get(study.uid) == study.images
            ):
                continue
            try:
                settled = self._look_at(study.uid)
            except (ArchiveAccessError, ArchiveDownError):
                raise
            except (ArchiveError, SettingError, TooLargeError) as error:
                # An order may name what is no study's UID at all.
                logger.warning("A study was skipped: %s", error)
                continue
            if settled:
                self._settled[study.uid] = study.images
                self._images.pop(study.uid, None)

    def _listed(self) -> list[StudyEntry]:
        if self._orders is None:
            return self._archive.studies(date.today() - timedelta(self._days))
        try:
            ordered = self._orders()
        except ConnectionError as error:
            raise ArchiveDownError(
                "The worklist does not answer.", "Check --worklist and whether it runs."
            ) from error
        # How many images there are shows when the study is looked at.
        return [StudyEntry(uid, None) for uid in sorted(ordered)]

    def _look_at(self, study: str) -> bool:
        """Take what a study has; tell whether nothing is left to take."""
        listed = self._archive.series(study)
        dues = {
            entry: self._queue.due_in(entry.uid)
            for entry in listed
            if entry.modality == "MR"
        }
        left = {entry: due for entry, due in dues.items() if due is not None}
        if not left:
            return True
        if self._wants is None:
            judged = self._archive.judged(listed)
            wanted = [entry for entry in left if entry.uid not in judged]
        else:
            wanted = list(filter(self._wants, left))
        left = {entry: left[entry] for entry in wanted}
        taken = [
            due == 0 and self._is_complete(entry) and self._take(entry)
            for entry, due in left.items()
        ]
        return all(taken)

    def _is_complete(self, entry: SeriesEntry) -> bool:
        images = self._images.setdefault(entry.study, {})
        was_listed = entry.uid in images
        before = images.get(entry.uid)
        images[entry.uid] = entry.images
        return was_listed and before == entry.images

    def _take(self, entry: SeriesEntry) -> bool:
        """Fetch a series; tell whether that is done with, well or for good."""
        partly = self._queue.attempts(entry.uid) + 1 >= ATTEMPTS_FOR_ALL
        try:
            images = self._until_stopped(self._archive.images(entry))
            count = self._queue.add_whole(entry.uid, images, partly=partly)
        except (ArchiveAccessError, ArchiveDownError):
            raise
        except ArchiveError as error:
            self._queue.miss(entry.uid, again=True)
            logger.warning("A series could not be fetched: %s", error)
            return False
        except TooLargeError as error:
            self._queue.miss(entry.uid, again=False)
            logger.error("A series was given up: %s", error)
            return True
        logger.info("Fetched a series of %d images.", count)
        return True

    def _until_stopped(self, images: Iterator[bytes | None]) -> Iterator[bytes | None]:
        for image in images:
            if self._stopped.is_set():
                raise _StoppedError
            yield image


class _StoppedError(Exception):
    """The poller is to end."""


def delivery_to(archive: Archive) -> Delivery:
    """Make what brings a worker's results to a server."""

    def deliver(files: Sequence[Path], sent: Callable[[Path], None]) -> bool:
        try:
            archive.store(files, sent)
        except ArchiveError as error:
            logger.warning("Results were not stored: %s", error)
            return False
        return True

    return deliver
