"""The node with a real Orthanc: what is sent comes back with its findings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tests.pacs.orthanc import Orthanc
from tumorlens.engine.predict import load_classifier
from tumorlens.imaging.read import read_study
from tumorlens.pacs.analysis import analysis_with
from tumorlens.pacs.peers import Peer
from tumorlens.pacs.queue import Queue
from tumorlens.pacs.receiver import Receiver
from tumorlens.pacs.sender import send_files
from tumorlens.pacs.worker import Worker
from tumorlens.web.example import example_png

BRAINIX = Path(os.environ.get("TUMORLENS_DATA", "../shared/data"), "dicom/brainix/T1")

pytestmark = [
    # pynetdicom leaves a socket to the garbage collector where nobody listens.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


def head() -> np.ndarray:
    """Take the head that the web app draws as its example."""
    (slice_,) = read_study(example_png()).slices
    return (4.0 * slice_.pixels).astype(np.uint16)


def write_series(folder: Path, study: str | None = None, slices: int = 6) -> list[Path]:
    """Write an axial series of a drawn head."""
    folder.mkdir(parents=True)
    study, series = study or generate_uid(), generate_uid()
    frame = generate_uid()
    made = []
    for place in range(slices):
        item = Dataset()
        item.file_meta = FileMetaDataset()
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item.SOPClassUID = MRImageStorage
        item.SOPInstanceUID = generate_uid()
        item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
        item.StudyInstanceUID, item.SeriesInstanceUID = study, series
        item.FrameOfReferenceUID = frame
        item.PatientName, item.PatientID = "Drawn^Head", "drawn-1"
        item.PatientBirthDate = item.PatientSex = ""
        item.StudyDate, item.StudyTime, item.StudyID = "20260101", "101010", "1"
        item.AccessionNumber = item.ReferringPhysicianName = ""
        item.Modality, item.Manufacturer = "MR", "drawn"
        item.SeriesNumber, item.InstanceNumber = 1, place + 1
        item.ScanningSequence, item.SequenceVariant = "SE", "NONE"
        item.ScanOptions, item.MRAcquisitionType = "", "2D"
        item.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        item.EchoTime, item.EchoTrainLength, item.RepetitionTime = 10, 1, 500
        item.PixelSpacing, item.SliceThickness = [0.8, 0.8], 6.0
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.ImagePositionPatient = [-96.0, -96.0, 6.0 * place]
        pixels = head()
        item.Rows, item.Columns = pixels.shape
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit = 16, 12, 11
        item.PixelRepresentation = 0
        item.PixelData = pixels.tobytes()
        path = folder / f"{place}.dcm"
        dcmwrite(path, item, enforce_file_format=True)
        made.append(path)
    return made


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path / "orthanc")
    yield server
    server.kill()


class Node:
    """Receiver and worker on one queue."""

    def __init__(self, folder: Path, orthanc: Orthanc) -> None:
        self.queue = Queue(folder)
        destination = Peer(orthanc.title, "127.0.0.1", orthanc.dicom_port)
        analyse = analysis_with(load_classifier(threads=1), None)
        self.receiver = Receiver(
            self.queue, "LENS", "127.0.0.1", 0, [Peer("SCANNER", "127.0.0.1")]
        )
        deliver = partial(send_files, "LENS", destination)
        self.worker = Worker(self.queue, analyse, deliver, 0.5)
        self.worker.start()
        self.peer = Peer("LENS", "127.0.0.1", self.receiver.port)

    def take(self, files: list[Path], title: str = "SCANNER") -> bool:
        return send_files(title, self.peer, files, lambda _: None)

    def close(self) -> None:
        self.worker.close()
        self.receiver.close()
        self.queue.close()


@pytest.fixture
def node(tmp_path: Path, orthanc: Orthanc) -> Iterator[Node]:
    made = Node(tmp_path / "node", orthanc)
    yield made
    made.close()


def wait_for(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.3)


def test_a_series_comes_back_with_its_findings_in_the_same_study(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "series")
    to_orthanc = Peer(orthanc.title, "127.0.0.1", orthanc.dicom_port)
    assert send_files("SCANNER", to_orthanc, files, lambda _: None)
    assert node.take(files)
    wait_for(lambda: node.queue.counts() == {"done": 1})
    ((_, modalities),) = orthanc.modalities().items()
    # A drawn head is refused, and the report says so; it names no place to look.
    assert modalities == ["MR", "SR"]
    # Sent again, it is neither judged nor sent again.
    assert node.take(files)
    time.sleep(2)
    assert orthanc.modalities().popitem()[1] == modalities


def test_a_patients_series_comes_back_with_report_picture_and_outline(
    node: Node, orthanc: Orthanc
) -> None:
    files = sorted(BRAINIX.glob("*.dcm"))
    if not files:
        pytest.skip("the data sets are not on this machine")
    assert node.take(files)
    wait_for(lambda: node.queue.counts() == {"done": 1})
    ((study, modalities),) = orthanc.modalities().items()
    assert study == dcmread(files[0]).StudyInstanceUID
    assert modalities == ["OT", "SEG", "SR"]


def test_a_destination_that_is_down_gets_its_results_later(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    orthanc.kill()
    assert node.take(write_series(tmp_path / "series"))
    wait_for(lambda: node.queue.counts() == {"sending": 1})
    time.sleep(1)
    orthanc.start()
    wait_for(lambda: node.queue.counts() == {"done": 1})
    assert len(orthanc.modalities()) == 1


def test_twenty_studies_at_once_come_back_once_each(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    for number in range(20):
        assert node.take(write_series(tmp_path / str(number), slices=3))
    wait_for(lambda: node.queue.counts() == {"done": 20}, 180)
    found = orthanc.modalities()
    assert len(found) == 20
    assert all(names.count("SR") == 1 for names in found.values())


def test_who_is_not_allowed_is_turned_away(node: Node, tmp_path: Path) -> None:
    assert not node.take(write_series(tmp_path / "series"), title="STRANGER")
    assert node.queue.counts() == {}


def test_an_echo_is_answered_to_those_who_may(node: Node) -> None:
    for title, status in (("SCANNER", 0), ("STRANGER", None)):
        entity = AE(ae_title=title)
        entity.add_requested_context(Verification)
        association = entity.associate("127.0.0.1", node.receiver.port, ae_title="LENS")
        found = association.send_c_echo() if association.is_established else Dataset()
        assert found.get("Status") == status
        association.release()


def test_what_cannot_be_judged_is_done_without_results(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "series", slices=1)
    item = dcmread(files[0])
    item.Modality = "CT"
    item.save_as(files[0])
    assert node.take(files)
    wait_for(lambda: node.queue.counts() == {"done": 1})
    assert orthanc.modalities() == {}
