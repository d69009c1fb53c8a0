"""State of one app that every request uses: the model, the store and the settings.

Tested in `tests/web/test_app.py` and `tests/web/test_security.py`.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass, field

from flask import Flask, current_app

from tumorlens.errors import OutputError, SettingError
from tumorlens.imaging.formats import display_name
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.slice.session import available_cores
from tumorlens.jobs.monitored_rates import DRIFT_GAUGES, RateMonitor
from tumorlens.operations.metrics import Metrics
from tumorlens.settings import Settings
from tumorlens.web.access import ADMIN_TOKEN, Access
from tumorlens.web.idempotency import KeyLocks
from tumorlens.web.inference_queue import InferenceQueue
from tumorlens.web.passkeys import Passkeys
from tumorlens.web.uploads.series_jobs import SeriesJobs
from tumorlens.web.uploads.store import Store

_KEY = "tumorlens"
_DEPTH, _OLDEST = "tumorlens_queue_depth", "tumorlens_queue_oldest_seconds"
_JUDGING_SECONDS = 12.0
"""Seconds that uploads under way are judged on when the server is told to stop."""


MOST_STREAMS = 8
"""Answers that are streamed at a time: each holds a thread."""


def _few() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(MOST_STREAMS)


@dataclass(frozen=True)
class AppState:
    """The classifier, the store and the settings of one app.

    Parameters
    ----------
    classifier
        A classifier whose bundle is loaded and verified.
    store
        Store of uploads and their results.
    settings
        The settings as the user made them.
    jobs
        Worker that judges series in the background.
    metrics
        What is counted.
    queue
        Queue of uploads of pictures in front of the network.
    access
        Who may do what.
    passkeys
        Passkeys that open accounts.
    stopping
        Set once the server is told to stop.
    key_locks
        Held while a request with an Idempotency-Key is answered.
    streams
        Held while an answer is streamed.
    """

    classifier: SeriesClassifier
    store: Store
    settings: Settings
    jobs: SeriesJobs
    metrics: Metrics
    queue: InferenceQueue
    access: Access
    passkeys: Passkeys
    stopping: threading.Event = field(default_factory=threading.Event)
    key_locks: KeyLocks = field(default_factory=KeyLocks)
    streams: threading.BoundedSemaphore = field(default_factory=_few)

    @classmethod
    def make(
        cls, classifier: SeriesClassifier, store: Store, settings: Settings
    ) -> AppState:
        """Make the state of a new app, with its jobs and its queue.

        Raises
        ------
        SettingError
            The same as for `Access`.
        """
        access = Access(
            store.tokens, store.accounts, settings, os.environ.get(ADMIN_TOKEN)
        )
        metrics = Metrics()
        queue = InferenceQueue(
            available_cores(),
            settings.queue_length,
            settings.client_requests,
            settings.request_seconds,
        )

        jobs = SeriesJobs(classifier, store, settings, metrics)

        def waiting() -> dict[str, float]:
            try:
                depth = float(queue.depth + jobs.waiting())
                oldest = max(queue.oldest_seconds, jobs.oldest_seconds())
            except OutputError:
                depth = oldest = math.nan
            return {_DEPTH: depth, _OLDEST: oldest}

        metrics.watch_together(
            {
                _DEPTH: "Uploads that wait: pictures and series.",
                _OLDEST: "Seconds for which the oldest of them has waited.",
            },
            waiting,
        )
        # Together: the database is read once for all.
        metrics.watch_together(DRIFT_GAUGES, jobs.drift.gauges, "rate")
        metrics.watch(
            "tumorlens_uploads_in_progress",
            "Uploads of pictures that wait or are judged.",
            lambda: queue.admitted,
        )
        passkeys = Passkeys(store.accounts)
        return cls(classifier, store, settings, jobs, metrics, queue, access, passkeys)

    def stop(self) -> None:
        """Take nothing new, and let what waits in the background wait."""
        self.stopping.set()
        self.queue.stop(_JUDGING_SECONDS)
        self.jobs.stop()

    def unready_reason(self) -> str | None:
        """Say why no work can be taken at present; None where it can."""
        if self.stopping.is_set():
            return "the server is stopping"
        try:
            if not self.store.has_room():
                return "the store's disk is full"
            self.jobs.waiting()
        except OutputError:
            return "the store cannot be used, or its folder is gone"
        return None

    @property
    def drift(self) -> RateMonitor:
        """Counts what is judged against what the model's bundle states."""
        return self.jobs.drift

    @property
    def bundle(self) -> Bundle:
        """The model's facts."""
        return self.classifier.bundle

    @property
    def operating_point(self) -> str:
        """The operating point that is used unless a request asks for another."""
        return self.settings.operating_point or self.bundle.default_operating_point

    def choose_operating_point(self, name: str | None) -> str:
        """Return the operating point that a request asks for; None for the app's own.

        Raises
        ------
        SettingError
            Where the model has no such operating point.
        """
        point = name or self.operating_point
        check_operating_point(point, self.bundle)
        return point


def check_operating_point(name: str, bundle: Bundle) -> None:
    """Refuse an operating point that a model does not have.

    Raises
    ------
    SettingError
        Where it is none of the model's; the error lists those there are.
    """
    if name not in bundle.operating_points:
        names = ", ".join(bundle.operating_points)
        raise SettingError(
            f"There is no operating point {display_name(name[:40])!r}.",
            f"Give one of: {names}.",
        )


def set_app_state(app: Flask, state: AppState) -> None:
    """Give an app what its requests work with."""
    app.extensions[_KEY] = state


def app_state() -> AppState:
    """Return the state of the app that serves this request."""
    return state_of(current_app)


def state_of(app: Flask) -> AppState:
    """Return the state that an app's requests work with."""
    state = app.extensions[_KEY]
    assert isinstance(state, AppState)
    return state
