"""One series that fails holds up no other, and no failure ends the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from tests.samples.dicom_studies import change, wait_for, write_series
from tumorlens import load_series_classifier
from tumorlens.errors import OutputError
from tumorlens.operations.tracing import traced
from tumorlens.pacs.analysis import analysis_with
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.node.receiver import Receiver
from tumorlens.pacs.node.sender import send_files
from tumorlens.pacs.queue import SeriesJob, SeriesQueue
from tumorlens.pacs.worker import SeriesWorker

SECRET = "Drawn^Head"


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SeriesQueue]:
    with closing(SeriesQueue(tmp_path / "queue")) as made:
        yield made


def give_back(job: SeriesJob) -> list[bytes]:
    return [path.read_bytes() for path in job.files]


def take(files: Sequence[Path], sent: Callable[[Path], None]) -> bool:
    for path in files:
        sent(path)
    return True


def fill(queue: SeriesQueue, folder: Path, series: str) -> None:
    (file,) = write_series(folder / series, slices=1)
    queue.add(f"{series}.1", series, file.read_bytes())


@pytest.mark.parametrize("error", [RuntimeError(SECRET), OSError(SECRET)])
def test_results_that_cannot_be_sent_do_not_hold_up_the_next(
    queue: SeriesQueue,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    first: list[Path] = []

    def deliver(files: Sequence[Path], sent: Callable[[Path], None]) -> bool:
        if not first:
            first.extend(files)
        if files[0] == first[0]:
            raise error
        return take(files, sent)

    for series in ("1", "2", "3"):
        fill(queue, tmp_path, series)
    worker = SeriesWorker(queue, give_back, deliver, 0.0)
    worker.start()
    with closing(worker):
        wait_for(lambda: queue.counts() == {"done": 2, "sending": 1})
    assert "To be tried again in 5 s" in caplog.text
    assert SECRET not in caplog.text and "Traceback" not in caplog.text


def test_a_series_whose_judging_breaks_does_not_hold_up_the_next(
    queue: SeriesQueue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def analyse(job: SeriesJob) -> list[bytes]:
        if dcmread(job.files[0]).PatientID == "breaks":
            raise ZeroDivisionError(SECRET)
        return give_back(job)

    (file,) = write_series(tmp_path / "1", slices=1)
    queue.add("1.1", "1", change(file, PatientID="breaks").read_bytes())
    fill(queue, tmp_path, "2")
    worker = SeriesWorker(queue, analyse, take, 0.0)
    worker.start()
    with closing(worker):
        wait_for(lambda: queue.counts() == {"done": 1, "receiving": 1})
    assert "ZeroDivisionError" in caplog.text and SECRET not in caplog.text


class Full(SeriesQueue):
    """Its disk is full for a while."""

    refusals = 2

    def put_results(self, job: SeriesJob, results: Sequence[bytes]) -> bool:
        if self.refusals:
            self.refusals -= 1
            raise OutputError("The disk is full.")
        return super().put_results(job, results)


def test_a_disk_that_is_full_for_a_while_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Full(tmp_path / "queue")) as queue:
        fill(queue, tmp_path, "1")
        worker = SeriesWorker(queue, give_back, take, 0.0)
        worker.start()
        with closing(worker):
            wait_for(lambda: queue.counts() == {"done": 1})
    assert caplog.text.count("The disk is full.") == 2


def test_images_that_are_kept_no_longer_are_removed_by_the_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = [1000.0]
    with closing(SeriesQueue(tmp_path / "queue", 3600.0, lambda: now[0])) as queue:
        fill(queue, tmp_path, "1")
        with closing(SeriesWorker(queue, lambda *_: [], take, 0.0)) as worker:
            worker.start()
            wait_for(lambda: queue.counts() == {"done": 1})
        assert "Judged 1 images, 0 results." in caplog.text
        files = queue.folder / "files"
        assert len(list(files.iterdir())) == 1
        now[0] += 3600.0
        with closing(SeriesWorker(queue, lambda *_: [], take, 0.0)) as worker:
            worker.start()
            wait_for(lambda: not list(files.iterdir()))


def test_what_a_destination_refuses_does_not_hold_up_the_other_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A PACS that takes pictures, but no MR, gets the picture."""
    refused, taken = write_series(tmp_path / "a", slices=2)
    change(taken, SOPClassUID=SecondaryCaptureImageStorage)
    item = dcmread(taken)
    item.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    item.save_as(taken)
    for kinds, statuses in (
        ([SecondaryCaptureImageStorage], {}),
        ([SecondaryCaptureImageStorage, MRImageStorage], {MRImageStorage: 0xA700}),
    ):
        arrived: list[Path] = []
        entity = AE(ae_title="PICKY")
        for kind in kinds:
            entity.add_supported_context(kind)

        def store(event: evt.Event, known: dict[str, int] = statuses) -> int:
            return known.get(event.request.AffectedSOPClassUID, 0)

        server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
        )
        try:
            peer = Peer("PICKY", "127.0.0.1", server.server_address[1])
            assert not send_files("LENS", peer, [refused, taken], arrived.append)
        finally:
            server.shutdown()
            server.server_close()
        assert arrived == [taken]
    assert "took 1 of 2 files" in caplog.text


def test_a_series_is_traced_from_its_association_to_its_results(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="extra 'otel'")
    from tests.samples.collector import collecting, facts_of

    with collecting() as collector, closing(SeriesQueue(tmp_path / "q")) as queue:
        for name, value in collector.variables.items():
            monkeypatch.setenv(name, value)
        analyse = analysis_with(load_series_classifier(tiny_bundle), None)
        scanner = Peer("SCANNER", "127.0.0.1")
        with (
            traced("tumorlens node"),
            closing(Receiver(queue, "LENS", "127.0.0.1", 0, [scanner])) as receiver,
            closing(SeriesWorker(queue, analyse, take, 0.0)) as worker,
        ):
            files = [
                change(path, PatientName=SECRET)
                for path in write_series(tmp_path / "a", slices=4)
            ]
            lens = Peer("LENS", "127.0.0.1", receiver.port)
            send_files("SCANNER", lens, files, lambda _: None)
            worker.start()
            wait_for(lambda: queue.counts() == {"done": 1})
        (receive,) = collector.wait_for("node.receive")
        assert facts_of(receive) == {
            "tumorlens.images": 4,
            "tumorlens.normal": True,
        }
        judge = collector.wait_for("node.judge")[-1]
        parts = {x.name for x in collector.spans if x.parent_span_id == judge.span_id}
        assert parts == {"decode", "network", "store"}
        (send,) = collector.wait_for("node.send")
        assert facts_of(send)["tumorlens.whole"] is True
        told = b"".join(collector.bodies)
        assert SECRET.encode() not in told
        assert dcmread(files[0]).SeriesInstanceUID.encode() not in told
