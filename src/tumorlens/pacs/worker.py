"""What is done with a complete series: judge it, and send the results."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from tumorlens.errors import InputError
from tumorlens.pacs.queue import Job, Queue

_LOG = logging.getLogger(__name__)
_PAUSE_SECONDS = 0.5

Analysis: TypeAlias = Callable[[Sequence[Path]], Sequence[bytes]]
"""DICOM files of one series in, DICOM files of the results out."""

Delivery: TypeAlias = Callable[[Sequence[Path], Callable[[Path], None]], bool]
"""Brings files to where results go, tells of each that arrived, and says whether
all did."""


class Worker:
    """Works through the queue in two threads, one to judge and one to send.

    Parameters
    ----------
    queue
        What came, and what is to be sent.
    analyse
        Judges a series; may raise `InputError` for one that is not ours to
        judge.
    deliver
        Brings results to where they go.
    quiet_seconds
        A series is complete when nothing came for so long.
    """

    def __init__(
        self,
        queue: Queue,
        analyse: Analysis,
        deliver: Delivery,
        quiet_seconds: float,
    ) -> None:
        self._queue = queue
        self._analyse = analyse
        self._deliver = deliver
        self._quiet_seconds = quiet_seconds
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_on, args=(step,), daemon=True)
            for step in (self._judge_next, self._send_next)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Finish the step at hand, and stop."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _keep_on(self, step: Callable[[], bool]) -> None:
        while not self._stopped.is_set():
            try:
                worked = step()
            except Exception:
                # A full disk or a locked database today; it is tried again.
                _LOG.exception("A step failed.")
                worked = False
            if not worked:
                self._stopped.wait(_PAUSE_SECONDS)

    def _judge_next(self) -> bool:
        job = self._queue.next_complete(self._quiet_seconds)
        if job is None:
            return False
        try:
            results = self._analyse(job.files)
        except InputError as error:
            # The message may quote the sender's text; the code cannot.
            _LOG.warning("A series of %d images: %s.", len(job.files), error.code)
            results = ()
        except Exception as error:
            # Its text, or a traceback's, could quote what the header says of a patient.
            name = type(error).__name__
            _LOG.error("A series of %d images failed: %s.", len(job.files), name)
            self._postpone(job)
            return True
        self._queue.put_results(job.series, results)
        _LOG.info("Judged %d images, %d results.", len(job.files), len(results))
        return True

    def _send_next(self) -> bool:
        job = self._queue.next_to_send()
        if job is None:
            return False

        def arrived(file: Path) -> None:
            self._queue.sent(job.series, file)

        if not self._deliver(job.files, arrived):
            self._postpone(job)
        return True

    def _postpone(self, job: Job) -> None:
        wait = self._queue.postpone(job.series)
        if math.isinf(wait):
            _LOG.error("A series was given up after many attempts.")
        else:
            _LOG.warning("To be tried again in %.0f s.", wait)
