"""Pictures become model inputs: read and prepared in threads, ahead of the network."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.grey import to_slice
from tumorlens.imaging.preprocess.brain import brain_share
from tumorlens.imaging.preprocess.framing import view_pixels
from tumorlens.imaging.preprocess.slice import (
    Crop,
    Preprocessing,
    prepare,
    with_square_pixels,
)
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series, Slice, Study
from tumorlens.inference.slice.results import Failure

Picture: TypeAlias = str | Path | bytes | NDArray[Any] | Study
"""A path, the bytes of a file, an array (H, W) or (H, W, 3), or what was read."""


def read_picture(source: Picture, name: str | None = None) -> Study:
    """Read a picture, in whatever form it was given.

    Parameters
    ----------
    source
        An array is in RGB where it has colours, with finite numbers.
    name
        What the user calls it; by default the path, or the kind of source.

    Raises
    ------
    InputError
        It cannot be used as a picture.
    """
    if isinstance(source, Study):
        return source
    if isinstance(source, np.ndarray):
        slice_ = to_slice(source, name or "array")
        return Study((Series((slice_,)),))
    if isinstance(source, str | Path | bytes):
        return read_study(source, name)
    raise InputError(
        f"A picture cannot be a {type(source).__name__}.",
        "Give a path, the bytes of a file, a NumPy array or a Study.",
    )


def picture_name(source: object) -> str:
    """Name a source that could not be read, for a message."""
    if isinstance(source, str | Path):
        return display_name(source)
    return "array" if isinstance(source, np.ndarray) else "picture"


_READERS = 2
_FILES_AHEAD = 4
_BATCH_PIXELS = 4_000_000
"""A batch of large pictures is cut short here, so that memory stays flat."""


@dataclass(frozen=True)
class PreparedSlice:
    """A slice that waits for the network.

    Parameters
    ----------
    slice_
        As it was read.
    notes
        Of its study; and that the model was not trained on its sequence.
    pixels
        Shape (size, size, 3), float32, in [0, 1]: the model's input.
    crop
        Where that lies in the slice.
    brain_share
        How much brain it shows, 0 to 1.
    seconds
        That preparing took.
    """

    slice_: Slice
    notes: tuple[str, ...]
    pixels: NDArray[np.float32]
    crop: Crop
    brain_share: float
    seconds: float


def prepare_slice(
    slice_: Slice, notes: tuple[str, ...], facts: Preprocessing
) -> PreparedSlice:
    """Make a slice ready for the network.

    Parameters
    ----------
    slice_, notes
        From a study.
    facts
        Of the bundle.
    """
    start = time.perf_counter()
    picture = view_pixels(slice_.pixels, slice_.view)
    square = with_square_pixels(picture, slice_.pixel_aspect)
    pixels, crop = prepare(square, facts)
    share = brain_share(pixels)
    seconds = time.perf_counter() - start
    return PreparedSlice(slice_, notes, pixels, crop, share, seconds)


def read_ahead(
    sources: Iterable[Picture], facts: Preprocessing
) -> Iterator[PreparedSlice | Failure]:
    """Read and prepare in threads, a few files ahead, in order.

    Parameters
    ----------
    sources
        Taken one by one as slices are asked for.
    facts
        Of the bundle.

    Yields
    ------
    PreparedSlice or Failure
        A file of several slices yields one for each; one that cannot be used,
        a failure.
    """
    queue: deque[Future[Iterator[PreparedSlice | Failure]]] = deque()
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
    try:
        for source in sources:
            queue.append(pool.submit(_read, source, facts))
            if len(queue) > _FILES_AHEAD:
                yield from queue.popleft().result()
        while queue:
            yield from queue.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(source: Picture, facts: Preprocessing) -> Iterator[PreparedSlice | Failure]:
    try:
        study = read_picture(source)
    except InputError as error:
        name = picture_name(source)
        return iter((Failure(name, error.code, error.message, error.hint),))
    first, *rest = study.slices
    # The first slice is prepared here, in the reader's thread; the others of
    # a long file when their turn comes, as prepared they need more memory.
    head = prepare_slice(first, study.notes, facts)
    return chain((head,), (prepare_slice(item, study.notes, facts) for item in rest))


def batches(
    items: Iterable[PreparedSlice | Failure], size: int
) -> Iterator[list[PreparedSlice | Failure]]:
    """Group what was read into batches for the network.

    Parameters
    ----------
    items
        From `read_ahead`.
    size
        Slices of a full batch, at least 1; failures beside them do not count,
        but many of them end a batch too.

    Yields
    ------
    list
        In order, never empty. A batch of large pictures has fewer slices.
    """
    waiting: list[PreparedSlice | Failure] = []
    count = pixels = 0
    for item in items:
        waiting.append(item)
        if isinstance(item, PreparedSlice):
            count += 1
            pixels += item.slice_.pixels.size
        if count == size or pixels > _BATCH_PIXELS or len(waiting) > 4 * size:
            yield waiting
            waiting, count, pixels = [], 0, 0
    if waiting:
        yield waiting
