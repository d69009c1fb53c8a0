"""What is new on a real Orthanc is taken once, whoever dies on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.pacs.dicomweb.conftest import connect
from tests.samples.dicom_studies import change, ill_head, wait_for, write_series
from tests.samples.orthanc import Orthanc, free_port
from tests.samples.scripted_peers import Answer, archive_of, listed
from tumorlens.errors import ArchiveAccessError, ArchiveDownError, ArchiveError
from tumorlens.pacs.dicomweb import client as dicomweb
from tumorlens.pacs.dicomweb.client import Archive
from tumorlens.pacs.dicomweb.fetch_queue import (
    ATTEMPTS_FOR_ALL,
    FetchQueue,
    Poller,
    delivery_to,
)
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.node.sender import ordered_studies

STUDY = "1.2.826.0.1.3680043.8.498.78"
ALL_DAYS = 36_500
WITH_RESULTS = ["MR", "OT", "SEG", "SR"]


@pytest.fixture
def archive(orthanc: Orthanc) -> Iterator[Archive]:
    with closing(connect(orthanc)) as made:
        yield made


@pytest.fixture
def poller(archive: Archive, queue: FetchQueue) -> Poller:
    return Poller(archive, queue, ALL_DAYS)


@pytest.mark.usefixtures("worker")
def test_a_new_series_is_taken_once(
    orthanc: Orthanc,
    archive: Archive,
    poller: Poller,
    queue: FetchQueue,
    tmp_path: Path,
) -> None:
    orthanc.put(write_series(tmp_path / "a", STUDY, pixels=ill_head()))
    poller.look()
    assert queue.counts() == {}, "nobody knows yet whether it is complete"
    poller.look()
    wait_for(lambda: queue.counts() == {"done": 1})
    assert orthanc.modalities() == {STUDY: WITH_RESULTS}
    # Neither the same poller, nor one with this queue, nor one that lost its queue
    # does it again.
    with closing(FetchQueue(tmp_path / "other")) as empty:
        others = [Poller(archive, item, ALL_DAYS) for item in (queue, empty)]
        for item in (poller, *others):
            for _ in range(3):
                item.look()
        assert empty.counts() == {}
    assert queue.counts() == {"done": 1}
    # A second series of the study is new.
    orthanc.put(write_series(tmp_path / "b", STUDY, pixels=ill_head()))
    for _ in range(2):
        poller.look()
    wait_for(lambda: queue.counts() == {"done": 2})
    assert orthanc.modalities() == {STUDY: sorted(2 * WITH_RESULTS)}


def test_a_series_that_still_grows_is_waited_for(
    orthanc: Orthanc, poller: Poller, queue: FetchQueue, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", STUDY)
    orthanc.put(files[:3])
    poller.look()
    orthanc.put(files[3:])
    poller.look()
    assert queue.counts() == {}
    poller.look()
    job = queue.next_complete(0.0)
    assert job is not None and len(job.files) == len(files)


def test_a_worklist_says_what_is_judged(
    orthanc: Orthanc, archive: Archive, queue: FetchQueue, tmp_path: Path
) -> None:
    studies = [f"{STUDY}.{number}" for number in range(1, 5)]
    for study in studies:
        orthanc.put(write_series(tmp_path / study, study, slices=1))
    peer = Peer(orthanc.title, "127.0.0.1", orthanc.dicom_port)
    orders = partial(ordered_studies, "TUMORLENS", peer)
    assert orders() == set()
    orthanc.order(studies[0], "TUMORLENS")
    orthanc.order(studies[1], "ANOTHER")
    orthanc.order(studies[2], "TUMORLENS", "COMPLETED")
    orthanc.order(f"{STUDY}.99", "TUMORLENS")
    assert orders() == {studies[0], f"{STUDY}.99"}
    # Ordered studies may be of any day.
    poller = Poller(archive, queue, 0, orders)
    for _ in range(3):
        poller.look()
    assert queue.counts() == {"receiving": 1}
    orthanc.order(studies[3], "TUMORLENS")
    for _ in range(2):
        poller.look()
    assert queue.counts() == {"receiving": 2}


# pynetdicom leaves a socket to the garbage collector where nobody listens.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.usefixtures("collected")
def test_a_worklist_that_does_not_answer_is_asked_again_later(
    orthanc: Orthanc, archive: Archive, queue: FetchQueue
) -> None:
    nobody = Peer("RIS", "127.0.0.1", free_port())
    poller = Poller(archive, queue, 0, partial(ordered_studies, "TUMORLENS", nobody))
    with pytest.raises(ArchiveDownError, match="worklist"):
        poller.look()


def test_studies_of_other_days_and_other_modalities_are_left_alone(
    orthanc: Orthanc, archive: Archive, queue: FetchQueue, tmp_path: Path
) -> None:
    orthanc.put(write_series(tmp_path / "a", STUDY, slices=1))
    (file,) = write_series(tmp_path / "b", STUDY + ".1", slices=1)
    orthanc.put([change(file, Modality="CT")])
    poller = Poller(archive, queue, days=0)
    for _ in range(2):
        poller.look()
    assert queue.counts() == {}


@pytest.mark.usefixtures("worker")
def test_results_wait_for_a_server_that_is_down(
    orthanc: Orthanc, poller: Poller, queue: FetchQueue, tmp_path: Path
) -> None:
    orthanc.put(write_series(tmp_path / "a", STUDY, pixels=ill_head()))
    poller.look()
    poller.look()
    orthanc.kill()
    wait_for(lambda: queue.counts() == {"sending": 1})
    with pytest.raises(ArchiveDownError):
        poller.look()
    orthanc.start()
    wait_for(lambda: queue.counts() == {"done": 1})
    poller.look()
    assert orthanc.modalities() == {STUDY: WITH_RESULTS}


def test_a_series_whose_server_dies_midway_is_fetched_anew(
    orthanc: Orthanc,
    archive: Archive,
    poller: Poller,
    queue: FetchQueue,
    tmp_path: Path,
) -> None:
    orthanc.put(write_series(tmp_path / "a", STUDY))
    (entry,) = archive.series(STUDY)

    def until_it_dies() -> Iterator[bytes | None]:
        for place, data in enumerate(archive.images(entry)):
            if place == 2:
                orthanc.kill()
            yield data

    with pytest.raises(ArchiveDownError):
        queue.add_whole(entry.uid, until_it_dies())
    assert queue.counts() == {}
    assert not list((queue.folder / "files").iterdir())
    orthanc.start()
    for _ in range(2):
        poller.look()
    job = queue.next_complete(0.0)
    assert job is not None and len(job.files) == 6


def test_a_series_that_the_server_cannot_give_does_not_hold_up_the_next(
    orthanc: Orthanc, poller: Poller, queue: FetchQueue, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", STUDY)
    orthanc.put(files)
    orthanc.put(write_series(tmp_path / "b", STUDY))
    orthanc.lose(dcmread(files[3]).SOPInstanceUID)
    for _ in range(3):
        poller.look()
    assert queue.counts() == {"missed": 1, "receiving": 1}


def test_a_series_that_is_not_given_whole_is_tried_again_before_it_is_taken_partly(
    tmp_path: Path,
) -> None:
    good, bad = write_series(tmp_path / "a", slices=2)
    refused: set[str] = {"1.2.1.2"}

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        place = request.path.split("?")[0].removeprefix("/dicom-web")
        uid = place.rsplit("/", 1)[1]
        if uid in refused:
            return Answer(status=500)
        item = {"00080060": {"Value": ["MR"]}, "0020000E": {"Value": ["1.2.1"]}}
        files = {"1.2.1.1": good, "1.2.1.2": bad}
        if uid in files:
            return Answer(files[uid].read_bytes(), "application/dicom")
        return {
            "studies": Answer(listed("0020000D", "1.2")),
            "series": Answer(json.dumps([item]).encode()),
            "instances": Answer(listed("00080018", *files)),
        }[uid]

    now = [1000.0]

    def look(poller: Poller) -> None:
        now[0] += 7200.0
        poller.look()

    with archive_of(answer) as archive:
        for kept in ("gets the rest", "never does"):
            with closing(FetchQueue(tmp_path / kept, clock=lambda: now[0])) as queue:
                poller = Poller(archive, queue, ALL_DAYS)
                for _ in range(ATTEMPTS_FOR_ALL):
                    look(poller)
                assert queue.counts() == {"missed": 1}
                assert not list((queue.folder / "files").iterdir())
                if kept == "gets the rest":
                    refused.clear()
                look(poller)
                job = queue.next_complete(0.0)
                assert job is not None
                assert (len(job.files), job.missing) == (
                    (2, 0) if kept == "gets the rest" else (1, 1)
                )
                refused.add("1.2.1.2")


def test_a_series_that_is_too_large_is_given_up(
    orthanc: Orthanc,
    poller: Poller,
    queue: FetchQueue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dicomweb, "MAX_UNPACKED_BYTES", 200_000)
    orthanc.put(write_series(tmp_path / "a", STUDY))
    for _ in range(3):
        poller.look()
    assert queue.counts() == {"failed": 1}
    assert not list((queue.folder / "files").iterdir())


def test_wrong_credentials_end_it_at_once(orthanc: Orthanc, queue: FetchQueue) -> None:
    with (
        closing(connect(orthanc, "wrong")) as archive,
        pytest.raises(ArchiveAccessError),
    ):
        Poller(archive, queue, ALL_DAYS).keep_on(1.0)


def test_what_a_worker_cannot_deliver_is_said_and_kept(
    orthanc: Orthanc, archive: Archive, tmp_path: Path
) -> None:
    (file,) = write_series(tmp_path / "a", STUDY, slices=1)
    arrived: list[Path] = []
    orthanc.kill()
    assert not delivery_to(archive)([file], arrived.append)
    with pytest.raises(ArchiveError):
        archive.store([file], arrived.append)
    orthanc.start()
    assert delivery_to(archive)([file], arrived.append)
    assert arrived == [file]


def test_a_study_that_cannot_be_listed_does_not_hold_up_the_next(
    queue: FetchQueue, tmp_path: Path
) -> None:
    (file,) = write_series(tmp_path / "a", slices=1)
    item = {"00080060": {"Value": ["MR"]}, "0020000E": {"Value": ["1.3.1"]}}
    known = {
        "/studies": Answer(listed("0020000D", "1.2", "1.3")),
        "/studies/1.2/series": Answer(status=500),
        "/studies/1.3/series": Answer(json.dumps([item]).encode()),
        "/studies/1.3/series/1.3.1/instances": Answer(listed("00080018", "1.3.1.1")),
        "/studies/1.3/series/1.3.1/instances/1.3.1.1": Answer(
            file.read_bytes(), "application/dicom"
        ),
    }

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        return known[request.path.split("?")[0].removeprefix("/dicom-web")]

    with archive_of(answer) as archive:
        poller = Poller(archive, queue, ALL_DAYS)
        for _ in range(2):
            poller.look()
    assert queue.counts() == {"receiving": 1}
