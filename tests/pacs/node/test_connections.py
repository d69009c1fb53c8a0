"""What a peer may cost the real node: memory, connections, time."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    MRImageStorage,
    Verification,
)

from tests.samples.dicom_studies import wait_for, write_series
from tests.samples.orthanc import free_port
from tests.samples.processes import Command
from tests.samples.tls import Certificates
from tumorlens.errors import SettingError
from tumorlens.pacs.node.peers import Peer, client_tls, server_tls
from tumorlens.pacs.node.receiver import Receiver, _Handler
from tumorlens.pacs.node.sender import send_files
from tumorlens.pacs.queue import SeriesQueue
from tumorlens.settings import NodeLimits

CLAIMED = 400 * 10**6
GROWTH_MB = 60

pytestmark = [
    pytest.mark.usefixtures("collected"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(socket|ssl)"
        ":pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path
) -> Iterator[tuple[Command, Peer]]:
    folder = tmp_path_factory.mktemp("node")
    port = free_port()
    command = Command(
        folder / "log",
        *("node", "--folder", folder / "queue", "--title", "LENS", "--port", port),
        *("--allow", "SCANNER@127.0.0.1", "--send-to", "NOBODY@127.0.0.1:1"),
        *("--model", tiny_bundle),
    )
    wait_for(lambda: "listens on" in command.said())
    yield command, Peer("LENS", "127.0.0.1", port)
    assert command.end(signal.SIGTERM) == 0


def memory_mb(pid: int, which: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"{which}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


def connect(peer: Peer) -> socket.socket:
    return socket.create_connection((peer.host, peer.port or 0), timeout=30)


def echo(peer: Peer, tls: ssl.SSLContext | None = None) -> int | None:
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(Verification)
    association = entity.associate(
        peer.host,
        peer.port or 0,
        ae_title=peer.title,
        tls_args=None if tls is None else (tls, "localhost"),
    )
    if not association.is_established:
        return None
    status = association.send_c_echo().get("Status")
    association.release()
    return None if status is None else int(status)


def pour(connection: socket.socket, kind: int) -> int:
    """Send a PDU that claims 400 MB, until somebody stops it; tell how much went."""
    chunk, sent = bytes(2**20), 0
    try:
        connection.sendall(struct.pack(">BBL", kind, 0, CLAIMED))
        while sent < CLAIMED:
            connection.sendall(chunk)
            sent += len(chunk)
    except OSError:
        pass
    return sent


@pytest.mark.parametrize("within", [False, True])
def test_a_pdu_of_400_mb_costs_nothing(
    node: tuple[Command, Peer], within: bool
) -> None:
    command, peer = node
    assert echo(peer) == 0
    # Linux forgets the highest mark, so that the growth is of this PDU.
    Path(f"/proc/{command.pid}/clear_refs").write_text("5", encoding="ascii")
    before = memory_mb(command.pid, "VmRSS")
    if within:
        entity = AE(ae_title="SCANNER")
        entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
        association = entity.associate(peer.host, peer.port or 0, ae_title="LENS")
        assert association.is_established
        raw = association.dul.socket
        assert raw is not None and raw.socket is not None
        sent = pour(raw.socket, 4)
        association.abort()
    else:
        with connect(peer) as connection:
            sent = pour(connection, 1)
    assert sent < CLAIMED / 10
    assert memory_mb(command.pid, "VmHWM") - before < GROWTH_MB
    wait_for(lambda: f"claims {CLAIMED} bytes" in command.said())
    assert echo(peer) == 0


def test_silent_connections_hold_up_nobody(node: tuple[Command, Peer]) -> None:
    _, peer = node
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(connect(peer))
        began = time.monotonic()
        assert echo(peer) == 0
        assert time.monotonic() - began < 5


def test_the_oldest_of_too_many_silent_connections_is_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # None ends by itself, however busy the machine is.
    limits = NodeLimits(connections=3, association_seconds=300)
    with listening(tmp_path, limits) as peer, ExitStack() as stack:
        silent = [stack.enter_context(connect(peer)) for _ in range(3)]
        assert echo(peer) == 0
        # An end of file at once, long before it would have been silent for too long.
        assert silent[0].recv(1) == b""
        assert "cut off for a new one" in caplog.text


def test_a_connection_counts_before_its_thread_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, started = _Handler._create_association, threading.Semaphore(0)
    is_late = iter([False, True, True])

    def create_late(handler: _Handler) -> Association:
        if next(is_late, False):
            assert started.acquire(timeout=60)
        return create(handler)

    monkeypatch.setattr(_Handler, "_create_association", create_late)
    limits = NodeLimits(connections=3, association_seconds=300)
    with listening(tmp_path, limits) as peer, ExitStack() as stack:
        silent = [stack.enter_context(connect(peer)) for _ in range(3)]
        try:
            assert echo(peer) == 0
            assert silent[0].recv(1) == b""
        finally:
            started.release(2)
    assert "cut off for a new one" in caplog.text


def test_a_silent_connection_ends_in_time(tmp_path: Path) -> None:
    limits = NodeLimits(association_seconds=1)
    with listening(tmp_path, limits) as peer, connect(peer) as silent:
        assert silent.recv(1) == b""


def test_a_peer_that_sends_one_byte_at_a_time_is_cut_off(tmp_path: Path) -> None:
    limits = NodeLimits(association_seconds=60, peer_seconds=1)
    with listening(tmp_path, limits) as peer, connect(peer) as slow:
        with pytest.raises(OSError):
            for byte in struct.pack(">BBL", 1, 0, 2**16) + bytes(2**16):
                slow.sendall(bytes([byte]))
                time.sleep(0.1)
        assert echo(peer) == 0


def test_more_associations_than_allowed_are_turned_away(tmp_path: Path) -> None:
    limits = NodeLimits(associations=2)
    with listening(tmp_path, limits) as peer:
        entity = AE(ae_title="SCANNER")
        entity.add_requested_context(Verification)
        held = [
            entity.associate(peer.host, peer.port or 0, ae_title="LENS")
            for _ in range(2)
        ]
        assert echo(peer) is None
        held[0].release()
        wait_for(lambda: echo(peer) == 0)
        held[1].release()


def test_strangers_are_turned_away_before_they_say_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    peers = [Peer("SCANNER", "127.0.0.2")]
    with (
        closing(SeriesQueue(tmp_path / "queue")) as queue,
        closing(Receiver(queue, "LENS", "127.0.0.1", 0, peers)) as receiver,
        connect(Peer("LENS", "127.0.0.1", receiver.port)) as connection,
    ):
        assert connection.recv(1) == b""
    assert "Refused a connection from 127.0.0.1" in caplog.text


def test_images_that_together_fill_the_memory_are_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Below what the table of limits allows, or the test would send half a gigabyte.
    limits = NodeLimits(receiving_mb=0)
    files = write_series(tmp_path / "a", slices=1)
    with listening(tmp_path, limits) as peer:
        assert not send_files("SCANNER", peer, files, lambda _: None)
    assert "too large" in caplog.text


def test_dicom_goes_over_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    made = Certificates(tmp_path)
    strangers = Certificates(tmp_path / "strangers")
    files = write_series(tmp_path / "a", slices=2)
    server = server_tls(made.server, made.server_key, made.authority)
    known = client_tls(made.client, made.client_key, made.authority)
    unknown = client_tls(strangers.client, strangers.client_key, made.authority)
    with listening(tmp_path, NodeLimits(), server) as peer:
        secure = Peer(peer.title, "localhost", peer.port)
        with connect(peer), connect(peer):
            # Two that never shake hands hold up nobody.
            assert echo(secure, known) == 0
        assert send_files("SCANNER", secure, files, lambda _: None, known)
        assert not send_files("SCANNER", secure, files, lambda _: None, unknown)
        assert not send_files("SCANNER", peer, files, lambda _: None)


def test_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    paper = tmp_path / "paper.pem"
    paper.write_text("no certificate", encoding="ascii")
    for make in (server_tls, client_tls):
        with pytest.raises(SettingError, match="cannot be used"):
            make(paper, paper, paper)
        with pytest.raises(SettingError, match="No such file"):
            make(tmp_path / "a", tmp_path / "b", tmp_path / "c")


class listening:  # noqa: N801 - reads as what it does
    """A receiver with limits, while the block runs."""

    def __init__(
        self, folder: Path, limits: NodeLimits, tls: ssl.SSLContext | None = None
    ) -> None:
        self._queue = SeriesQueue(folder / "queue")
        scanner = Peer("SCANNER", "127.0.0.1")
        self._receiver = Receiver(
            self._queue, "LENS", "127.0.0.1", 0, [scanner], limits, tls
        )

    def __enter__(self) -> Peer:
        return Peer("LENS", "127.0.0.1", self._receiver.port)

    def __exit__(self, *_: object) -> None:
        self._receiver.close()
        self._queue.close()
