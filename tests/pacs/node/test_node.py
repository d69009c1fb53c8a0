"""The node with a real Orthanc: what is sent comes back with its findings."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tests.samples.dicom_studies import change, ill_head, wait_for, write_series
from tests.samples.orthanc import Orthanc
from tests.samples.processes import Command, start_node
from tumorlens.inference.series.classifier import load_series_classifier
from tumorlens.pacs.analysis import analysis_with
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.node.receiver import Receiver
from tumorlens.pacs.node.sender import send_files
from tumorlens.pacs.queue import SeriesQueue
from tumorlens.pacs.worker import SeriesWorker

BRAINIX = Path(os.environ.get("TUMORLENS_DATA", "../shared/data"), "dicom/brainix/T1")

pytestmark = [
    pytest.mark.usefixtures("collected"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path / "orthanc")
    yield server
    server.kill()


class Node:
    """Receiver and worker on one queue."""

    def __init__(self, folder: Path, orthanc: Orthanc) -> None:
        self._folder, self._orthanc = folder, orthanc
        self._start(keep_seconds=3600.0)

    def _start(self, keep_seconds: float) -> None:
        orthanc = self._orthanc
        self.queue = SeriesQueue(self._folder, keep_seconds)
        destination = Peer(orthanc.title, "127.0.0.1", orthanc.dicom_port)
        analyse = analysis_with(load_series_classifier(threads=1), None)
        self.receiver = Receiver(
            self.queue, "LENS", "127.0.0.1", 0, [Peer("SCANNER", "127.0.0.1")]
        )
        deliver = partial(send_files, "LENS", destination)
        self.worker = SeriesWorker(self.queue, analyse, deliver, 0.5)
        self.worker.start()
        self.peer = Peer("LENS", "127.0.0.1", self.receiver.port)

    def restart(self, keep_seconds: float = 3600.0) -> None:
        self.close()
        self._start(keep_seconds)

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


def test_a_series_comes_back_with_its_findings_in_the_same_study(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (256, 256), np.uint16)
    files = write_series(tmp_path / "series", pixels=noise)
    to_orthanc = Peer(orthanc.title, "127.0.0.1", orthanc.dicom_port)
    assert send_files("SCANNER", to_orthanc, files, lambda _: None)
    assert node.take(files)
    wait_for(lambda: node.queue.counts() == {"done": 1})
    ((_, modalities),) = orthanc.modalities().items()
    # Noise is refused: report and picture say so, and no outline names a place.
    assert modalities == ["MR", "OT", "SR"]
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


def test_images_that_come_late_have_their_series_judged_anew(
    node: Node, orthanc: Orthanc, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_series(tmp_path / "series")
    assert node.take(files[:4])
    wait_for(lambda: node.queue.counts() == {"done": 1})
    (first,) = orthanc.reports()
    # The last of them is judged with all the others, also after a restart.
    node.restart()
    assert node.take(files)
    wait_for(lambda: node.queue.counts() == {"done": 1})
    reports = {item["SOPInstanceUID"]: item for item in orthanc.reports()}
    assert len(reports) == 2
    del reports[first["SOPInstanceUID"]]
    ((_, second),) = reports.items()
    assert len(evidence(second)) == 6
    (study,) = second["PredecessorDocumentsSequence"]
    (series,) = study["ReferencedSeriesSequence"]
    (replaced,) = series["ReferencedSOPSequence"]
    assert replaced["ReferencedSOPInstanceUID"] == first["SOPInstanceUID"]
    assert series["SeriesInstanceUID"] == first["SeriesInstanceUID"]
    assert caplog.text.count("judged anew") == 1
    # Sent once more, nothing of it is new.
    assert node.take(files)
    time.sleep(2)
    assert len(orthanc.reports()) == 2


def evidence(report: dict[str, Any]) -> list[str]:
    (study,) = report["CurrentRequestedProcedureEvidenceSequence"]
    (series,) = study["ReferencedSeriesSequence"]
    return [
        item["ReferencedSOPInstanceUID"] for item in series["ReferencedSOPSequence"]
    ]


def test_an_image_that_comes_too_late_is_told(
    node: Node, orthanc: Orthanc, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_series(tmp_path / "series")
    node.restart(keep_seconds=0.0)
    assert node.take(files[:5])
    wait_for(lambda: node.queue.counts() == {"done": 1})
    assert not list((node.queue.folder / "files").iterdir())
    for _ in range(2):
        assert node.take(files)
    assert caplog.text.count("too late") == 1
    time.sleep(1.5)
    assert len(orthanc.reports()) == 1


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


def test_the_series_of_a_study_are_judged_together_and_again_with_a_late_one(
    orthanc: Orthanc, started: list[Command], tiny_bundle: Path, tmp_path: Path
) -> None:
    made = tmp_path / "studies"
    node, peer = start_node(
        *(orthanc, started, tiny_bundle, tmp_path),
        *("--study-results", made, "--study-seconds", 3),
    )
    study, frame = "1.2.826.0.1", "1.2.826.0.2"
    words = {"T1 ax": "", "T1 ax + Gd": "Gd", "T1 ax late": ""}
    files = {}
    for number, (word, agent) in enumerate(words.items()):
        files[word] = write_series(tmp_path / str(number), study, pixels=ill_head())
        for path in files[word]:
            change(
                path,
                SeriesDescription=word,
                ContrastBolusAgent=agent,
                FrameOfReferenceUID=frame,
            )

    def send(word: str) -> None:
        assert send_files("SCANNER", peer, files[word], lambda _: None)

    send("T1 ax")
    send("T1 ax + Gd")
    wait_for(lambda: "Judged a study of 2 series, 3 results." in node.said())
    wait_for(lambda: len(orthanc.reports()) == 3)
    (joint,) = (item for item in orthanc.reports() if is_joint(item))
    assert joint["StudyInstanceUID"] == study
    document, pdf = sorted(made.iterdir())
    assert (document.suffix, pdf.suffix) == (".json", ".pdf")
    assert pdf.read_bytes().startswith(b"%PDF")
    found = json.loads(document.read_text())
    assert found["schema"] == "tumorlens-study/1"
    assert found["sequences"]["counted"] == ["T1", "T1 with contrast"]
    send("T1 ax late")
    wait_for(lambda: "Judged a study of 3 series, 4 results." in node.said())
    wait_for(lambda: len(orthanc.reports()) == 5)
    assert len(json.loads(document.read_text())["series"]) == 3
    both = [item for item in orthanc.reports() if is_joint(item)]
    (newer,) = (item for item in both if "PredecessorDocumentsSequence" in item)
    (before,) = newer["PredecessorDocumentsSequence"]
    (series,) = before["ReferencedSeriesSequence"]
    (replaced,) = series["ReferencedSOPSequence"]
    assert replaced["ReferencedSOPInstanceUID"] == joint["SOPInstanceUID"]
    assert node.end(signal.SIGTERM) == 0
    log = node.said()
    assert study not in log and "Drawn" not in log and "Traceback" not in log


def is_joint(report: dict[str, Any]) -> bool:
    return any(
        str(item.get("TextValue", "")).startswith("Judged together: ")
        for item in report["ContentSequence"]
    )
