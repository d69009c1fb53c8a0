"""The share of brain: high in the middle of a head, low at its ends."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import Phantom
from tumorlens.imaging.preprocess.brain import brain_share
from tumorlens.imaging.preprocess.slice import Preprocessing, prepare


def share_of(picture: NDArray[np.uint8]) -> float:
    pixels, _ = prepare(picture.astype(np.float32), Preprocessing())
    return brain_share(pixels)


def head_of_small_pieces() -> NDArray[np.uint8]:
    """A head like one at the base of the skull: air, bone, muscle, side by side."""
    rng = np.random.default_rng(3)
    pieces = cv2.resize(
        rng.choice(np.array([15, 90, 240], np.uint8), (22, 22)),
        (256, 256),
        interpolation=cv2.INTER_NEAREST,
    )
    mask = np.zeros((256, 256), np.uint8)
    cv2.ellipse(mask, (128, 128), (92, 112), 0, 0, 360, 1, -1)
    rim = cv2.ellipse(np.zeros_like(mask), (128, 128), (92, 112), 0, 0, 360, 1, 6)
    return np.where(rim > 0, np.uint8(150), pieces * mask).astype(np.uint8)


def test_a_head_shows_more_brain_than_its_base(phantom: Phantom) -> None:
    middle = share_of(phantom())
    assert 0.2 < middle < 0.6
    assert share_of(head_of_small_pieces()) < 0.2 * middle


def test_a_blank_picture_shows_none() -> None:
    assert brain_share(np.zeros((224, 224, 3), np.float32)) == 0.0


@pytest.mark.parametrize("size", [128, 256, 512])
def test_matrix_size_means_nothing(phantom: Phantom, size: int) -> None:
    head = phantom()
    other = cv2.resize(head, (size, size), interpolation=cv2.INTER_AREA)
    assert share_of(other.astype(np.uint8)) == pytest.approx(share_of(head), abs=0.05)


def test_brightness_means_nothing(phantom: Phantom) -> None:
    head = phantom()
    assert share_of(head // 3) == pytest.approx(share_of(head), abs=0.03)


def test_a_lesion_does_not_make_a_head_too_empty(phantom: Phantom) -> None:
    assert share_of(phantom(lesion=(100, 110, 30))) > 0.6 * share_of(phantom())
