"""Processes that are killed at any moment: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.jobs.conftest import POLICIES
from tumorlens.jobs.database import JobState
from tumorlens.jobs.store import JobStore

SERVER = """
import os, sys, time
from pathlib import Path
from tumorlens.jobs.queue import Progress, RetryPolicy
from tumorlens.jobs.store import JobStore
from tumorlens.jobs.database import JobState
from tumorlens.jobs.queue import Worker

url = sys.argv[2] if len(sys.argv) > 2 else None
store = JobStore(Path(sys.argv[1]), {"judge": RetryPolicy(1000, 0.01, 0.01)}, url=url)
queue, artifacts = store.queue, store.artifacts

def note(*words):
    # One write a line: print writes word by word, and two threads write here.
    os.write(1, ("|".join(words) + "\\n").encode())

def step():
    job = queue.claim("judge", "worker")
    if job is None:
        return False
    note("takes", job.id)
    data = artifacts.read(job.id, "upload", "a")
    for number in range(4):
        time.sleep(0.005)
        queue.report(job, Progress(number, 4))
        queue.check(job)
    with artifacts.staging() as stage, store.database.transaction():
        artifacts.attach(job.id, "result", {job.lease: stage(data[::-1])})
        queue.add("picture", "judge", parent=job.id, state=JobState.DONE)
        queue.finish(job)
    return True

worker = Worker(queue, [step])
worker.start()
for number in range(10**9):
    data = b"upload %d %f" % (number, time.time())
    with artifacts.staging() as stage, store.database.transaction():
        job = queue.add("scan", "judge")
        artifacts.attach(job.id, "upload", {"a": stage(data)})
    note("accepted", job.id, data.decode())
    time.sleep(0.005)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_server_that_is_killed_again_and_again(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = None
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").database()
    folder, log = tmp_path / "store", tmp_path / "log"
    chance = random.Random(1)
    for _ in range(6):
        seen = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(folder), *([url] if url else [])],
                stdout=file,
                env=dict(os.environ),
            )
        while log.stat().st_size < seen + 2000 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    lines = log.read_text().splitlines()
    accepted = dict(line.split("|")[1:] for line in lines if line.count("|") == 2)
    assert len(accepted) > 60
    later = time.time() + 3600
    store = JobStore(folder, POLICIES, url=url, clock=lambda: later)
    found = {}
    for job_id, data in accepted.items():
        job = store.queue.get(job_id)
        assert job is not None, "lost"
        assert store.artifacts.read(job_id, "upload", "a") == data.encode()
        found[job_id] = job.state
        results = store.artifacts.of(job_id, "result")
        parts = store.queue.children(job_id)
        if job.state is JobState.DONE:
            assert len(results) == len(parts) == 1, "lost or done twice"
            whole = store.artifacts.read(job_id, "result", results[0].name)
            assert whole == data.encode()[::-1]
        else:
            assert results == parts == []
    assert JobState.DONE in found.values()
    # Whatever was not done is there to be done.
    left = {job for job, state in found.items() if state is not JobState.DONE}
    while (job := store.queue.claim("judge", "worker")) is not None:
        left.discard(job.id)
        store.queue.finish(job)
    assert left == set()
    blobs = {item.name for item in (folder / "files").iterdir()}
    assert not [name for name in blobs if name.startswith("incoming")] or url
    store.close()
