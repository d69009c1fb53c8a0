"""Feedback on a node: a reader's marks of what was said, handed on as the web's are.

Of each stack of a series its answer is kept as long as the series is known to the
queue; a mark stands beside it, and lets the images be kept for longer.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError, MissingFileError
from tumorlens.imaging.dicom.grouping import gather_series
from tumorlens.imaging.geometry import LPS_TO_RAS, even_grid_of, slice_gap
from tumorlens.imaging.study import Series, stacks_of
from tumorlens.pacs.queue import SeriesJob, SeriesQueue
from tumorlens.pacs.shadow import header_facts, pseudonym_key
from tumorlens.report.dicom.results import Judged
from tumorlens.report.feedback import Feedback, MarkedResult, own_classes_of
from tumorlens.taxonomy import CLASSES, decision_of, own_classes

DAY = 86_400.0
_MOST_LEVELS = 65_535
_NAME_LENGTH = 16


def note_answers(queue: SeriesQueue, job: SeriesJob, judged: Sequence[Judged]) -> None:
    """Keep what is said of a series, for a reader to mark.

    Parameters
    ----------
    queue, job
        The series that is being judged, and its queue.
    judged
        Its stacks, in order.
    """
    queue.note_answers(job, [_answer(item) for item in judged])


def _answer(judged: Judged) -> dict[str, Any]:
    said, prediction = judged.finding, judged.prediction
    return {
        "decision": decision_of(said.finding, said.kinds).value,
        "headline": said.headline,
        "partial": bool(said.missing),
        "sequence": "" if prediction.sequence is None else prediction.sequence.value,
        "plane": "" if prediction.plane is None else prediction.plane.value,
        "model_version": prediction.model_version,
        **own_classes_of(tuple(prediction.raw_probabilities or ())),
    }


def mark_series(
    queue: SeriesQueue,
    series: str,
    part: int | None,
    correct: bool,
    finding: str | None,
    days: float,
    now: float,
) -> Feedback:
    """Mark what was said of a series right or wrong.

    Parameters
    ----------
    queue
        Queue of the node, which may be running.
    series
        UID of the series.
    part
        Which of its stacks, from 1; None for the only one.
    correct, finding
        The same as for `Feedback.on`.
    days
        Time for which its images are kept from now on.
    now
        Seconds since 1970.

    Raises
    ------
    MissingFileError
        The series is not known, has no such stack, or its images are gone.
    InputError
        It has several stacks and none is named; or the finding is none, or
        contradicts what is said of the answer.
    """
    answers = queue.answers(series)
    if not answers:
        raise MissingFileError(
            "The series is not known here, or nothing was said of it.",
            "`tumorlens node list` names the series that are known.",
        )
    if part is None and len(answers) > 1:
        listed = "; ".join(
            f"{number}: {item['headline']}" for number, item in enumerate(answers, 1)
        )
        raise InputError(
            f"The series was judged in {len(answers)} parts ({listed}).",
            "Say which of them is meant, with --part.",
        )
    part = part or 1
    if part > len(answers):
        raise MissingFileError(f"The series has no part {part}.")
    answer = answers[part - 1]
    classes = own_classes(answer.get("classes", {})) or CLASSES
    feedback = Feedback.on(answer["decision"], correct, finding, now, classes)
    # The answer is that which was marked, whatever is said of the series later.
    if not queue.mark(series, part, {**feedback.to_json(), "of": answer}, days * DAY):
        raise MissingFileError(
            "The images of the series are not kept any more, so that nothing could be "
            "learned from the mark.",
            "Run the node with longer --keep-hours.",
        )
    return feedback


def marked_series(folder: Path, now: float | None = None) -> Iterator[MarkedResult]:
    """Read what readers have marked on a node, also while it runs.

    Parameters
    ----------
    folder
        Folder of its queue.
    now
        Seconds since 1970: what was kept until then is left out. By default the
        clock's.

    Yields
    ------
    MarkedResult
        One for each stack that is marked. Its group is the patient, under a
        pseudonym that only this folder's key makes.

    Raises
    ------
    OutputError
        There is no queue in the folder, or it cannot be used.
    """
    with closing(SeriesQueue(folder, beside=True)) as queue:
        for series, marks, files in queue.marked(now):
            key = pseudonym_key(folder)
            named = ((path.name, path.read_bytes()) for path in files)
            stacks = stacks_of(gather_series(named)[0]).series
            patient = header_facts(files, key)["patient"]
            for part, mark in sorted(marks.items()):
                # Images that came later may have changed how it is split.
                if int(part) <= len(stacks):
                    name = hmac.digest(key, f"{series} {part}".encode(), "sha256")
                    yield _result(
                        name.hex()[:_NAME_LENGTH],
                        patient[:_NAME_LENGTH],
                        mark,
                        stacks[int(part) - 1],
                    )


def _result(
    name: str, group: str, mark: Mapping[str, Any], series: Series
) -> MarkedResult:
    answer = mark["of"]
    voxels, offset = _voxels(series)
    grid = even_grid_of(series)
    affine = None if grid is None or grid.has_gaps else LPS_TO_RAS @ grid.affine
    down, across = series.slices[0].spacing_mm or (1.0, 1.0)
    return MarkedResult(
        name=name,
        group=group,
        feedback=Feedback.read(mark),
        decision=answer["decision"],
        model_version=answer["model_version"],
        sequence=answer["sequence"],
        plane=answer["plane"],
        voxels=voxels,
        scale=(1.0, offset),
        affine_ras=affine,
        spacing_mm=(slice_gap(series.slices) or 1.0, down, across),
    )


def _voxels(
    series: Series,
) -> tuple[NDArray[np.uint16] | NDArray[np.float32], float]:
    """Stack the pixels, as whole numbers from an offset on where that loses nothing."""
    pixels = np.stack([item.pixels for item in series.slices]).astype(np.float32)
    low = float(pixels.min())
    is_whole = bool((pixels == np.rint(pixels)).all())
    if is_whole and float(pixels.max()) - low <= _MOST_LEVELS:
        return (pixels - low).astype(np.uint16), low
    return pixels, 0.0
