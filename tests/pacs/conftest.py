"""Real commands and a real archive, for the tests of node and DICOMweb."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.samples.orthanc import Orthanc
from tests.samples.processes import Command


class Clock:
    """A clock that a test turns on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collected() -> Iterator[None]:
    """Let sockets go here, and not in another file's test.

    pynetdicom leaves one to the garbage collector where nobody listens.
    """
    yield
    gc.collect()


@pytest.fixture
def started() -> Iterator[list[Command]]:
    """Commands that are killed in the end."""
    commands: list[Command] = []
    yield commands
    for command in commands:
        if command.runs:
            command.end(signal.SIGKILL)


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path / "orthanc", dicomweb=True)
    yield server
    server.kill()
