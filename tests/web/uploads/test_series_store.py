"""Scans are private, gone when their time is over, and never hang."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.web.uploads.test_store import Clock
from tumorlens.errors import BusyError, MissingFileError, OutputError
from tumorlens.web.uploads.series_record import Scan, State
from tumorlens.web.uploads.store import ANYONE, Store

MB = 2**20


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store(tmp_path / "s", 60, 3 * MB, clock)
    yield store
    store.close()


def test_what_was_saved_comes_back(timed: Store) -> None:
    scan = timed.scans.create("head.nii", "me", "screening")
    document = {**scan.document, "notes": ["a note"]}
    assert timed.scans.save(
        replace(scan, state=State.DONE, document=document), **{"voxels-0": b"abc"}
    )
    again = timed.scans.get(scan.id, "me")
    assert (again.state, again.document["notes"]) == (State.DONE, ["a note"])
    assert timed.scans.read(again, "voxels-0") == b"abc"
    with pytest.raises(MissingFileError):
        timed.scans.read(again, "voxels-1")


def test_only_the_owner_sees_lists_and_deletes(timed: Store) -> None:
    mine = timed.scans.create("head.nii", "me", "screening")
    for stranger in ("you", ANYONE):
        with pytest.raises(MissingFileError):
            timed.scans.get(mine.id, stranger)
        with pytest.raises(MissingFileError):
            timed.delete_scan(mine.id, stranger)
        assert timed.scans.owned(stranger) == ()
        assert timed.scans.delete_all(stranger) == 0
    assert [item.id for item in timed.scans.owned("me")] == [mine.id]


def test_time_over_means_gone(timed: Store, clock: Clock) -> None:
    scan = timed.scans.create("head.nii", "me", "screening")
    timed.scans.save(scan, voxels=b"abc")
    clock.now += 61
    with pytest.raises(MissingFileError):
        timed.scans.get(scan.id, "me")
    assert timed.scans.owned("me") == ()
    assert timed.sweep() == 1
    assert not list(timed.folder.glob("scan-*"))


def test_nothing_is_written_for_a_scan_that_is_gone(timed: Store) -> None:
    scan = timed.scans.create("head.nii", "me", "screening")
    timed.delete_scan(scan.id, "me")
    assert not timed.scans.save(scan, voxels=b"abc")
    assert not list(timed.folder.glob("scan-*"))


@pytest.mark.parametrize("state", [State.WAITING, State.READING, State.JUDGING])
def test_a_restart_ends_what_was_under_way(
    tmp_path: Path, timed: Store, clock: Clock, state: State
) -> None:
    scan = timed.scans.create("head.nii", "me", "screening")
    (timed.scans.upload_folder(scan.id) / "00001").write_bytes(b"abc")
    timed.scans.save(replace(scan, state=state))
    done = timed.scans.create("done.nii", "me", "screening")
    timed.scans.save(replace(done, state=State.DONE), voxels=b"abc")
    (timed.folder / "scan-nobody's").mkdir()
    again = Store(tmp_path / "s", 60, 3 * MB, clock)
    ended = again.scans.get(scan.id, "me")
    assert ended.state is State.FAILED
    assert "server was stopped" in ended.document["error"]["message"]
    assert not again.scans.upload_folder(scan.id).exists()
    kept = again.scans.get(done.id, "me")
    assert again.scans.read(kept, "voxels") == b"abc"
    assert not (timed.folder / "scan-nobody's").exists()
    again.close()


def test_the_oldest_go_when_the_room_is_used_up(timed: Store, clock: Clock) -> None:
    ids = []
    for name in "abcd":
        scan = timed.scans.create(name, "me", "screening")
        timed.scans.save(replace(scan, state=State.DONE), voxels=bytes(MB))
        timed.make_room(scan.id)
        ids.append(scan.id)
        clock.now += 1
    assert [item.id for item in timed.scans.owned("me")] == ids[:0:-1]
    assert len(list(timed.folder.glob("scan-*"))) == 3


@pytest.mark.parametrize("state", [State.WAITING, State.READING, State.JUDGING])
def test_what_is_under_way_stays_when_the_room_is_used_up(
    timed: Store, clock: Clock, state: State
) -> None:
    kept = timed.scans.create("a", "me", "screening")
    timed.scans.save(replace(kept, state=state), voxels=bytes(MB))
    clock.now += 1
    gone = timed.scans.create("b", "me", "screening")
    timed.scans.save(replace(gone, state=State.DONE), voxels=bytes(MB))
    clock.now += 1
    newest = timed.scans.create("c", "me", "screening")
    timed.scans.save(replace(newest, state=State.DONE), voxels=bytes(2 * MB))
    timed.make_room(newest.id)
    assert {item.id for item in timed.scans.owned("me")} == {kept.id, newest.id}


def upload(store: Store, name: str, megabytes: int) -> Scan:
    scan = store.scans.create(name, "me", "screening")
    folder = store.scans.upload_folder(scan.id)
    (folder / "00001").write_bytes(bytes(megabytes * MB))
    return scan


def test_a_scan_that_does_not_fit_beside_those_that_wait_costs_nobody_anything(
    timed: Store,
) -> None:
    done = upload(timed, "done", 1)
    timed.scans.save(replace(done, state=State.DONE))
    timed.admit(waiting := upload(timed, "waiting", 2))
    late = upload(timed, "late", 2)
    with pytest.raises(BusyError, match="no room") as caught:
        timed.admit(late)
    assert "--store-mb" in caught.value.hint
    for scan in (done, waiting):
        assert timed.scans.get(scan.id, "me").id == scan.id
    # Once the other is over, it gives way.
    timed.scans.save(replace(waiting, state=State.DONE))
    timed.admit(late)
    assert timed.scans.find(done.id) is None


def test_one_larger_than_all_room_is_still_kept(timed: Store) -> None:
    # Another's files are just being written.
    upload(timed, "b", 0)
    timed.admit(scan := upload(timed, "a", 4))
    assert timed.scans.get(scan.id, "me").id == scan.id


def test_a_folder_that_vanished_is_an_error_that_says_so(
    timed: Store, tmp_path: Path
) -> None:
    scan = timed.scans.create("a", "me", "screening")
    timed.folder.rename(tmp_path / "gone")
    with pytest.raises(OutputError, match="cannot be kept"):
        timed.scans.save(scan, voxels=b"abc")
    with pytest.raises(OutputError, match="cannot be kept"):
        timed.scans.create("b", "me", "screening")
