"""Copies keep their fingerprint, other pictures have another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.samples.heads import draw_person
from tumorlens.data.duplicates.fingerprint import Fingerprint, fingerprint
from tumorlens.data.duplicates.neighbours import NEAR_DUPLICATE, near_pairs
from tumorlens.errors import InputError

Picture = NDArray[np.uint8]


def resized(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (150, 130), interpolation=cv2.INTER_AREA))


def brightened(picture: Picture) -> Picture:
    return np.clip(picture.astype(int) * 1.2 + 12, 0, 255).astype(np.uint8)


def framed(picture: Picture) -> Picture:
    return cv2.copyMakeBorder(picture, 20, 0, 20, 10, cv2.BORDER_CONSTANT, value=0)


def mirrored(picture: Picture) -> Picture:
    return np.ascontiguousarray(resized(picture)[:, ::-1])


def save(path: Path, picture: Picture, quality: int = 95) -> Path:
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return path


def pair_of(one: Fingerprint, other: Fingerprint) -> list[bool]:
    pairs = near_pairs(np.stack([one.views, other.views]))
    return [pair.mirrored for pair in pairs]


@pytest.mark.parametrize("change", [resized, brightened, framed, mirrored])
def test_a_changed_copy_is_found(
    tmp_path: Path, change: Callable[[Picture], Picture]
) -> None:
    picture = draw_person(3)
    original = fingerprint(save(tmp_path / "a.png", picture))
    copy = fingerprint(save(tmp_path / "b.jpg", change(picture), quality=60))
    assert pair_of(original, copy) == [change is mirrored]
    assert original.pixels_digest != copy.pixels_digest


def test_another_head_is_no_copy(tmp_path: Path) -> None:
    heads = [
        fingerprint(save(tmp_path / f"{seed}.png", draw_person(seed)))
        for seed in range(2)
    ]
    assert pair_of(*heads) == []


def test_pixels_and_bytes_are_told_apart(tmp_path: Path) -> None:
    picture = draw_person(0)
    one = fingerprint(save(tmp_path / "a.png", picture))
    other = fingerprint(save(tmp_path / "a.bmp", picture))
    assert one.pixels_digest == other.pixels_digest
    assert one.bytes_digest != other.bytes_digest


def test_a_blank_picture_is_known(tmp_path: Path) -> None:
    blank = save(tmp_path / "a.png", np.full((40, 60), 77, np.uint8))
    assert fingerprint(blank).blank
    head = save(tmp_path / "b.png", draw_person(0))
    assert not fingerprint(head).blank


def test_size_grey_values_and_colour_are_kept(tmp_path: Path) -> None:
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[:, 45:] = (0, 0, 200)
    found = fingerprint(save(tmp_path / "a.png", picture))
    assert (found.height, found.width) == (60, 90)
    assert found.low == 0
    assert found.high > found.low
    assert found.colorfulness > 0.1


def test_a_broken_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(InputError, match=r"a\.png"):
        fingerprint(path)


def test_the_threshold_lies_between_copies_and_neighbours() -> None:
    assert 0.9 < NEAR_DUPLICATE < 0.98
