"""A part of a series never passes for the whole, whatever broke its transfer."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import MRImageStorage  # type: ignore[attr-defined]

from tests.conftest import draw_phantom
from tests.samples.dicom_studies import change, ill_head, wait_for, write_series
from tests.samples.orthanc import Orthanc
from tests.samples.processes import Command, start_node
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.node.sender import send_files
from tumorlens.pacs.node.wholeness import Wholeness, missing_slices
from tumorlens.pacs.queue import SeriesJob
from tumorlens.report.dicom.sr import PARTIAL, SUPERSEDED

ABSENT, UNDETERMINED = "272519000", "373068000"
WAIT = ("--wait-seconds", 3)

pytestmark = [
    pytest.mark.usefixtures("collected"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture
def healthy(tmp_path: Path) -> list[Path]:
    """Twenty-two slices of a head without a lesion."""
    pixels = 16 * draw_phantom().astype(np.uint16)
    return write_series(tmp_path / "healthy", slices=22, pixels=pixels)


def storescu(node: Peer, files: Sequence[Path], *options: str) -> None:
    """Send with dcmtk, as another maker's scanner would."""
    program = shutil.which("storescu")
    if program is None:
        pytest.skip("dcmtk is not installed (Debian package dcmtk)")
    subprocess.run(
        [
            *(program, "-aet", "SCANNER", "-aec", node.title, *options),
            *(node.host, str(node.port), *map(str, files)),
        ],
        check=True,
        capture_output=True,
    )


def begin_to_send(node: Peer, files: Sequence[Path]) -> Association:
    """Send some images, and keep the association open."""
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = entity.associate(node.host, node.port or 0, ae_title=node.title)
    for path in files:
        assert association.send_c_store(dcmread(path)).Status == 0
    return association


def presence(report: dict[str, Any]) -> set[str]:
    """Give the codes of all that a report says is there, absent or undetermined."""
    return {
        code["CodeValue"]
        for group in items(report)
        for code in group.get("ConceptCodeSequence", [])
    }


def items(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for child in node.get("ContentSequence", []):
        yield child
        yield from items(child)


def texts(report: dict[str, Any]) -> list[str]:
    return [item["TextValue"] for item in items(report) if "TextValue" in item]


def is_partial(report: dict[str, Any]) -> bool:
    """Tell whether a report says everywhere that it is of a part."""
    codes = presence(report)
    assert ABSENT not in codes, "a part says that there is no tumour"
    assert UNDETERMINED in codes
    assert PARTIAL in texts(report)
    return str(report["CompletionFlag"]) == "PARTIAL"


def assert_replaced(orthanc: Orthanc) -> None:
    """Check that the whole report stands alone, and the part's results are rejected."""
    wait_for(lambda: len(orthanc.reports()) == 2)
    (partial,) = (x for x in orthanc.reports() if x["CompletionFlag"] == "PARTIAL")
    (whole,) = (x for x in orthanc.reports() if x["CompletionFlag"] == "COMPLETE")
    assert ABSENT in presence(whole)
    assert "PredecessorDocumentsSequence" in whole
    wait_for(lambda: "KO" in orthanc.modalities().popitem()[1])
    note = orthanc.tags("KO")
    assert note["ConceptNameCodeSequence"][0]["CodeValue"] == "113001"
    assert SUPERSEDED in texts(note)
    rejected = {
        item["ReferencedSOPSequence"][0]["ReferencedSOPInstanceUID"]
        for item in items(note)
        if "ReferencedSOPSequence" in item
    }
    assert partial["SOPInstanceUID"] in rejected
    assert whole["SOPInstanceUID"] not in rejected
    # The picture, too: it would be seen first.
    assert len(rejected) == 2


def test_an_aborted_transfer_is_a_part_until_the_rest_comes(
    orthanc: Orthanc,
    started: list[Command],
    tiny_bundle: Path,
    healthy: list[Path],
    tmp_path: Path,
) -> None:
    node, peer = start_node(orthanc, started, tiny_bundle, tmp_path, *WAIT)
    storescu(peer, healthy[:4], "--abort")
    wait_for(lambda: "is not whole: it waits" in node.said())
    wait_for(lambda: len(orthanc.reports()) == 1)
    (report,) = orthanc.reports()
    assert is_partial(report)
    assert any("broke off after 4 images" in text for text in texts(report))
    storescu(peer, healthy)
    assert_replaced(orthanc)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_that_is_ended_while_it_receives_takes_a_part_for_a_part(
    orthanc: Orthanc,
    started: list[Command],
    tiny_bundle: Path,
    healthy: list[Path],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    node, peer = start_node(
        orthanc, started, tiny_bundle, tmp_path, *WAIT, "--stop-seconds", 1
    )
    association = begin_to_send(peer, healthy[:4])
    status = node.end(number)
    association.abort()
    if number == signal.SIGTERM:
        assert status == 0
    node.start()
    wait_for(lambda: len(orthanc.reports()) == 1)
    assert is_partial(orthanc.reports()[0])
    assert send_files("SCANNER", peer, healthy, lambda _: None)
    assert_replaced(orthanc)


def test_a_whole_series_whose_association_broke_is_confirmed_by_its_sender(
    orthanc: Orthanc,
    started: list[Command],
    tiny_bundle: Path,
    healthy: list[Path],
    tmp_path: Path,
) -> None:
    _, peer = start_node(orthanc, started, tiny_bundle, tmp_path, *WAIT)
    begin_to_send(peer, healthy[:3]).abort()
    wait_for(lambda: len(orthanc.reports()) == 1)
    # The same images again, and no more: now it is known that these are all.
    assert send_files("SCANNER", peer, healthy[:3], lambda _: None)
    assert_replaced(orthanc)


def test_a_peer_that_counts_more_images_keeps_a_series_waiting(
    orthanc: Orthanc,
    started: list[Command],
    tiny_bundle: Path,
    healthy: list[Path],
    tmp_path: Path,
) -> None:
    orthanc.put(healthy)
    counted_by = f"{orthanc.title}@127.0.0.1:{orthanc.dicom_port}"
    node, peer = start_node(
        orthanc, started, tiny_bundle, tmp_path, "--counted-by", counted_by
    )
    # The association ends well, and no slice is missing in between.
    assert send_files("SCANNER", peer, healthy[:9], lambda _: None)
    wait_for(lambda: "is not whole: it waits" in node.said())
    # The count settles it, even where the association breaks.
    begin_to_send(peer, healthy[9:]).abort()
    wait_for(lambda: len(orthanc.reports()) == 1)
    (report,) = orthanc.reports()
    assert report["CompletionFlag"] == "COMPLETE"
    assert ABSENT in presence(report)


def test_a_tumour_in_a_part_is_told_with_what_is_missing(
    orthanc: Orthanc, started: list[Command], tiny_bundle: Path, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "ill", slices=6, pixels=ill_head())
    _, peer = start_node(orthanc, started, tiny_bundle, tmp_path, *WAIT)
    begin_to_send(peer, files[:4]).abort()
    wait_for(lambda: len(orthanc.reports()) == 1)
    (report,) = orthanc.reports()
    assert report["CompletionFlag"] == "PARTIAL"
    assert "Finding: Tumour: glioma." in texts(report)


def headers(count: int, *, without: Sequence[int] = ()) -> list[Dataset]:
    found = []
    for place in range(count):
        item = Dataset()
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.ImagePositionPatient = [0, 0, 4.0 * place]
        item.InstanceNumber = place + 1
        if place not in without:
            found.append(item)
    return found


def test_slices_that_are_missing_in_between_are_counted() -> None:
    assert missing_slices(headers(22)) == 0
    assert missing_slices(headers(22, without=[5, 6, 12])) == 3
    numbered = headers(22, without=[5])
    for item in numbered:
        del item.ImagePositionPatient
    assert missing_slices(numbered) == 1
    # Stacks across one another, and two echoes of one stack of which each has a half.
    across = headers(6)
    for item in across:
        item.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
        item.ImagePositionPatient = [9.0 * item.InstanceNumber, 0, 0]
    assert missing_slices([*headers(6), *across]) == 0
    echoes = [*headers(8), *headers(8, without=[3])]
    for place, item in enumerate(echoes):
        item.EchoNumbers = place // 8 + 1
    assert missing_slices(echoes) == 1


def test_a_number_in_the_headers_is_believed_where_it_can_be_of_the_series(
    tmp_path: Path,
) -> None:
    files = write_series(tmp_path / "a", slices=4)
    doubts = Wholeness("LENS")
    assert doubts(SeriesJob("1", tuple(files))) == []
    for path in files:
        change(
            path,
            ImageType=["ORIGINAL", "PRIMARY"],
            AcquisitionNumber=1,
            ImagesInAcquisition=22,
        )
    (doubt,) = doubts(SeriesJob("1", tuple(files)))
    assert "22 of them" in doubt and "4 have come" in doubt
    for number, path in enumerate(files):
        change(path, AcquisitionNumber=number)
    assert doubts(SeriesJob("1", tuple(files))) == []


def test_images_that_the_sender_asks_about_are_missed(tmp_path: Path) -> None:
    files = tuple(write_series(tmp_path / "a", slices=3))
    (doubt,) = Wholeness("LENS")(SeriesJob("1", files, lacking=2))
    assert "2 more images" in doubt


@pytest.mark.parametrize(
    "values",
    [
        {"NumberOfFrames": [1, 1]},
        {"ImagesInAcquisition": [22, 22]},
        {"ImageOrientationPatient": ["1", "", "0", "0", "1", "0"]},
        {"ImageOrientationPatient": "1"},
        {"ImagePositionPatient": [0, 0, float("inf")]},
        {"ImagePositionPatient": None, "InstanceNumber": [1, 2]},
    ],
)
def test_a_header_that_breaks_the_rules_decides_nothing(
    tmp_path: Path, values: dict[str, object]
) -> None:
    *files, odd = write_series(tmp_path / "a", slices=6)
    for path in files:
        change(path, ImageType=["ORIGINAL", "PRIMARY"])
    change(odd, ImageType=["ORIGINAL", "PRIMARY"], **values)
    assert Wholeness("LENS")(SeriesJob("1", (*files, odd))) == []


def test_a_peer_that_is_down_or_a_file_that_is_none_decides_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_series(tmp_path / "a", slices=3)
    broken = tmp_path / "broken"
    broken.write_bytes(b"no DICOM file")
    job = SeriesJob("1", (*files, broken))
    assert Wholeness("LENS", Peer("PACS", "127.0.0.1", 1))(job) == []
    assert "PACS did not say" in caplog.text
