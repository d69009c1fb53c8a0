"""`tumorlens serve`, started and stopped as people do."""

from __future__ import annotations

import ctypes
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.samples.serving import command, environment, serving
from tumorlens.cli.services.serve import address


def refused(*arguments: str, **more: str) -> str:
    """Run the command, which has to stop with an error; give what it says."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=environment(**more),
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(
    tiny_bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    store = tmp_path / "store"
    arguments = ("--model", str(tiny_bundle), "--port", "0", "--store", str(store))
    with serving(*arguments) as (process, url):
        with urlopen(f"{url}readyz") as response:
            assert json.load(response)["status"] == "ready"
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0
        assert said == "TumorLens has stopped.\n"


def test_the_environment_is_heard(tiny_bundle: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {"PORT": str(port), "TUMORLENS_MODEL": str(tiny_bundle)}
    with serving(**names) as (_, url):
        assert url == f"http://127.0.0.1:{port}/"


def test_a_temporary_store_is_gone_after_the_end(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = ("--model", str(tiny_bundle), "--port", "0")
    with serving(*arguments, TMPDIR=str(tmp_path)) as (process, _):
        assert list(tmp_path.glob("tumorlens-*"))
        process.terminate()
        process.communicate(timeout=30)
    assert not list(tmp_path.glob("tumorlens-*"))


def test_a_port_in_use_is_named_with_the_mend(tiny_bundle: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused("--model", str(tiny_bundle), "--port", port)
    assert f"Port {port} on 127.0.0.1 is in use" in said
    assert "--port" in said


def test_a_missing_model_stops_the_start(tmp_path: Path) -> None:
    said = refused("--model", str(tmp_path / "none"), "--port", "0")
    assert str(tmp_path / "none") in said


def test_a_host_that_is_not_this_machine_s(tiny_bundle: Path) -> None:
    said = refused("--model", str(tiny_bundle), "--host", "192.0.2.1", "--port", "0")
    assert "192.0.2.1" in said
    assert "--host" in said


def test_a_value_that_cannot_be_names_the_option() -> None:
    assert "--port is 'http'" in refused("--port", "http")
    assert "TUMORLENS_UPLOAD_MB" in refused(TUMORLENS_UPLOAD_MB="0")


def test_other_machines_are_not_served_without_a_login(tiny_bundle: Path) -> None:
    arguments = ("--model", str(tiny_bundle), "--port", "0", "--host", "0.0.0.0")
    said = refused(*arguments)
    assert "no log-in" in said
    assert "--insecure-no-login" in said


@pytest.mark.parametrize(
    "said_so", [{}, {"TUMORLENS_INSECURE_NO_LOGIN": "yes"}], ids=["option", "variable"]
)
def test_whoever_wants_no_login_is_warned_and_every_page_says_so(
    tiny_bundle: Path, said_so: dict[str, str]
) -> None:
    arguments = ["--model", str(tiny_bundle), "--port", "0", "--host", "0.0.0.0"]
    arguments += [] if said_so else ["--insecure-no-login"]
    with serving(*arguments, **said_so) as (process, url):
        for path in ("", "analyses/none"):
            through_a_proxy = Request(
                url + path, headers={"X-Forwarded-For": "1.2.3.4"}
            )
            try:
                answer = urlopen(through_a_proxy)
            except HTTPError as error:
                assert error.code == 404
                answer = error
            with answer:
                page = answer.read()
            assert b"No log-in" in page
        with pytest.raises(HTTPError) as off:
            urlopen(f"{url}metrics")
        assert off.value.code == 404
        off.value.close()
        process.terminate()
        assert "no login" in process.communicate(timeout=30)[1]


def test_an_upload_above_the_limit_is_refused_and_the_next_served(
    tiny_bundle: Path,
) -> None:
    limits = ("--upload-mb", "1", "--scan-mb", "1")
    arguments = ("--model", str(tiny_bundle), "--port", "0", *limits)
    with serving(*arguments) as (_, url):
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        for length, body in ((3 * 2**19, b"x" * (3 * 2**19)), (50 * 2**20, b"")):
            with socket.create_connection((host, int(port)), timeout=20) as line:
                head = (
                    "POST /api/v1/predictions HTTP/1.1\r\n"
                    f"Host: {host}\r\nContent-Length: {length}\r\n"
                    "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
                )
                line.sendall(head.encode() + body)
                assert b" 413 " in line.recv(1000).split(b"\r\n")[0]
        with urlopen(f"{url}healthz") as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::1", "http://[::1]:80/"),
        ("::", "http://[::1]:80/"),
        ("lens.example", "http://lens.example:80/"),
    ],
)
def test_the_address_is_one_that_a_browser_takes(host: str, url: str) -> None:
    assert address(host, 80) == url


_ALLOCATING = """
import ctypes, threading
from tumorlens.cli._shared import share_heaps
share_heaps()
libc = ctypes.CDLL(None)
barrier = threading.Barrier(17)
def allocate():
    kept = [bytearray(2_000) for _ in range(100)]
    barrier.wait()
    barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads:
    thread.start()
barrier.wait()
libc.malloc_stats()
barrier.wait()
"""


def test_threads_share_two_heaps() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_stats"):
        pytest.skip("the C library is not glibc")
    command = [sys.executable, "-c", _ALLOCATING]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=True
    )
    assert len(re.findall(r"^Arena \d+:", done.stderr, re.M)) <= 2


_LARGE = """
import ctypes
from tumorlens.cli._shared import share_heaps
share_heaps()
del [bytearray(2**20) for _ in range(8)][:]
kept = [bytearray(2**20) for _ in range(8)]
ctypes.CDLL(None).malloc_stats()
"""


def test_large_arrays_never_lie_in_a_heap() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_stats"):
        pytest.skip("the C library is not glibc")
    command = [sys.executable, "-c", _LARGE]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=True
    )
    heaps = re.findall(r"^Arena \d+:\nsystem bytes +=\s+(\d+)", done.stderr, re.M)
    assert sum(map(int, heaps)) < 8 * 2**20, done.stderr
