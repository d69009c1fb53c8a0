"""All damaged files of one format, read in processes that may die."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.mutate import damaged, dressed
from fuzz.seeds import seeds_of

ROOT = Path(__file__).parents[1]
FAILURES = ROOT / "fuzz" / "failures"
_STILL_SECONDS = 900.0
"""Wall time, which a loaded or paused machine makes long; work is cut off by its
processor time."""
_MOST_FAILURES = 20
_MOST_ENDS = 5


@dataclass
class Campaign:
    """What came of the files of one format.

    Parameters
    ----------
    name
        Of the format.
    engine
        What damaged the files.
    files
        How many were read.
    seen
        Outcomes and their counts; not of guided files.
    failures
        Saved files that broke a promise.
    """

    name: str
    engine: str
    files: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[Path] = field(default_factory=list)


def run_seeded(name: str, count: int, seed: int) -> Campaign:
    """Read `count` files that `mutate.damaged` makes of a seed.

    Every file that breaks a promise is saved, and what it broke beside it.
    """
    found = Campaign(name, "seeded")
    seeds = seeds_of(name)
    start = 0
    with tempfile.NamedTemporaryFile() as progress:
        while start < count and len(found.failures) < _MOST_FAILURES:
            output, code = _run(name, seed, start, count, progress.name)
            last = int.from_bytes(Path(progress.name).read_bytes()[:8], "little")
            for line in output.splitlines():
                said = json.loads(line)
                if "seen" in said:
                    found.seen.update(said["seen"])
                else:
                    data = damaged(name, seeds, seed, said["index"])
                    stem = f"{name}-{seed}-{said['index']}"
                    found.failures.append(save(stem, data, said["fault"]))
            _pass_on(code)
            if code not in (0, 1):
                fault = f"the process died ({code}) or hung"
                data = damaged(name, seeds, seed, last)
                found.failures.append(save(f"{name}-{seed}-{last}", data, fault))
                found.seen["died"] += 1
            found.files += last + 1 - start
            start = last + 1
    return found


def has_atheris() -> bool:
    """Tell whether atheris is installed: it comes for some systems only."""
    return importlib.util.find_spec("atheris") is not None


def run_guided(name: str, count: int, seed: int) -> Campaign:
    """Read `count` files that atheris makes, guided by the code they reach."""
    return _by_module("guided", name, count, seed)


def run_drawn(name: str, count: int, seed: int) -> Campaign:
    """Read `count` files that Hypothesis draws, and simplify what breaks a promise."""
    return _by_module("drawn", name, count, seed)


def _by_module(engine: str, name: str, count: int, seed: int) -> Campaign:
    """Have `fuzz.guided` or `fuzz.drawn` read files; each ends at what it finds."""
    found = Campaign(name, engine)
    FAILURES.mkdir(exist_ok=True)
    while found.files < count and len(found.failures) < _MOST_ENDS:
        path = FAILURES / f"{name}-{engine}-{seed}-{found.files}"
        done = subprocess.run(
            [sys.executable, "-m", f"fuzz.{engine}", name]
            + [str(item) for item in (count - found.files, seed + found.files, path)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        numbers = re.findall(r"^(?:#|Done )(\d+)", done.stderr, re.MULTILINE)
        found.files += max([1, *map(int, numbers)])
        for line in re.findall(r"^Seen (.*)$", done.stderr, re.MULTILINE):
            found.seen.update(json.loads(line))
        _pass_on(done.returncode)
        if done.returncode == 0:
            break
        if not path.exists():
            # libFuzzer saves what ends the process, `fuzz.drawn` what it reads.
            kept = sorted(FAILURES.glob(f"{path.name}-*"))
            if not kept:
                raise RuntimeError(f"fuzz.{engine} failed: {done.stderr[-2000:]}")
            save(path.name, dressed(name, kept[0].read_bytes()), "the process died")
        for item in FAILURES.glob(f"{path.name}-*"):
            item.unlink()
        found.failures.append(path)
    return found


def _pass_on(code: int) -> None:
    """Stop where the child was stopped from the keyboard: that is no finding."""
    if code == -signal.SIGINT:
        raise KeyboardInterrupt


def _run(
    name: str, seed: int, start: int, count: int, progress: str
) -> tuple[str, int]:
    """Run a child until it ends, or stands still."""
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "fuzz.child", name]
            + [str(item) for item in (seed, start, count, progress)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
        moved, known = time.monotonic(), b""
        while child.poll() is None:
            time.sleep(0.2)
            now = Path(progress).read_bytes()
            if now != known:
                moved, known = time.monotonic(), now
            elif time.monotonic() - moved > _STILL_SECONDS:
                child.kill()
        output.seek(0)
        return output.read(), child.returncode


def save(stem: str, data: bytes, fault: str) -> Path:
    """Keep a file that broke a promise, and beside it how it did."""
    FAILURES.mkdir(exist_ok=True)
    path = FAILURES / stem
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(fault + "\n")
    return path
