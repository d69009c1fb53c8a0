"""Nothing that was accepted is lost or judged twice, whenever the node dies."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pacs.conftest import Clock
from tumorlens.errors import ArchiveError, OutputError
from tumorlens.jobs import artifacts
from tumorlens.pacs import queue as queue_module
from tumorlens.pacs.dicomweb.fetch_queue import FetchQueue
from tumorlens.pacs.queue import (
    MOST_ATTEMPTS,
    REMEMBERED_SECONDS,
    Arrival,
    SeriesJob,
    SeriesQueue,
)
from tumorlens.report.dicom.finding import SentResult

DAY = 86_400.0


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> SeriesQueue:
    return SeriesQueue(tmp_path / "node", DAY, clock)


@pytest.fixture
def fetches(tmp_path: Path, clock: Clock) -> FetchQueue:
    return FetchQueue(tmp_path / "poller", clock=clock)


def complete(queue: SeriesQueue, clock: Clock) -> SeriesJob:
    clock.now += 20
    job = queue.next_complete(10)
    assert job is not None
    return job


def read(job: SeriesJob | None) -> list[bytes]:
    assert job is not None
    return [path.read_bytes() for path in job.files]


def kept(queue: SeriesQueue) -> list[bytes]:
    """Return what lies on the disk, whatever the files are called."""
    return sorted(path.read_bytes() for path in (queue.folder / "files").iterdir())


def send(queue: SeriesQueue, series: str) -> None:
    """Have all results of a series arrive, the first of them a report."""
    job = queue.next_to_send()
    assert job is not None and job.series == series
    for place, file in enumerate(job.files):
        report = SentResult("9", "9.1", f"9.1.{file.name}") if not place else None
        queue.sent(series, file, report)


def test_a_series_is_complete_once_nothing_came_for_a_while(
    queue: SeriesQueue, clock: Clock
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
    queue: SeriesQueue, clock: Clock
) -> None:
    assert queue.add("1.1", "1", b"first") is Arrival.NEW
    assert queue.add("1.1", "1", b"first") is Arrival.KNOWN
    queue.put_results(complete(queue, clock), [b"result"])
    assert queue.add("1.1", "1", b"first") is Arrival.KNOWN
    send(queue, "1")
    assert queue.add("1.1", "1", b"first") is Arrival.KNOWN
    clock.now += 20
    assert queue.next_complete(10) is None


def test_an_image_that_comes_late_has_its_series_judged_anew_and_whole(
    queue: SeriesQueue, clock: Clock, tmp_path: Path
) -> None:
    queue.add("1.1", "1", b"first")
    queue.put_results(complete(queue, clock), [b"report", b"picture"])
    send(queue, "1")
    assert queue.counts() == {"done": 1}
    assert queue.add("1.2", "1", b"late") is Arrival.LATE
    assert queue.add("1.3", "1", b"later") is Arrival.NEW
    assert queue.next_complete(10) is None, "it waits until nothing comes"
    # All of it survives a restart.
    queue.close()
    again = SeriesQueue(tmp_path / "node", DAY, clock)
    job = complete(again, clock)
    assert read(job) == [b"first", b"late", b"later"]
    (earlier,) = job.earlier
    assert (earlier.study, earlier.series) == ("9", "9.1")
    assert again.put_results(job, [b"new report"])
    assert read(again.next_to_send()) == [b"new report"]
    send(again, "1")
    assert again.add("1.4", "1", b"even later") is Arrival.LATE
    assert len(complete(again, clock).earlier) == 2


def test_results_that_were_not_sent_yet_give_way_to_newer_ones(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first")
    queue.put_results(complete(queue, clock), [b"old", b"older"])
    sending = queue.next_to_send()
    assert sending is not None
    queue.add("1.2", "1", b"late")
    # The sender was at it.
    for file in sending.files:
        queue.sent("1", file)
    assert queue.counts() == {"receiving": 1}
    queue.put_results(complete(queue, clock), [b"new"])
    queue.add("1.3", "1", b"later")
    queue.put_results(complete(queue, clock), [b"newest"])
    assert read(queue.next_to_send()) == [b"newest"]
    assert kept(queue) == [b"first", b"late", b"later", b"newest"]


def test_an_image_that_comes_while_its_series_is_judged_is_not_left_out(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first")
    job = complete(queue, clock)
    queue.add("1.2", "1", b"second")
    assert not queue.put_results(job, [b"result"])
    assert queue.next_to_send() is None and kept(queue) == [b"first", b"second"]
    assert read(complete(queue, clock)) == [b"first", b"second"]


def test_images_are_removed_when_they_were_kept_long_enough(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first")
    queue.put_results(complete(queue, clock), [b"result"])
    queue.add("2.1", "2", b"waits to be judged")
    clock.now += DAY - 60
    queue.clean()
    assert kept(queue) == [b"first", b"result", b"waits to be judged"]
    clock.now += 60
    queue.clean()
    assert kept(queue) == [b"result", b"waits to be judged"]
    # What was not sent yet is still sent, and what came before still known.
    assert read(queue.next_to_send()) == [b"result"]
    send(queue, "1")
    assert queue.add("1.1", "1", b"first") is Arrival.KNOWN
    assert queue.add("1.2", "1", b"late") is Arrival.TOO_LATE
    assert queue.add("1.2", "1", b"late") is Arrival.KNOWN, "it is told once"
    assert queue.counts() == {"done": 1, "receiving": 1}
    # Long after that, nothing is known of its images, and it is as good as new.
    clock.now += REMEMBERED_SECONDS
    queue.clean()
    assert queue.add("1.1", "1", b"first") is Arrival.NEW


def test_a_series_that_was_given_up_leaves_nothing_behind(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"never judged")
    queue.add("2.1", "2", b"never sent")
    clock.now += 20
    job = queue.next_complete(10)
    assert job is not None
    while queue.postpone(job.series) < float("inf"):
        pass
    other = queue.next_complete(10)
    assert other is not None
    queue.put_results(other, [b"result"])
    while queue.postpone(other.series) < float("inf"):
        pass
    assert queue.counts() == {"failed": 2}
    clock.now += DAY
    queue.clean()
    assert kept(queue) == []


def give_up(queue: SeriesQueue, series: str) -> None:
    while queue.postpone(series) < float("inf"):
        pass
    assert queue.counts() == {"failed": 1}


def test_a_series_that_was_given_up_is_tried_anew_when_it_is_sent_again(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first")
    queue.add("1.2", "1", b"second")
    give_up(queue, "1")
    assert queue.add("1.1", "1", b"first again") is Arrival.AGAIN
    assert queue.add("1.2", "1", b"second again") is Arrival.KNOWN
    assert queue.counts() == {"receiving": 1}
    job = complete(queue, clock)
    assert sorted(read(job)) == [b"first again", b"second"]
    assert kept(queue) == [b"first again", b"second"]
    assert queue.postpone("1") == 5, "the waits begin anew"
    clock.now += 5
    assert queue.put_results(complete(queue, clock), [b"result"])


def test_a_series_given_up_whose_images_are_gone_takes_them_again(
    queue: SeriesQueue, clock: Clock
) -> None:
    for image in ("1.1", "1.2", "1.3"):
        queue.add(image, "1", b"image")
    give_up(queue, "1")
    clock.now += DAY
    queue.clean()
    assert kept(queue) == []
    assert queue.add("1.4", "1", b"new") is Arrival.AGAIN
    assert queue.add("1.1", "1", b"first") is Arrival.NEW
    assert queue.add("1.1", "1", b"first") is Arrival.KNOWN
    job = complete(queue, clock)
    assert (read(job), job.missing) == ([b"new", b"first"], 2)
    # The sender paused: the others come once it was judged without them.
    assert queue.put_results(job, [b"result"])
    assert queue.add("1.2", "1", b"second") is Arrival.LATE
    assert queue.add("1.3", "1", b"third") is Arrival.NEW
    job = complete(queue, clock)
    assert (len(job.files), job.missing) == (4, 0)


def test_an_image_of_another_series_takes_no_row_away(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"image")
    give_up(queue, "1")
    queue.add("2.1", "2", b"other")
    assert queue.add("2.1", "1", b"of the wrong series") is Arrival.KNOWN
    assert read(complete(queue, clock)) == [b"other"]


def test_nothing_is_taken_where_the_disk_is_nearly_full(
    queue: SeriesQueue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add("1.1", "1", b"first")
    queue.put_results(complete(queue, clock), [])
    monkeypatch.setattr(artifacts, "LEAST_FREE_BYTES", 2**62)
    with pytest.raises(OutputError, match="MB left"):
        queue.add("2.1", "2", b"image")
    assert kept(queue) == [], "what was only kept gives way first"
    assert queue.counts() == {"done": 1}


def test_results_are_sent_one_by_one_and_then_gone(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first")
    queue.put_results(complete(queue, clock), [b"a", b"b"])
    job = queue.next_to_send()
    assert job is not None
    assert read(job) == [b"a", b"b"]
    queue.sent("1", job.files[0])
    rest = queue.next_to_send()
    assert rest is not None and rest.files == job.files[1:]
    queue.sent("1", job.files[1])
    assert queue.next_to_send() is None
    assert queue.counts() == {"done": 1}
    assert kept(queue) == [b"first"]


def test_everything_survives_a_restart_and_strays_go(
    tmp_path: Path, clock: Clock
) -> None:
    first = SeriesQueue(tmp_path, clock=clock)
    first.add("2.1", "2", b"other")
    first.put_results(complete(first, clock), [b"result"])
    first.add("1.1", "1", b"image")
    (tmp_path / "files" / "incoming-half-written").write_bytes(b"stray")
    first.close()
    again = SeriesQueue(tmp_path, clock=clock)
    clock.now += 60
    received, sending = again.next_complete(10), again.next_to_send()
    assert received is not None and received.series == "1"
    assert sending is not None and sending.files[0].read_bytes() == b"result"
    assert kept(again) == [b"image", b"result"]


def test_waits_double_and_end(queue: SeriesQueue, clock: Clock) -> None:
    queue.add("1.1", "1", b"image")
    clock.now += 60
    assert [queue.postpone("1") for _ in range(3)] == [5, 10, 20]
    assert queue.next_complete(10) is None
    clock.now += 21
    assert queue.next_complete(10) is not None
    waits = [queue.postpone("1") for _ in range(MOST_ATTEMPTS["judge"] - 3)]
    assert waits[-1] == float("inf")
    assert queue.counts() == {"failed": 1}


def test_names_of_files_are_ours_and_closed_to_others(queue: SeriesQueue) -> None:
    queue.add("../../evil", "/etc/passwd", b"image")
    (file,) = (queue.folder / "files").iterdir()
    assert "evil" not in file.name
    assert file.stat().st_mode & 0o077 == 0
    assert queue.folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        SeriesQueue(tmp_path / "file")


def test_results_are_sent_for_a_week(queue: SeriesQueue, clock: Clock) -> None:
    queue.add("1.1", "1", b"image")
    queue.put_results(complete(queue, clock), [b"result"])
    waited = 0.0
    while (wait := queue.postpone("1")) < float("inf"):
        waited += wait
    assert waited > 7 * DAY


def test_a_series_that_is_fetched_at_once_is_whole_or_not_there(
    fetches: FetchQueue,
) -> None:
    def cut_off() -> Iterator[bytes]:
        yield b"first"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        fetches.add_whole("1", cut_off())
    assert fetches.counts() == {} and fetches.due_in("1") == 0
    assert kept(fetches) == []
    assert fetches.add_whole("1", [b"first", b"second"]) == 2
    assert fetches.due_in("1") is None
    job = fetches.next_complete(0)
    assert read(job) == [b"first", b"second"]
    assert job is not None and fetches.put_results(job, [b"result"])
    assert kept(fetches) == [b"result"], "nothing comes late"


def test_a_series_of_which_images_are_missing_is_taken_only_where_that_is_asked(
    fetches: FetchQueue,
) -> None:
    with pytest.raises(ArchiveError, match="2 of 3 images"):
        fetches.add_whole("1", [None, b"image", None])
    assert fetches.counts() == {} and kept(fetches) == []
    assert fetches.add_whole("1", [None, b"image", None], partly=True) == 1
    job = fetches.next_complete(0)
    assert job is not None
    assert (read(job), job.missing) == ([b"image"], 2)
    assert fetches.put_results(job, [b"result"])


def test_a_series_that_was_missed_is_due_later_and_survives_a_restart(
    tmp_path: Path, clock: Clock
) -> None:
    first = FetchQueue(tmp_path, clock=clock)
    first.miss("1", again=True)
    first.miss("2", again=False)
    assert first.next_complete(0) is None
    first.close()
    again = FetchQueue(tmp_path, clock=clock)
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


def test_a_folder_is_for_one_at_a_time(queue: SeriesQueue) -> None:
    queue.add("1.1", "1", b"image")
    with pytest.raises(OutputError, match="locked") as caught:
        SeriesQueue(queue.folder)
    assert "one process at a time" in caught.value.hint
    assert kept(queue) == [b"image"]
    queue.close()
    SeriesQueue(queue.folder).close()


def test_a_series_waits_for_the_end_of_its_association(
    queue: SeriesQueue, clock: Clock, tmp_path: Path
) -> None:
    queue.add("1.1", "1", b"first", "a")
    queue.add("1.2", "1", b"second", "b")
    job = complete(queue, clock)
    assert job.is_arriving and not job.is_unfinished
    assert queue.wait(job, 3600, 30)
    assert queue.next_complete(10) is None
    queue.end_association("a", ["1"], normally=True)
    job = complete(queue, clock)
    assert job.is_arriving, "the other association is still open"
    assert queue.wait(job, 0, 30), "however long it takes"
    queue.end_association("b", ["1"], normally=True)
    job = complete(queue, clock)
    assert not job.is_arriving and not job.is_unfinished


def test_what_broke_off_is_unfinished_until_a_sender_says_that_it_sent_all(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first", "a")
    queue.end_association("a", ["1"], normally=False)
    job = complete(queue, clock)
    assert job.is_unfinished
    assert queue.wait(job, 60, 30)
    clock.now += 60
    job = complete(queue, clock)
    assert not queue.wait(job, 60, 30), "it has waited long enough"
    partial = replace(job, doubts=("It broke off.",))
    assert queue.put_results(partial, [b"report"])
    send(queue, "1")
    assert [entry.is_partial for entry in queue.entries()] == [True]
    # What breaks off again says nothing new, and brings nothing.
    queue.add("1.1", "1", b"first", "b")
    queue.end_association("b", ["1"], normally=False)
    clock.now += 20
    assert queue.next_complete(10) is None
    queue.add("1.1", "1", b"first", "c")
    queue.end_association("c", ["1"], normally=True)
    job = complete(queue, clock)
    assert not job.is_unfinished and len(job.earlier) == 1
    assert queue.put_results(job, [b"whole report"])
    assert [entry.is_partial for entry in queue.entries()] == [False]
    send(queue, "1")
    # Sent once more, it is not judged once more.
    queue.add("1.1", "1", b"first", "d")
    queue.end_association("d", ["1"], normally=True)
    clock.now += 20
    assert queue.next_complete(10) is None


def test_an_association_that_died_with_the_node_came_to_no_normal_end(
    queue: SeriesQueue, clock: Clock, tmp_path: Path
) -> None:
    queue.add("1.1", "1", b"first", "a")
    queue.close()
    again = SeriesQueue(tmp_path / "node", DAY, clock)
    job = complete(again, clock)
    assert job.is_unfinished and not job.is_arriving
    # The same holds once another association has brought more.
    again.add("1.2", "1", b"second", "a")
    again.end_association("a", ["1"], normally=False)
    assert complete(again, clock).is_unfinished
    again.add("1.3", "1", b"third", "b")
    again.end_association("b", ["1"], normally=True)
    assert not complete(again, clock).is_unfinished


def test_an_aborted_repetition_does_not_make_a_whole_series_a_part(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first", "a")
    queue.end_association("a", ["1"], normally=True)
    queue.add("1.1", "1", b"first", "b")
    queue.end_association("b", ["1"], normally=False)
    assert not complete(queue, clock).is_unfinished


def test_an_image_that_could_not_be_kept_leaves_its_series_unfinished(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first", "a")
    queue.end_association("a", ["1"], normally=True)
    # The first image of this association was turned away: the queue never saw it.
    queue.end_association("b", ["1"], normally=False)
    assert complete(queue, clock).is_unfinished


def test_a_clock_that_is_put_back_makes_no_series_wait_longer(
    queue: SeriesQueue, clock: Clock
) -> None:
    clock.now = 10_000.0
    queue.add("1.1", "1", b"first", "a")
    queue.end_association("a", ["1"], normally=False)
    clock.now -= 7200
    job = queue.next_complete(10)
    assert job is not None
    assert not queue.wait(job, 60, 30)


def test_results_of_an_older_release_are_replaced_as_reports(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first")
    queue.put_results(complete(queue, clock), [b"report", b"picture"])
    job = queue.next_to_send()
    assert job is not None
    picture = SentResult("9", "9.2", "9.2.1", "1.2.840.10008.5.1.4.1.1.7")
    queue.sent("1", job.files[0], SentResult("9", "9.1", "1"))
    queue.sent("1", job.files[1], picture)
    queue.add("1.2", "1", b"second")
    job = complete(queue, clock)
    assert job.earlier == (SentResult("9", "9.1", "1"), picture)


def test_a_series_of_which_images_are_gone_is_counted_as_a_part(
    queue: SeriesQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"first")
    job = replace(complete(queue, clock), missing=1)
    # Its report is PARTIAL, too.
    assert queue.put_results(job, [b"report"])
    assert queue.partial == 1
    assert [entry.is_partial for entry in queue.entries()] == [True]


@pytest.mark.parametrize("judged", [False, True])
def test_a_result_that_arrives_during_or_after_the_next_judging_is_replaced(
    queue: SeriesQueue, clock: Clock, judged: bool
) -> None:
    queue.add("1.1", "1", b"first")
    queue.put_results(complete(queue, clock), [b"report", b"picture"])
    slow = queue.next_to_send()
    assert slow is not None
    report, picture = SentResult("9", "9.1", "1"), SentResult("9", "9.2", "2", "1.7")
    queue.sent("1", slow.files[0], report)
    queue.add("1.2", "1", b"second")
    job = complete(queue, clock)
    assert job.earlier == (report,)
    if judged:
        assert queue.put_results(job, [b"new report"])
    queue.sent("1", slow.files[1], picture)
    assert judged or not queue.put_results(job, [b"new report"])
    job = complete(queue, clock)
    assert job.earlier == (report, picture)
    assert queue.put_results(job, [b"newest report"])
    send(queue, "1")
    assert queue.counts() == {"done": 1}


@pytest.mark.parametrize("name", ["queue?x=1", "queue%41", "queue#1"])
def test_a_queue_is_looked_into_whatever_its_folder_is_called(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    with closing(SeriesQueue(folder)) as made:
        made.add("1.1", "1", b"image")
    with closing(SeriesQueue(folder, beside=True)) as looked:
        assert looked.counts() == {"receiving": 1}
    assert [path.name for path in tmp_path.iterdir()] == [name]


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
