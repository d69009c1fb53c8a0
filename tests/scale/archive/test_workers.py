"""A run on a Ray cluster of this machine: the same rows, and kills are made good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.samples.archives import archive_rows, draw_pictures, part_files
from tests.samples.dicom_studies import write_series
from tumorlens.cli.main import main

pytest.importorskip("pyarrow", reason="the extra 'archive' is not installed")
pytest.importorskip("ray", reason="the extra 'ray' is not installed")

_PARTS = 24


def started(bundle: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start a run on a cluster of its own, with two workers."""
    command = [sys.executable, "-m", "tumorlens", "batch", *map(str, arguments)]
    command += ["--model", str(bundle), "--threads", "1"]
    return subprocess.Popen(
        [*command, "--address", "local", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_parts(process: subprocess.Popen[str], out: Path, parts: int) -> None:
    """Wait until a run has written so many parts."""
    deadline = time.monotonic() + 400
    while len(part_files(out)) < parts:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no part was written in time"
        time.sleep(0.005)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Find the actors among what a process has started, and what those started."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            status = (place / "stat").read_text().rsplit(")", 1)[1].split()
            names[int(place.name)] = (place / "cmdline").read_text()
            parents[int(place.name)] = int(status[1])
        except OSError:
            continue
    found = []
    for number, name in names.items():
        if not name.startswith("ray::PartWorker"):
            continue
        above = number
        while above in parents and above != process.pid:
            above = parents[above]
        if above == process.pid:
            found.append(number)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_killed_workers_and_a_killed_driver_leave_the_same_rows(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    pytest.importorskip("highdicom", reason="the extra 'pacs' is not installed")
    pictures, out = draw_pictures(tmp_path / "many", 8 * _PARTS - 8), tmp_path / "out"
    write_series(pictures / "series", slices=8)
    call = (pictures, "--out", out, "--part-size", 8, "--dicom")
    driver = started(tiny_bundle, *call)
    try:
        wait_for_parts(driver, out, 2)
        os.kill(driver.pid, signal.SIGKILL)
    finally:
        driver.kill()
        driver.communicate()
    before = part_files(out)
    assert 2 <= len(before) < _PARTS

    driver = started(tiny_bundle, *call)
    try:
        wait_for_parts(driver, out, len(before) + 1)
        workers = workers_of(driver)
        assert workers
        os.kill(workers[0], signal.SIGKILL)
        killed_at = len(part_files(out))
        said, errors = driver.communicate(timeout=400)
    finally:
        driver.kill()
    assert driver.returncode == 0, errors
    assert killed_at < _PARTS, "the worker was killed too late to matter"
    assert f"{8 * _PARTS:,} slices and 0 failures" in said
    after = part_files(out)
    assert len(after) == _PARTS
    assert {name: after[name] for name in before} == before

    plain = ["--model", str(tiny_bundle), "--threads", "1", "--part-size", "8"]
    alone = tmp_path / "plain"
    main(["batch", str(pictures), "--out", str(alone), *plain, "--dicom"])
    assert archive_rows(out) == archive_rows(alone)
    results = sorted(path.relative_to(out) for path in out.rglob("*.dcm"))
    assert results == sorted(path.relative_to(alone) for path in alone.rglob("*.dcm"))
    assert results


def test_a_cluster_that_is_not_there_is_named(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    pictures = draw_pictures(tmp_path / "few", 1)
    command = [sys.executable, "-m", "tumorlens", "batch", str(pictures)]
    command += ["--out", str(tmp_path / "out"), "--model", str(tiny_bundle)]
    done = subprocess.run(
        [*command, "--address", "ray://127.0.0.1:9"],
        capture_output=True,
        text=True,
        env={**os.environ, "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "1"},
    )
    assert done.returncode == 2
    assert "The Ray cluster at ray://127.0.0.1:9 does not answer" in done.stderr
    assert "Traceback" not in done.stderr
