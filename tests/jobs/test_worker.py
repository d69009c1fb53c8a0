"""A step that fails ends nothing, and who closes waits for the step at hand."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.jobs.conftest import POLICIES
from tumorlens.errors import InputError, OutputError
from tumorlens.jobs.store import JobStore
from tumorlens.jobs.tables import JobState
from tumorlens.jobs.worker import Worker

SECRET = "Drawn^Head"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    with closing(JobStore(tmp_path / "store", POLICIES)) as made:
        yield made


def finishing(store: JobStore, done: threading.Event) -> Callable[[], bool]:
    def step() -> bool:
        job = store.queue.claim("judge", "worker")
        if job is None:
            return False
        store.queue.finish(job)
        done.set()
        return True

    return step


def test_what_comes_is_done_at_once(store: JobStore) -> None:
    done = threading.Event()
    worker = Worker(store.queue, [finishing(store, done)])
    worker.start()
    with closing(worker):
        store.queue.add("scan", "judge")
        assert done.wait(30)
    assert store.queue.count("scan") == {("judge", JobState.DONE): 1}


@pytest.mark.parametrize(
    "error",
    [RuntimeError(SECRET), InputError(SECRET), OutputError("The disk is full.")],
)
def test_a_step_that_fails_is_tried_again_and_tells_nothing_of_patients(
    store: JobStore, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    done, failed = threading.Event(), threading.Event()
    step = finishing(store, done)

    def failing() -> bool:
        if not failed.is_set():
            failed.set()
            raise error
        return step()

    store.queue.add("scan", "judge")
    worker = Worker(store.queue, [failing])
    worker.start()
    with closing(worker):
        assert done.wait(30)
    assert SECRET not in caplog.text and "Traceback" not in caplog.text
    assert ("The disk is full." in caplog.text) == isinstance(error, OutputError)


def test_a_lease_is_renewed_while_a_step_lasts(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = threading.Semaphore(0)
    beat = store.queue.beat

    def heard() -> None:
        beat()
        beats.release()

    monkeypatch.setattr(store.queue, "beat", heard)
    store.queue.add("scan", "judge")
    job = store.queue.claim("judge", "other")
    assert job is not None and job.lease_until is not None
    with closing(Worker(store.queue, [lambda: False])) as worker:
        worker.start()
        assert beats.acquire(timeout=30)
    now = store.queue.get(job.id)
    assert now is not None and now.lease_until is not None
    assert now.lease_until > job.lease_until


def test_close_waits_for_the_step_at_hand(store: JobStore) -> None:
    begun, go_on = threading.Event(), threading.Event()
    ended: list[bool] = []

    def slow() -> bool:
        begun.set()
        assert go_on.wait(30)
        ended.append(True)
        return False

    worker = Worker(store.queue, [slow])
    worker.start()
    assert begun.wait(30)
    threading.Timer(0.1, go_on.set).start()
    worker.close()
    assert ended == [True]


def test_a_worker_that_was_not_started_is_closed(
    store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    Worker(store.queue, [lambda: False]).close()
    assert caplog.text == ""
