"""A server that answers what a test says, for what no real one can be brought to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tumorlens.pacs.dicomweb.client import Archive, open_session

JSON = "application/dicom+json"


@dataclass(frozen=True)
class Answer:
    body: bytes = b"[]"
    kind: str = JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


Answers = Callable[[BaseHTTPRequestHandler], Answer]


@contextmanager
def archive_of(
    answers: Answers, environment: dict[str, str] | None = None
) -> Iterator[Archive]:
    """Serve what a function answers to each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = answers(self)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            length = len(answer.body) if answer.length is None else answer.length
            self.send_header("Content-Length", str(length))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
        try:
            with closing(Archive(url, open_session(environment or {}))) as made:
                yield made
        finally:
            server.shutdown()
            thread.join()


def listed(keyword_tag: str, *uids: str) -> bytes:
    return json.dumps(
        [{keyword_tag: {"vr": "UI", "Value": [x]}} for x in uids]
    ).encode()
