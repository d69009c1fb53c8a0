"""A real S3 server on loopback, for the tests of object stores."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUCKET = "archive"

_SERVE = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
while sys.stdin.read(1):
    pass
server.stop()
"""


@contextmanager
def s3_server() -> Iterator[str]:
    """Serve S3 in a process of its own, until the context ends; yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def settings(address: str) -> dict[str, str]:
    """Return the environment by which clients find the server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "drawn",
        "AWS_SECRET_ACCESS_KEY": "drawn",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def upload(folder: Path) -> None:
    """Copy a folder into the bucket; the environment says where that is."""
    import s3fs

    store = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    for _ in range(50):
        try:
            store.mkdir(BUCKET)
            break
        except OSError:
            time.sleep(0.1)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.pipe_file(
                f"{BUCKET}/{path.relative_to(folder).as_posix()}", path.read_bytes()
            )
