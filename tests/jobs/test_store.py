"""A store is one process's, private, free again however it ends, and kept small."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.jobs.conftest import POLICIES, Clock, Opened
from tumorlens.errors import OutputError
from tumorlens.jobs.database import Job, JobState
from tumorlens.jobs.queue import JobQueue
from tumorlens.jobs.store import JobStore, Retention

HOLDER = """
import sys, time
from pathlib import Path
from tests.jobs.conftest import POLICIES
from tumorlens.jobs.store import JobStore
folder = None if sys.argv[1] == "-" else Path(sys.argv[1])
store = JobStore(folder, POLICIES)
store.queue.add("scan", "judge")
print(store.folder, flush=True)
time.sleep(600)
"""


def start_holder(folder: Path | str) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that has a store open; wait until it has."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def test_a_second_process_is_refused_and_a_killed_one_leaves_it_free(
    tmp_path: Path,
) -> None:
    process, _ = start_holder(tmp_path / "store")
    with pytest.raises(OutputError, match="is locked") as caught:
        JobStore(tmp_path / "store", POLICIES)
    assert "one process at a time" in caught.value.hint
    end(process)
    store = JobStore(tmp_path / "store", POLICIES)
    assert store.queue.claim("judge", "worker") is not None
    with pytest.raises(OutputError, match="is locked"):
        JobStore(tmp_path / "store", POLICIES)
    store.close()
    JobStore(tmp_path / "store", POLICIES).close()


def test_processes_that_share_a_database_share_the_store(
    opened: Opened, url: str | None
) -> None:
    if url is None:
        pytest.skip("an SQLite store is for one process")
    first, second = opened(), opened()
    job = first.queue.add("scan", "judge")
    with first.artifacts.staging() as stage:
        first.artifacts.attach(job.id, "upload", {"a": stage(b"image")})
    taken = second.queue.claim("judge", "worker")
    assert taken is not None and taken.id == job.id
    assert second.artifacts.read(job.id, "upload", "a") == b"image"


def test_a_temporary_store_leaves_nothing() -> None:
    store = JobStore(None, POLICIES)
    assert store.folder.stat().st_mode & 0o077 == 0
    store.close()
    assert not store.folder.exists()


def test_a_temporary_store_of_a_killed_process_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, abandoned = start_holder("-")
    living, used = start_holder("-")
    end(dead)
    other = tmp_path / "tumorlens-report"
    other.mkdir()
    for folder in (abandoned, used):
        os.utime(folder / "lock", (0, 0))
    JobStore(None, POLICIES).close()
    assert not abandoned.exists()
    assert used.exists() and other.exists()
    end(living)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        JobStore(tmp_path / "file", POLICIES)


def test_a_damaged_database_is_said_and_unlocked(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"no database at all" * 100)
    for _ in range(2):
        with pytest.raises(OutputError, match="not a database"):
            JobStore(tmp_path, POLICIES)


KB = 2**10


@pytest.fixture
def retention(store: JobStore) -> Retention:
    return Retention(store.database, store.queue, store.artifacts, 10 * KB)


def put(
    store: JobStore,
    clock: Clock,
    owner: str,
    kilobytes: int,
    state: JobState = JobState.DONE,
    parent: str | None = None,
) -> Job:
    """Keep a job with a file of some kilobytes; the clock goes on by a second."""
    clock.now += 1
    with store.artifacts.staging() as stage, store.database.transaction():
        job = store.queue.add("scan", "judge", owner=owner, state=state, parent=parent)
        store.artifacts.attach(job.id, "result", {"a": stage(bytes(kilobytes * KB))})
    return job


def left(queue: JobQueue, *owners: str) -> list[str]:
    return [job.id for owner in owners for job in queue.owned(owner, "scan")]


def test_what_is_old_goes_unless_it_is_under_way(
    store: JobStore, clock: Clock, retention: Retention
) -> None:
    waiting = put(store, clock, "me", 1, JobState.WAITING)
    part = put(store, clock, "me", 1, parent=waiting.id)
    put(store, clock, "me", 1)
    end = clock.now
    young = put(store, clock, "me", 1)
    assert retention.expire(end, clock.now) == 1
    assert left(store.queue, "me") == [young.id, part.id, waiting.id]
    job = store.queue.claim("judge", "worker")
    assert job is not None
    clock.now += 10_000
    assert retention.expire(clock.now - 1, clock.now) == 1
    assert left(store.queue, "me") == [part.id, waiting.id]
    # Its time begins when it is over, however long it waited.
    store.queue.finish(job)
    assert retention.expire(clock.now - 1, clock.now) == 0
    assert retention.expire(clock.now, clock.now) == 2


def test_the_oldest_results_of_who_sends_go_first(
    store: JobStore, clock: Clock, retention: Retention
) -> None:
    visitor = put(store, clock, "visitor", 4)
    mine = [put(store, clock, "me", 2) for _ in range(4)]
    assert retention.make_room(mine[-1])
    assert left(store.queue, "me") == [job.id for job in mine[:0:-1]]
    assert left(store.queue, "visitor") == [visitor.id]


def test_what_comes_is_counted_and_what_comes_back_too(
    store: JobStore, clock: Clock, retention: Retention
) -> None:
    mine = [put(store, clock, "me", 4) for _ in range(2)]
    assert retention.make_room(mine[-1])
    # It goes for a third of its size, and comes back with the transaction's end.
    with pytest.raises(ZeroDivisionError), store.database.transaction():
        third = put(store, clock, "me", 4)
        assert retention.make_room(third)
        raise ZeroDivisionError
    assert left(store.queue, "me") == [mine[1].id, mine[0].id]
    small = put(store, clock, "me", 2)
    assert retention.make_room(small)
    assert left(store.queue, "me") == [small.id, mine[1].id, mine[0].id]
    large = put(store, clock, "me", 1)
    assert retention.make_room(large)
    assert left(store.queue, "me") == [large.id, small.id, mine[1].id]


def test_however_much_one_sends_who_keeps_less_keeps_it(
    store: JobStore, clock: Clock, retention: Retention
) -> None:
    visitor = put(store, clock, "visitor", 1)
    for _ in range(60):
        retention.make_room(put(store, clock, "me", 3))
    assert left(store.queue, "visitor") == [visitor.id]
    assert len(left(store.queue, "me")) == 3


def test_who_keeps_most_makes_room_for_a_newcomer(
    store: JobStore, clock: Clock, retention: Retention
) -> None:
    greedy = [put(store, clock, "greedy", 4) for _ in range(2)]
    modest = put(store, clock, "modest", 1)
    newcomer = put(store, clock, "newcomer", 2)
    assert retention.make_room(newcomer)
    assert left(store.queue, "greedy") == [greedy[1].id]
    assert left(store.queue, "modest", "newcomer") == [modest.id, newcomer.id]


def test_where_nobody_keeps_more_nobody_gives_way(
    store: JobStore, clock: Clock, retention: Retention
) -> None:
    other = put(store, clock, "other", 9)
    mine = put(store, clock, "me", 9)
    assert not retention.make_room(mine)
    assert left(store.queue, "other", "me") == [other.id, mine.id]


def test_what_is_under_way_and_its_parts_do_not_give_way(
    store: JobStore, clock: Clock, retention: Retention
) -> None:
    waiting = put(store, clock, "me", 6, JobState.WAITING)
    part = put(store, clock, "me", 3, parent=waiting.id)
    old = put(store, clock, "me", 1)
    newest = put(store, clock, "me", 2)
    assert not retention.make_room(newest)
    assert left(store.queue, "me") == [newest.id, part.id, waiting.id]
    assert old.id not in left(store.queue, "me")


def test_the_parts_of_the_newest_stay_with_it(
    store: JobStore, clock: Clock, retention: Retention
) -> None:
    whole = put(store, clock, "me", 0)
    parts = [put(store, clock, "me", 6, parent=whole.id) for _ in range(2)]
    assert not retention.make_room(whole)
    assert retention.make_room(parts[1])
    assert left(store.queue, "me") == [parts[1].id, whole.id]


def test_only_one_job_alone_may_be_larger_than_all_room(
    store: JobStore, clock: Clock, retention: Retention
) -> None:
    put(store, clock, "me", 20, JobState.WAITING)
    put(store, clock, "me", 0, JobState.WAITING)
    put(store, clock, "me", 5)
    assert retention.waiting_fits()
    put(store, clock, "you", 1, JobState.WAITING)
    assert not retention.waiting_fits()
