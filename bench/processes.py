"""Commands as a user runs them: wall time, peak memory, a server."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Where ``python -m bench`` runs."""

_READY_WITHIN = 120.0


@dataclass(frozen=True)
class Run:
    """How one process went.

    Parameters
    ----------
    seconds
        Time from start to end.
    peak_mb
        Most resident memory, in megabytes (10^6 bytes).
    """

    seconds: float
    peak_mb: float


def tumorlens() -> str:
    """Return the path of the command ``tumorlens`` of this environment."""
    command = Path(sys.executable).parent / "tumorlens"
    if not command.exists():
        raise RuntimeError(f"{command} is missing. Run: pip install -e .")
    return str(command)


def run(command: Sequence[str | Path]) -> Run:
    """Run a command and measure it.

    Raises
    ------
    RuntimeError
        Where it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.child", *map(str, command)],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    if found["status"] != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-500:]}")
    return Run(found["seconds"], found["peak_mb"])


@dataclass(frozen=True)
class Server:
    """A running ``tumorlens serve``.

    Parameters
    ----------
    process, port
        The process, and its port on 127.0.0.1.
    start_seconds
        Time from its start until /readyz answered 200.
    """

    process: subprocess.Popen[str]
    port: int
    start_seconds: float

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection, which is kept alive."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def handles(self) -> int:
        """Count its open files and connections (Linux only)."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory_mb(self, peak: bool = False) -> float:
        """Return its resident memory now, or the most so far (Linux only)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status)
        return int(found[1]) * 1024 / 1e6 if found else float("nan")


@contextmanager
def serve(
    command: str, model: Path, options: Sequence[str] = (), cores: int | None = None
) -> Iterator[Server]:
    """Start the server on a free port of 127.0.0.1, and stop it afterwards.

    Parameters
    ----------
    command, model, options
        The command ``tumorlens``, the bundle, and more options.
    cores
        Cores that it may use, and so pictures that it judges at a time; None for all
        (Linux only).
    """

    def keep_to_cores() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    arguments = ["--host", "127.0.0.1", "--port", "0", "--no-open", *options]
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            [command, "serve", *arguments, "--model", str(model)],
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=None if cores is None else keep_to_cores,
        )
        try:
            assert process.stdout is not None
            said = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            if said is None:
                errors.seek(0)
                raise RuntimeError(f"The server did not start: {errors.read()[-500:]}")
            server = Server(process, int(said[1]), 0.0)
            _wait_until_ready(server, start + _READY_WITHIN)
            yield Server(process, server.port, time.perf_counter() - start)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()  # type: ignore[union-attr]


def _wait_until_ready(server: Server, end: float) -> None:
    while time.perf_counter() < end:
        connection = server.connect()
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise RuntimeError("The server did not become ready.")


def _environment() -> dict[str, str]:
    """Return this environment without the settings of somebody's server."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TUMORLENS_")}
    return {**kept, "TF_CPP_MIN_LOG_LEVEL": "3"}


def processor_seconds(name: str) -> float:
    """Sum the processor time of this process's descendants so far (Linux only).

    Parameters
    ----------
    name
        Part of the command of those that count; ended ones do not.
    """
    rows = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            stat = (place / "stat").read_text().rsplit(")", 1)[1].split()
            rows[int(place.name)] = (
                int(stat[1]),
                int(stat[11]) + int(stat[12]),
                name in (place / "cmdline").read_text(errors="replace"),
            )
        except OSError:
            continue

    def is_ours(pid: int) -> bool:
        while pid in rows:
            if pid == os.getpid():
                return True
            pid = rows[pid][0]
        return False

    ticks = sum(row[1] for pid, row in rows.items() if row[2] and is_ours(pid))
    return ticks / os.sysconf("SC_CLK_TCK")
