"""The node's commands: to start it, and to look after its queue while it runs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.samples.dicom_studies import change, ill_head, wait_for, write_series
from tests.samples.orthanc import free_port
from tests.samples.processes import Command
from tumorlens.cli.main import main
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.node.sender import send_files
from tumorlens.pacs.queue import MOST_ATTEMPTS, SeriesQueue


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], "--folder"),
        (["--folder", "queue"], "--allow"),
        (["--folder", "queue", "--allow", "A@127.0.0.1"], "--send-to"),
    ],
)
def test_what_a_node_needs_is_asked_for(
    given: list[str], missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["node", *given]) == 2
    assert f"Missing option '{missing}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--health", "8080"], "HOST:PORT"),
        (["--health", "127.0.0.1:99999"], "HOST:PORT"),
        (["--tls-key", "key.pem"], "go together"),
        (["--counted-by", "PACS@host"], "PACS@host"),
        (["--pdu-kb", "1"], "--pdu-kb"),
        (["--title", "TOO_LONG_FOR_A_TITLE"], "AE title"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    needed = ["--folder", str(tmp_path), "--allow", "A@127.0.0.1"]
    assert main(["node", *needed, "--send-to", "B@127.0.0.1:104", *options]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """The folder of a node that gave up one series, and waits to send another."""
    folder = tmp_path / "queue"
    with closing(SeriesQueue(folder, 3600.0)) as made:
        for series in ("1.2.3", "1.2.4"):
            made.add(f"{series}.1", series, series.encode())
        for _ in range(MOST_ATTEMPTS["judge"]):
            made.postpone("1.2.3")
        job = made.next_complete(0.0)
        assert job is not None and job.series == "1.2.4"
        assert made.put_results(job, [b"result"])
    return folder


def listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert main(["node", "list", "--folder", str(folder), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    return {entry["series"]: entry["state"] for entry in entries}


def test_series_are_counted_and_listed(
    queue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["node", "status", "--folder", str(queue)]) == 0
    said = capsys.readouterr().out
    assert said.split()[:4] == ["failed", "1", "sending", "1"]
    assert main(["node", "--folder", str(queue), "status", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["series"] == {"failed": 1, "sending": 1}
    assert facts["partial"] == 0 and facts["oldest_waiting"] is not None
    assert listed(queue, capsys) == {"1.2.3": "failed", "1.2.4": "sending"}
    assert main(["node", "list", "--folder", str(queue), "--state", "failed"]) == 0
    said = capsys.readouterr().out
    assert "1.2.3" in said and "1.2.4" not in said


def test_a_series_that_was_given_up_is_judged_anew(
    queue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["node", "requeue", "--folder", str(queue), "1.2.3", "9.9"]) == 1
    said = capsys.readouterr()
    assert "1.2.3 will be judged anew" in said.out
    assert "9.9 is not known" in said.err
    assert listed(queue, capsys)["1.2.3"] == "receiving"
    with closing(SeriesQueue(queue)) as made:
        job = made.next_complete(0.0)
        assert job is not None and job.series == "1.2.3"


def test_a_series_that_is_forgotten_leaves_no_file(
    queue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(list((queue / "files").iterdir())) == 3
    assert main(["node", "forget", "--folder", str(queue), "1.2.4"]) == 0
    assert listed(queue, capsys) == {"1.2.3": "failed"}
    (left,) = (queue / "files").iterdir()
    assert left.read_bytes() == b"1.2.3"
    assert main(["node", "forget", "--folder", str(queue), "1.2.4"]) == 1


def test_a_folder_without_a_queue_is_told_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["node", "status", "--folder", str(tmp_path / "none")]) == 2
    assert "no queue" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert main(["node", "status"]) == 2
    assert "--folder" in capsys.readouterr().err


@pytest.fixture
def running(tmp_path: Path, tiny_bundle: Path) -> Iterator[tuple[Command, int, int]]:
    port, health = free_port(), free_port()
    command = Command(
        tmp_path / "log",
        *("node", "--folder", tmp_path / "queue", "--title", "LENS", "--port", port),
        *("--allow", "SCANNER@127.0.0.1", "--send-to", "NOBODY@127.0.0.1:1"),
        *("--model", tiny_bundle, "--quiet-seconds", 0.2),
        *("--health", f"127.0.0.1:{health}"),
    )
    wait_for(lambda: "listens on" in command.said())
    yield command, port, health
    if command.runs:
        command.end(signal.SIGKILL)


def test_a_running_node_is_looked_after(
    running: tuple[Command, int, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, port, health = running
    folder = tmp_path / "queue"
    files = write_series(tmp_path / "a", slices=3)
    assert send_files("SCANNER", Peer("LENS", "127.0.0.1", port), files, lambda _: None)
    wait_for(lambda: "Judged 3 images" in command.said())
    ((series, state),) = listed(folder, capsys).items()
    assert state == "sending"
    assert main(["node", "requeue", "--folder", str(folder), series]) == 0
    wait_for(lambda: command.said().count("Judged 3 images") == 2)
    assert main(["node", "forget", "--folder", str(folder), series]) == 0
    assert requests.get(f"http://127.0.0.1:{health}/readyz", timeout=10).ok
    # The same images are new to it again.
    assert send_files("SCANNER", Peer("LENS", "127.0.0.1", port), files, lambda _: None)
    wait_for(lambda: command.said().count("Judged 3 images") == 3)
    assert command.end(signal.SIGTERM) == 0
    assert "Traceback" not in command.said() and series not in command.said()


def test_a_node_in_shadow_mode_sends_nothing_and_is_compared_with_labels(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port, folder = free_port(), tmp_path / "queue"
    command = Command(
        tmp_path / "log",
        *("node", "--shadow", "--folder", folder, "--title", "LENS", "--port", port),
        *("--allow", "SCANNER@127.0.0.1", "--model", tiny_bundle),
        *("--quiet-seconds", 0.2),
    )
    try:
        wait_for(lambda: "Shadow mode: nothing is sent." in command.said())
        for name, pixels in (("ill", ill_head()), ("well", None)):
            files = write_series(tmp_path / name, slices=4, pixels=pixels)
            for path in files:
                change(path, AccessionNumber=f"=A{name}", PatientID=name)
            peer = Peer("LENS", "127.0.0.1", port)
            assert send_files("SCANNER", peer, files, lambda _: None)
        wait_for(lambda: command.said().count("Judged 4 images, 0 results") == 2)
        labels = tmp_path / "labels.csv"
        labels.write_text("accession_number,label\n=Aill,no_tumor\n=Anone,tumor\n")
        assert main(["node", "labels", "--folder", str(folder), str(labels)]) == 0
        assert "2 labels taken; 2 are known." in capsys.readouterr().out
        page, figures = tmp_path / "page.html", tmp_path / "figures.json"
        wrong = tmp_path / "wrong.csv"
        compare = ["node", "compare", "--folder", str(folder), "--html", str(page)]
        options = ["--json", str(figures), "--disagreements", str(wrong)]
        assert main([*compare, *options]) == 0
        assert "2 studies, 1 with a label" in capsys.readouterr().out
    finally:
        command.end(signal.SIGTERM)
    found = json.loads(figures.read_text())
    assert found["schema"] == "tumorlens-shadow/1"
    assert found["all"]["specificity"] == {"value": 0.0, "low": 0.0, "high": 0.975}
    assert found["all"]["answers"]["tumor"] == 1
    assert (found["labels"], found["labels_unmatched"]) == (2, 1)
    html = page.read_text(encoding="utf-8")
    assert "research use only" in html.lower() and "Research use only" in html
    # The page and the figures name nobody; the list for people in the house does.
    assert "Aill" not in html and "Aill" not in figures.read_text()
    ((study, accession, *said),) = [
        line.split(",") for line in wrong.read_text().splitlines()[1:]
    ]
    assert study not in html and accession == "'=Aill"
    assert said[1:] == ["no_tumor", "tumor", "glioma"]
    assert not any(word in command.said() for word in ("Drawn", "ill", study))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--send-to", "B@127.0.0.1:104"], "--send-to"),
        (["--fhir", "fhir"], "--fhir"),
    ],
)
def test_shadow_mode_goes_with_nothing_that_is_handed_on(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = ["--folder", str(tmp_path / "queue"), "--allow", "A@127.0.0.1"]
    assert main(["node", "--shadow", *needed, *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "queue").exists()


def test_labels_and_comparisons_that_cannot_be_are_refused(
    queue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("accession_number,label\nA1,perhaps\n")
    assert main(["node", "labels", "--folder", str(queue), str(labels)]) == 2
    assert "Row 2" in capsys.readouterr().err
    assert main(["node", "compare", "--folder", str(queue), "--week", "48"]) == 2
    assert "2026-W48" in capsys.readouterr().err
    # A node that was never in shadow mode has kept nothing to compare.
    assert main(["node", "compare", "--folder", str(queue)]) == 0
    assert "0 studies" in capsys.readouterr().out
