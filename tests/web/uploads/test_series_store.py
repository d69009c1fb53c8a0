"""Scans are private, gone when their time is over, and outlive the server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.uploads.test_store import Clock
from tumorlens.errors import BusyError, MissingFileError, OutputError
from tumorlens.jobs.database import Job, JobState
from tumorlens.jobs.queue import JobLostError
from tumorlens.web.uploads.store import ANYONE, STAGE, Store
from tumorlens.web.uploads.upload import Kind, State, Upload

MB = 2**20


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store(tmp_path / "s", 60, 3 * MB, clock)
    yield store
    store.close()


def files(store: Store) -> list[bytes]:
    return sorted(path.read_bytes() for path in (store.folder / "files").iterdir())


def send(store: Store, name: str = "head.nii", data: bytes = b"abc") -> Upload:
    return store.add_scan(name, "me", "screening", {"00001": io.BytesIO(data)})


def take(store: Store) -> Job:
    job = store.queue.claim(STAGE, "worker")
    assert job is not None
    return job


def judge(store: Store, name: str = "head.nii", **made: bytes) -> Upload:
    """Send a scan and have it judged, with these files made of it."""
    scan = send(store, name)
    job = store.save(take(store), files=made)
    store.finish(job, JobState.DONE)
    return scan


def get(store: Store, scan: Upload) -> Upload:
    return store.get(scan.id, scan.owner, Kind.SCAN)


def ids(store: Store, owner: str = "me") -> list[str]:
    return [item.id for item in store.owned(owner, Kind.SCAN)]


def test_what_was_saved_comes_back(timed: Store) -> None:
    scan = send(timed)
    job = take(timed)
    assert [path.read_bytes() for path in timed.sent_files(job).values()] == [b"abc"]
    job = timed.save(job, step=State.JUDGING)
    assert get(timed, scan).state is State.JUDGING
    document = {**job.document, "notes": ["a note"]}
    job = timed.save(job, document=document, files={"voxels-0": b"def"})
    timed.finish(job, JobState.DONE)
    again = get(timed, scan)
    assert (again.state, again.document["notes"]) == (State.DONE, ["a note"])
    assert timed.read(again, "voxels-0") == b"def"
    assert files(timed) == [b"def"], "what was sent is gone"
    with pytest.raises(MissingFileError):
        timed.read(again, "voxels-1")


def test_only_the_owner_sees_lists_and_deletes(timed: Store) -> None:
    mine = send(timed)
    for stranger in ("you", ANYONE):
        with pytest.raises(MissingFileError):
            timed.get(mine.id, stranger, Kind.SCAN)
        with pytest.raises(MissingFileError):
            timed.delete(mine.id, stranger, Kind.SCAN)
        assert ids(timed, stranger) == []
        assert timed.delete_all(stranger) == 0
    assert ids(timed) == [mine.id]
    with pytest.raises(MissingFileError):
        timed.get(mine.id, "me", Kind.PICTURE)


def test_time_over_means_gone(timed: Store, clock: Clock) -> None:
    scan = judge(timed, voxels=b"abc")
    clock.now += 61
    with pytest.raises(MissingFileError):
        get(timed, scan)
    assert ids(timed) == []
    assert timed.sweep() == 1
    assert files(timed) == []


def test_a_scan_that_waits_is_kept_however_long(timed: Store, clock: Clock) -> None:
    scan = send(timed)
    clock.now += 10_000
    assert timed.sweep() == 0
    assert get(timed, scan).state is State.WAITING
    timed.finish(take(timed), JobState.DONE)
    # Its time begins with its result.
    clock.now += 59
    assert timed.sweep() == 0
    assert get(timed, scan).state is State.DONE


def test_nothing_is_written_for_a_scan_that_is_gone(timed: Store) -> None:
    scan = send(timed)
    job = take(timed)
    timed.delete(scan.id, "me", Kind.SCAN)
    with pytest.raises(JobLostError):
        timed.save(job, files={"voxels": b"abc"})
    assert files(timed) == []


def test_a_scan_that_is_stopped_keeps_what_was_found(timed: Store) -> None:
    scan = send(timed)
    job = timed.save(take(timed), step=State.JUDGING, files={"voxels-0": b"def"})
    timed.stop(get(timed, scan))
    stopped = get(timed, scan)
    assert stopped.state is State.STOPPED
    assert files(timed) == [b"def"]
    with pytest.raises(JobLostError):
        timed.finish(job, JobState.DONE)
    assert get(timed, scan).state is State.STOPPED


@pytest.mark.parametrize("step", [None, State.READING, State.JUDGING])
def test_a_restart_lets_what_was_under_way_wait_again(
    tmp_path: Path, timed: Store, clock: Clock, step: State | None
) -> None:
    done = judge(timed, "done.nii", voxels=b"def")
    scan = send(timed)
    if step is not None:
        timed.save(take(timed), step=step)
    timed.close()
    again = Store(tmp_path / "s", 60, 3 * MB, clock)
    waiting = get(again, scan)
    assert (waiting.state, waiting.document["error"]) == (State.WAITING, None)
    job = take(again)
    assert job.id == scan.id
    assert [path.read_bytes() for path in again.sent_files(job).values()] == [b"abc"]
    assert again.read(get(again, done), "voxels") == b"def"
    again.close()


def test_a_second_server_on_the_same_store_is_refused(
    tmp_path: Path, timed: Store, clock: Clock
) -> None:
    scan = send(timed)
    take(timed)
    with pytest.raises(OutputError, match="locked"):
        Store(tmp_path / "s", 60, 3 * MB, clock)
    assert get(timed, scan).state is State.READING


def test_the_oldest_go_when_the_room_is_used_up(timed: Store, clock: Clock) -> None:
    made = []
    for name in "abcd":
        made.append(judge(timed, name, voxels=name.encode() * (MB - 9)).id)
        clock.now += 1
    assert ids(timed) == made[:0:-1]
    assert len(files(timed)) == 3


@pytest.mark.parametrize("step", [None, State.READING, State.JUDGING])
def test_what_is_under_way_stays_when_the_room_is_used_up(
    timed: Store, clock: Clock, step: State | None
) -> None:
    gone = judge(timed, "b", voxels=bytes(MB))
    clock.now += 1
    kept = send(timed, "a", b"a" * MB)
    if step is not None:
        timed.save(take(timed), step=step)
    clock.now += 1
    newest = send(timed, "c", b"c" * (3 * MB // 2))
    assert ids(timed) == [newest.id, kept.id]
    assert gone.id not in ids(timed)


def test_a_scan_that_does_not_fit_beside_those_that_wait_costs_nobody_anything(
    timed: Store,
) -> None:
    done = judge(timed, "done", voxels=bytes(MB))
    waiting = send(timed, "waiting", b"w" * 2 * MB)
    with pytest.raises(BusyError, match="no room") as caught:
        send(timed, "late", b"l" * 2 * MB)
    assert "--store-mb" in caught.value.hint
    assert ids(timed) == [waiting.id, done.id]
    assert timed.read(get(timed, done), "voxels") == bytes(MB)
    # Once the other is over, it gives way.
    timed.finish(take(timed), JobState.DONE)
    send(timed, "late", b"l" * 3 * MB)
    assert done.id not in ids(timed)


def test_another_s_results_do_not_give_way_to_who_keeps_more(timed: Store) -> None:
    mine = judge(timed, "mine", voxels=bytes(MB))
    with pytest.raises(BusyError, match="no room"):
        timed.add_scan("a", "you", "screening", {"1": io.BytesIO(b"y" * 3 * MB)})
    assert timed.read(get(timed, mine), "voxels") == bytes(MB)
    assert ids(timed, "you") == []


def test_one_larger_than_all_room_is_still_kept(timed: Store) -> None:
    scan = send(timed, "a", bytes(4 * MB))
    assert get(timed, scan).id == scan.id


def test_a_folder_that_vanished_is_an_error_that_says_so(
    timed: Store, tmp_path: Path
) -> None:
    send(timed)
    job = take(timed)
    timed.folder.rename(tmp_path / "gone")
    with pytest.raises(OutputError, match="cannot be kept"):
        timed.save(job, files={"voxels": b"abc"})
    with pytest.raises(OutputError, match="cannot be kept"):
        send(timed)
