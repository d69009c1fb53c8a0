"""`tumorlens worker`: servers and workers share what waits, whoever is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import draw_phantom
from tests.samples.postgres import Postgres
from tests.samples.series_uploads import PATIENCE_SECONDS, nifti, packed
from tests.samples.serving import environment, serving
from tests.web.conftest import png
from tests.web.test_killed import finished, get, post


@contextmanager
def working(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    start = "import sys; from tumorlens.cli.main import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", start, "worker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_worker_judges_what_two_servers_were_sent(
    tiny_bundle: Path, tmp_path: Path, postgres: Postgres
) -> None:
    shared = ("--model", str(tiny_bundle), "--store", str(tmp_path / "store"))
    shared += ("--database-url", postgres.database())
    server = (*shared, "--port", "0", "--no-worker")
    with serving(*server) as (_, one), serving(*server) as (_, other):
        lesion_png = png(draw_phantom(lesion=(90, 110, 22)))
        pictures = packed(*((f"{n}.png", lesion_png) for n in range(12)))
        long = post(one, "pictures.zip", pictures)
        short = post(other, "head.nii.gz", nifti())
        assert get(other, long)["state"] == "waiting"
        with working(*shared) as process:
            # It is put back where the worker is told to stop, ...
            end = time.monotonic() + PATIENCE_SECONDS
            while not get(one, long)["predictions"]:
                assert time.monotonic() < end
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
            assert process.returncode == 0
            assert "has stopped" in said
        assert get(other, long)["state"] in {"waiting", "done"}
        # ... and judged by the next.
        with working(*shared):
            assert finished(other, long)["state"] == "done"
            assert len(set(get(one, long)["predictions"])) == 12
            assert finished(one, short)["state"] == "done"


def refused(*arguments: str) -> str:
    with working(*arguments) as process:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "Traceback" not in said
        return said


def test_the_database_of_a_folder_is_for_one_process(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = ("--model", str(tiny_bundle), "--store", str(tmp_path / "store"))
    with serving(*arguments, "--port", "0"):
        assert "another process uses it" in refused(*arguments)


@pytest.mark.parametrize("url", ["postgresql+psycopg://x@y/z", "no url"])
def test_a_shared_database_needs_a_shared_folder(tiny_bundle: Path, url: str) -> None:
    said = refused("--model", str(tiny_bundle), "--database-url", url)
    assert "--store" in said
    assert url not in said
