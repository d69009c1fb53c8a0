"""Nothing that was accepted is lost or judged twice, whenever the node dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tumorlens.errors import OutputError
from tumorlens.pacs.queue import MOST_ATTEMPTS, Queue


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Queue:
    return Queue(tmp_path / "node", clock)


def test_a_series_is_complete_once_nothing_came_for_a_while(
    queue: Queue, clock: Clock
) -> None:
    assert queue.add("1.1", "1", b"first")
    clock.now += 8
    assert queue.add("1.2", "1", b"second")
    clock.now += 8
    assert queue.next_complete(10) is None
    clock.now += 3
    job = queue.next_complete(10)
    assert job is not None
    assert [path.read_bytes() for path in job.files] == [b"first", b"second"]


def test_an_image_or_series_that_comes_again_is_not_judged_twice(
    queue: Queue, clock: Clock
) -> None:
    assert queue.add("1.1", "1", b"first")
    assert not queue.add("1.1", "1", b"first")
    clock.now += 20
    queue.put_results("1", [b"result"])
    assert not queue.add("1.1", "1", b"first")
    assert not queue.add("1.9", "1", b"late")
    assert queue.next_complete(10) is None


def test_results_are_sent_one_by_one_and_then_gone(queue: Queue) -> None:
    queue.add("1.1", "1", b"first")
    queue.put_results("1", [b"a", b"b"])
    job = queue.next_to_send()
    assert job is not None
    assert [path.read_bytes() for path in job.files] == [b"a", b"b"]
    queue.sent("1", job.files[0])
    rest = queue.next_to_send()
    assert rest is not None and rest.files == job.files[1:]
    queue.sent("1", job.files[1])
    assert queue.next_to_send() is None
    assert queue.counts() == {"done": 1}
    assert not list(queue.folder.glob("*.dcm"))


def test_everything_survives_a_restart_and_strays_go(
    tmp_path: Path, clock: Clock
) -> None:
    first = Queue(tmp_path, clock)
    first.add("1.1", "1", b"image")
    first.add("2.1", "2", b"other")
    first.put_results("2", [b"result"])
    (tmp_path / "image-half-written.dcm").write_bytes(b"stray")
    first.close()
    again = Queue(tmp_path, clock)
    clock.now += 60
    received, sending = again.next_complete(10), again.next_to_send()
    assert received is not None and received.series == "1"
    assert sending is not None and sending.files[0].read_bytes() == b"result"
    assert not (tmp_path / "image-half-written.dcm").exists()


def test_waits_double_and_end(queue: Queue, clock: Clock) -> None:
    queue.add("1.1", "1", b"image")
    clock.now += 60
    assert [queue.postpone("1") for _ in range(3)] == [5, 10, 20]
    assert queue.next_complete(10) is None
    clock.now += 21
    assert queue.next_complete(10) is not None
    waits = [queue.postpone("1") for _ in range(MOST_ATTEMPTS - 3)]
    assert waits[-1] == float("inf")
    assert queue.counts() == {"failed": 1}


def test_names_of_files_are_ours_and_closed_to_others(queue: Queue) -> None:
    queue.add("../../evil", "/etc/passwd", b"image")
    (file,) = queue.folder.glob("*.dcm")
    assert "evil" not in file.name
    assert file.stat().st_mode & 0o077 == 0
    assert queue.folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        Queue(tmp_path / "file")


def test_a_series_that_is_fetched_at_once_is_whole_or_not_there(
    queue: Queue,
) -> None:
    def cut_off() -> Iterator[bytes]:
        yield b"first"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        queue.add_whole("1", cut_off())
    assert queue.counts() == {} and queue.due_in("1") == 0
    assert not list(queue.folder.glob("*.dcm"))
    assert queue.add_whole("1", [b"first", b"second"]) == 2
    assert queue.due_in("1") is None
    job = queue.next_complete(0)
    assert job is not None
    assert [path.read_bytes() for path in job.files] == [b"first", b"second"]


def test_a_series_that_was_missed_is_due_later_and_survives_a_restart(
    tmp_path: Path, clock: Clock
) -> None:
    first = Queue(tmp_path, clock)
    first.miss("1", again=True)
    first.miss("2", again=False)
    assert first.next_complete(0) is None
    first.close()
    again = Queue(tmp_path, clock)
    assert again.due_in("1") == 5
    assert again.due_in("2") is None
    again.miss("1", again=True)
    assert again.due_in("1") == 10
    clock.now += 10
    assert again.due_in("1") == 0
    again.add_whole("1", [b"image"])
    assert again.counts() == {"failed": 1, "receiving": 1}
    again.postpone("1")
    clock.now += 5
    assert again.next_complete(0) is not None, "the waits begin anew"


def test_a_folder_is_for_one_at_a_time(queue: Queue) -> None:
    queue.add("1.1", "1", b"image")
    with pytest.raises(OutputError, match="locked") as caught:
        Queue(queue.folder)
    assert "one process at a time" in caught.value.mend
    assert len(list(queue.folder.glob("*.dcm"))) == 1
    queue.close()
    Queue(queue.folder).close()
