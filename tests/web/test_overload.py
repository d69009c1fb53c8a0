"""The real server under load and faults: too much is refused, the rest is served."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask, request
from PIL import Image

from tests.conftest import draw_phantom
from tests.samples.serving import serving
from tests.samples.uploads import form
from tumorlens.inference.slice.session import available_cores
from tumorlens.settings import Settings
from tumorlens.web.server import HttpServer

PATIENCE_SECONDS = 120.0
"""Far above what anything here takes, for machines that do other work meanwhile."""

PREDICTIONS = "/api/v1/predictions"
PROBLEM = "application/problem+json"


class Answer:
    """An answer that was read to its end."""

    def __init__(self, answer: HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.data = answer.read()

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Site:
    """The server, asked over connections of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        place = urlsplit(url)
        self.place = (str(place.hostname), int(place.port or 0))

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, headers)

    def post(
        self,
        path: str,
        *files: tuple[str, bytes],
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = form(*files)
        kind = {"Content-Type": sent["content_type"], **(headers or {})}
        return self.ask("POST", path, sent["data"], kind)

    def ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        line = HTTPConnection(*self.place, timeout=PATIENCE_SECONDS)
        try:
            line.request(method, path, body, headers)
            return Answer(line.getresponse())
        finally:
            line.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.place, timeout=PATIENCE_SECONDS)

    def raw(self, data: bytes) -> Answer:
        """Send bytes as they are, and read the answer."""
        with self.connect() as line:
            line.sendall(data)
            answer = HTTPResponse(line)
            answer.begin()
            return Answer(answer)

    def metric(self, name: str) -> float:
        text = self.get("/metrics").data.decode()
        return sum(
            float(value)
            for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.M)
        )


@contextmanager
def site(bundle: Path, *arguments: str, **more: str) -> Iterator[Site]:
    everything = ("--model", str(bundle), "--port", "0", "--no-open", *arguments)
    with serving(*everything, **more) as (process, url):
        yield Site(process, url)


def pages(count: int) -> bytes:
    """Draw a TIFF of small pages, a few hundred bytes each."""
    picture = Image.fromarray(draw_phantom(lesion=(90, 110, 22))).resize((96, 96))
    file = io.BytesIO()
    more = [picture] * (count - 1)
    picture.save(file, "TIFF", save_all=True, append_images=more, compression="lzma")
    return file.getvalue()


def until(true: Any) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_slow_connections_hold_up_nobody(tiny_bundle: Path, lesion_png: bytes) -> None:
    with site(tiny_bundle) as server, ExitStack() as stack:
        for number in range(120):
            line = stack.enter_context(server.connect())
            # Half of them are in the header, half in the body.
            line.sendall(b"POST /analyses HTTP/1.1\r\nHost: localhost\r\n")
            if number % 2:
                line.sendall(b"Content-Length: 1000\r\n\r\nx")
        assert server.get("/healthz").status == 200
        assert server.post(PREDICTIONS, ("a.png", lesion_png)).status == 200


def test_health_is_answered_though_every_thread_waits(
    app: Flask,
) -> None:
    gate, held = threading.Event(), []

    @app.before_request
    def wait() -> None:
        if request.path != "/healthz":
            held.append(request.path)
            gate.wait(PATIENCE_SECONDS)

    server = HttpServer(app, Settings(port=0, queue_length=1))
    threads = 1 + available_cores() + 16 + 4
    loop = threading.Thread(target=server.run)
    loop.start()
    try:
        with ThreadPoolExecutor(2 * threads) as pool:
            line = f"http://127.0.0.1:{server.port}"
            # More than there are threads, also of those that health alone may use.
            waiting = [
                pool.submit(requests.get, f"{line}{path}", timeout=PATIENCE_SECONDS)
                for path in ["/login", "/metrics"] * threads
            ]
            until(lambda: len(held) == threads)
            assert requests.get(f"{line}/healthz", timeout=PATIENCE_SECONDS).ok
            gate.set()
            statuses = {answer.result().status_code for answer in waiting}
            assert statuses <= {200, 503}
    finally:
        gate.set()
        server.drain()
        loop.join()
        server.close()


def test_silent_slow_and_surplus_peers_are_cut_off(tiny_bundle: Path) -> None:
    with (
        site(tiny_bundle, "--peer-seconds", "1", "--connections", "16") as server,
        ExitStack() as stack,
    ):
        silent = stack.enter_context(server.connect())
        assert silent.recv(1) == b""
        slow = stack.enter_context(server.connect())
        with pytest.raises(OSError):
            for _ in range(int(PATIENCE_SECONDS / 0.2)):
                slow.sendall(b"G")
                time.sleep(0.2)
        lines = [stack.enter_context(server.connect()) for _ in range(40)]
        assert server.get("/healthz").status == 200
        assert all(line.recv(1) == b"" for line in lines)
        until(lambda: server.metric("tumorlens_dropped_connections_total") >= 42)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order(
    tiny_bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with (
        site(tiny_bundle, "--store", str(tmp_path / "store")) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        many = ("many.tif", pages(120))
        jobs = [pool.submit(server.post, PREDICTIONS, many) for _ in range(3)]
        until(lambda: server.metric("tumorlens_uploads_in_progress") == 3)
        until(lambda: server.metric("tumorlens_decisions_total") > 0)
        server.process.send_signal(number)
        # Unready first, while what is under way goes on; nothing new is taken.
        until(lambda: server.get("/readyz").status == 503)
        assert not any(job.done() for job in jobs)
        refused = server.post(PREDICTIONS, ("a.tif", pages(1)))
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert server.post("/api/v1/scans", ("a.tif", pages(1))).status == 503
        for job in jobs:
            answer = job.result()
            assert answer.status == 200
            judged = len(answer.json["predictions"])
            assert judged == 120 or "stopping" in answer.json["failures"][0]["message"]
        _, said = server.process.communicate(timeout=PATIENCE_SECONDS)
        assert server.process.returncode == 0
        assert said == "TumorLens has stopped.\n"


def test_a_long_pass_does_not_make_the_end_a_crash(tiny_bundle: Path) -> None:
    with site(tiny_bundle) as server, ThreadPoolExecutor(1) as pool:
        job = pool.submit(server.post, PREDICTIONS, ("many.tif", pages(600)))
        until(lambda: server.metric("tumorlens_decisions_total") > 0)
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=30)
        assert server.process.returncode == 0
        assert job.result().status == 200


def test_a_log_that_nobody_reads_holds_up_nothing(tiny_bundle: Path) -> None:
    with site(tiny_bundle) as server:
        line = HTTPConnection(*server.place, timeout=PATIENCE_SECONDS)
        # More than a pipe holds.
        for _ in range(1500):
            line.request("GET", "/healthz")
            assert line.getresponse().read()
        line.close()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0


def test_more_than_it_can_do_is_refused_at_once(
    tiny_bundle: Path, lesion_png: bytes
) -> None:
    limits = ("--queue-length", "2", "--client-requests", "1000")
    with site(tiny_bundle, *limits) as server, ThreadPoolExecutor(40) as pool:
        alive: list[int] = []
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                alive.append(server.get("/healthz").status)
                alive.append(server.get("/metrics").status)

        watcher = threading.Thread(target=watch)
        watcher.start()
        many = ("many.tif", pages(40))
        jobs: list[Future[Answer]] = [
            pool.submit(server.post, PREDICTIONS, many) for _ in range(40)
        ]
        answers = [job.result() for job in jobs]
        over.set()
        watcher.join()
        statuses = Counter(answer.status for answer in answers)
        assert set(statuses) == {200, 503}
        assert set(alive) == {200}
        for answer in answers:
            if answer.status == 503:
                assert int(answer.headers["Retry-After"]) >= 1
                assert answer.headers["Content-Type"] == PROBLEM
                assert answer.json["error"]["code"] == "busy"
        assert server.post(PREDICTIONS, ("a.png", lesion_png)).status == 200
        assert server.metric("tumorlens_queue_depth") == 0


def test_one_client_cannot_have_all(tiny_bundle: Path) -> None:
    with (
        site(tiny_bundle, "--client-requests", "2") as server,
        ThreadPoolExecutor(12) as pool,
    ):
        many = ("many.tif", pages(40))
        jobs = [pool.submit(server.post, PREDICTIONS, many) for _ in range(12)]
        answers = [job.result() for job in jobs]
        assert {answer.status for answer in answers} == {200, 429}
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.json["error"]["code"] == "quota"
        assert int(refused.headers["Retry-After"]) >= 1


def test_giants_hold_up_no_ordinary_picture(
    tiny_bundle: Path, lesion_png: bytes
) -> None:
    with site(tiny_bundle) as server, ThreadPoolExecutor(2) as pool:
        giant = ("giant.tif", pages(300))
        jobs = [pool.submit(server.post, PREDICTIONS, giant) for _ in range(2)]
        until(lambda: server.metric("tumorlens_decisions_total") > 8)
        for _ in range(3):
            assert server.post(PREDICTIONS, ("a.png", lesion_png)).status == 200
        assert not any(job.done() for job in jobs)
        for job in jobs:
            assert job.result().status == 200


def test_pages_and_seconds_of_a_request_are_limited(tiny_bundle: Path) -> None:
    with site(tiny_bundle, "--pages-per-upload", "50") as server:
        answer = server.post(PREDICTIONS, ("a.tif", pages(30)), ("b.tif", pages(30)))
        (failure,) = answer.json["failures"]
        assert (failure["file"], failure["status"]) == ("b.tif", "too_large")
        assert "--pages-per-upload" in failure["mend"]
    with site(tiny_bundle, "--request-seconds", "1") as server:
        answer = server.post(PREDICTIONS, ("a.tif", pages(900)))
        (failure,) = answer.json["failures"]
        assert failure["status"] == "too_slow"
        assert "--request-seconds" in failure["mend"]
        judged = len(answer.json["predictions"])
        assert f"{judged} of" in failure["message"]
        assert judged < 900
        assert answer.status == (200 if judged else 503)


@pytest.mark.parametrize(
    ("path", "length"),
    [
        (PREDICTIONS, 5 * 2**20),
        ("/analyses", 5 * 2**20),
        ("/api/v1/scans", 9 * 2**20),
        ("/analyses/delete", 2**17),
        ("/nothing", 2**17),
    ],
)
def test_a_body_is_refused_by_route_before_it_is_sent(
    tiny_bundle: Path, path: str, length: int
) -> None:
    with site(tiny_bundle, "--upload-mb", "1", "--scan-mb", "8") as server:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            "Accept: application/json\r\n"
        )
        # Nobody is asked to send it; who sends it nevertheless is told, too.
        asked = server.raw(f"{head}Expect: 100-continue\r\n\r\n".encode())
        sent = server.raw(f"{head}\r\n".encode() + b"x" * length)
        for answer in (asked, sent):
            assert answer.status == 413
            assert answer.headers["Content-Type"] == PROBLEM
            assert answer.json["error"]["code"] == "too_large"


def test_every_layer_says_its_errors_alike(tiny_bundle: Path) -> None:
    host = b"Host: localhost\r\n"
    with site(tiny_bundle) as server:
        answers = {
            400: server.raw(
                b"GET / HTTP/1.1\r\n" + host + b"Content-Length: x\r\n\r\n"
            ),
            431: server.raw(b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n"),
            501: server.raw(
                b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: br\r\n\r\n"
            ),
            404: server.get("/api/v1/nothing"),
            405: server.ask("PUT", PREDICTIONS, None, {}),
            422: server.ask("POST", PREDICTIONS, None, {}),
            403: server.get("/api/v1/openapi.json", Forwarded="for=192.0.2.1"),
        }
        garbage = server.raw(b"\x16\x03\x01 garbage\r\n\r\n")
    for status, answer in (*answers.items(), (400, garbage)):
        assert answer.status == status
        if answer.headers["Content-Type"] != PROBLEM:
            # Nobody said that it is a program.
            assert status in {400, 431, 501}
            assert b"<!doctype html>" in answer.data
            continue
        told = answer.json
        assert set(told) == {"type", "title", "status", "detail", "error"}
        assert told["status"] == status
        assert told["detail"] == told["error"]["message"]
        assert told["error"]["mend"]
        assert len(answer.headers["X-Request-ID"]) == 32


def test_a_request_is_one_line_and_says_nothing_of_patients(
    tiny_bundle: Path, lesion_png: bytes
) -> None:
    planted = "DOE-JANE-19700101"
    with site(tiny_bundle) as server:
        judged = server.post(
            PREDICTIONS,
            (f"{planted}.png", lesion_png),
            headers={"X-Request-ID": planted, "User-Agent": planted},
        )
        result = judged.json["predictions"][0]["links"]["self"]
        sent = server.post("/api/v1/scans", (f"{planted}.nii", b"no scan"))
        answers = [
            judged,
            server.post("/analyses", (f"{planted}.png", b"no picture")),
            sent,
            server.get(result),
            server.get(f"/api/v1/predictions/{planted}"),
            server.get(f"/{planted}?patient={planted}", Cookie=planted),
            server.ask(planted, "/", None, {}),
            server.get("/healthz"),
            server.raw(f"GET /{planted}\r\n\r\n".encode()),
            server.get(sent.json["links"]["self"]),
        ]
        while answers[-1].json.get("state") != "failed":
            answers.append(server.get(sent.json["links"]["self"]))
        metrics = server.get("/metrics")
        assert planted.encode() not in metrics.data
        server.process.send_signal(signal.SIGTERM)
        out, errors = server.process.communicate(timeout=PATIENCE_SECONDS)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["event"] == "request"]
    by_id = {line["request_id"]: line for line in requests}
    assert len(requests) == len(by_id) == len(answers) + 1
    for answer in (*answers, metrics):
        request_id = answer.headers["X-Request-ID"]
        line = by_id[request_id]
        assert line["status"] == answer.status
        assert line["duration"] >= 0
        assert out.count(request_id) == 1
    assert planted not in out + errors
    # Who knows the id of a result may see it.
    assert result.rsplit("/", 1)[1] not in out + errors
    assert sent.json["id"] not in out + errors
    (series,) = [line for line in lines if line["event"] == "series"]
    assert series["outcome"] == "failed"
    assert series["job"] == by_id[sent.headers["X-Request-ID"]]["job"]
    assert by_id[judged.headers["X-Request-ID"]]["route"] == PREDICTIONS
