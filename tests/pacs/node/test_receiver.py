"""Who may send, and sends what cannot be, does the node no harm."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from tests.samples.dicom_studies import change, wait_for, write_series
from tumorlens.jobs import artifacts
from tumorlens.operations.audit import AuditTrail, verify
from tumorlens.pacs.node import receiver
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.node.receiver import Receiver
from tumorlens.pacs.node.sender import recorded, send_files
from tumorlens.pacs.queue import SeriesQueue

pytestmark = [
    # pynetdicom leaves a socket to the garbage collector where nobody listens.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SeriesQueue]:
    with closing(SeriesQueue(tmp_path / "queue")) as made:
        yield made
    gc.collect()


@pytest.fixture
def peer(queue: SeriesQueue) -> Iterator[Peer]:
    scanner = Peer("SCANNER", "127.0.0.1")
    with closing(Receiver(queue, "LENS", "127.0.0.1", 0, [scanner])) as listening:
        yield Peer("LENS", "127.0.0.1", listening.port)


def send(peer: Peer, *files: Path) -> list[Path]:
    arrived: list[Path] = []
    send_files("SCANNER", peer, files, arrived.append)
    return arrived


@pytest.mark.parametrize(
    ("host", "peers", "warned"),
    [
        ("127.0.0.1", ("127.0.0.1", "10.0.0.5"), ["10.0.0.5"]),
        ("localhost", ("10.0.0.5", "10.0.0.6"), ["10.0.0.5", "10.0.0.6"]),
        ("127.0.0.1", ("localhost", "127.0.0.1"), []),
        ("0.0.0.0", ("10.0.0.5",), []),
    ],
)
def test_peers_that_cannot_reach_the_node_are_told(
    queue: SeriesQueue,
    caplog: pytest.LogCaptureFixture,
    host: str,
    peers: tuple[str, ...],
    warned: list[str],
) -> None:
    allowed = [Peer("SCANNER", peer) for peer in peers]
    with closing(Receiver(queue, "LENS", host, 0, allowed)):
        pass
    said = [record.getMessage() for record in caplog.records]
    assert [text.split()[2] for text in said if "cannot send" in text] == warned
    assert all("--host 0.0.0.0" in text for text in said if "cannot send" in text)


def test_an_image_without_end_is_cut_off_and_the_next_is_taken(
    queue: SeriesQueue,
    peer: Peer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(receiver, "_LONGEST_MESSAGE_BYTES", 2**20)
    files = write_series(tmp_path / "a", slices=12)
    change(files[0], PixelData=bytes(2**22))
    assert send(peer, files[0]) == []
    assert "too large" in caplog.text
    # A series may have more than one image can have.
    assert sum(path.stat().st_size for path in files[1:]) > 2**20
    assert send(peer, *files[1:]) == files[1:]
    assert queue.counts() == {"receiving": 1}


def test_an_image_that_does_not_say_what_it_is_of_is_refused(
    queue: SeriesQueue, peer: Peer, tmp_path: Path
) -> None:
    nameless, good = write_series(tmp_path / "a", slices=2)
    item = dcmread(nameless)
    del item.SeriesInstanceUID
    item.save_as(nameless)
    assert send(peer, nameless, good) == [good]
    assert queue.counts() == {"receiving": 1}


def test_a_full_disk_is_told_to_the_sender(
    queue: SeriesQueue,
    peer: Peer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = write_series(tmp_path / "a", slices=2)
    with monkeypatch.context() as full:
        full.setattr(artifacts, "LEAST_FREE_BYTES", 2**62)
        assert send(peer, *files) == []
    assert "turned away" in caplog.text
    assert send(peer, *files) == files


def test_the_audit_trail_tells_who_sent_what_and_who_was_refused(
    queue: SeriesQueue, tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    trail, scanner = AuditTrail(path), Peer("SCANNER", "127.0.0.1")
    listening = Receiver(queue, "LENS", "127.0.0.1", 0, [scanner], audit=trail)

    def events() -> list[dict[str, Any]]:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return sorted(map(json.loads, lines), key=lambda line: str(line["event"]))

    with closing(listening):
        peer = Peer("LENS", "127.0.0.1", listening.port)
        files = write_series(tmp_path / "a", slices=2)
        deliver = recorded(partial(send_files, "SCANNER", peer), peer, trail)
        assert deliver(files, lambda _: None)
        assert not send_files("STRANGER", peer, files, lambda _: None)
        wait_for(lambda: len(events()) == 3)
    sending, taking, refusal = events()
    assert verify(path).problem is None
    for event, name, user, outcome, detail in (
        (sending, "Export", "LENS", "0", "2 of 2 results"),
        (taking, "Import", "SCANNER", "0", "2 images"),
        (refusal, "User Authentication", "", "4", "association refused"),
    ):
        assert (event["event"], event["user"]) == (name, user)
        assert (event["outcome"], event["detail"]) == (outcome, detail)
        assert event["origin"] == "127.0.0.1"
    assert taking["objects"] == [dcmread(files[0]).SeriesInstanceUID]
    for planted in ("STRANGER", "Drawn", "drawn-1"):
        assert planted not in path.read_text("utf-8")
