"""Threads that work through a queue, and go on whatever fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from tumorlens.errors import InputError, TumorLensError
from tumorlens.jobs.queue import LEASE_SECONDS, JobQueue

_logger = logging.getLogger(__name__)
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0
_BEAT_SECONDS = min(1.0, LEASE_SECONDS / 4)


class Worker:
    """Threads that each repeat a step: to take a job, and to do it.

    A step that found something to do is repeated at once, another after a pause or
    when something comes, and one that fails after longer and longer pauses.

    Parameters
    ----------
    queue
        Queue whose leases are renewed meanwhile.
    steps
        One thread each; they tell whether there was something to do.
    """

    def __init__(self, queue: JobQueue, steps: Sequence[Callable[[], bool]]) -> None:
        self._queue = queue
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_on, args=(step,), daemon=True)
            for step in steps
        ]
        self._heart = threading.Thread(target=self._beat_on, daemon=True)

    @property
    def is_stopping(self) -> bool:
        """True where steps have to end soon."""
        return self._stopped.is_set()

    @property
    def is_alive(self) -> bool:
        """True where a step is still being done."""
        return any(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin."""
        for thread in (self._heart, *self._threads):
            thread.start()

    def close(self, patience_seconds: float | None = None) -> None:
        """Finish the steps at hand, and stop.

        Parameters
        ----------
        patience_seconds
            Seconds to wait for them; None for as long as they take.
        """
        self._stopped.set()
        self._queue.announce()
        end = None if patience_seconds is None else time.monotonic() + patience_seconds
        for thread in (*self._threads, self._heart):
            if thread.ident is not None:
                left = None if end is None else max(0.0, end - time.monotonic())
                thread.join(left)

    def _keep_on(self, step: Callable[[], bool]) -> None:
        failures = 0
        while not self._stopped.is_set():
            came = self._queue.came
            try:
                worked = step()
                failures = 0
            except Exception as error:
                # A full disk or a locked database today; it is tried again.
                _logger.error("A step failed: %s", described(error))
                worked = False
                failures += 1
            if failures:
                pause = _PAUSE_SECONDS * 2.0 ** min(failures, 20)
                self._stopped.wait(min(pause, _LONGEST_PAUSE_SECONDS))
            elif not worked and not self._stopped.is_set():
                self._queue.wait(came, _PAUSE_SECONDS)

    def _beat_on(self) -> None:
        failed = False
        while not self._stopped.wait(_BEAT_SECONDS):
            try:
                self._queue.beat()
                failed = False
            except Exception as error:
                if not failed:
                    _logger.error("Leases were not renewed: %s", described(error))
                failed = True


def described(error: Exception) -> str:
    """Say what happened; texts of others may quote what a header says of a patient."""
    ours = isinstance(error, TumorLensError) and not isinstance(error, InputError)
    return str(error) if ours else f"{type(error).__name__}."
