"""Whoever watches the node sees whether it is well, and nothing of a patient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.samples.dicom_studies import write_series
from tumorlens.errors import SettingError
from tumorlens.jobs import artifacts
from tumorlens.jobs.monitored_rates import RateMonitor
from tumorlens.operations.sequential_test import ReferenceRate
from tumorlens.pacs.node import health
from tumorlens.pacs.node.health import HealthPort
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.node.receiver import Receiver
from tumorlens.pacs.node.sender import send_files
from tumorlens.pacs.queue import MOST_ATTEMPTS, SeriesQueue


class Node:
    def __init__(self, folder: Path) -> None:
        self.queue = SeriesQueue(folder / "queue")
        scanner = Peer("SCANNER", "127.0.0.1")
        self.receiver = Receiver(self.queue, "LENS", "127.0.0.1", 0, [scanner])
        rates = {"refused": ReferenceRate("refused", 0.0, 0.01, "Refused")}
        self.drift = RateMonitor(self.queue.database, "1", rates)
        self.port = HealthPort("127.0.0.1", 0, self.receiver, self.queue, self.drift)

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port.port}{path}", timeout=10)

    def close(self) -> None:
        self.port.close()
        self.receiver.close()
        self.queue.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with closing(Node(tmp_path)) as made:
        yield made


def metrics(node: Node) -> dict[str, float]:
    answer = node.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines)}


def test_a_node_is_well_and_ready(node: Node) -> None:
    answer = node.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert node.get("/readyz").status_code == 200
    assert node.get("/anything").status_code == 404
    assert requests.post(answer.url, timeout=10).status_code == 501


def test_a_node_that_stops_or_whose_disk_is_full_is_not_ready(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(health, "LEAST_FREE_BYTES", 2**62)
        answer = node.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "The disk is full.\n")
    assert node.get("/readyz").status_code == 200
    node.port.stop_being_ready()
    assert node.get("/readyz").status_code == 503
    # It is alive nevertheless: nobody has to kill it.
    assert node.get("/healthz").status_code == 200


def test_what_came_and_what_was_given_up_are_counted(
    node: Node, tmp_path: Path
) -> None:
    assert artifacts.LEAST_FREE_BYTES == health.LEAST_FREE_BYTES
    before = metrics(node)
    assert before["tumorlens_queue_depth"] == 0
    assert before["tumorlens_queue_oldest_seconds"] == 0
    files = write_series(tmp_path / "a", slices=3)
    peer = Peer("LENS", "127.0.0.1", node.receiver.port)
    assert send_files("SCANNER", peer, files, lambda _: None)
    found = metrics(node)
    assert found["tumorlens_node_images_total"] == 3
    assert found['tumorlens_node_series{state="receiving"}'] == 1
    assert found["tumorlens_queue_depth"] == 1
    assert found["tumorlens_node_given_up_total"] == 0
    (entry,) = node.queue.entries()
    for _ in range(MOST_ATTEMPTS["judge"]):
        node.queue.postpone(entry.series)
    found = metrics(node)
    assert found["tumorlens_node_given_up_total"] == 1
    assert found['tumorlens_node_series{state="failed"}'] == 1
    text = node.get("/metrics").text
    assert "Drawn" not in text and entry.series not in text


def test_drift_is_among_the_metrics(node: Node) -> None:
    assert metrics(node)['tumorlens_drift_alarm{rate="refused"}'] == 0
    for _ in range(5):
        node.drift.observe({"refused": True})
    found = metrics(node)
    assert found['tumorlens_drift_observations{rate="refused"}'] == 5
    assert found['tumorlens_drift_share{rate="refused"}'] == 1
    assert found['tumorlens_drift_alarm{rate="refused"}'] == 1


def test_a_port_that_is_taken_is_told(node: Node) -> None:
    with pytest.raises(SettingError, match="--health"):
        HealthPort("127.0.0.1", node.port.port, node.receiver, node.queue)
