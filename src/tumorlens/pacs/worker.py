"""Worker that judges each complete series and sends the results."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from pydicom import dcmread

from tumorlens.errors import InputError
from tumorlens.jobs.queue import Worker, described
from tumorlens.operations.tracing import span
from tumorlens.pacs.queue import SeriesJob, SeriesQueue, StudyJob
from tumorlens.report.dicom.finding import SentResult

logger = logging.getLogger(__name__)
_CLEANING_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 30.0
"""Between two looks at a series that is not whole, to which nothing comes."""

Analysis: TypeAlias = Callable[[SeriesJob], Sequence[bytes]]
"""A series in, DICOM files of the results out."""

Doubts: TypeAlias = Callable[[SeriesJob], Sequence[str]]
"""Full sentences: why the files of a series are not known to be all of it."""

Delivery: TypeAlias = Callable[[Sequence[Path], Callable[[Path], None]], bool]
"""Brings files to where results go, tells of each that arrived, and says whether
all did."""


class Studies(NamedTuple):
    """What judges the series of a study together, once each has been by itself.

    Parameters
    ----------
    take
        Finds a study that is due; None where there is none.
    analyse
        Judges it; may raise `InputError` where its series do not go together.
    """

    take: Callable[[], StudyJob | None]
    analyse: Callable[[StudyJob], Sequence[bytes]]


class SeriesWorker:
    """Works through the queue in two threads, one to judge and one to send.

    Parameters
    ----------
    queue
        Queue of what came, and of what is to be sent.
    analyse
        InputKind a series; may raise `InputError` for one that is not ours to
        judge.
    deliver
        Brings results to where they go; None where nothing is to be sent, not even
        what waits for it.
    quiet_seconds
        A series is looked at when nothing came for so long.
    doubts
        Tells whether a series is whole; by default each is, but for images that are
        known to be missing.
    wait_seconds
        Seconds after its last image for which a series that is not whole waits for
        more. What there is is judged then, as a part.
    studies
        Judges studies whenever no series is due; None for none.
    beside
        Steps that are done beside, in a thread each; they tell whether there was
        something to do.
    """

    def __init__(
        self,
        queue: SeriesQueue,
        analyse: Analysis,
        deliver: Delivery | None,
        quiet_seconds: float,
        doubts: Doubts = lambda _: (),
        wait_seconds: float = 0.0,
        studies: Studies | None = None,
        beside: Sequence[Callable[[], bool]] = (),
    ) -> None:
        self._queue = queue
        self._analyse = analyse
        self._quiet_seconds = quiet_seconds
        self._doubts = doubts
        self._wait_seconds = wait_seconds
        self._studies = studies
        self._cleaned = -math.inf
        steps: list[Callable[[], bool]] = [self._judge_next]
        if deliver is not None:
            steps.append(partial(self._send_next, deliver))
        self._worker = Worker(queue.jobs, [*steps, *beside])

    def start(self) -> None:
        """Begin."""
        self._worker.start()

    def close(self, patience_seconds: float | None = None) -> None:
        """Finish the step at hand, and stop.

        Parameters
        ----------
        patience_seconds
            Seconds to wait for it; None for as long as it takes. What is not finished
            is done again at the next start.
        """
        self._worker.close(patience_seconds)

    def _judge_next(self) -> bool:
        if time.monotonic() - self._cleaned > _CLEANING_SECONDS:
            self._queue.clean()
            self._cleaned = time.monotonic()
        job = self._queue.next_complete(self._quiet_seconds)
        if job is None:
            return self._judge_next_study()
        with span("node.judge", images=len(job.files)):
            self._judge(job)
        return True

    def _judge(self, job: SeriesJob) -> None:
        """Judge a series, or let it wait for more."""
        images, again = len(job.files), " again" if job.earlier else ""
        try:
            if not job.is_arriving:
                # Else it waits, whatever the headers and the archive say.
                job = replace(job, doubts=tuple(self._doubts(job)))
            if (job.is_arriving or job.doubts) and self._queue.wait(
                job, self._wait_seconds, _LOOK_AGAIN_SECONDS
            ):
                logger.info("A series of %d images is not whole: it waits.", images)
                return
            results = self._analyse(job)
        except InputError as error:
            # The message may quote the sender's text; the code cannot.
            logger.warning("A series of %d images: %s.", images, error.code)
            results = ()
        except Exception as error:
            name = described(error)
            logger.error("A series of %d images failed: %s", images, name)
            self._postpone(job)
            return
        with span("store", files=len(results)):
            is_kept = self._queue.put_results(job, results)
        if is_kept:
            logger.info("Judged %d images%s, %d results.", images, again, len(results))
            if job.missing:
                logger.warning("%d more images of it were missing.", job.missing)
            if job.doubts:
                logger.warning("Its report is of a part: the series is not whole.")
        else:
            logger.info("A series of %d images changed meanwhile: it waits.", images)

    def _judge_next_study(self) -> bool:
        job = None if self._studies is None else self._studies.take()
        if self._studies is None or job is None:
            return False
        count = len(job.parts)
        results: Sequence[bytes] = ()
        try:
            results = self._studies.analyse(job)
        except InputError as error:
            logger.warning("A study of %d series: %s.", count, error.code)
        except Exception as error:
            logger.error("A study of %d series failed: %s", count, described(error))
            self._postpone(job)
            return True
        if self._queue.put_results(job, results):
            logger.info("Judged a study of %d series, %d results.", count, len(results))
        else:
            logger.info("A study of %d series changed meanwhile: it waits.", count)
        return True

    def _send_next(self, deliver: Delivery) -> bool:
        job = self._queue.next_to_send()
        if job is None:
            return False

        def arrived(file: Path) -> None:
            self._queue.sent(job.series, file, _as_result(file))

        try:
            with span("node.send", files=len(job.files)) as traced:
                whole = deliver(job.files, arrived)
                traced.note(whole=whole)
        except Exception as error:
            # One that cannot be sent does not hold up the next.
            logger.error("Results were not sent: %s", described(error))
            whole = False
        if not whole:
            self._postpone(job)
        return True

    def _postpone(self, job: SeriesJob) -> None:
        wait = self._queue.postpone(job.series)
        if math.isinf(wait):
            logger.error("A series was given up after many attempts.")
        else:
            logger.warning("To be tried again in %.0f s.", wait)


def _as_result(file: Path) -> SentResult | None:
    """Name a file's object; None where it only rejects others."""
    item = dcmread(file, stop_before_pixels=True)
    if item.Modality == "KO":
        return None
    return SentResult(
        item.StudyInstanceUID,
        item.SeriesInstanceUID,
        item.SOPInstanceUID,
        item.SOPClassUID,
    )
