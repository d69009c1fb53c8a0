"""Looks for new series on a DICOMweb server, and takes each into the queue once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from tumorlens.errors import (
    ArchiveAccessError,
    ArchiveDownError,
    ArchiveError,
    SettingError,
    TooLargeError,
    TumorLensError,
)
from tumorlens.pacs.dicomweb.client import Archive, SeriesEntry, StudyEntry
from tumorlens.pacs.dicomweb.fetch_queue import FetchQueue
from tumorlens.pacs.worker import Delivery

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
