"""Upload: one picture that was judged, or one or several series.

Tested in `tests/web/uploads/test_store.py` and
`tests/web/uploads/test_series_store.py`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import MissingFileError
from tumorlens.imaging.preprocess.slice import Crop
from tumorlens.inference.slice.prediction import GridMap, MapSource, Prediction
from tumorlens.jobs.queue import Progress
from tumorlens.report.slice.overlay import grey_map, window_picture

SENT, RESULT = "sent", "result"
"""Artefacts of an upload: its files as they came, until it is over, and what was made
of them."""

TRACE = "traceparent"
"""Key of a scan's document for the trace of the request that sent it, where requests
are traced."""

PICTURES = "pictures"
"""Name of the artefact with a picture's pixels and maps, by `pack_pictures`."""

_GRID_FACTS = 5
"""Numbers before those of a grid: its shape, and where its crop lies."""


class Kind(StrEnum):
    """Kind of an upload."""

    PICTURE = "picture"
    SCAN = "scan"


class State(StrEnum):
    """State of an upload."""

    WAITING = "waiting"
    READING = "reading"
    JUDGING = "judging"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """True where nothing more will happen."""
        return self in (State.DONE, State.FAILED, State.STOPPED)


@dataclass(frozen=True)
class Upload:
    """One slice that was judged, or one upload of one or several series.

    Parameters
    ----------
    id
        Random, 128 bits, not to be guessed.
    kind
        Picture or scan.
    owner
        The session it belongs to, or `ANYONE`.
    made
        Seconds since 1970, UTC.
    state
        State; a picture is done.
    document
        Plain JSON values. Of a picture as `prediction_to_json` wrote it. Of a scan
        ``label``, ``operating_point``, ``notes``, ``error`` (or None), ``series``,
        ``analyses`` (ids of single pictures) and ``has_report``: whether there is a
        PDF of all series; of several series also ``study``, what they show together.
    progress
        Slices that are judged; None where it is not being judged.
    kept_until
        Seconds since 1970 until which it is kept, since a reader has marked it; None
        where it is removed as all others.
    is_pinned
        Whether its owner keeps it until he says otherwise.
    """

    id: str
    kind: Kind
    owner: str
    made: float
    state: State
    document: dict[str, Any] = field(repr=False)
    progress: Progress | None = None
    kept_until: float | None = None
    is_pinned: bool = False

    @property
    def date(self) -> datetime:
        """Time of the upload, in UTC."""
        return datetime.fromtimestamp(self.made, UTC)

    @property
    def series(self) -> list[dict[str, Any]]:
        """Facts of each series of a scan; empty until it has been read."""
        series: list[dict[str, Any]] = self.document["series"]
        return series

    @property
    def study(self) -> dict[str, Any] | None:
        """What several series show together; None where nobody asked yet."""
        document: dict[str, Any] | None = self.document.get("study")
        return document


def missing(kind: Kind) -> MissingFileError:
    """Make the error for an upload that is not there."""
    what, again = {
        Kind.PICTURE: ("analysis", "Analyse the picture again."),
        Kind.SCAN: ("upload", "Send its files again."),
    }[kind]
    return MissingFileError(
        f"There is no such {what} here.",
        f"It was deleted, its time is over, or it belongs to another browser. {again}",
    )


def pack_pictures(prediction: Prediction) -> bytes:
    """Write down a picture in 8 bits, and its maps.

    Maps that the network's grid says are kept as that: most are never looked at, and
    all are drawn again in a moment.
    """
    stream = io.BytesIO()
    picture = window_picture(prediction.pixels)
    grids = prediction.explanation.grids
    if grids is None:
        maps = prediction.explanation.evidence, prediction.explanation.gradcam
        np.save(stream, np.stack([picture, *map(grey_map, maps)]))
        return stream.getvalue()
    parts: list[NDArray[np.float32]] = []
    for item in grids:
        facts = (*item.grid.shape, item.crop.x, item.crop.y, item.crop.side)
        parts += [np.array(facts, np.float32), item.grid.ravel()]
    np.save(stream, picture)
    # In one array: each takes as long as to write all these numbers.
    np.save(stream, np.concatenate(parts))
    return stream.getvalue()


def unpack_picture(packed: bytes) -> NDArray[np.uint8]:
    """Read the picture that `pack_pictures` wrote: shape (H, W)."""
    first = np.load(io.BytesIO(packed), allow_pickle=False)
    picture: NDArray[np.uint8] = first if first.ndim == 2 else first[0]
    return picture


def unpack_pictures(
    packed: bytes,
) -> tuple[NDArray[np.float32], MapSource, MapSource]:
    """Read what `pack_pictures` wrote.

    Returns
    -------
    pixels
        Shape (H, W), float32, 0 to 1.
    evidence, gradcam
        The same of the maps; or calls that draw them.
    """
    stream = io.BytesIO(packed)
    first = np.load(stream, allow_pickle=False)
    if first.ndim == 3:
        # Older releases wrote all of them so.
        pixels, evidence, gradcam = map(_in_steps, first)
        return pixels, evidence, gradcam
    numbers = np.load(stream, allow_pickle=False)
    drawings = []
    for is_relative in (False, True):
        rows, columns, *place = map(int, numbers[:_GRID_FACTS])
        end = _GRID_FACTS + rows * columns
        grid = numbers[_GRID_FACTS:end].reshape(rows, columns)
        map_ = GridMap(grid, Crop(*place), first.shape, is_relative=is_relative)
        drawings.append(partial(_drawn_in_steps, map_))
        numbers = numbers[end:]
    return _in_steps(first), drawings[0], drawings[1]


def _drawn_in_steps(source: GridMap) -> NDArray[np.float32]:
    return _in_steps(grey_map(source()))


def _in_steps(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    return grey.astype(np.float32) / np.float32(255.0)
