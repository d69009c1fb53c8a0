"""Files are whole, private, and gone when the last who needs them is."""

from __future__ import annotations

import io
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.conftest import POLICIES, Opened
from tests.samples.small_disk import fill, mounted
from tumorlens.errors import MissingFileError, OutputError
from tumorlens.jobs.store import JobStore


def keep(store: JobStore, owner: str = "me", **files: bytes) -> str:
    """Accept a job with these files; return its id."""
    with store.artifacts.staging() as stage:
        staged = {name: stage(data) for name, data in files.items()}
        with store.database.transaction():
            job = store.queue.add("scan", "judge", owner=owner)
            store.artifacts.attach(job.id, "upload", staged)
    return job.id


def blobs(store: JobStore) -> list[bytes]:
    return sorted(path.read_bytes() for path in (store.folder / "files").iterdir())


def test_what_was_kept_comes_back_in_order(store: JobStore) -> None:
    job = keep(store, b=b"second", a=b"first")
    assert [item.name for item in store.artifacts.of(job)] == ["b", "a"]
    assert store.artifacts.read(job, "upload", "a") == b"first"
    for role, name in (("upload", "c"), ("result", "a")):
        with pytest.raises(MissingFileError):
            store.artifacts.read(job, role, name)


def test_a_stream_is_kept_as_its_bytes_are(store: JobStore) -> None:
    data = os.urandom(3 * 2**20 + 7)
    job = keep(store)
    with store.artifacts.staging() as stage:
        files = {"a": stage(io.BytesIO(data)), "b": stage(data)}
        assert files["a"].digest == files["b"].digest
        store.artifacts.attach(job, "upload", files)
    assert store.artifacts.read(job, "upload", "a") == data


def test_files_and_folder_are_closed_to_others_and_names_are_ours(
    store: JobStore,
) -> None:
    keep(store, **{"../../evil": b"data"})
    (path,) = (store.folder / "files").iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert (store.folder / "files").stat().st_mode & 0o077 == 0
    assert store.folder.stat().st_mode & 0o077 == 0


def test_the_same_bytes_lie_once_and_stay_until_the_last_job_is_gone(
    store: JobStore,
) -> None:
    mine, yours = keep(store, "me", a=b"same"), keep(store, "you", b=b"same")
    assert blobs(store) == [b"same"]
    store.queue.remove([mine])
    assert store.artifacts.read(yours, "upload", "b") == b"same"
    store.queue.remove([yours])
    assert blobs(store) == []


def test_a_file_of_the_same_name_takes_the_place_of_the_older(
    store: JobStore,
) -> None:
    job = keep(store, a=b"old")
    with store.artifacts.staging() as stage:
        store.artifacts.attach(job, "upload", {"a": stage(b"new")})
    assert blobs(store) == [b"new"]
    assert store.artifacts.read(job, "upload", "a") == b"new"


def test_it_stays_known_that_there_was_a_file(store: JobStore) -> None:
    job = keep(store, a=b"image", b=b"other")
    store.artifacts.detach(store.artifacts.of(job)[:1], known=True)
    assert blobs(store) == [b"other"]
    found = [(item.name, item.size) for item in store.artifacts.of(job)]
    assert found == [("a", 0), ("b", 5)]
    with pytest.raises(MissingFileError):
        store.artifacts.read(job, "upload", "a")
    store.artifacts.detach(store.artifacts.of(job))
    assert store.artifacts.of(job) == [] and blobs(store) == []


def test_what_is_written_for_nothing_is_removed(store: JobStore) -> None:
    job = keep(store)
    with (
        pytest.raises(ZeroDivisionError),
        store.artifacts.staging() as stage,
        store.database.transaction(),
    ):
        store.artifacts.attach(job, "upload", {"a": stage(b"image")})
        stage(b"never attached")
        raise ZeroDivisionError
    assert store.artifacts.of(job) == [] and blobs(store) == []


def test_strays_of_a_process_that_died_go_at_the_next_start(
    opened: Opened, url: str | None
) -> None:
    store = opened()
    keep(store, a=b"kept")
    files = store.folder / "files"
    for name in ("incoming-1234", "0" * 64):
        (files / name).write_bytes(b"stray")
        os.utime(files / name, (0, 0))
    (files / "incoming-5678").write_bytes(b"young")
    store.close()
    again = opened()
    # Where others may write, what is young may still be theirs.
    assert blobs(again) == ([b"kept"] if url is None else [b"kept", b"young"])


def test_files_that_come_and_go_at_the_same_time_are_there_or_not(
    opened: Opened, url: str | None
) -> None:
    first = opened()
    stores = [first, first] if url is None else [first, opened()]
    failures: list[BaseException] = []

    def work(store: JobStore, owner: str) -> None:
        try:
            for number in range(25):
                job = keep(store, owner, a=b"same", b=b"%d" % (number % 3))
                assert store.artifacts.read(job, "upload", "a") == b"same"
                store.queue.remove([job])
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(store, f"{number}"))
        for number, store in enumerate(2 * stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    first.artifacts.collect()
    assert blobs(first) == []


def test_a_file_that_was_cut_off_is_none(store: JobStore) -> None:
    job = keep(store, a=b"whole")
    (path,) = (store.folder / "files").iterdir()
    path.write_bytes(b"who")
    with pytest.raises(MissingFileError):
        store.artifacts.read(job, "upload", "a")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", 4) as place:
        yield place


def test_a_full_disk_is_said_and_loses_nothing(small_disk: Path) -> None:
    store = JobStore(small_disk / "store", POLICIES)
    accepted = keep(store, a=b"accepted")
    with pytest.raises(OutputError, match="No space left"):
        for number in range(8):
            keep(store, big=bytes([number]) * 2**20)
    filler = fill(small_disk)
    with pytest.raises(OutputError):
        keep(store, a=b"more than there is" * 10_000)
    assert not store.artifacts.has_room()
    assert store.artifacts.read(accepted, "upload", "a") == b"accepted"
    assert not list((store.folder / "files").glob("incoming-*"))
    filler.unlink()
    keep(store, a=b"there is room again")
    job = store.queue.claim("judge", "worker")
    assert job is not None and job.id == accepted
    store.queue.finish(job)
    store.close()


def test_a_disk_that_may_not_be_written_to_is_said(small_disk: Path) -> None:
    store = JobStore(small_disk / "store", POLICIES)
    accepted = keep(store, a=b"accepted")
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OutputError, match="cannot be used: Read-only"):
        JobStore(small_disk / "store", POLICIES)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    store = JobStore(small_disk / "store", POLICIES)
    job = store.queue.claim("judge", "worker")
    assert job is not None and job.id == accepted
    store.close()
