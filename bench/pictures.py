"""Drawn heads: no picture of a patient is needed to measure a time."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 512
LESION = ((190, 220), 30)
"""Centre and radius of the bright disc, in pixels."""

_DIFFERENT = 20
_numbers = count()


def draw_head(seed: int = 0, lesion: bool = True) -> NDArray[np.uint8]:
    """Draw a head: scalp, skull, textured brain, ventricles, a bright disc.

    Parameters
    ----------
    seed
        Seed of texture and noise.
    lesion
        Whether the disc is there.

    Returns
    -------
    ndarray
        Shape (512, 512), uint8.
    """
    rng = np.random.default_rng(seed)
    picture = np.zeros((SIZE, SIZE), np.float32)
    middle = (SIZE // 2, SIZE // 2)
    for axes, grey in (((190, 232), 160.0), ((176, 216), 25.0), ((168, 208), 95.0)):
        cv2.ellipse(picture, middle, axes, 0, 0, 360, grey, -1)
    folds = cv2.GaussianBlur(
        rng.normal(0.0, 110.0, picture.shape).astype(np.float32), (0, 0), 5
    )
    picture += np.where(picture > 50.0, folds, 0.0)
    for side in (-1, 1):
        centre = (middle[0] + side * 30, middle[1])
        cv2.ellipse(picture, centre, (16, 55), side * 12, 0, 360, 30.0, -1)
    if lesion:
        cv2.circle(picture, *LESION, 230.0, -1)
    soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
    noisy = soft + rng.normal(0.0, 3.0, soft.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def write_heads(folder: Path, count: int) -> list[Path]:
    """Write heads as PNG and JPEG by turns; their content repeats after 20."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded: list[tuple[str, bytes]] = []
    for seed in range(min(count, _DIFFERENT)):
        suffix = (".png", ".jpg")[seed % 2]
        _, data = cv2.imencode(suffix, draw_head(seed, lesion=seed % 4 < 2))
        encoded.append((suffix, data.tobytes()))
    paths = []
    for number in range(count):
        suffix, content = encoded[number % len(encoded)]
        paths.append(folder / f"head{number:04d}{suffix}")
        paths[-1].write_bytes(content)
    return paths


def never_sent(data: bytes) -> bytes:
    """Make a file's bytes such as no server has seen, without another picture.

    A server that has judged the same bytes of the same sender would copy its answer.

    Parameters
    ----------
    data
        A JPEG, which gets a comment, or a TIFF, which may be followed by anything;
        others stay as they are.
    """
    number = str(next(_numbers)).encode()
    if data.startswith(b"\xff\xd8"):
        length = (len(number) + 2).to_bytes(2, "big")
        return data[:2] + b"\xff\xfe" + length + number + data[2:]
    if data.startswith((b"II*\0", b"MM\0*")):
        return data + number
    return data
