"""The real processes, killed in the middle: no study is lost, none is judged twice."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.samples.dicom_studies import ill_head, wait_for, write_series
from tests.samples.orthanc import Orthanc
from tests.samples.processes import Command, start_node
from tumorlens.pacs.node.sender import send_files

SERIES = 8
RESULTS = ["OT", "SEG", "SR"]

pytestmark = [
    pytest.mark.usefixtures("collected"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture
def drawn(tmp_path: Path) -> list[list[Path]]:
    pixels = ill_head()
    return [
        write_series(tmp_path / f"drawn-{number}", slices=3, pixels=pixels)
        for number in range(SERIES)
    ]


def reports(orthanc: Orthanc) -> int:
    return sum(names.count("SR") for names in orthanc.modalities().values())


def images_of(report: dict[str, Any]) -> int:
    """Count the images that a report says it rests on."""
    return sum(
        len(series["ReferencedSOPSequence"])
        for kind in ("CurrentRequestedProcedure", "PertinentOther")
        for study in report.get(f"{kind}EvidenceSequence", [])
        for series in study["ReferencedSeriesSequence"]
    )


def are_whole(orthanc: Orthanc, modalities: list[str]) -> bool:
    found = orthanc.modalities().values()
    return len(found) == SERIES and all(set(modalities) <= set(x) for x in found)


def says_nothing_of_patients(log: str) -> None:
    assert "Drawn" not in log and "drawn-1" not in log and "Traceback" not in log
    assert not re.search(r"\d(\.\d+){4}", log), "a UID"


def test_a_killed_node_goes_on(
    orthanc: Orthanc,
    drawn: list[list[Path]],
    started: list[Command],
    tiny_bundle: Path,
    tmp_path: Path,
) -> None:
    node, to_node = start_node(orthanc, started, tiny_bundle, tmp_path)

    def send(files: list[Path]) -> bool:
        return send_files("SCANNER", to_node, files, lambda _: None)

    assert all(send(files) for files in drawn[:-1])
    wait_for(lambda: reports(orthanc) > 0)
    # It dies while it receives, judges and sends.
    last = threading.Thread(target=send, args=(drawn[-1],))
    last.start()
    node.end(signal.SIGKILL)
    last.join()
    assert reports(orthanc) < SERIES
    node.start()
    wait_for(lambda: node.said().count("listens on") == 2)
    # As scanners do, it sends again what nobody said was stored, or all.
    assert all(send(files) for files in drawn)
    wait_for(lambda: are_whole(orthanc, RESULTS), 180)
    assert node.end(signal.SIGTERM) == 0
    assert list(orthanc.modalities().values()) == SERIES * [RESULTS]
    says_nothing_of_patients(node.said())


def test_images_that_come_late_survive_a_kill(
    orthanc: Orthanc, started: list[Command], tiny_bundle: Path, tmp_path: Path
) -> None:
    node, to_node = start_node(orthanc, started, tiny_bundle, tmp_path)
    files = write_series(tmp_path / "drawn", slices=4, pixels=ill_head())

    def send(some: list[Path]) -> bool:
        return send_files("SCANNER", to_node, some, lambda _: None)

    assert send(files[:2])
    wait_for(lambda: list(orthanc.modalities().values()) == [RESULTS])
    assert send(files[:3])
    node.end(signal.SIGKILL)
    node.start()
    wait_for(lambda: node.said().count("listens on") == 2)
    assert send(files)
    wait_for(lambda: "Judged 4 images again, 4 results." in node.said())
    wait_for(lambda: 4 in map(images_of, orthanc.reports()))
    assert node.end(signal.SIGTERM) == 0
    # On a slow machine there is one of three images too: judged before the fourth came.
    found = sorted(orthanc.reports(), key=images_of)
    assert [images_of(item) for item in found] in ([2, 4], [2, 3, 4])
    # All but the first say that they replace another.
    replacing = ["PredecessorDocumentsSequence" in item for item in found]
    assert replacing == [False] + (len(found) - 1) * [True]
    (sent,) = orthanc.modalities().values()
    assert {sent.count(kind) for kind in RESULTS} == {len(found)}
    # Results that are replaced are rejected.
    assert sent.count("KO") == len(found) - 1
    says_nothing_of_patients(node.said())


def test_a_killed_poller_and_a_killed_server_go_on(
    orthanc: Orthanc,
    drawn: list[list[Path]],
    started: list[Command],
    tiny_bundle: Path,
    tmp_path: Path,
) -> None:
    for files in drawn[:-2]:
        orthanc.put(files)
    folder = tmp_path / "queue"
    options = (
        *("dicomweb", "--url", orthanc.url, "--poll", 1, "--days", 36500),
        *("--folder", folder, "--model", tiny_bundle, "--threads", 1),
    )
    poller = Command(tmp_path / "log", *options)
    started.append(poller)
    wait_for(lambda: reports(orthanc) > 0)
    poller.end(signal.SIGKILL)
    # However fast it was, some are left for when it goes on.
    for files in drawn[-2:]:
        orthanc.put(files)
    poller.start()
    wait_for(lambda: poller.said().count("Looking every") == 2)
    # Two on one folder would do everything twice.
    second = Command(tmp_path / "log-2", *options)
    started.append(second)
    wait_for(lambda: not second.runs)
    assert "one process at a time" in second.said()
    orthanc.kill()
    wait_for(lambda: "cannot be reached" in poller.said())
    orthanc.start()
    wait_for(lambda: are_whole(orthanc, ["MR", *RESULTS]), 180)
    assert poller.end(signal.SIGINT) == 0
    assert list(orthanc.modalities().values()) == SERIES * [["MR", *RESULTS]]
    says_nothing_of_patients(poller.said())
