"""The real commands as processes, for tests that kill them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.samples.dicom_studies import wait_for
from tests.samples.orthanc import PASSWORD, USER, Orthanc, free_port
from tumorlens.pacs.dicomweb import client
from tumorlens.pacs.node.peers import Peer


class Command:
    """A `tumorlens` command that can be killed and started again."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self._arguments = [str(item) for item in arguments]
        self._log = log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tumorlens", *self._arguments],
                env={**os.environ, client.USER: USER, client.PASSWORD: PASSWORD},
                stdout=log,
                stderr=log,
            )

    def end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        return self._process.wait(60)

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None


def start_node(
    orthanc: Orthanc,
    started: list[Command],
    bundle: Path,
    folder: Path,
    *options: object,
) -> tuple[Command, Peer]:
    """Start a node that sends back to Orthanc, and wait until it listens."""
    port = free_port()
    node = Command(
        folder / "log",
        *("node", "--folder", folder / "queue", "--title", "LENS", "--port", port),
        *("--allow", "SCANNER@127.0.0.1", "--quiet-seconds", 1),
        *("--send-to", f"{orthanc.title}@127.0.0.1:{orthanc.dicom_port}"),
        *("--model", bundle),
        *options,
    )
    started.append(node)
    wait_for(lambda: "listens on" in node.said())
    return node, Peer("LENS", "127.0.0.1", port)
