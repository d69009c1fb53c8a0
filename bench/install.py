"""What is installed to serve: its size, the server's start and its memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figures import MEGABYTE, Amount, Asked, Figure, times
from bench.http import post
from bench.pictures import write_heads
from bench.processes import ROOT, serve

SIZE_MB = 500.0


def measure(
    model: Path, requests: int = 100, with_train: bool = False
) -> Iterator[Figure | str]:
    """Install into new environments, then start the server from there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            source = copy_source(folder / "source")
            serving = install(folder / "serving", str(source))
            size = Amount(size_mb(serving), "MB")
            asked = Asked("ours", SIZE_MB)
            if with_train:
                train = install(folder / "train", f"{source}[train]")
                beside = Amount(size_mb(train), "MB")
                yield times(
                    "Installed to serve",
                    size,
                    "with the train extra",
                    beside,
                    "times as large",
                    asked,
                )
            else:
                yield Figure("Installed to serve (site-packages)", size, asked=asked)
        except subprocess.CalledProcessError as error:
            yield f"Installed size left out: {error.stderr.strip()[-300:]}"
            return
        yield from start(str(serving / "bin" / "tumorlens"), model, folder, requests)


def start(
    command: str, model: Path, folder: Path, requests: int
) -> Iterator[Figure | str]:
    """Start the server twice (files come from the disk first), and use it."""
    data = write_heads(folder / "one", 2)[1].read_bytes()
    with serve(command, model):
        pass
    with serve(command, model) as server:
        yield Figure("Server: start to ready", Amount(server.start_seconds, "s"))
        idle = Amount(server.memory_mb(), "MB")
        connection = server.connect()
        for _ in range(requests):
            post(connection, data)
        connection.close()
        yield times(
            f"Server: peak memory after {requests} requests",
            Amount(server.memory_mb(peak=True), "MB"),
            "before the first",
            idle,
            "times as much",
        )


def copy_source(folder: Path) -> Path:
    """Copy what is installed, since building leaves files beside the source."""
    shutil.copytree(
        ROOT / "src",
        folder / "src",
        ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", ".*_cache"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    return folder


def install(folder: Path, what: str) -> Path:
    """Make an environment and install into it with the pinned versions."""
    make = [sys.executable, str(ROOT / "scripts" / "make_env.py"), str(folder)]
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    for command in (make, [*pip, *pins, what]):
        subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


def size_mb(environment: Path) -> float:
    """Measure the disk space of an environment's packages, in 10^6 bytes."""
    (packages,) = environment.glob("lib/python3*/site-packages")
    blocks = sum(path.lstat().st_blocks for path in packages.rglob("*"))
    return blocks * 512 / MEGABYTE
