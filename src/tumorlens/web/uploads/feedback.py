"""Feedback: what a reader says of a result, and the marked results as they are kept.

A mark is a part of the result's document. It says nothing of who made it: that stands
in the audit trail.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError, MissingFileError, OutputError
from tumorlens.imaging.geometry import LPS_TO_RAS
from tumorlens.imaging.preprocess.framing import view_pixels
from tumorlens.jobs.artifacts import ArtifactStore
from tumorlens.jobs.database import Job
from tumorlens.jobs.queue import JobQueue
from tumorlens.jobs.store import DATABASE, FILES, open_database
from tumorlens.report.slice.document import view_from_json
from tumorlens.report.slice.overlay import window_picture
from tumorlens.taxonomy import (
    FINDINGS,
    INFO,
    TUMOR_FINDINGS,
    Finding,
    Verdict,
    parse_decided,
    parse_finding,
)
from tumorlens.web.uploads.upload import PICTURES, RESULT, Kind

KEY = "feedback"
"""Key of the mark in the document of a picture, or in the facts of a series."""

PAGES_OF = "pages_of"
"""Key of a picture's document: id of the first picture of the same file."""

_NAME_LENGTH = 16


@dataclass(frozen=True)
class Feedback:
    """What a reader says of a result.

    Parameters
    ----------
    correct
        Whether the result is right.
    finding
        What the picture or series shows; None where the reader does not say.
    at
        When it was said, in UTC.
    """

    correct: bool
    finding: Finding | None
    at: datetime

    @classmethod
    def on(
        cls, decision: str, correct: bool, finding: str | None, now: float
    ) -> Feedback:
        """Make a mark of what was sent.

        Parameters
        ----------
        decision
            What the result says; one that names a class and is right names what it
            shows.
        correct, finding
            The same as in `Feedback`, as they were sent; an empty `finding` is none.
        now
            Seconds since 1970.

        Raises
        ------
        InputError
            The finding is none, or contradicts what is said of the result.
        """
        decided = parse_decided(decision)
        said = None if not finding else _finding_of(finding)
        if correct and not isinstance(decided, Verdict):
            said = said or decided
        if not _fits(decided, correct, said):
            shown = "nothing" if said is None else INFO[said].title.lower()
            raise InputError(
                f"The result is marked {'right' if correct else 'wrong'}, which does "
                f"not fit the finding: {shown}.",
                "Mark it wrong to say that it shows something else than the result, "
                "and right where both are the same.",
            )
        return cls(correct, said, datetime.fromtimestamp(now, UTC))

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Feedback:
        """Read what `to_json` wrote."""
        finding = document["finding"]
        return cls(
            bool(document["correct"]),
            None if finding is None else parse_finding(finding),
            datetime.fromisoformat(document["at"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "correct": self.correct,
            "finding": None if self.finding is None else self.finding.value,
            "at": self.at.isoformat(timespec="seconds"),
        }


def _finding_of(text: str) -> Finding:
    try:
        return parse_finding(text)
    except ValueError:
        names = ", ".join(name.value for name in FINDINGS)
        raise InputError(
            f"There is no finding {text[:40]!r}.", f"Give one of: {names}."
        ) from None


def _fits(decided: Finding | Verdict, correct: bool, said: Finding | None) -> bool:
    """Tell whether a finding can be meant beside what is said of the decision."""
    if said is None:
        return True
    if not isinstance(decided, Verdict):
        return correct == (said is decided)
    if correct and decided is Verdict.NOT_BRAIN_MRI:
        return False
    if correct and decided is Verdict.TUMOR:
        return said in TUMOR_FINDINGS
    return True


@dataclass(frozen=True, repr=False)
class MarkedResult:
    """A result that a reader has marked, with what was judged.

    Parameters
    ----------
    name
        Name that is always the same, and neither the file's nor the result's id.
    group
        Name that all results share that may show one patient, as far as is known:
        those of one file, one upload, one picture, and pictures that are equal.
    feedback
        What the reader said.
    decision, model_version
        What the result said, and which model it is from.
    sequence, plane
        MR sequence and plane, as the result has them; empty where not known.
    voxels
        Shape (H, W), uint8: the picture, or the part of it that was judged. Of a
        series shape (D, H, W), uint16.
    scale
        Of a series: slope and offset from `voxels` to the file's own values.
    affine_ras
        Of a series: from column, row, slice to RAS mm, shape (4, 4); None where its
        place in the patient is not known.
    spacing_mm
        Of a series: between slices, rows and columns; 1 where it is not known.
    """

    name: str
    group: str
    feedback: Feedback
    decision: str
    model_version: str
    sequence: str
    plane: str
    voxels: NDArray[np.uint8] | NDArray[np.uint16]
    scale: tuple[float, float] = (1.0, 0.0)
    affine_ras: NDArray[np.float64] | None = None
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)


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
            if job.kept_until is None or job.kept_until <= at:
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
