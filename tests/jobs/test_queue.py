"""What was accepted is done once, whoever fails, stops, or turns the clock."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.jobs.conftest import POLICIES, Clock, Opened
from tumorlens.errors import InputError, OutputError
from tumorlens.jobs import queue as queue_module
from tumorlens.jobs.database import Job, JobState
from tumorlens.jobs.queue import (
    LEASE_SECONDS,
    JobLostError,
    JobQueue,
    JobTimeoutError,
    Progress,
    RetryPolicy,
    Worker,
)
from tumorlens.jobs.store import JobStore

HOUR = 3600.0


@pytest.fixture
def queue(store: JobStore) -> JobQueue:
    return store.queue


def claim(queue: JobQueue, worker: str = "one") -> Job:
    job = queue.claim("judge", worker)
    assert job is not None
    return job


def test_jobs_are_done_in_the_order_in_which_they_came(queue: JobQueue) -> None:
    sent = [queue.add("scan", "judge", document={"n": n}).id for n in range(3)]
    queue.add("scan", "send")
    for number, job_id in enumerate(sent):
        job = claim(queue)
        assert (job.id, job.document, job.state) == (
            job_id,
            {"n": number},
            JobState.RUNNING,
        )
        queue.finish(job, document={"done": number})
    assert queue.claim("judge", "one") is None
    assert queue.count("scan") == {
        ("judge", JobState.DONE): 3,
        ("send", JobState.WAITING): 1,
    }
    done = queue.get(sent[1])
    assert done is not None and done.document == {"done": 1}


def test_how_long_the_oldest_waits_is_told(queue: JobQueue, clock: Clock) -> None:
    assert queue.oldest_seconds("scan", "judge") == 0.0
    first = queue.add("scan", "judge").id
    clock.now += 30.0
    queue.add("scan", "judge")
    queue.add("other", "judge")
    clock.now += 12.0
    assert queue.oldest_seconds("scan", "judge") == pytest.approx(42.0)
    assert claim(queue).id == first
    assert queue.oldest_seconds("scan", "judge") == pytest.approx(12.0)


def test_each_worker_gets_another_job(queue: JobQueue) -> None:
    sent = {queue.add("scan", "judge").id for _ in range(6)}
    taken: list[str] = []

    def work(name: str) -> None:
        while (job := queue.claim("judge", name)) is not None:
            taken.append(job.id)
            queue.finish(job)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 6 and set(taken) == sent


def test_a_giant_waits_for_the_small_but_not_for_ever(
    queue: JobQueue, clock: Clock
) -> None:
    giant = queue.add("scan", "judge", handicap_seconds=60).id
    clock.now += 30
    soon = queue.add("scan", "judge").id
    clock.now += 40
    late = queue.add("scan", "judge").id
    order = []
    while (job := queue.claim("judge", "one")) is not None:
        order.append(job.id)
        queue.finish(job)
    assert order == [soon, giant, late]


def test_who_takes_small_jobs_only_leaves_the_dear_ones(queue: JobQueue) -> None:
    queue.add("scan", "judge", cost=1000)
    small = queue.add("scan", "judge", cost=10).id
    job = queue.claim("judge", "one", most_cost=100)
    assert job is not None and job.id == small
    assert queue.claim("judge", "two", most_cost=100) is None
    assert claim(queue, "three").cost == 1000


def test_a_job_that_fails_waits_longer_each_time_and_is_given_up(
    queue: JobQueue, clock: Clock
) -> None:
    queue.add("scan", "judge")
    for wait in (5.0, 10.0, 20.0):
        assert queue.retry(claim(queue)) == wait
        clock.now += wait - 1
        assert queue.claim("judge", "one") is None
        clock.now += 1
    error = {"code": "x", "message": "m", "mend": ""}
    job = claim(queue)
    assert queue.retry(job, error) == float("inf")
    now = queue.get(job.id)
    assert now is not None
    assert (now.state, now.error, now.finished) == (
        JobState.FAILED,
        error,
        clock.now,
    )


def test_waits_do_not_pass_the_longest() -> None:
    policy = RetryPolicy(200, 5.0, 3600.0)
    assert [policy.wait(n) for n in (1, 2, 10, 11, 100)] == [5, 10, 2560, 3600, 3600]


def test_what_a_worker_held_when_the_process_died_is_done_by_the_next(
    opened: Opened, clock: Clock, url: str | None
) -> None:
    store = opened()
    sent = store.queue.add("scan", "judge").id
    lost = claim(store.queue)
    store.queue.report(lost, Progress(3, 8))
    store.queue.beat()
    store.close()
    again = opened().queue
    if url is not None:
        # It may be that the other lives: it is given a time.
        assert again.claim("judge", "two") is None
        clock.now += LEASE_SECONDS + 1
    job = claim(again, "two")
    assert (job.id, job.attempts) == (sent, 1)
    # The dead one may only have been slow.
    for act in (again.retry, again.release, again.finish, again.check, again.save):
        with pytest.raises(JobLostError):
            act(lost)
    again.finish(job)
    assert again.count("scan") == {("judge", JobState.DONE): 1}


def test_a_job_that_takes_its_process_with_it_is_given_up(
    opened: Opened, clock: Clock
) -> None:
    store = opened()
    sent = store.queue.add("scan", "judge").id
    for number in range(4):
        while (job := store.queue.claim("judge", f"worker {number}")) is None:
            # After the first time it waits, so that others go before it.
            clock.now += 1
        assert job.id == sent
        store.close()
        clock.now += LEASE_SECONDS + 1
        store = opened()
    after = store.queue.add("scan", "judge").id
    assert claim(store.queue).id == after
    found = store.queue.get(sent)
    assert found is not None and found.state is JobState.FAILED
    assert found.error is not None and found.error["code"] == "interrupted"


def test_a_lease_lasts_while_it_is_renewed(queue: JobQueue, clock: Clock) -> None:
    queue.add("scan", "judge")
    job = claim(queue)
    for _ in range(5):
        clock.now += LEASE_SECONDS - 1
        queue.beat()
        assert queue.claim("judge", "two") is None
    queue.check(job)
    clock.now += LEASE_SECONDS + 1
    taken = claim(queue, "two")
    assert taken.id == job.id
    with pytest.raises(JobLostError):
        queue.check(job)
    queue.beat()
    queue.finish(taken)


def test_what_a_worker_took_and_did_not_end_it_gets_again(queue: JobQueue) -> None:
    queue.add("scan", "judge")
    first = claim(queue)
    second = claim(queue)
    assert (second.id, second.attempts) == (first.id, 0)
    with pytest.raises(JobLostError):
        queue.finish(first)
    queue.finish(second)


def test_a_job_that_is_put_back_has_not_failed(queue: JobQueue) -> None:
    queue.add("scan", "judge")
    job = claim(queue)
    queue.save(job, step="reading")
    queue.release(job)
    now = queue.get(job.id)
    assert now is not None
    assert (now.state, now.step, now.attempts) == (JobState.WAITING, "", 0)
    assert claim(queue, "two").id == job.id


def test_a_job_is_stopped_while_it_waits_and_while_it_is_done(
    queue: JobQueue,
) -> None:
    waiting = queue.add("scan", "judge")
    assert queue.stop(waiting.id)
    assert not queue.stop(waiting.id)
    assert not queue.stop("nobody's")
    assert queue.claim("judge", "one") is None
    queue.add("scan", "judge")
    job = claim(queue)
    queue.check(job)
    assert queue.stop(job.id)
    with pytest.raises(JobLostError):
        queue.check(job)
    with pytest.raises(JobLostError):
        queue.save(job, document={"late": True})
    now = queue.get(job.id)
    assert now is not None and now.state is JobState.STOPPED and now.document == {}


def test_a_job_that_is_removed_while_it_is_done_stays_removed(
    queue: JobQueue,
) -> None:
    whole = queue.add("scan", "judge")
    queue.add("picture", "judge", parent=whole.id, state=JobState.DONE)
    job = claim(queue)
    assert queue.remove([whole.id]) == 2
    with pytest.raises(JobLostError):
        queue.finish(job)
    queue.beat()
    assert queue.get(whole.id) is None and queue.children(whole.id) == []


def test_a_job_may_take_only_so_long(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add("scan", "judge", time_limit=0.0)
    job = claim(queue)
    with pytest.raises(JobTimeoutError):
        queue.check(job)
    queue.beat()
    assert queue.count("scan") == {("judge", JobState.RUNNING): 1}
    # One that does not look for itself is failed for all others to see.
    monkeypatch.setattr(queue_module, "LEASE_SECONDS", 0.0)
    queue.beat()
    now = queue.get(job.id)
    assert now is not None and now.error is not None
    assert (now.state, now.error["code"]) == (JobState.FAILED, "too_slow")


def test_progress_is_seen_at_once_here_and_after_a_beat_elsewhere(
    opened: Opened, url: str | None
) -> None:
    here = opened().queue
    here.add("scan", "judge")
    job = claim(here)
    assert here.progress(job) is None
    here.report(job, Progress(2, 8))
    assert here.progress(job) == Progress(2, 8)
    if url is None:
        return
    there = opened().queue
    seen = there.get(job.id)
    assert seen is not None and there.progress(seen) is None
    here.beat()
    seen = there.get(job.id)
    assert seen is not None and there.progress(seen) == Progress(2, 8)


@pytest.mark.parametrize("hours", [-2.0, 2.0])
def test_a_clock_that_is_moved_holds_nothing_up_and_does_nothing_twice(
    queue: JobQueue, clock: Clock, hours: float
) -> None:
    failed = queue.add("scan", "judge").id
    queue.retry(claim(queue))
    new = queue.add("scan", "judge").id
    running = claim(queue, "one")
    assert running.id == new
    fresh = queue.add("scan", "judge").id
    clock.now += hours * HOUR
    queue.beat()
    queue.check(running)
    found = set()
    while (job := queue.claim("judge", "two")) is not None:
        found.add(job.id)
        queue.finish(job)
    assert found == {failed, fresh}
    queue.finish(running)
    assert queue.count("scan") == {("judge", JobState.DONE): 3}


def test_jobs_are_found_by_what_their_sender_calls_them(queue: JobQueue) -> None:
    job = queue.add("series", "judge", key="1.2.3")
    found = queue.named("series", "1.2.3")
    assert found is not None and found.id == job.id
    assert queue.named("scan", "1.2.3") is None


def test_only_the_owners_jobs_are_listed_the_newest_first(queue: JobQueue) -> None:
    mine = [queue.add("scan", "judge", owner="me").id for _ in range(3)]
    queue.add("scan", "judge", owner="you")
    queue.add("picture", "judge", owner="me")
    assert [job.id for job in queue.owned("me", "scan")] == mine[::-1]


def test_who_waits_is_woken_by_what_comes(queue: JobQueue) -> None:
    came = queue.came
    timer = threading.Timer(0.05, lambda: queue.add("scan", "judge"))
    timer.start()
    begun = time.monotonic()
    queue.wait(came, 30.0)
    assert time.monotonic() - begun < 30.0
    assert claim(queue)
    # What came before it began to wait counts, too.
    queue.wait(came, 30.0)
    timer.join()


SECRET = "Drawn^Head"


@pytest.fixture
def real_store(tmp_path: Path) -> Iterator[JobStore]:
    with closing(JobStore(tmp_path / "store", POLICIES)) as made:
        yield made


def finishing(real_store: JobStore, done: threading.Event) -> Callable[[], bool]:
    def step() -> bool:
        job = real_store.queue.claim("judge", "worker")
        if job is None:
            return False
        real_store.queue.finish(job)
        done.set()
        return True

    return step


def test_what_comes_is_done_at_once(real_store: JobStore) -> None:
    done = threading.Event()
    worker = Worker(real_store.queue, [finishing(real_store, done)])
    worker.start()
    with closing(worker):
        real_store.queue.add("scan", "judge")
        assert done.wait(30)
    assert real_store.queue.count("scan") == {("judge", JobState.DONE): 1}


@pytest.mark.parametrize(
    "error",
    [RuntimeError(SECRET), InputError(SECRET), OutputError("The disk is full.")],
)
def test_a_step_that_fails_is_tried_again_and_tells_nothing_of_patients(
    real_store: JobStore, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    done, failed = threading.Event(), threading.Event()
    step = finishing(real_store, done)

    def failing() -> bool:
        if not failed.is_set():
            failed.set()
            raise error
        return step()

    real_store.queue.add("scan", "judge")
    worker = Worker(real_store.queue, [failing])
    worker.start()
    with closing(worker):
        assert done.wait(30)
    assert SECRET not in caplog.text and "Traceback" not in caplog.text
    assert ("The disk is full." in caplog.text) == isinstance(error, OutputError)


def test_a_lease_is_renewed_while_a_step_lasts(
    real_store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = threading.Semaphore(0)
    beat = real_store.queue.beat

    def heard() -> None:
        beat()
        beats.release()

    monkeypatch.setattr(real_store.queue, "beat", heard)
    real_store.queue.add("scan", "judge")
    job = real_store.queue.claim("judge", "other")
    assert job is not None and job.lease_until is not None
    with closing(Worker(real_store.queue, [lambda: False])) as worker:
        worker.start()
        assert beats.acquire(timeout=30)
    now = real_store.queue.get(job.id)
    assert now is not None and now.lease_until is not None
    assert now.lease_until > job.lease_until


def test_close_waits_for_the_step_at_hand(real_store: JobStore) -> None:
    begun, go_on = threading.Event(), threading.Event()
    ended: list[bool] = []

    def slow() -> bool:
        begun.set()
        assert go_on.wait(30)
        ended.append(True)
        return False

    worker = Worker(real_store.queue, [slow])
    worker.start()
    assert begun.wait(30)
    threading.Timer(0.1, go_on.set).start()
    worker.close()
    assert ended == [True]


def test_a_worker_that_was_not_started_is_closed(
    real_store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    Worker(real_store.queue, [lambda: False]).close()
    assert caplog.text == ""
