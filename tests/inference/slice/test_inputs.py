"""Pictures are read ahead, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import draw_phantom
from tumorlens.imaging.grey import to_slice
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.inference.slice.inputs import (
    PreparedSlice,
    batches,
    prepare_slice,
    read_ahead,
)
from tumorlens.inference.slice.results import Failure

FACTS = Preprocessing(size=32)
FAILURE = Failure("none.png", "not_found", "There is none.", "Give one.")


def prepared(side: int) -> PreparedSlice:
    return prepare_slice(to_slice(draw_phantom(side, side), "drawn"), ("note",), FACTS)


def test_a_prepared_slice_is_the_model_s_input() -> None:
    found = prepared(100)
    assert found.pixels.shape == (32, 32, 3)
    assert found.pixels.dtype == np.float32
    assert 0.0 <= found.pixels.min() < found.pixels.max() <= 1.0
    assert 0.0 < found.brain_share <= 1.0
    assert found.notes == ("note",)


def test_a_long_file_does_not_lose_its_place(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    assert cv2.imwritemulti(str(path), [draw_phantom(300, seed=k) for k in range(9)])
    found = list(read_ahead([path, b"", draw_phantom(64)], FACTS))
    slices = [item.slice_ for item in found if isinstance(item, PreparedSlice)]
    assert [item.index for item in slices] == [*range(9), 0]
    assert [type(item) for item in found][9] is Failure
    assert slices[-1].height == 64


def test_few_sources_are_taken_before_they_are_asked_for() -> None:
    taken = []

    def sources() -> Iterator[bytes]:
        for count in range(100):
            taken.append(count)
            yield b""

    stream = read_ahead(sources(), FACTS)
    next(stream)
    assert len(taken) < 10


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_batch_is_full_of_slices(size: int) -> None:
    items = [prepared(64), FAILURE, *[prepared(64)] * 5]
    found = list(batches(items, size))
    assert [item for batch in found for item in batch] == items
    counts = [sum(isinstance(x, PreparedSlice) for x in batch) for batch in found]
    assert counts[:-1] == [size] * (len(found) - 1)
    assert 0 < counts[-1] <= size


def test_large_pictures_make_short_batches() -> None:
    found = list(batches([prepared(1500)] * 6, 6))
    assert [len(batch) for batch in found] == [2, 2, 2]


def test_failures_do_not_wait_for_a_slice() -> None:
    found = list(batches([FAILURE] * 30, 2))
    assert max(map(len, found)) < 15
    assert sum(map(len, found)) == 30


def test_nothing_makes_no_batch() -> None:
    assert list(batches([], 3)) == []
