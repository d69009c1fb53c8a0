"""A real Orthanc on loopback, for the tests of the node."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

_PROGRAM = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    """One server with a store of its own, that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        if _PROGRAM is None:
            pytest.skip("Orthanc is not installed (Debian package orthanc)")
        self.dicom_port, self.http_port = free_port(), free_port()
        self.title = "ORTHANC"
        folder.mkdir()
        self._config = folder / "orthanc.json"
        self._config.write_text(
            json.dumps(
                {
                    "Name": "test",
                    "StorageDirectory": str(folder / "store"),
                    "IndexDirectory": str(folder / "store"),
                    "DicomAet": self.title,
                    "DicomPort": self.dicom_port,
                    "HttpPort": self.http_port,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "DicomCheckModalityHost": False,
                    "DicomAlwaysAllowStore": True,
                    "StableAge": 1,
                    "Plugins": [],
                }
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert _PROGRAM is not None
        self._process = subprocess.Popen(
            [_PROGRAM, str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.get("system")
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def get(self, path: str) -> Any:
        """Ask its REST API."""
        with urlopen(f"http://127.0.0.1:{self.http_port}/{path}", timeout=5) as answer:
            return json.load(answer)

    def modalities(self) -> dict[str, list[str]]:
        """List the modalities of each study, by its UID."""
        found: dict[str, list[str]] = {}
        for study in self.get("studies?expand"):
            uid = study["MainDicomTags"]["StudyInstanceUID"]
            series = [self.get(f"series/{name}") for name in study["Series"]]
            found[uid] = sorted(item["MainDicomTags"]["Modality"] for item in series)
        return found
