"""The marked results of the web's store, as they are handed on."""

from __future__ import annotations

import gzip
import hashlib
import io
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tumorlens.errors import MissingFileError, OutputError
from tumorlens.imaging.geometry import LPS_TO_RAS
from tumorlens.imaging.preprocess.framing import view_pixels
from tumorlens.jobs.artifacts import ArtifactStore
from tumorlens.jobs.database import Job
from tumorlens.jobs.queue import JobQueue
from tumorlens.jobs.store import DATABASE, FILES, open_database
from tumorlens.report.feedback import KEY, Feedback, MarkedResult
from tumorlens.report.slice.document import view_from_json
from tumorlens.report.slice.overlay import window_picture
from tumorlens.web.uploads.upload import PICTURES, RESULT, Kind

PAGES_OF = "pages_of"
"""Key of a picture's document: id of the first picture of the same file."""

_NAME_LENGTH = 16


def marked_results(
    folder: Path, url: str | None = None, now: float | None = None
) -> Iterator[MarkedResult]:
    """Read all results of a store that are marked, also while a server uses it.

    Parameters
    ----------
    folder
        Folder of the store.
    url
        URL of its database; None for the one in the folder.
    now
        Seconds since 1970: what was kept until then is left out. By default the
        clock's.

    Yields
    ------
    MarkedResult
        One for each picture and series, in the order in which they came.

    Raises
    ------
    OutputError
        There is no store in the folder, or its database cannot be used.
    """
    if not (folder / (DATABASE if url is None else FILES)).exists():
        raise OutputError(
            f"There is no store in {folder}.", "Give the server's folder with --store."
        )
    at = time.time() if now is None else now
    with closing(open_database(folder, url)) as database:
        artifacts = ArtifactStore(database, folder / FILES, alone=False)
        queue = JobQueue(database, artifacts, {}, alone=False)
        groups: dict[str, str] = {}
        for job in queue.kept(tuple(Kind)):
            is_over = job.kept_until is None or job.kept_until <= at
            if is_over and job.pinned is None:
                continue
            # What is removed meanwhile is no fault.
            with suppress(MissingFileError):
                yield from _results_of(job, artifacts, groups)


def _results_of(
    job: Job, artifacts: ArtifactStore, groups: dict[str, str]
) -> Iterator[MarkedResult]:
    if job.kind == Kind.SCAN:
        for facts in job.document["series"]:
            if facts.get(KEY) is not None:
                packed = artifacts.read(job.id, RESULT, f"voxels-{facts['index']}")
                yield _series(job, facts, packed)
    elif job.document.get(KEY) is not None:
        stored = artifacts.read(job.id, RESULT, PICTURES)
        yield _picture(job, stored, groups)


def _picture(job: Job, stored: bytes, groups: dict[str, str]) -> MarkedResult:
    document = job.document
    pixels = np.load(io.BytesIO(stored), allow_pickle=False)[0]
    view = view_from_json(document.get("view"))
    if view is not None:
        pixels = window_picture(view_pixels(pixels.astype(np.float32), view))
    root = document.get("framed") or document.get(PAGES_OF) or job.parent or job.id
    # The same picture sent twice is one patient's, whoever sent it.
    own = hashlib.sha256(pixels.tobytes()).hexdigest()
    group = groups.get(own) or groups.get(root) or _name(root)
    for key in (own, root):
        groups.setdefault(key, group)
    return MarkedResult(
        name=_name(job.id),
        group=group,
        feedback=Feedback.read(document[KEY]),
        decision=document["decision"],
        model_version=document["model_version"],
        sequence=document["sequence"] or "",
        plane=document["plane"] or "",
        voxels=np.asarray(pixels, np.uint8),
    )


def _series(job: Job, facts: dict[str, Any], packed: bytes) -> MarkedResult:
    geometry, finding = facts["geometry"], facts["finding"]
    voxels = np.frombuffer(gzip.decompress(packed), "<u2").reshape(geometry["shape"])
    affine = geometry.get("affine")
    down, across = geometry["views"][0]["spacing_mm"] or (1.0, 1.0)
    # Where files name several people, each of them has a number.
    patient = facts.get("patient")
    return MarkedResult(
        name=_name(f"{job.id} {facts['index']}"),
        group=_name(job.id) + ("" if patient is None else f"-{patient}"),
        feedback=Feedback.read(facts[KEY]),
        decision=finding["decision"],
        model_version=finding["model_version"],
        sequence=facts["sequence"] or "",
        plane=facts["plane"] or "",
        voxels=voxels.astype(np.uint16),
        scale=(float(geometry["slope"]), float(geometry["offset"])),
        affine_ras=None
        if affine is None
        else LPS_TO_RAS @ np.array([*affine, [0.0, 0.0, 0.0, 1.0]]),
        spacing_mm=(float(geometry["gap_mm"] or 1.0), float(down), float(across)),
    )


def _name(text: str) -> str:
    # An id is all that it takes to see a result: it is not given away.
    return hashlib.sha256(text.encode()).hexdigest()[:_NAME_LENGTH]
