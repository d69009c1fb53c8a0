"""Sent results are kept until they are committed, requests until they are answered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pacs.conftest import Clock
from tests.samples.dicom_studies import write_series
from tumorlens.errors import BusyError
from tumorlens.pacs.node import node_queue
from tumorlens.pacs.node.commitment import CommitmentReport, CommitmentRequest
from tumorlens.pacs.node.node_queue import MOST_REFUSALS, NodeQueue
from tumorlens.pacs.queue import COMMIT, POLICIES, SeriesJob
from tumorlens.report.dicom.finding import SentResult

DAY = 86_400.0
KIND = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[NodeQueue]:
    with closing(NodeQueue(tmp_path / "node", DAY, clock, commits=True)) as made:
        yield made


def judge(queue: NodeQueue, clock: Clock, *results: bytes) -> None:
    clock.now += 20
    job = queue.next_complete(10)
    assert job is not None and queue.put_results(job, results)


def send(queue: NodeQueue) -> None:
    job = queue.next_to_send()
    assert job is not None
    for place, file in enumerate(job.files):
        result = None if place else SentResult("9", "9.1", f"9.1.{file.name}")
        queue.sent(job.series, file, result)


def ask(queue: NodeQueue, transaction: str) -> SeriesJob:
    """Ask for the results, which have UIDs of what they hold."""
    job = queue.next_to_commit()
    assert job is not None
    queue.asked(job, transaction, {path.read_text(): path for path in job.files})
    return job


def report(transaction: str, held: str = "", missed: str = "") -> CommitmentReport:
    return CommitmentReport(
        transaction,
        dict.fromkeys(held.split(), KIND),
        dict.fromkeys(missed.split(), (KIND, 0x0112)),
    )


def kept(queue: NodeQueue) -> set[bytes]:
    return {path.read_bytes() for path in (queue.folder / "files").iterdir()}


@pytest.fixture
def sent(queue: NodeQueue, clock: Clock) -> NodeQueue:
    """A queue whose only series has two results, which have been sent."""
    queue.add("1.1", "1", b"image")
    judge(queue, clock, b"a", b"b")
    send(queue)
    return queue


def test_results_are_kept_until_they_are_committed(sent: NodeQueue) -> None:
    assert sent.counts() == {"committing": 1}
    assert kept(sent) == {b"image", b"a", b"b"}
    assert sent.next_to_send() is None
    ask(sent, "5.1")
    assert not sent.committed(report("5.9", "a b")), "nobody asked for that"
    assert sent.counts() == {"committing": 1}
    assert sent.committed(report("5.1", "a b"))
    assert sent.counts() == {"done": 1}
    assert kept(sent) == {b"image"}
    assert not sent.committed(report("5.1", "a b")), "it is settled"


def test_what_the_archive_does_not_hold_is_sent_anew_and_later_each_time(
    sent: NodeQueue, clock: Clock
) -> None:
    ask(sent, "5.1")
    assert sent.committed(report("5.1", "a", "b"))
    assert sent.counts() == {"sending": 1}
    assert kept(sent) == {b"image", b"b"}
    assert sent.next_to_send() is None, "it waits"
    clock.now += 60
    job = sent.next_to_send()
    assert job is not None and [path.read_bytes() for path in job.files] == [b"b"]
    sent.sent("1", job.files[0])
    ask(sent, "5.2")
    assert sent.committed(report("5.2", "", "b"))
    clock.now += 60
    assert sent.next_to_send() is None, "it waits for twice as long"
    clock.now += 60
    send(sent)
    ask(sent, "5.3")
    assert sent.committed(report("5.3", "b"))
    assert sent.counts() == {"done": 1}


def test_an_archive_that_refuses_again_and_again_is_given_up(
    sent: NodeQueue, clock: Clock
) -> None:
    for place in range(MOST_REFUSALS):
        assert sent.counts() == {"committing": 1}
        ask(sent, f"5.{place}")
        assert sent.committed(report(f"5.{place}", "", "a b"))
        clock.now += DAY
        if place < MOST_REFUSALS - 1:
            send(sent)
    assert sent.counts() == {"failed": 1} and sent.given_up == 1
    sent.clean()
    assert kept(sent) == set()


def test_an_archive_that_does_not_report_is_asked_again_and_given_up(
    sent: NodeQueue, clock: Clock
) -> None:
    ask(sent, "5.1")
    assert sent.next_to_commit() is None, "there is time to report"
    clock.now += 60
    ask(sent, "5.2")
    # What was asked first may be reported last.
    assert sent.committed(report("5.1", "a"))
    assert sent.counts() == {"committing": 1}
    waits = []
    while (job := sent.next_to_commit()) or not waits:
        if job is None:
            clock.now += DAY
            continue
        assert [path.read_bytes() for path in job.files] == [b"b"]
        waits.append(sent.asked(job, f"6.{len(waits)}", {}))
        clock.now += DAY
    assert len(waits) == POLICIES[COMMIT].attempts - 2
    assert math.isinf(waits[-1])
    assert sent.counts() == {"failed": 1} and sent.given_up == 1


def test_new_results_take_the_place_of_those_that_are_not_committed(
    sent: NodeQueue, clock: Clock
) -> None:
    ask(sent, "5.1")
    sent.add("1.2", "1", b"late")
    assert sent.counts() == {"receiving": 1}
    assert not sent.committed(report("5.1", "a b"))
    judge(sent, clock, b"c")
    assert kept(sent) == {b"image", b"late", b"c"}
    send(sent)
    ask(sent, "5.2")
    assert sent.committed(report("5.2", "c"))
    assert sent.counts() == {"done": 1}


def test_what_is_to_be_committed_survives_a_restart_and_a_change_of_mind(
    sent: NodeQueue, clock: Clock
) -> None:
    ask(sent, "5.1")
    folder = sent.folder
    sent.close()
    with closing(NodeQueue(folder, DAY, clock, commits=True)) as again:
        assert again.counts() == {"committing": 1}
        assert again.committed(report("5.1", "a"))
    with closing(NodeQueue(folder, DAY, clock)) as again:
        assert again.counts() == {"done": 1}
        assert kept(again) == {b"image"}


def test_without_commitment_results_go_once_they_have_arrived(
    tmp_path: Path, clock: Clock
) -> None:
    with closing(NodeQueue(tmp_path / "node", DAY, clock)) as queue:
        queue.add("1.1", "1", b"image")
        judge(queue, clock, b"a")
        send(queue)
        assert queue.counts() == {"done": 1} and kept(queue) == {b"image"}


def test_what_a_peer_asks_for_is_kept_until_it_is_answered(
    queue: NodeQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"image")
    request = CommitmentRequest("7.1", {"1.1": KIND, "1.2": KIND})
    for _ in range(2):
        queue.ask("SCANNER", request)
    queue.close()
    with closing(NodeQueue(queue.folder, DAY, clock)) as again:
        asked = again.next_to_answer()
        assert asked is not None
        assert (asked.title, asked.request) == ("SCANNER", request)
        assert [(uid, path.read_bytes()) for uid, path in asked.files.items()] == [
            ("1.1", b"image")
        ]
        assert again.answered(asked, arrived=False) == 5.0
        assert again.next_to_answer() is None
        clock.now += 5
        asked = again.next_to_answer()
        assert asked is not None
        assert again.answered(asked, arrived=True) == 0.0
        clock.now += DAY
        assert again.next_to_answer() is None
        assert again.entries()[0].series == "1", "a request is no series"


def test_a_peer_that_never_takes_its_answer_is_given_up(
    queue: NodeQueue, clock: Clock
) -> None:
    queue.ask("SCANNER", CommitmentRequest("7.1", {"1.1": KIND}))
    waits = []
    while (asked := queue.next_to_answer()) is not None:
        waits.append(queue.answered(asked, arrived=False))
        clock.now += DAY
    assert math.isinf(waits[-1]) and len(waits) == 180


def test_requests_without_end_are_refused(
    queue: NodeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_queue, "MOST_UNANSWERED", 2)
    for number in range(2):
        queue.ask("SCANNER", CommitmentRequest(f"7.{number}", {"1.1": KIND}))
    with pytest.raises(BusyError):
        queue.ask("SCANNER", CommitmentRequest("7.9", {"1.1": KIND}))


def test_images_that_were_judged_and_are_gone_are_not_held(
    tmp_path: Path, clock: Clock
) -> None:
    with closing(NodeQueue(tmp_path / "node", 0.0, clock)) as queue:
        queue.add("1.1", "1", b"image")
        judge(queue, clock, b"a")
        queue.ask("SCANNER", CommitmentRequest("7.1", {"1.1": KIND}))
        asked = queue.next_to_answer()
        assert asked is not None and not asked.files


def test_images_that_a_sender_asks_about_and_that_have_not_come_are_missing(
    queue: NodeQueue, clock: Clock
) -> None:
    queue.add("1.1", "1", b"image")
    judge(queue, clock, b"whole")
    send(queue)
    # What the node does not take is not missing.
    both = {"1.1": KIND, "1.8": "1.2.840.10008.5.1.4.1.1.88.22"}
    queue.ask("SCANNER", CommitmentRequest("7.1", both))
    assert queue.counts() == {"committing": 1}
    queue.ask("SCANNER", CommitmentRequest("7.2", {"1.1": KIND, "1.2": KIND}))
    job = queue.next_complete(0.0)
    assert job is not None and job.lacking == 1
    part = replace(job, doubts=("One more is asked about.",))
    assert queue.put_results(part, [b"part"])
    # Asked for again, it is not judged again.
    queue.ask("SCANNER", CommitmentRequest("7.25", {"1.2": KIND, "1.1": KIND}))
    assert queue.counts() == {"sending": 1}
    queue.add("1.2", "1", b"second")
    job = queue.next_complete(0.0)
    assert job is not None and job.lacking == 0
    # Nobody knows of which of two series another image would be.
    queue.add("2.1", "2", b"other")
    queue.ask(
        "SCANNER", CommitmentRequest("7.3", dict.fromkeys(("1.1", "2.1", "9.9"), KIND))
    )
    jobs = [queue.next_complete(0.0) for _ in range(2)]
    assert [job.lacking for job in jobs if job is not None] == [0, 0]


# --- Series that make a study ---


@pytest.fixture
def studies(tmp_path: Path, clock: Clock) -> Iterator[NodeQueue]:
    with closing(NodeQueue(tmp_path / "s", DAY, clock, study_seconds=60.0)) as made:
        yield made


def image(folder: Path, study: str = "9.1") -> bytes:
    (path,) = write_series(folder, study, slices=1)
    return path.read_bytes()


def test_a_study_is_judged_once_all_its_series_have_been_and_it_is_quiet(
    studies: NodeQueue, clock: Clock, tmp_path: Path
) -> None:
    for series in ("1", "2"):
        studies.add(f"{series}.1", series, image(tmp_path / series))
    other = image(tmp_path / "other", "9.2")
    judge(studies, clock, b"a")
    assert studies.counts() == {"receiving": 1, "sending": 1, "waiting": 1}
    clock.now += 60
    assert studies.next_study() is None, "a series is still to be judged"
    judge(studies, clock, b"b")
    studies.add("3.1", "3", other)
    judge(studies, clock, b"c")
    clock.now += 30
    assert studies.next_study() is None, "it was judged just now"
    clock.now += 60
    job = studies.next_study()
    assert job is not None and job.series == "study:9.1"
    assert [part.series for part in job.parts] == ["1", "2"]
    assert job.left_out == () and job.earlier == ()
    states = {entry.series: entry.state for entry in studies.entries()}
    assert states["study:9.1"] == "judging"
    for _ in range(3):
        send(studies)
    assert studies.put_results(job, [b"joint"])
    sending = studies.next_to_send()
    assert sending is not None and sending.series == "study:9.1"
    studies.sent("study:9.1", sending.files[0], SentResult("9.1", "9.1.1", "9.1.1.1"))
    # A series that is judged anew has its study judged anew, which replaces results.
    studies.add("2.2", "2", image(tmp_path / "late"))
    judge(studies, clock, b"b2")
    clock.now += 60
    job = studies.next_study()
    assert job is not None and job.series == "study:9.2"
    assert studies.put_results(job, [])
    job = studies.next_study()
    assert job is not None and len(job.files) == 3
    assert [item.instance for item in job.earlier] == ["9.1.1.1"]


def test_what_a_study_cannot_count_is_left_out_and_told(
    studies: NodeQueue, clock: Clock, tmp_path: Path
) -> None:
    for series in ("1", "2", "3", "4"):
        studies.add(f"{series}.1", series, image(tmp_path / series))
        clock.now += 20
    whole = studies.next_complete(10)
    assert whole is not None and studies.put_results(whole, [b"a"])
    part = studies.next_complete(10)
    assert part is not None
    part = replace(part, doubts=("It broke off.",))
    assert studies.put_results(part, [b"b"])
    # One that is no MRI of a head has no results.
    none = studies.next_complete(10)
    assert none is not None and studies.put_results(none, [])
    while not math.isinf(studies.postpone("4")):
        pass
    clock.now += 60
    job = studies.next_study()
    assert job is not None
    assert [item.series for item in job.parts] == ["1"]
    assert job.left_out == (
        "1 of the study's series are not known to be whole, and were left out.",
        "1 of the study's series could not be judged.",
    )


def test_a_study_that_changes_while_it_is_judged_is_judged_anew(
    studies: NodeQueue, clock: Clock, tmp_path: Path
) -> None:
    studies.add("1.1", "1", image(tmp_path / "1"))
    judge(studies, clock, b"a")
    clock.now += 60
    job = studies.next_study()
    assert job is not None
    studies.add("2.1", "2", image(tmp_path / "2"))
    judge(studies, clock, b"b")
    assert not studies.put_results(job, [b"joint"])
    clock.now += 60
    job = studies.next_study()
    assert job is not None and len(job.parts) == 2


def test_a_study_is_requeued_and_forgotten_without_its_series(
    studies: NodeQueue, clock: Clock, tmp_path: Path
) -> None:
    studies.add("1.1", "1", image(tmp_path / "1"))
    judge(studies, clock, b"a")
    send(studies)
    clock.now += 60
    job = studies.next_study()
    assert job is not None and studies.put_results(job, [])
    assert studies.requeue("study:9.1")
    assert studies.next_study() is not None
    assert studies.forget("study:9.1")
    assert [entry.series for entry in studies.entries()] == ["1"]
    # The series goes on without it, and makes it anew.
    assert studies.requeue("1")
    judge(studies, clock, b"a")
    assert len(studies.entries()) == 2


def test_without_the_setting_no_study_waits(
    studies: NodeQueue, clock: Clock, tmp_path: Path
) -> None:
    studies.add("1.1", "1", image(tmp_path / "1"))
    judge(studies, clock, b"a")
    send(studies)
    studies.close()
    with closing(NodeQueue(studies.folder, DAY, clock)) as again:
        assert again.counts() == {"done": 2}
        assert again.requeue("1")
        judge(again, clock, b"a")
        assert again.counts() == {"done": 1, "sending": 1}
