"""Webhooks: a signed message to a host that is known, until it arrives."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.samples.series_uploads import finish, nifti
from tests.samples.uploads import form
from tumorlens import SeriesClassifier
from tumorlens.errors import SettingError
from tumorlens.jobs.queue import RetryPolicy
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.uploads import webhooks
from tumorlens.web.uploads.store import Store
from tumorlens.web.uploads.webhooks import SECRET, SIGNATURE, Webhooks

KEY = "a-long-random-secret"
SCANS = "/api/v1/scans"


class Receiver(HTTPServer):
    """Answers with each status in turn, and keeps what it was sent."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = list(statuses)
        self.sent: list[tuple[str, str, bytes]] = []
        self.arrived = threading.Semaphore(0)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver = self.server
        assert isinstance(receiver, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.sent.append((self.path, self.headers[SIGNATURE], body))
        self.send_response(receiver.statuses.pop(0))
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        receiver.arrived.release()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver(302, 500, 200)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_message_is_signed_and_sent_until_it_arrives(
    classifier: SeriesClassifier,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SECRET, KEY)
    monkeypatch.setattr(webhooks, "ATTEMPTS", RetryPolicy(5, first_seconds=0.01))
    settings = Settings(webhook_hosts=f"lens.example, {receiver.place}")
    with closing(Store(tmp_path / "store", 3600, 100 * 2**20)) as store:
        client = create_app(classifier, store, settings).test_client()
        fields = {"callback": f"http://{receiver.place}/done?of=1"}
        sent = client.post(SCANS, **form(("DOE^JANE.nii.gz", nifti()), **fields))
        assert sent.status_code == 202
        scan = finish(client, sent.headers["Location"])
        for _ in range(3):
            assert receiver.arrived.acquire(timeout=120)
    for path, signature, body in receiver.sent:
        # It went nowhere else, whatever the answer said.
        assert path == "/done?of=1"
        assert json.loads(body) == {"scan": scan["id"], "state": "done"}
        time, signed = (part.split("=")[1] for part in signature.split(","))
        expected = hmac.new(KEY.encode(), f"{time}.".encode() + body, hashlib.sha256)
        assert signed == expected.hexdigest()


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/",
        "http://lens.example:81/",
        "http://lens.example@evil.example/",
        "http://evil.example#@lens.example/",
        "file://lens.example/etc/passwd",
        "//lens.example/",
        "http://[x",
        "http://lens.example/\n",
        "http://lens.example/" + "x" * 2000,
    ],
)
def test_no_other_address_is_told(
    classifier: SeriesClassifier,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
) -> None:
    monkeypatch.setenv(SECRET, KEY)
    settings = Settings(webhook_hosts="lens.example")
    client = create_app(classifier, store, settings).test_client()
    refused = client.post(SCANS, **form(("a.nii.gz", nifti()), callback=url))
    assert refused.status_code == 400
    assert "--webhook-hosts" in refused.text


def test_hosts_need_a_key(store: Store) -> None:
    for secret in (None, "short"):
        with pytest.raises(SettingError, match=SECRET):
            Webhooks(store.queue, "lens.example", secret)
    with pytest.raises(SettingError, match="callback"):
        Webhooks(store.queue, None, None).check("http://lens.example/")
