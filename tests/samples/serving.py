"""Starts `tumorlens serve` as people do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"


def command(*arguments: str) -> list[str]:
    start = "import sys; from tumorlens.cli.main import main; sys.exit(main())"
    return [sys.executable, "-c", start, "serve", *arguments]


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TUMORLENS_") and name != "PORT"
    }
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1", **more}


@contextmanager
def serving(
    *arguments: str, **more: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command; give the process and the address that it prints."""
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"https?://\S+/", said)
        assert found, said + process.communicate()[1]
        yield process, found[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
