"""A small server that stands in for the archives: ranges, cuts and refusals."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


@dataclass
class Archive:
    """What the server holds, how it misbehaves, and what it was asked.

    Parameters
    ----------
    files
        Content by path.
    redirects
        Where a path sends the asker.
    failures
        Status codes with which the next requests are refused.
    cut_after
        Bytes after which the next answers break off.
    ranges
        Whether it can send a part of a file.
    token
        The ``Authorization`` without which it refuses.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    cut_after: list[int] = field(default_factory=list)
    ranges: bool = True
    token: str = ""
    url: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[Archive]:
    """Serve an archive on a free port of this machine."""
    archive = Archive()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range", "")
            token = self.headers.get("Authorization", "")
            archive.asked.append((self.path, span, token))
            if archive.failures:
                return self.send_error(archive.failures.pop(0))
            if archive.token and token != archive.token:
                return self.send_error(401)
            if self.path in archive.redirects:
                self.send_response(302)
                self.send_header("Location", archive.redirects[self.path])
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if self.path not in archive.files:
                return self.send_error(404)
            return self.answer(archive.files[self.path], span)

        def answer(self, content: bytes, span: str) -> None:
            start = 0
            if span and archive.ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", span)[1])  # type: ignore[index]
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                self.send_response(206)
                last = len(content) - 1
                self.send_header(
                    "Content-Range", f"bytes {start}-{last}/{len(content)}"
                )
            else:
                self.send_response(200)
            rest = content[start:]
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if archive.cut_after:
                self.wfile.write(rest[: archive.cut_after.pop(0)])
                self.wfile.flush()
                return self.connection.close()
            self.wfile.write(rest)
            return None

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    archive.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def zipped(files: dict[str, bytes]) -> bytes:
    """Pack files into a zip archive."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return memory.getvalue()


def mat_file(
    label: int = 1,
    patient: str = "100360",
    image: np.ndarray | None = None,
    leave_out: str = "",
) -> bytes:
    """Write what MATLAB writes: HDF5 behind 512 bytes of its own, transposed."""
    import h5py

    if image is None:
        image = np.arange(24, dtype=np.int16).reshape(4, 6) * 40
    mask = np.zeros(image.shape, np.uint8)
    mask[1, 2] = 1
    parts = {
        "PID": np.array([[ord(char)] for char in patient], np.uint16),
        "image": image.T,
        "label": np.array([[label]], np.float64),
        "tumorBorder": np.array([[1.0, 2.0, 3.0, 4.0]]).T,
        "tumorMask": mask.T,
    }
    memory = io.BytesIO()
    with h5py.File(memory, "w", userblock_size=512) as file:
        group = file.create_group("cjdata")
        for key, value in parts.items():
            if key != leave_out:
                group.create_dataset(key, data=value)
    content = bytearray(memory.getvalue())
    header = b"MATLAB 7.3 MAT-file, Platform: PCWIN64"
    content[: len(header)] = header
    return bytes(content)


def list_article(archive: Archive, article: int) -> None:
    """Make the listing of an article that holds every zip of the archive."""
    files = [
        {
            "id": number,
            "name": path.rpartition("/")[2],
            "size": len(content),
            "download_url": archive.url + path,
            "supplied_md5": "",
            "computed_md5": hashlib.md5(content).hexdigest(),
        }
        for number, (path, content) in enumerate(archive.files.items())
    ]
    listing = {"id": article, "files": files}
    archive.files[f"/v2/articles/{article}"] = json.dumps(listing).encode()
