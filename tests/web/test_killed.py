"""The real server, killed and stopped: what it accepted is judged, and judged once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.samples.series_uploads import PATIENCE_SECONDS, nifti, packed
from tests.samples.serving import command, environment, serving
from tests.samples.uploads import form


def post(url: str, name: str, data: bytes) -> str:
    """Send a scan; return its path."""
    sent = form((name, data))
    request = Request(
        f"{url}api/v1/scans",
        sent["data"],
        {"Content-Type": sent["content_type"]},
    )
    with urlopen(request) as response:
        assert response.status == 202
        return str(response.headers["Location"])


def get(url: str, path: str) -> dict[str, Any]:
    with urlopen(f"{url.rstrip('/')}{path}") as response:
        found: dict[str, Any] = json.load(response)
    return found


def finished(url: str, path: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE_SECONDS
    while (found := get(url, path))["state"] not in {"done", "failed", "stopped"}:
        assert time.monotonic() < end, found["state"]
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_scans_that_were_accepted_keep_their_ids_and_are_judged(
    tiny_bundle: Path, tmp_path: Path, lesion_png: bytes, number: signal.Signals
) -> None:
    arguments = ("--model", str(tiny_bundle), "--port", "0")
    store = ("--store", str(tmp_path / "store"))
    pictures = packed(*((f"{n}.png", lesion_png) for n in range(12)))
    with serving(*arguments, *store) as (process, url):
        paths = [
            post(url, "pictures.zip", pictures),
            post(url, "head.nii.gz", nifti(12, range(4, 9))),
            post(url, "other.nii.gz", nifti()),
            post(url, "no.zip", b"PK\3\4 and no more"),
        ]
        # It dies while it works on the first, or on the second.
        while not get(url, paths[0])["predictions"]:
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == (0 if number == signal.SIGTERM else -number)
    with serving(*arguments, *store) as (_, url):
        found = [finished(url, path) for path in paths]
        assert [item["state"] for item in found] == ["done", "done", "done", "failed"]
        assert found[3]["error"]["code"] == "damaged_file"
        assert len(set(found[0]["predictions"])) == 12
        for link in found[0]["predictions"]:
            assert get(url, link)["decision"] == "glioma"
        for item in found[1:3]:
            (series,) = item["series"]
            assert get(url, series["links"]["finding"])["decision"] == "glioma"
        # Nothing is left of what was sent.
        sizes = [p.stat().st_size for p in (tmp_path / "store" / "files").iterdir()]
        assert len(pictures) not in sizes


def test_a_second_server_on_a_store_is_refused_and_harms_nothing(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = ("--model", str(tiny_bundle), "--port", "0")
    store = ("--store", str(tmp_path / "store"))
    with serving(*arguments, *store) as (_, url):
        path = post(url, "head.nii.gz", nifti())
        second = subprocess.run(
            command(*arguments, *store),
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
            check=False,
        )
        assert second.returncode == 2
        assert "another process uses it" in second.stderr
        assert "Traceback" not in second.stderr
        assert finished(url, path)["state"] == "done"


def test_a_temporary_store_of_a_killed_server_goes_with_the_next(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = ("--model", str(tiny_bundle), "--port", "0")
    with serving(*arguments, TMPDIR=str(tmp_path)) as (process, url):
        post(url, "head.nii.gz", nifti())
        process.kill()
        process.wait(60)
    (left,) = tmp_path.glob("tumorlens-*")
    os.utime(left / "lock", (0, 0))
    with serving(*arguments, TMPDIR=str(tmp_path)):
        assert left not in list(tmp_path.glob("tumorlens-*"))
