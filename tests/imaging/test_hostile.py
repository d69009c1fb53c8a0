"""Hostile files end in an error, and memory hardly grows: read in a child process."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fuzz.judge import MOST_GROWTH
from fuzz.seeds import FORMATS, seeds_of

from tests.samples.coded_dicom import shipped
from tests.samples.hostile_files import hostile_files, nifti
from tests.samples.pictures import blank_png
from tests.samples.zips import good
from tumorlens.imaging.formats import GZIP_START, is_tar

ROOT = Path(__file__).parents[2]
HANG_SECONDS = 600
"""A guard, no measure: the machine may be busy."""


def read_in_child(
    folder: Path, files: Iterable[tuple[str, bytes]]
) -> dict[str, dict[str, Any]]:
    """Read files one after the other in one process, and return how each ended."""
    paths = []
    for number, (name, data) in enumerate(files):
        paths.append(folder / f"{number} {name}".replace("/", "_"))
        paths[-1].write_bytes(data)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.judge", *paths],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(paths)
    return {item.pop("file").split(" ", 1)[1]: item for item in said}


_LARGEST = 100_000


@pytest.fixture
def warm() -> tuple[str, bytes]:
    """A good file of the kind that loads the most."""
    return "warm", shipped("MR_small_jpeg_ls_lossless.dcm").read_bytes()


def test_hostile_files_end_in_an_error_and_memory_hardly_grows(
    warm: tuple[str, bytes], tmp_path: Path
) -> None:
    # The good one between shows that the next file is read.
    plain = shipped("MR_small.dcm").read_bytes()
    files = [
        item
        for hostile in hostile_files(tmp_path)
        for item in (hostile, (f"after {hostile[0]}", plain))
    ]
    found = read_in_child(tmp_path, [warm, *files])
    for name, item in found.items():
        assert "broken" not in item, (name, item)
        good = name == "last" or name.startswith("after")
        assert (item["outcome"] == "ok") == good, (name, item)
        assert item["grown"] < MOST_GROWTH, (name, item)
        assert item["decoder"] < MOST_GROWTH, (name, item)


def test_what_a_small_file_may_become(warm: tuple[str, bytes], tmp_path: Path) -> None:
    """The largest that a few kilobytes may hold is read, within the same bound."""
    found = read_in_child(
        tmp_path,
        [
            warm,
            ("grey", blank_png(3500)),
            ("colour", blank_png(2500, 6, 16)),
            ("volume", gzip.compress(nifti((230, 230, 230), 49_000_000, 900.0), 1)),
        ],
    )
    for name, item in found.items():
        assert item["outcome"] == "ok", (name, item)
        assert item["grown"] < MOST_GROWTH, (name, item)


def end_of(whole: bytes) -> int:
    """Tell where a file may be cut off at the latest: a tar archive ends in padding."""
    if not is_tar(whole) or whole.startswith(GZIP_START):
        return len(whole)
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        archive.getmembers()
        # The empty block that says so lies behind.
        return archive.offset + 1


@pytest.mark.parametrize("name", FORMATS)
def test_cut_off_at_each_kilobyte(
    name: str, warm: tuple[str, bytes], tmp_path: Path
) -> None:
    """Each file that the fuzzer starts from: each compression, each DICOM syntax."""
    files = [item for item in seeds_of(name) if len(item) < _LARGEST]
    if name == "zip":
        files.append(good())
    cuts = [
        (f"{number} at {end}", whole[:end])
        for number, whole in enumerate(files)
        for end in range(0, end_of(whole), 1024)
    ]
    found = read_in_child(tmp_path, [warm, *cuts])
    for end, item in found.items():
        assert "broken" not in item, (end, item)
        assert (item["outcome"] == "ok") == (end == "last"), (end, item)
        assert item["grown"] < MOST_GROWTH, (end, item)
