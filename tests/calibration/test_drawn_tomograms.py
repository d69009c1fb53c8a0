"""CT drawn from MRI: bright bone around an even brain, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.samples.heads import draw_person
from tumorlens.calibration.drawn_tomograms import draw_tomogram, drawn_tomograms
from tumorlens.data.manifest import Record
from tumorlens.taxonomy import TumorClass
from tumorlens.training.dataset import Sample, load_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder: Path = tmp_path_factory.mktemp("heads")
    records = []
    for number in range(6):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), draw_person(number))
        records.append(Record(path, TumorClass.NO_TUMOR))
    return load_samples(records)[0]


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray]:
    """A head whose brain has stripes of grey and white matter, and its mask."""
    rows, columns = np.mgrid[:256, :256]
    far = np.hypot(rows - 128, columns - 128)
    square = np.where(far < 110, 170, 0).astype(np.uint8)
    square[far < 100] = 30
    stripes = np.where((columns // 8) % 2, 150, 100)
    brain = far < 88
    square[brain] = stripes[brain]
    return square, (brain * 255).astype(np.uint8)


def test_bone_is_brightest_and_the_brain_loses_its_contrast(head):
    square, brain = head
    for seed in range(5):
        drawn = draw_tomogram(square, brain, (seed,))
        middle = cv2.erode(brain, np.ones((31, 31), np.uint8)) > 0
        assert drawn.shape == square.shape and drawn.dtype == np.float32
        assert drawn.min() >= 0.0 and drawn.max() <= 255.0
        # Along a line from the middle outwards, bone stands out from all else.
        profile = drawn[128, 128:]
        assert 85 <= int(profile.argmax()) <= 108
        assert profile.max() > drawn[middle].max()
        assert drawn[middle].std() < 0.8 * square[middle].std()


def test_one_seed_draws_one_picture(head):
    one, two, other = (draw_tomogram(*head, (seed,)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 10.0


def test_no_slice_is_drawn_twice_nor_without_a_brain(samples):
    known = [sample for sample in samples if sample.brain is not None]
    assert known, "the drawn heads have no brain"
    found = drawn_tomograms(samples, 100, 3)
    assert {item.kind for item in found} == {"drawn ct"}
    assert 0 < len(found) <= len(known)
    assert len(drawn_tomograms(samples, 1, 3)) == 1
    blind = [Sample(item.record, item.square, None, None) for item in samples]
    assert drawn_tomograms(blind, 10, 3) == []
