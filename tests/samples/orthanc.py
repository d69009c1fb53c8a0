"""A real Orthanc on loopback, for the tests of node and DICOMweb."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

USER, PASSWORD = "reader", "sesam-öffne"
_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_WORKLISTS = Path("/usr/share/orthanc/plugins/libModalityWorklists.so")
_PROGRAM = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    """One server with a store of its own, that can be killed and started again.

    With `dicomweb` it speaks DICOMweb, and wants `USER` and `PASSWORD`.
    """

    def __init__(self, folder: Path, *, dicomweb: bool = False) -> None:
        if _PROGRAM is None:
            pytest.skip("Orthanc is not installed (Debian package orthanc)")
        if dicomweb and not _DICOMWEB.exists():
            pytest.skip("the plugin is not installed (Debian package orthanc-dicomweb)")
        self.dicom_port, self.http_port = free_port(), free_port()
        self.title = "ORTHANC"
        folder.mkdir()
        self._store = folder / "store"
        self._worklists = folder / "worklists"
        self._worklists.mkdir()
        self._rest = f"http://127.0.0.1:{self.http_port}/"
        self.url = self._rest + "dicom-web"
        self._session = requests.Session()
        if dicomweb:
            self._session.auth = (USER.encode(), PASSWORD.encode())
        self._config = folder / "orthanc.json"
        self._config.write_text(
            json.dumps(
                {
                    "Name": "test",
                    "StorageDirectory": str(self._store),
                    "IndexDirectory": str(self._store),
                    "DicomAet": self.title,
                    "DicomPort": self.dicom_port,
                    "HttpPort": self.http_port,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": dicomweb,
                    "RegisteredUsers": {USER: PASSWORD},
                    "DicomCheckModalityHost": False,
                    "DicomAlwaysAllowStore": True,
                    "DicomAlwaysAllowFind": True,
                    "StableAge": 1,
                    "MaximumStorageCacheSize": 0,
                    "DicomAlwaysAllowFindWorklist": True,
                    "Plugins": [str(_DICOMWEB), str(_WORKLISTS)] if dicomweb else [],
                    "Worklists": {"Enable": True, "Database": str(self._worklists)},
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
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
                    self.kill()
                    raise
                time.sleep(0.2)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def get(self, path: str) -> Any:
        """Ask its REST API."""
        answer = self._session.get(self._rest + path, timeout=5)
        answer.raise_for_status()
        return answer.json()

    def put(self, files: Iterable[Path]) -> None:
        """Store files."""
        for path in files:
            answer = self._session.post(self._rest + "instances", path.read_bytes())
            answer.raise_for_status()

    def know(self, title: str, port: int) -> None:
        """Tell it where another application entity is, on this machine."""
        self._send(
            f"modalities/{title}",
            {"AET": title, "Host": "127.0.0.1", "Port": port},
            put=True,
        )

    def send(self, title: str) -> None:
        """Send all that it has to one that it knows."""
        self._send(f"modalities/{title}/store", self.get("series"))

    def ask_to_commit(self, title: str, instances: dict[str, str]) -> str:
        """Ask another for Storage Commitment of instances, with their SOP classes."""
        named = [
            {"SOPInstanceUID": uid, "SOPClassUID": kind}
            for uid, kind in instances.items()
        ]
        path = f"modalities/{title}/storage-commitment"
        return str(self._send(path, {"DicomInstances": named})["ID"])

    def _send(self, path: str, document: object, *, put: bool = False) -> Any:
        ask = self._session.put if put else self._session.post
        answer = ask(self._rest + path, json.dumps(document), timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def empty(self) -> None:
        """Remove every study."""
        for name in self.get("studies"):
            self._session.delete(self._rest + f"studies/{name}").raise_for_status()

    def order(self, study: str, title: str, status: str = "SCHEDULED") -> None:
        """Put an order of a study for a station onto its worklist."""
        step, order = Dataset(), Dataset()
        step.ScheduledStationAETitle = title
        step.Modality = "MR"
        step.ScheduledProcedureStepStatus = status
        order.PatientName, order.PatientID = "DOE^JANE", "P1"
        order.StudyInstanceUID = study
        order.ScheduledProcedureStepSequence = [step]
        order.file_meta = FileMetaDataset()
        order.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        order.file_meta.MediaStorageSOPClassUID = generate_uid()
        order.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        place = self._worklists / f"{len(list(self._worklists.iterdir()))}.wl"
        order.save_as(place, enforce_file_format=True)

    def lose(self, image: str) -> None:
        """Remove an instance's file behind the server's back."""
        (file,) = [
            path
            for path in self._store.glob("*/*/*")
            if image.encode() in path.read_bytes()[:2000]
        ]
        file.unlink()

    def reports(self) -> list[dict[str, Any]]:
        """Read every structured report, by keyword."""
        return self._objects("SR")

    def tags(self, modality: str) -> dict[str, Any]:
        """Read the only object of a modality, by keyword."""
        (found,) = self._objects(modality)
        return found

    def _objects(self, modality: str) -> list[dict[str, Any]]:
        return [
            self.get(f"instances/{name}/tags?simplify")
            for series in self.get("series?expand")
            if series["MainDicomTags"]["Modality"] == modality
            for name in series["Instances"]
        ]

    def modalities(self) -> dict[str, list[str]]:
        """List the modalities of each study, by its UID."""
        found: dict[str, list[str]] = {}
        for study in self.get("studies?expand"):
            uid = study["MainDicomTags"]["StudyInstanceUID"]
            series = [self.get(f"series/{name}") for name in study["Series"]]
            found[uid] = sorted(item["MainDicomTags"]["Modality"] for item in series)
        return found
