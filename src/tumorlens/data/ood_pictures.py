"""Pictures that are no brain MRI, to teach and to test refusal.

Most are drawn; photographs come from a package that ships some. Chest x-rays
cannot be shipped, so crude ones are drawn: body, lungs, ribs, heart, spine.
Computed tomograms come from the manifest: they are the nearest to brain MRI of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.imaging.read import read_study

Picture = NDArray[np.float32]
_EDGE = 256

PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "cat",
    "cell",
    "coffee",
    "coins",
    "colorwheel",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "page",
    "retina",
    "rocket",
    "text",
)
"""Photographs in scikit-image's wheel or downloads; absent ones are left out."""


@dataclass(frozen=True)
class OodSample:
    """A picture that is no brain MRI, which teaches what to refuse.

    Parameters
    ----------
    kind
        Kind of picture.
    pixels
        Shape (H, W), float32, 0 to 255.
    colorfulness
        Colorfulness; see `tumorlens.imaging.study.Slice`.
    """

    kind: str
    pixels: Picture
    colorfulness: float = 0.0


def draw_ood_samples(count: int, seed: int) -> list[OodSample]:
    """Draw pictures of every kind.

    Parameters
    ----------
    count
        Number of pictures of each kind.
    seed
        The same seed draws the same pictures.
    """
    pictures = []
    for row, (kind, draw) in enumerate(_DRAWERS.items()):
        for index in range(count):
            rng = np.random.default_rng((seed, row, index))
            pixels = np.clip(draw(rng), 0.0, 255.0).astype(np.float32)
            tint = float(rng.uniform(0.05, 0.5)) if rng.random() < 0.2 else 0.0
            pictures.append(OodSample(kind, pixels, tint))
    return pictures


def photographs() -> list[OodSample]:
    """Load the photographs that scikit-image ships, whole and in parts."""
    import skimage.data

    pictures = []
    for name in PHOTOGRAPHS:
        try:
            picture = np.asarray(getattr(skimage.data, name)())
        except (AttributeError, OSError, ImportError, ValueError):
            continue  # this release does not carry it
        picture = picture.astype(np.float32)
        if picture.ndim == 3:
            rgb = picture[..., :3]
            color = float((rgb.max(axis=2) - rgb.min(axis=2)).mean() / 255.0)
            picture = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
        else:
            color = 0.0
        height, width = picture.shape
        half = (slice(0, height // 2), slice(height // 2, height))
        side = (slice(0, width // 2), slice(width // 2, width))
        parts = [
            picture,
            *(picture[rows, columns] for rows in half for columns in side),
        ]
        pictures += [
            OodSample("photograph", np.ascontiguousarray(part), color * (row % 2))
            for row, part in enumerate(parts)
        ]
    return pictures


def _picture(canvas: NDArray[Any]) -> Picture:
    return np.asarray(canvas, np.float32)


def _noise(rng: np.random.Generator) -> Picture:
    size = int(rng.integers(4, _EDGE))
    field = rng.normal(128.0, rng.uniform(10.0, 90.0), (size, size)).astype(np.float32)
    return _picture(
        cv2.resize(field, (_EDGE, _EDGE), interpolation=int(rng.integers(0, 3)))
    )


def _texture(rng: np.random.Generator) -> Picture:
    field = np.zeros((_EDGE, _EDGE), np.float32)
    for octave in range(2, 7):
        grid = rng.normal(size=(2**octave, 2**octave)).astype(np.float32)
        gain = float(rng.uniform(0.3, 1.0)) ** octave
        field += gain * cv2.resize(grid, (_EDGE, _EDGE), interpolation=cv2.INTER_CUBIC)
    texture: Picture = 128.0 + 60.0 * field / (field.std() + 1e-6)
    return texture


def _gradient(rng: np.random.Generator) -> Picture:
    y, x = np.mgrid[0:1:256j, 0:1:256j]
    slope = rng.normal(size=3)
    field = slope[0] * x + slope[1] * y + slope[2] * x * y
    return np.asarray(
        255.0 * (field - field.min()) / (np.ptp(field) + 1e-6), np.float32
    )


def _blank(rng: np.random.Generator) -> Picture:
    level = float(rng.uniform(0.0, 255.0))
    return np.asarray(
        level + rng.normal(0.0, rng.uniform(0.0, 2.0), (_EDGE, _EDGE)), np.float32
    )


def _shapes(rng: np.random.Generator) -> Picture:
    canvas = np.full((_EDGE, _EDGE), float(rng.choice([0.0, 40.0, 200.0, 255.0])))
    canvas = canvas.astype(np.float32)
    for _ in range(int(rng.integers(1, 12))):
        level = float(rng.uniform(0.0, 255.0))
        x, y = (int(item) for item in rng.integers(0, _EDGE, 2))
        a, b = (int(item) for item in rng.integers(8, 110, 2))
        if rng.random() < 0.5:
            cv2.ellipse(
                canvas, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, level, -1
            )
        else:
            cv2.rectangle(canvas, (x, y), (x + a, y + b), level, -1)
    return canvas


def _chart(rng: np.random.Generator) -> Picture:
    dark = rng.random() < 0.3
    paper, ink = (20.0, 220.0) if dark else (255.0, 20.0)
    canvas = np.full((_EDGE, _EDGE), paper, np.uint8)
    cv2.line(canvas, (30, 20), (30, 230), ink, 1)
    cv2.line(canvas, (30, 230), (245, 230), ink, 1)
    count = int(rng.integers(4, 20))
    heights = rng.uniform(40.0, 225.0, count).astype(int)
    places = np.linspace(40, 235, count).astype(int)
    if rng.random() < 0.5:
        for place, height in zip(places, heights, strict=True):
            level = float(rng.uniform(60.0, 200.0))
            cv2.rectangle(
                canvas, (int(place), int(height)), (int(place) + 8, 230), level, -1
            )
    else:
        points = np.stack([places, heights], axis=1).astype(np.int32)
        cv2.polylines(canvas, [points], False, ink, int(rng.integers(1, 4)))
    cv2.putText(canvas, "Figure", (90, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, 1)
    return canvas.astype(np.float32)


def _writing(rng: np.random.Generator) -> Picture:
    paper, ink = (255.0, 10.0) if rng.random() < 0.7 else (0.0, 240.0)
    canvas = np.full((_EDGE, _EDGE), paper, np.uint8)
    step = int(rng.integers(12, 34))
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    for y in range(step, _EDGE, step):
        line = "".join(rng.choice(letters, 60))
        cv2.putText(canvas, line, (6, y), cv2.FONT_HERSHEY_SIMPLEX, step / 40.0, ink, 1)
    return canvas.astype(np.float32)


def _chest(rng: np.random.Generator) -> Picture:
    """Draw something like a frontal chest x-ray."""
    canvas = np.full((_EDGE, _EDGE), float(rng.uniform(0.0, 60.0)), np.float32)
    middle = 128 + int(rng.normal(0.0, 6.0))
    body = float(rng.uniform(110.0, 190.0))
    cv2.ellipse(canvas, (middle, 175), (118, 150), 0, 0, 360, body, -1)
    cv2.rectangle(canvas, (middle - 22, 0), (middle + 22, 50), body, -1)
    for sign in (-1, 1):
        centre = (middle + sign * int(rng.uniform(48, 60)), int(rng.uniform(115, 135)))
        axes = (int(rng.uniform(32, 44)), int(rng.uniform(70, 92)))
        tilt = sign * float(rng.uniform(2.0, 12.0))
        cv2.ellipse(canvas, centre, axes, tilt, 0, 360, float(rng.uniform(20, 70)), -1)
    cv2.ellipse(
        canvas,
        (middle + 16, 165),
        (38, 48),
        25,
        0,
        360,
        float(rng.uniform(190, 235)),
        -1,
    )
    cv2.rectangle(canvas, (middle - 11, 0), (middle + 11, 255), body + 45.0, -1)
    ribs = np.zeros_like(canvas)
    for y in range(45, 215, int(rng.integers(15, 22))):
        for sign in (-1, 1):
            cv2.ellipse(
                ribs,
                (middle + sign * 58, y + 14),
                (56, 18),
                sign * 18,
                180,
                360,
                1.0,
                4,
            )
    canvas += ribs * float(rng.uniform(12.0, 45.0))
    canvas = _picture(cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(1.0, 3.5))))
    canvas += rng.normal(0.0, rng.uniform(1.0, 8.0), canvas.shape).astype(np.float32)
    zoom = float(rng.uniform(0.85, 1.3))
    turn = cv2.getRotationMatrix2D((128, 128), float(rng.normal(0.0, 4.0)), zoom)
    return _picture(
        cv2.warpAffine(canvas, turn, (_EDGE, _EDGE), borderMode=cv2.BORDER_REPLICATE)
    )


def _limb(rng: np.random.Generator) -> Picture:
    """Draw something like an x-ray or a scan of a limb: soft tissue and bones."""
    canvas = np.full((_EDGE, _EDGE), float(rng.uniform(0.0, 25.0)), np.float32)
    soft, bone = float(rng.uniform(50, 120)), float(rng.uniform(150, 240))
    for _ in range(int(rng.integers(1, 6))):
        start = rng.integers(10, 246, 2)
        end = rng.integers(10, 246, 2)
        width = int(rng.integers(14, 60))
        a, b = (int(start[0]), int(start[1])), (int(end[0]), int(end[1]))
        cv2.line(canvas, a, b, soft, width)
        cv2.line(canvas, a, b, bone, max(2, width // 3))
    canvas = _picture(cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.8, 3.0))))
    return canvas + rng.normal(0.0, 4.0, canvas.shape).astype(np.float32)


def _trunk(rng: np.random.Generator) -> Picture:
    """Draw something like an axial slice of a belly: fat, organs, spine."""
    canvas = np.zeros((_EDGE, _EDGE), np.float32)
    wide, high = int(rng.uniform(95, 122)), int(rng.uniform(62, 88))
    fat, muscle = float(rng.uniform(40, 240)), float(rng.uniform(60, 180))
    cv2.ellipse(canvas, (128, 128), (wide, high), 0, 0, 360, fat, -1)
    cv2.ellipse(canvas, (128, 128), (wide - 14, high - 12), 0, 0, 360, muscle, -1)
    for _ in range(int(rng.integers(6, 16))):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.7)
        x = 128 + int(np.cos(angle) * reach * (wide - 20))
        y = 128 + int(np.sin(angle) * reach * (high - 18))
        axes = (int(rng.integers(6, 40)), int(rng.integers(6, 28)))
        level = float(rng.uniform(20, 250))
        cv2.ellipse(canvas, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, level, -1)
    cv2.circle(canvas, (128, 128 + high - 28), 15, float(rng.uniform(150, 255)), -1)
    canvas = _picture(cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.8, 2.5))))
    return canvas + rng.normal(0.0, 5.0, canvas.shape).astype(np.float32)


_DRAWERS: dict[str, Callable[[np.random.Generator], Picture]] = {
    "noise": _noise,
    "texture": _texture,
    "gradient": _gradient,
    "blank": _blank,
    "shapes": _shapes,
    "chart": _chart,
    "writing": _writing,
    "chest": _chest,
    "limb": _limb,
    "trunk": _trunk,
}


CT_FLAG = "ct"
DRAWN_CT = "drawn ct"
"""Kind of what `tumorlens.calibration.ood` draws."""


def tomograms(records: Sequence[Record]) -> list[OodSample]:
    """Read the pictures that a manifest flags as CT and that are no test's.

    Parameters
    ----------
    records
        The whole manifest, flagged rows too.

    Raises
    ------
    InputError
        A file cannot be read.
    """
    pictures = []
    for record in records:
        if record.flag == CT_FLAG and record.split != "test":
            slice_ = read_study(record.path).slices[0]
            pictures.append(OodSample(CT_FLAG, slice_.pixels, slice_.colorfulness))
    return pictures
