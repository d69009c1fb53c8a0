"""Storage Commitment both ways, with a real Orthanc and with peers that fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import MRImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from tests.samples.dicom_studies import wait_for, write_series
from tests.samples.orthanc import Orthanc, free_port
from tests.samples.processes import Command, start_node
from tumorlens.errors import InputError
from tumorlens.pacs.node.commitment import (
    CommitmentReport,
    CommitmentRequest,
    read_report,
    read_request,
    write_report,
    write_request,
)
from tumorlens.pacs.node.node_queue import NodeQueue
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.node.receiver import Receiver
from tumorlens.pacs.node.sender import Commitments, send_files
from tumorlens.pacs.queue import SeriesJob
from tumorlens.pacs.worker import SeriesWorker

pytestmark = [
    pytest.mark.usefixtures("collected"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


def test_orthanc_commits_what_it_was_sent_and_learns_what_the_node_holds(
    orthanc: Orthanc, started: list[Command], tiny_bundle: Path, tmp_path: Path
) -> None:
    at = f"{orthanc.title}@127.0.0.1:{orthanc.dicom_port}"
    node, peer = start_node(
        *(orthanc, started, tiny_bundle, tmp_path, "--commit-results"),
        *("--commit-for", at, "--allow", f"{orthanc.title}@127.0.0.1"),
    )
    assert peer.port is not None
    orthanc.know(peer.title, peer.port)
    files = write_series(tmp_path / "a", slices=4)
    orthanc.put(files)
    orthanc.send(peer.title)
    wait_for(lambda: "Committed: 2 results, and not: 0." in node.said())
    held = {str(dcmread(path).SOPInstanceUID): MRImageStorage for path in files}
    unknown, other = generate_uid(), next(iter(held))
    whole = orthanc.ask_to_commit(peer.title, held)
    part = orthanc.ask_to_commit(peer.title, {**held, unknown: MRImageStorage})
    wrong = orthanc.ask_to_commit(peer.title, {other: "1.2.840.10008.5.1.4.1.1.2"})

    def status(name: str) -> str:
        return str(orthanc.get(f"storage-commitment/{name}")["Status"])

    wait_for(lambda: "Pending" not in map(status, (whole, part, wrong)))
    assert [status(name) for name in (whole, part, wrong)] == [
        *("Success", "Failure", "Failure")
    ]
    found = orthanc.get(f"storage-commitment/{part}")
    assert len(found["Success"]) == 4
    ((failure,),) = (found["Failures"],)
    assert failure["SOPInstanceUID"] == unknown
    assert failure["FailureReason"] == 0x0112
    ((failure,),) = (orthanc.get(f"storage-commitment/{wrong}")["Failures"],)
    assert failure["FailureReason"] == 0x0119
    assert unknown not in node.said() and "Traceback" not in node.said()


class Archive:
    """Takes everything, and commits what its `misses` does not hold back."""

    def __init__(self, node_port: int) -> None:
        self.misses: list[int] = []
        self.stored: list[str] = []
        self.asked = 0
        self._node_port = node_port
        self._entity = AE(ae_title="ARCHIVE")
        for kind in KINDS:
            self._entity.add_supported_context(kind)
        self._entity.add_supported_context(StorageCommitmentPushModel)
        self._entity.requested_contexts = []
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._ask)]
        self._server = self._entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=handlers
        )
        self.peer = Peer("ARCHIVE", "127.0.0.1", self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    def _ask(self, event: evt.Event) -> tuple[int, None]:
        request = read_request(event.action_information)
        self.asked += 1
        count = self.misses.pop(0) if self.misses else 0
        named = dict(request.instances)
        missed = {uid: (named.pop(uid), 0x0112) for uid in list(named)[:count]}
        answer = CommitmentReport(request.transaction, named, missed)
        # Before its answer to the request has gone out.
        assert self.report(answer) == 0
        return 0, None

    def report(self, answer: CommitmentReport, title: str = "ARCHIVE") -> int | None:
        entity = AE(ae_title=title)
        entity.add_requested_context(StorageCommitmentPushModel)
        role = build_scp_role()
        found = entity.associate(
            "127.0.0.1", self._node_port, ae_title="LENS", ext_neg=[role]
        )
        if not found.is_established:
            return None
        status, _ = found.send_n_event_report(
            write_report(answer),
            2 if answer.failed else 1,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        found.release()
        code = status.get("Status")
        return None if code is None else int(code)


KINDS = (MRImageStorage,)


def build_scp_role():  # type: ignore[no-untyped-def]
    from pynetdicom import build_role

    return build_role(StorageCommitmentPushModel, scp_role=True)


class Node:
    """Receiver, queue and worker that give back the images as results."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.queue = NodeQueue(folder, 3600.0, lambda: self.now, commits=True)
        self.receiver = Receiver(
            *(self.queue, "LENS", "127.0.0.1", 0),
            [Peer("SCANNER", "127.0.0.1"), Peer("OTHER", "127.0.0.1")],
            commit_for=[Peer("SCANNER", "127.0.0.1", 1)],
            archive=Peer("ARCHIVE", "127.0.0.1", 1),
        )
        self.port = self.receiver.port
        self.archive = Archive(self.port)
        self.commitments = Commitments(
            self.queue, "LENS", self.archive.peer, [self.archive.peer]
        )

    def judge_and_send(self) -> None:
        """Judge and send until nothing is due."""
        deliver = partial(send_files, "LENS", self.archive.peer)
        worker = SeriesWorker(self.queue, _give_back, deliver, 0.0)
        worker.start()
        started = time.monotonic()

        def is_over() -> bool:
            # A busy machine may refuse a sending, which is tried again by this clock.
            if time.monotonic() - started > 10.0:
                self.now += 60
            return self.queue.counts().keys() <= {"committing", "done"}

        with closing(worker):
            wait_for(is_over)

    def close(self) -> None:
        self.receiver.close()
        self.queue.close()
        self.archive.close()


def _give_back(job: SeriesJob) -> list[bytes]:
    return [path.read_bytes() for path in job.files]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "node")
    yield made
    made.close()


def fill(node: Node, folder: Path) -> list[Path]:
    files = write_series(folder, slices=2)
    sent: list[Path] = []
    send_files("SCANNER", Peer("LENS", "127.0.0.1", node.port), files, sent.append)
    assert sent == files
    return files


def test_what_an_archive_lost_is_sent_to_it_anew(node: Node, tmp_path: Path) -> None:
    node.archive.misses = [1]
    fill(node, tmp_path / "a")
    node.judge_and_send()
    assert len(node.archive.stored) == 2
    assert node.commitments.ask_next()
    assert node.queue.counts() == {"sending": 1}
    node.now += 60
    node.judge_and_send()
    assert len(node.archive.stored) == 3
    assert node.commitments.ask_next()
    assert node.queue.counts() == {"done": 1}
    assert len(set(node.archive.stored)) == 2 and node.archive.asked == 2


def test_an_archive_that_is_down_is_asked_again(node: Node, tmp_path: Path) -> None:
    fill(node, tmp_path / "a")
    node.judge_and_send()
    node.archive.close()
    assert node.commitments.ask_next()
    assert node.queue.counts() == {"committing": 1}
    assert not node.commitments.ask_next(), "not at once"
    node.archive = Archive(node.port)
    commitments = Commitments(node.queue, "LENS", node.archive.peer, [])
    node.now += 60
    assert commitments.ask_next()
    assert node.queue.counts() == {"done": 1}


def without_instances() -> Dataset:
    """A request that names nothing."""
    item = Dataset()
    item.TransactionUID = "7.1"
    return item


@contextmanager
def associated(node: Node, title: str) -> Iterator[object]:
    entity = AE(ae_title=title)
    entity.add_requested_context(StorageCommitmentPushModel)
    entity.add_requested_context(MRImageStorage)
    found = entity.associate("127.0.0.1", node.port, ae_title="LENS")
    assert found.is_established
    yield found
    found.release()


@pytest.mark.parametrize(
    ("title", "change", "status"),
    [
        ("SCANNER", {}, 0x0000),
        ("OTHER", {}, 0x0124),
        ("ARCHIVE", {}, 0x0124),
        ("SCANNER", {"action": 2}, 0x0123),
        ("SCANNER", {"instance": "1.2.3"}, 0x0112),
        ("SCANNER", {"item": without_instances()}, 0x0115),
    ],
)
def test_only_those_who_may_ask_are_answered(
    node: Node, title: str, change: dict[str, object], status: int
) -> None:
    request = CommitmentRequest("7.1", {"1.1": MRImageStorage})
    with associated(node, title) as found:
        answer, _ = found.send_n_action(  # type: ignore[attr-defined]
            change.get("item", write_request(request)),
            change.get("action", 1),
            StorageCommitmentPushModel,
            change.get("instance", StorageCommitmentPushModelInstance),
        )
    assert answer.get("Status") == status
    assert (node.queue.next_to_answer() is not None) is (status == 0)


def test_only_the_archive_reports_and_it_stores_nothing(
    node: Node, tmp_path: Path
) -> None:
    report = CommitmentReport("5.9", {"1.1": MRImageStorage}, {})
    # One on what nobody asked for is taken, and changes nothing.
    assert node.archive.report(report) == 0
    assert node.archive.report(report, "SCANNER") == 0x0124
    assert node.archive.report(report, "STRANGER") is None
    (file,) = write_series(tmp_path / "a", slices=1)
    with associated(node, "ARCHIVE") as found:
        answer = found.send_c_store(dcmread(file))  # type: ignore[attr-defined]
    assert answer.Status == 0x0124
    assert node.queue.counts() == {}


def test_a_peer_that_is_down_is_answered_later(node: Node, tmp_path: Path) -> None:
    files = fill(node, tmp_path / "a")
    held = str(dcmread(files[0]).SOPInstanceUID)
    request = CommitmentRequest("7.1", {held: MRImageStorage, "1.9": MRImageStorage})
    node.queue.ask("SCANNER", request)
    reports: list[CommitmentReport] = []
    entity = AE(ae_title="SCANNER")
    entity.add_supported_context(
        StorageCommitmentPushModel, scu_role=True, scp_role=True
    )

    def take(event: evt.Event) -> tuple[int, None]:
        reports.append(read_report(event.event_information))
        return 0, None

    peer = Peer("SCANNER", "127.0.0.1", free_port())
    commitments = Commitments(node.queue, "LENS", None, [peer])
    assert commitments.answer_next()
    assert not reports and not commitments.answer_next()
    server = entity.start_server(
        ("127.0.0.1", peer.port or 0),
        block=False,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)],
    )
    try:
        node.now += 5
        assert commitments.answer_next()
    finally:
        server.shutdown()
        server.server_close()
    assert reports == [
        CommitmentReport(
            "7.1", {held: MRImageStorage}, {"1.9": (MRImageStorage, 0x0112)}
        )
    ]
    node.now += 3600
    assert not commitments.answer_next()


def test_requests_and_reports_are_read_as_they_were_written() -> None:
    request = CommitmentRequest("5.1", {"1.1": "2.1", "1.2": "2.2"})
    assert read_request(write_request(request)) == request
    report = CommitmentReport("5.1", {"1.1": "2.1"}, {"1.2": ("2.2", 0x0119)})
    assert read_report(write_report(report)) == report


@pytest.mark.parametrize(
    "changed",
    [
        {"TransactionUID": ""},
        {"ReferencedSOPSequence": []},
        {"ReferencedSOPSequence": [Dataset()]},
    ],
)
def test_a_request_that_breaks_the_rules_is_refused(
    changed: dict[str, object],
) -> None:
    item = write_request(CommitmentRequest("5.1", {"1.1": "2.1"}))
    for keyword, value in changed.items():
        setattr(item, keyword, value)
    with pytest.raises(InputError):
        read_request(item)
