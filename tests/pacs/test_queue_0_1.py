"""A node that is brought up to date goes on with what 0.1.0 left in its folder.

The folder was made by 0.1.0 itself, which was killed: its last rows are in the log
of the database alone.
"""

from __future__ import annotations

import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.pacs.conftest import Clock
from tests.pacs.test_queue import DAY, kept, read, send
from tumorlens.errors import OutputError
from tumorlens.pacs import queue as queue_module
from tumorlens.pacs.dicomweb.fetch_queue import FetchQueue
from tumorlens.pacs.queue import Arrival

LEFT = Path(__file__).parents[1] / "samples" / "node_queue_0_1_0.zip"
ENDED = 1_800_000_061.0


@pytest.fixture
def clock() -> Clock:
    made = Clock()
    made.now = ENDED
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(LEFT) as archive:
        archive.extractall(tmp_path / "node")
    return tmp_path / "node"


ALL = {"done": 1, "failed": 1, "missed": 1, "receiving": 2, "sending": 1}


def test_every_series_is_where_it_was(folder: Path, clock: Clock) -> None:
    with closing(FetchQueue(folder, DAY, clock)) as queue:
        assert queue.counts() == ALL
        assert {item.name for item in folder.iterdir()} >= {"jobs.sqlite", "files"}
        assert not list(folder.glob("*.dcm")) and not list(folder.glob("queue.*"))
        assert b"stray" not in kept(queue)
        # What waited is judged: what was not tried yet goes first.
        clock.now += 20
        job = queue.next_complete(10)
        assert read(job) == [b"waiting first", b"waiting second", b"done first"]
        assert job is not None and queue.put_results(job, [])
        job = queue.next_complete(10)
        assert job is not None
        assert (job.series, read(job), job.missing) == ("5", [b"fetched"], 1)
        assert queue.put_results(job, [b"report 5"])
        # What had been sent in part goes on with the rest.
        clock.now += 60
        sending = queue.next_to_send()
        assert read(sending) == [b"report 5"]
        send(queue, "5")
        sending = queue.next_to_send()
        assert sending is not None and sending.series == "2"
        assert read(sending) == [b"picture 2"]
        assert [item.instance for item in sending.earlier] == ["8.1.1"]
        send(queue, "2")
        assert queue.counts() == {"done": 4, "failed": 1, "missed": 1}
        # What was known is known.
        assert queue.add("1.1", "1", b"done first") is Arrival.KNOWN
        assert queue.add("1.3", "1", b"late") is Arrival.LATE
        clock.now += 20
        again = queue.next_complete(10)
        assert read(again) == [b"done first", b"done second", b"late"]
        assert again is not None
        assert [item.instance for item in again.earlier] == ["9.1.1"]
        assert queue.add("3.1", "3", b"failed") is Arrival.AGAIN
        assert queue.attempts("4") == 2


def test_waits_go_on(folder: Path, clock: Clock) -> None:
    with closing(FetchQueue(folder, DAY, clock)) as queue:
        clock.now -= 20
        assert queue.due_in("4") == 9.0
        queue.miss("4", again=True)
        assert queue.due_in("4") == 20.0


def test_it_is_done_once_however_it_is_killed(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # After all was written, before the older files were removed.
        patch.setattr(queue_module, "remove_older", killed)
        with pytest.raises(KeyboardInterrupt):
            FetchQueue(folder, DAY, clock)
    assert list(folder.glob("*.dcm"))
    with closing(FetchQueue(folder, DAY, clock)) as queue:
        assert queue.counts() == ALL
        assert not list(folder.glob("*.dcm"))
        clock.now += 60
        send(queue, "2")
    with closing(FetchQueue(folder, DAY, clock)) as queue:
        counts = queue.counts()
    assert counts == {"done": 2, "failed": 1, "missed": 1, "receiving": 2}


def test_where_a_file_is_missing_nothing_is_taken_over(
    folder: Path, clock: Clock
) -> None:
    (lost, *_) = folder.glob("image-[0-9a-f]*.dcm")
    data = lost.read_bytes()
    lost.unlink()
    with pytest.raises(OutputError, match="takes no file"):
        FetchQueue(folder, DAY, clock)
    lost.write_bytes(data)
    with closing(FetchQueue(folder, DAY, clock)) as queue:
        assert queue.counts() == ALL


def test_an_older_node_that_still_runs_keeps_its_queue(
    folder: Path, clock: Clock
) -> None:
    with closing(sqlite3.connect(folder / "queue.sqlite")) as older:
        older.execute("PRAGMA locking_mode = EXCLUSIVE")
        older.execute("SELECT * FROM series").fetchall()
        with pytest.raises(OutputError, match="locked") as caught:
            FetchQueue(folder, DAY, clock)
        assert "Stop the older TumorLens" in caught.value.hint
    with closing(FetchQueue(folder, DAY, clock)) as queue:
        assert queue.counts() == ALL
