"""The real server with a certificate of its own: as without, but nobody listens in."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.samples.serving import command, environment, serving
from tests.samples.tls import Certificates
from tests.samples.uploads import form

PATIENCE_SECONDS = 120.0
"""Far above what anything here takes, for machines that do other work meanwhile."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


class Site:
    """The server, asked over TLS."""

    def __init__(
        self, process: subprocess.Popen[str], url: str, certificates: Certificates
    ) -> None:
        self.process = process
        place = urlsplit(url)
        assert place.scheme == "https"
        self.place = (str(place.hostname), int(place.port or 0))
        self.context = ssl.create_default_context(cafile=str(certificates.authority))

    def connect(self) -> HTTPSConnection:
        return HTTPSConnection(
            *self.place, timeout=PATIENCE_SECONDS, context=self.context
        )

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        line = self.connect()
        try:
            headers = {"Content-Type": kind} if kind else {}
            line.request(method, path, body, headers)
            answer = line.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            line.close()


@pytest.fixture
def site(tiny_bundle: Path, certificates: Certificates) -> Iterator[Site]:
    arguments = (
        *("--model", str(tiny_bundle), "--port", "0", "--no-open"),
        *("--tls-certificate", str(certificates.server)),
        *("--tls-key", str(certificates.server_key), "--upload-mb", "2"),
    )
    with serving(*arguments) as (process, url):
        yield Site(process, url, certificates)


def test_pictures_are_judged_over_tls(site: Site, lesion_png: bytes) -> None:
    sent = form(("a.png", lesion_png))
    status, headers, data = site.ask(
        "POST", "/api/v1/predictions", sent["data"], sent["content_type"]
    )
    assert status == 200
    (found,) = json.loads(data)["predictions"]
    status, _, report = site.ask("GET", found["links"]["report"])
    assert status == 200
    assert report.startswith(b"%PDF")
    # Browsers come back over TLS alone.
    assert "max-age" in headers["Strict-Transport-Security"]
    _, page, _ = site.ask("GET", "/")
    assert "Secure" in page["Set-Cookie"]
    # Whose requests these are is known as without TLS.
    audit = json.loads(site.ask("GET", found["links"]["self"])[2])
    assert audit["id"] == found["id"]


def test_a_connection_stays_open_for_more_requests(site: Site) -> None:
    line = site.connect()
    for _ in range(3):
        line.request("GET", "/healthz")
        assert line.getresponse().read() == b'{"status":"ok"}\n'
    line.close()


def test_a_body_that_is_too_large_gets_its_answer(site: Site) -> None:
    status, _, data = site.ask(
        "POST", "/api/v1/predictions", bytes(6 * 2**20), "multipart/form-data"
    )
    assert status == 413
    assert json.loads(data)["error"]["code"] == "too_large"


def test_silence_and_plain_http_hold_up_nobody(site: Site) -> None:
    with ExitStack() as stack:
        for number in range(60):
            line = stack.enter_context(socket.create_connection(site.place))
            if number % 2:
                line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert site.ask("GET", "/healthz")[0] == 200
        line.settimeout(PATIENCE_SECONDS)
        assert b"HTTP" not in line.recv(1000)
    end = time.monotonic() + PATIENCE_SECONDS
    dropped = r'tumorlens_dropped_connections_total\{cause="no TLS"\} (\S+)'
    while time.monotonic() < end:
        found = re.search(dropped, site.ask("GET", "/metrics")[2].decode())
        if found and float(found[1]) >= 60:
            return
        time.sleep(0.1)
    raise AssertionError("Not all were cut off.")


def test_old_tls_is_refused(site: Site) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(site.place) as line,
        pytest.raises(OSError),
        old.wrap_socket(line),
    ):
        pass


def test_the_end_is_orderly(site: Site) -> None:
    idle = site.connect()
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    site.process.send_signal(signal.SIGTERM)
    _, said = site.process.communicate(timeout=PATIENCE_SECONDS)
    assert site.process.returncode == 0
    assert said == "TumorLens has stopped.\n"
    idle.close()


def test_a_renewed_certificate_is_used(
    tiny_bundle: Path, tmp_path: Path, certificates: Certificates
) -> None:
    own = tmp_path / "server.pem", tmp_path / "server.key"

    def put(certificate: Path, key: Path) -> None:
        # The key first: together they fit only at the end.
        own[1].write_bytes(key.read_bytes())
        own[0].write_bytes(certificate.read_bytes())

    put(certificates.server, certificates.server_key)
    arguments = (
        *("--model", str(tiny_bundle), "--port", "0", "--no-open"),
        *("--tls-certificate", str(own[0]), "--tls-key", str(own[1])),
    )
    with serving(*arguments) as (process, url):
        site = Site(process, url, certificates)
        before = ssl.get_server_certificate(site.place)
        own[1].write_text("half a key")
        assert ssl.get_server_certificate(site.place) == before
        time.sleep(0.01)
        put(certificates.client, certificates.client_key)
        assert ssl.get_server_certificate(site.place) != before


@pytest.mark.parametrize("given", ["one", "missing", "swapped"])
def test_files_that_cannot_be_stop_the_start(
    tiny_bundle: Path, certificates: Certificates, given: str
) -> None:
    good, key = str(certificates.server), str(certificates.server_key)
    arguments = {
        "one": ("--tls-key", key),
        "missing": ("--tls-certificate", f"{good}.none", "--tls-key", key),
        "swapped": ("--tls-certificate", key, "--tls-key", good),
    }[given]
    done = subprocess.run(
        command("--model", str(tiny_bundle), "--port", "0", *arguments),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    wanted = "Only one of" if given == "one" else "cannot be used"
    assert wanted in done.stderr
