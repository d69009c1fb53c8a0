"""The API of ``tumorlens serve`` beside direct calls; 127.0.0.1 only."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import yaml

from bench.figures import Amount, Asked, Figure, times
from bench.pictures import never_sent, write_heads
from bench.processes import ROOT, Server, serve, tumorlens
from bench.timing import by_turns
from bench.volumes import write_volume
from tumorlens.inference.classifier import load_classifier

ALL_REQUESTS = 1000
PEAK_MB = 200.0
SMALL_MB, SMALL_SLICES = 512.0, 80

_BOUNDARY = "tumorlens-bench-boundary"


def measure(
    model: Path, rounds: int = 200, requests: int = 400, clients: int = 8
) -> Iterator[Figure | str]:
    """Measure one client's wait, and the throughput of several."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_heads(Path(folder), 2)[1].read_bytes()
    classifier = load_classifier(model)

    def direct() -> object:
        # Neither side draws maps: the server does so when a page asks for them.
        return classifier.predict(data)

    with serve(tumorlens(), model) as server:
        yield from one_client(server, direct, data, rounds)
        yield from many_clients(server, direct, data, requests, clients)
        yield memory(server, data, ALL_REQUESTS - rounds - requests)
    yield on_small_host(model, data)


def post(connection: HTTPConnection, data: bytes) -> None:
    """Send one picture and read the answer.

    Raises
    ------
    RuntimeError
        Where the server does not answer 200.
    """
    body, headers = form(data)
    connection.request("POST", "/api/v1/predictions", body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"The server answered {answer.status}: {text[:300]!r}")


def form(data: bytes, name: str = "head.jpg") -> tuple[bytes, dict[str, str]]:
    """Write the body and the headers of a request that sends one file, as a new one."""
    head = (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="'
        f'{name}"\r\n\r\n'
    )
    body = head.encode() + never_sent(data) + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


def one_client(
    server: Server, direct: Callable[[], object], data: bytes, rounds: int
) -> Iterator[Figure]:
    """Time a request and a direct call by turns."""
    connection = server.connect()
    through, ours = by_turns([lambda: post(connection, data), direct], rounds)
    connection.close()
    yield times(
        "HTTP, 1 client: JPEG to JSON", through, "direct call", ours, "times as long"
    )
    overhead = Amount(through.value - ours.value, "ms")
    yield Figure("HTTP, 1 client: overhead", overhead, asked=Asked("ours", 2.0))


def memory(server: Server, data: bytes, more: int) -> Figure:
    """Send the rest of so many requests, and read the server's peak memory."""
    connection = server.connect()
    for _ in range(more):
        post(connection, data)
    connection.close()
    return Figure(
        f"Server: peak memory after {ALL_REQUESTS:,} requests",
        Amount(server.memory_mb(peak=True), "MB"),
        asked=Asked("ours", PEAK_MB),
    )


def many_clients(
    server: Server,
    direct: Callable[[], object],
    data: bytes,
    requests: int,
    clients: int,
) -> Iterator[Figure]:
    """Let several clients ask at once, then as many threads call directly."""
    share = max(1, requests // (2 * clients))

    def ask(_: int) -> None:
        connection = server.connect()
        for _ in range(share):
            post(connection, data)
        connection.close()

    def call(_: int) -> None:
        for _ in range(share):
            direct()

    spent = {ask: 0.0, call: 0.0}
    with ThreadPoolExecutor(clients) as pool:
        for _ in range(2):
            for job in spent:
                start = time.perf_counter()
                list(pool.map(job, range(clients)))
                spent[job] += time.perf_counter() - start
    total = 2 * share * clients
    # The clients run on the same cores as the server, and cost them too.
    yield times(
        f"HTTP, {clients} clients, {total} requests",
        Amount(total / spent[ask], "requests/s"),
        f"direct, {clients} threads",
        Amount(total / spent[call], "images/s"),
        "times as fast",
        Asked("ratio", 0.85, at_least=True),
    )


def on_small_host(model: Path, data: bytes, requests: int = 100) -> Figure:
    """Measure the peak with the settings of render.yaml: pictures, then a series."""
    (service,) = yaml.safe_load((ROOT / "render.yaml").read_text())["services"]
    options = [
        f"--{item['key'].removeprefix('TUMORLENS_').lower().replace('_', '-')}="
        f"{item['value']}"
        for item in service["envVars"]
        if "value" in item
    ]
    with tempfile.TemporaryDirectory() as folder:
        volume = write_volume(Path(folder) / "head.nii.gz", SMALL_SLICES).read_bytes()
    with serve(tumorlens(), model, options) as server:
        connection = server.connect()
        for _ in range(requests):
            post(connection, data)
        connection.request("POST", "/api/v1/scans", *form(volume, "head.nii.gz"))
        sent = connection.getresponse()
        sent.read()
        state = "waiting"
        while state not in {"done", "failed"}:
            time.sleep(0.2)
            connection.request("GET", str(sent.headers["Location"]))
            state = json.loads(connection.getresponse().read())["state"]
        connection.close()
        if state == "failed":
            raise RuntimeError("The series was not judged.")
        return Figure(
            f"Peak with the settings of render.yaml, {requests} pictures and a series "
            f"of {SMALL_SLICES} slices",
            Amount(server.memory_mb(peak=True), "MB"),
            asked=Asked("ours", SMALL_MB),
        )
