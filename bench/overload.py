"""``tumorlens serve`` offered more than it can do, and much of it; 127.0.0.1 only.

Asked: at twice the capacity only 200, 429 and 503; /healthz under half a second always;
two TIFFs of 900 pages end within 75 s, and ordinary pictures meanwhile within 5 s.

Some nine minutes on two cores, which the clients share with the server. Four of them
are 10,000 requests, over which memory and handles are watched (``--requests``).
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image

from bench.figures import Amount, Asked, Figure
from bench.http import form, post
from bench.pictures import draw_head, write_heads
from bench.processes import Server, serve, tumorlens

_CLIENTS = 8
_PICTURES = 20
_LOADS = {0.5: 20.0, 0.8: 20.0, 2.0: 60.0}
_MOST_IN_FLIGHT = 200
_GIANT_PAGES, _PAGE = 900, 128


def measure(
    model: Path,
    loads: Mapping[float, float] = _LOADS,
    workers: tuple[int, ...] = (1, 2),
    requests: int = 10_000,
) -> Iterator[Figure | str]:
    """Measure waits and refusals at parts and multiples of the capacity.

    Parameters
    ----------
    model
        Bundle that is served.
    loads
        Seconds of each offered load, by its part of what the server can do.
    workers
        Cores of the server, each of which judges one picture at a time.
    requests
        Requests over which memory and handles are watched.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Every other one is a JPEG.
        heads = write_heads(Path(folder), _PICTURES)[1::2]
        data = [path.read_bytes() for path in heads]
    available = len(os.sched_getaffinity(0))
    for count in workers:
        if count > available:
            yield f"{count} workers: this machine has {available} cores."
            continue
        told = f"{count} worker" + "s" * (count > 1)
        with serve(tumorlens(), model, cores=count) as server:
            capacity = _capacity(server, data, min(loads.values()) / 2)
            name = f"{told}, HTTP, {_CLIENTS} clients: capacity"
            yield Figure(name, Amount(capacity, "requests/s"))
            for load, seconds in loads.items():
                name = f"{told}, {100 * load:.0f} % of the capacity"
                yield from _offer(server, data, name, capacity * load, seconds)
    with serve(tumorlens(), model) as server:
        yield from _giants(server, data[0])
        yield from _many(server, data, requests)


def ask(server: Server, data: bytes) -> tuple[int, float]:
    """Send a picture over a connection of its own.

    Returns
    -------
    int
        Status; 0 where there was no answer.
    float
        Seconds that it took.
    """
    start = time.perf_counter()
    connection = server.connect()
    try:
        body, headers = form(data)
        connection.request("POST", "/api/v1/predictions", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.perf_counter() - start
    except (OSError, HTTPException):
        return 0, time.perf_counter() - start
    finally:
        connection.close()


def _capacity(server: Server, data: Sequence[bytes], seconds: float) -> float:
    end = time.perf_counter() + seconds

    def go_on(client: int) -> int:
        done = 0
        for picture in cycle(data[client:] + data[:client]):
            if time.perf_counter() >= end:
                break
            done += ask(server, picture)[0] == 200
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        total = sum(pool.map(go_on, range(_CLIENTS)))
    return total / (time.perf_counter() - start)


def _offer(
    server: Server, data: Sequence[bytes], name: str, rate: float, seconds: float
) -> Iterator[Figure | str]:
    """Offer requests at a rate, whether or not the ones before are answered."""
    answers: list[Future[tuple[int, float]]] = []
    with _watching(server) as health, ThreadPoolExecutor(_MOST_IN_FLIGHT) as pool:
        start = time.perf_counter()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            answers.append(pool.submit(ask, server, data[number % len(data)]))
    found = [answer.result() for answer in answers]
    statuses = Counter(status for status, _ in found)
    times = [1e3 * spent for status, spent in found if status == 200]
    told = ", ".join(f"{status}: {n}" for status, n in sorted(statuses.items()))
    yield f"{name}: {len(found)} requests in {seconds:.0f} s ({told})"
    if times:
        p50, p99 = np.percentile(times, [50, 99])
        yield Figure(f"{name}: wait, median", Amount(float(p50), "ms"))
        yield Figure(f"{name}: wait, 99th percentile", Amount(float(p99), "ms"))
    others = sum(n for status, n in statuses.items() if status not in {200, 429, 503})
    yield Figure(
        f"{name}: neither 200, 429 nor 503",
        Amount(others, "requests"),
        asked=Asked("ours", 0),
    )
    yield Figure(
        f"{name}: longest wait for /healthz",
        Amount(health[0], "s"),
        asked=Asked("ours", 0.5),
    )


@contextmanager
def _watching(server: Server) -> Iterator[list[float]]:
    """Ask for /healthz all the while; afterwards the list holds the longest wait.

    In a process of its own: in this one the threads that send pictures would hold it
    up, and their delay would be measured.
    """
    longest: list[float] = []
    command = [sys.executable, "-c", _WATCH, str(server.port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as watcher:
        yield longest
        said, _ = watcher.communicate()
    longest.append(float(said))


_WATCH = """
import http.client, select, sys, time
longest = 0.0
while not select.select([sys.stdin], [], [], 0.1)[0]:
    start = time.perf_counter()
    line = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
    line.request("GET", "/healthz")
    line.getresponse().read()
    line.close()
    longest = max(longest, time.perf_counter() - start)
print(longest)
"""


def _giants(server: Server, data: bytes) -> Iterator[Figure]:
    """Send two TIFFs of many pages, and ordinary pictures meanwhile."""
    page = Image.fromarray(draw_head()).resize((_PAGE, _PAGE))
    file = io.BytesIO()
    more = [page] * (_GIANT_PAGES - 1)
    page.save(file, "TIFF", save_all=True, append_images=more, compression="lzma")
    giant = file.getvalue()
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(ask, server, giant) for _ in range(2)]
        waits = []
        while not all(job.done() for job in jobs):
            waits.append(ask(server, data)[1])
        ends = [job.result()[1] for job in jobs]
    yield Figure(
        f"Two TIFFs of {_GIANT_PAGES} pages: the later end",
        Amount(max(ends), "s"),
        asked=Asked("ours", 75),
    )
    yield Figure(
        f"An ordinary picture meanwhile: longest wait of {len(waits)}",
        Amount(max(waits), "s"),
        asked=Asked("ours", 5),
    )


def _many(
    server: Server, data: Sequence[bytes], requests: int
) -> Iterator[Figure | str]:
    """Send many pictures, and see what the server holds on to.

    A tenth of them come first: until then caches and the C library's heaps fill.
    """

    def send(client: int, count: int) -> None:
        connection = server.connect()
        for number in range(count):
            post(connection, data[(client + number) % len(data)])
        connection.close()

    def hold(count: int) -> tuple[float, int]:
        with ThreadPoolExecutor(_CLIENTS) as pool:
            share = count // _CLIENTS
            list(pool.map(send, range(_CLIENTS), [share] * _CLIENTS))
        return server.memory_mb(), server.handles()

    start = time.perf_counter()
    memory_before, handles_before = hold(requests // 10)
    memory, handles = hold(requests - requests // 10)
    yield f"{requests:,} requests took {time.perf_counter() - start:.0f} s."
    told = f"after {requests:,} requests, more than after {requests // 10:,}"
    yield Figure(f"Memory {told}", Amount(memory - memory_before, "MB"))
    yield Figure(f"Open handles {told}", Amount(handles - handles_before, "handles"))
