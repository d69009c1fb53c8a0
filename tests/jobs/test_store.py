"""A store is one process's, private, and free again however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.jobs.conftest import POLICIES, Opened
from tumorlens.errors import OutputError
from tumorlens.jobs.store import JobStore

HOLDER = """
import sys, time
from pathlib import Path
from tests.jobs.conftest import POLICIES
from tumorlens.jobs.store import JobStore
folder = None if sys.argv[1] == "-" else Path(sys.argv[1])
store = JobStore(folder, POLICIES)
store.queue.add("scan", "judge")
print(store.folder, flush=True)
time.sleep(600)
"""


def start_holder(folder: Path | str) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that has a store open; wait until it has."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def test_a_second_process_is_refused_and_a_killed_one_leaves_it_free(
    tmp_path: Path,
) -> None:
    process, _ = start_holder(tmp_path / "store")
    with pytest.raises(OutputError, match="is locked") as caught:
        JobStore(tmp_path / "store", POLICIES)
    assert "one process at a time" in caught.value.hint
    end(process)
    store = JobStore(tmp_path / "store", POLICIES)
    assert store.queue.claim("judge", "worker") is not None
    with pytest.raises(OutputError, match="is locked"):
        JobStore(tmp_path / "store", POLICIES)
    store.close()
    JobStore(tmp_path / "store", POLICIES).close()


def test_processes_that_share_a_database_share_the_store(
    opened: Opened, url: str | None
) -> None:
    if url is None:
        pytest.skip("an SQLite store is for one process")
    first, second = opened(), opened()
    job = first.queue.add("scan", "judge")
    with first.artifacts.staging() as stage:
        first.artifacts.attach(job.id, "upload", {"a": stage(b"image")})
    taken = second.queue.claim("judge", "worker")
    assert taken is not None and taken.id == job.id
    assert second.artifacts.read(job.id, "upload", "a") == b"image"


def test_a_temporary_store_leaves_nothing() -> None:
    store = JobStore(None, POLICIES)
    assert store.folder.stat().st_mode & 0o077 == 0
    store.close()
    assert not store.folder.exists()


def test_a_temporary_store_of_a_killed_process_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, abandoned = start_holder("-")
    living, used = start_holder("-")
    end(dead)
    other = tmp_path / "tumorlens-report"
    other.mkdir()
    for folder in (abandoned, used):
        os.utime(folder / "lock", (0, 0))
    JobStore(None, POLICIES).close()
    assert not abandoned.exists()
    assert used.exists() and other.exists()
    end(living)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        JobStore(tmp_path / "file", POLICIES)


def test_a_damaged_database_is_said_and_unlocked(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"no database at all" * 100)
    for _ in range(2):
        with pytest.raises(OutputError, match="not a database"):
            JobStore(tmp_path, POLICIES)
