"""Random changes that an MRI of the same patient could have had.

Every change is drawn from the generator that is passed in, so a seed repeats it.
Pictures are squares of bytes: OpenCV works on them fastest.

Heads are also shown as another MR sequence would show them. Nobody drew the outline of
a tumour on T2, and few sets hold meningiomas without contrast agent. What a slice shows
does not depend on its sequence, so slices whose truth is known are shown as a sequence
that was not taken. None of these is a picture to measure with: they have to teach that
a lesion may be bright, dark or neither.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.skull_stripping import AIR, take_off_skull
from tumorlens.imaging.preprocess.slice import Preprocessing, disc, filled
from tumorlens.training.augment.kspace import scan_badly

Square = NDArray[np.uint8]

_MAX_ROTATION_DEGREES = 18.0
_CURVE_SPREAD = 0.7
"""Standard deviation of the logarithm of how steep each fifth of an intensity curve
is: strong enough to show grey and white matter far apart, or alike."""
_BENT_SHARE = 0.5
_BEND_KNOTS = 5
_BEND = 0.015
"""Standard deviation of how far a knot of the bending grid moves, of the edge."""
_BAD_SCAN_SHARE = 0.12
_KEPT_OUTLINE = 0.6
"""A change that pushes more of the outline out of the picture is not used."""


def augment(
    square: Square,
    outline: Square | None,
    brain: Square | None,
    size: int,
    rng: np.random.Generator,
    strip_share: float,
) -> tuple[Square, Square | None]:
    """Change one slice at random.

    Parameters
    ----------
    square
        Shape (S, S), uint8: a prepared head.
    outline, brain
        Shape (S, S), uint8, 255 inside; None where unknown.
    size
        Edge of the result, in pixels.
    rng
        Source of chance.
    strip_share
        Chance that the skull is taken off, where the brain is known.

    Returns
    -------
    square, outline
        Shape (size, size), uint8; the outline is None where it was.
    """
    if brain is not None and rng.random() < strip_share:
        square, outline = take_off_skull(square, outline, brain)
    if rng.random() < _BENT_SHARE:
        square, outline = bend(square, outline, rng)
    square, outline = warp(square, outline, size, rng)
    square = change_intensity(square, rng)
    if rng.random() < _BAD_SCAN_SHARE:
        square = scan_badly(square, rng)
    square = degrade(square, rng)
    return stretch(square), outline


def bend(
    square: Square, outline: Square | None, rng: np.random.Generator
) -> tuple[Square, Square | None]:
    """Bend a head smoothly: the knots of a coarse grid move at random.

    Elastic deformation, as in Ronneberger et al. 2015 (U-Net, MICCAI).
    """
    edge = square.shape[0]
    knots = rng.normal(0.0, _BEND * edge, (2, _BEND_KNOTS, _BEND_KNOTS))
    moves = [
        cv2.resize(item.astype(np.float32), (edge, edge), interpolation=cv2.INTER_CUBIC)
        for item in knots
    ]
    rows, columns = np.mgrid[:edge, :edge].astype(np.float32)
    across, down = columns + moves[0], rows + moves[1]

    def bent(item: Square) -> Square:
        return cv2.remap(item, across, down, cv2.INTER_LINEAR)  # type: ignore[return-value]

    return bent(square), None if outline is None else bent(outline)


def warp(
    square: Square, outline: Square | None, size: int, rng: np.random.Generator
) -> tuple[Square, Square | None]:
    """Rotate, scale (also along one axis), shift, flip and resize in one step."""
    matrix = _random_matrix(square.shape[0], size, rng)
    if outline is None:
        return _warped(square, matrix, size), None
    moved = _warped(outline, matrix, size)
    whole = cv2.countNonZero(outline) * (size / square.shape[0]) ** 2
    zoom = abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
    zoom /= (size / square.shape[0]) ** 2
    if np.count_nonzero(moved > 127) < _KEPT_OUTLINE * whole * zoom:
        matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) * size / square.shape[0]
        moved = _warped(outline, matrix, size)
    return _warped(square, matrix, size), moved


def _random_matrix(
    edge: int, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    angle = np.deg2rad(rng.normal(0.0, _MAX_ROTATION_DEGREES / 2.0))
    scale = float(np.exp(rng.normal(0.0, 0.10)))
    if rng.random() < 0.12:
        scale *= rng.uniform(1.15, 1.6)  # a close crop, as web pictures have
    squeeze = float(np.exp(rng.normal(0.0, 0.08)))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    shift = rng.normal(0.0, 0.04, 2) * edge
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([flip * scale * squeeze, scale / squeeze])
    linear *= size / edge
    centre = np.array([edge / 2.0, edge / 2.0])
    offset = np.array([size / 2.0, size / 2.0]) - linear @ (centre + shift)
    return np.column_stack([linear, offset])


def _warped(square: Square, matrix: NDArray[np.float64], size: int) -> Square:
    return cv2.warpAffine(  # type: ignore[return-value]
        square, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=0
    )


def change_intensity(square: Square, rng: np.random.Generator) -> Square:
    """Apply gamma, a monotone curve and a bias field, each sometimes."""
    levels = np.linspace(0.0, 1.0, 256)
    if rng.random() < 0.7:
        levels = levels ** float(np.exp(rng.normal(0.0, 0.25)))
    if rng.random() < 0.4:
        levels = _monotone_curve(levels, rng)
    square = cv2.LUT(square, np.rint(levels * 255.0).astype(np.uint8)).astype(np.uint8)
    if rng.random() < 0.3:
        field = np.exp(rng.normal(0.0, 0.22, (3, 3))).astype(np.float32)
        gain = cv2.resize(field, square.shape[::-1], interpolation=cv2.INTER_CUBIC)
        square = cv2.multiply(square, gain, dtype=cv2.CV_8U).astype(np.uint8)
    return square


def _monotone_curve(
    levels: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    steps = np.exp(rng.normal(0.0, _CURVE_SPREAD, 5))
    knots = np.concatenate([[0.0], np.cumsum(steps)])
    return np.interp(levels, np.linspace(0.0, 1.0, 6), knots / knots[-1])


def degrade(square: Square, rng: np.random.Generator) -> Square:
    """Lose quality: resolution, blur, noise, compression, each sometimes."""
    size = square.shape[0]
    if rng.random() < 0.15:
        low = int(size * rng.uniform(0.4, 0.8))
        shrunk = cv2.resize(square, (low, low), interpolation=cv2.INTER_AREA)
        square = cv2.resize(shrunk, (size, size)).astype(np.uint8)
    if rng.random() < 0.15:
        square = cv2.GaussianBlur(square, (0, 0), rng.uniform(0.4, 1.3)).astype(
            np.uint8
        )
    if rng.random() < 0.25:
        # Rician: the magnitude of a complex signal with Gaussian noise
        # (Gudbjartsson and Patz 1995).
        sigma = rng.uniform(2.0, 14.0)
        noise = rng.normal(0.0, sigma, (2, size, size)).astype(np.float32)
        real = square.astype(np.float32) + noise[0]
        square = cv2.magnitude(real, noise[1]).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        _, packed = cv2.imencode(".jpg", square, quality)
        square = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)
    return square


def stretch(square: Square) -> Square:
    """Set intensities as serving does, between percentiles of the picture."""
    facts = Preprocessing()
    counts = np.cumsum(cv2.calcHist([square], [0], None, [256], [0, 256]).ravel())
    low = int(np.searchsorted(counts, facts.low / 100.0 * counts[-1]))
    high = int(np.searchsorted(counts, facts.high / 100.0 * counts[-1]))
    if high <= low:
        return square
    levels = (np.arange(256) - low) * (255.0 / (high - low))
    return cv2.LUT(square, levels.clip(0, 255).astype(np.uint8)).astype(np.uint8)


_FLUID_PERCENTILES = (3.0, 40.0)
"""Greys of a brain in T1 between which tissue turns into fluid."""
_MIN_SPREAD = 8.0
"""Distance of those greys below which fluid cannot be told from tissue."""
_MIN_BRAIN = 500
"""Pixels of brain that levels of grey can be taken from."""
_FLUID_IN_T2 = 200.0
"""Least grey of fluid in T2, of 255."""
_RING = 9
"""Width in pixels of the tissue around an outline that it is compared with."""
_ENHANCED = 0.5
"""Spreads of the brain's grey by which enhancing tissue is brighter than around it."""


def invert_contrast(square: Square) -> Square:
    """Show a head with dark for bright, as T2 shows what T1 does.

    In T1 fluid is dark and white matter brighter than grey; in T2 both are the other
    way round, and so is a tumour without contrast.

    Parameters
    ----------
    square
        Shape (S, S), uint8: a prepared head, air 0.
    """
    head = filled((square > AIR).astype(np.uint8))
    top = int(np.percentile(square[head > 0], 97)) if head.any() else 255
    turned = np.clip(top - square.astype(np.int16), 0, 255).astype(np.uint8)
    return np.where(head > 0, turned, 0).astype(np.uint8)


def t2_of_flair(flair: Square, t1: Square, brain: Square) -> Square | None:
    """Show a FLAIR slice as T2: the fluid that FLAIR suppresses is made bright.

    Both weigh by T2, so that tissue and most lesions keep their grey. Where fluid lies,
    the T1 slice on the same grid says, which shows it dark.

    Parameters
    ----------
    flair, t1
        Shape (S, S), uint8: the same slice, cropped alike.
    brain
        Shape (S, S), uint8, 255 inside the brain.

    Returns
    -------
    ndarray or None
        Shape (S, S), uint8; None where T1 does not part fluid from tissue.
    """
    inside = brain > 0
    if np.count_nonzero(inside) < _MIN_BRAIN:
        return None
    low, high = np.percentile(t1[inside], _FLUID_PERCENTILES)
    if high - low < _MIN_SPREAD:
        return None
    edge = cv2.GaussianBlur(brain, (0, 0), 1.0).astype(np.float32) / 255.0
    fluid = np.clip((high - t1.astype(np.float32)) / (high - low), 0.0, 1.0) * edge
    bright = max(float(np.percentile(flair[inside], 99.5)), _FLUID_IN_T2)
    grey = flair.astype(np.float32)
    shown = grey * (1.0 - fluid) + fluid * np.maximum(grey, bright)
    return np.rint(shown).clip(0, 255).astype(np.uint8)


def enhances(square: Square, outline: Square, brain: Square) -> bool:
    """Tell whether what is outlined is brighter than the brain around it.

    Parameters
    ----------
    square
        Shape (S, S), uint8: a head in T1 with contrast agent.
    outline, brain
        Shape (S, S), uint8, 255 inside.
    """
    levels = _surroundings(square, outline, brain)
    if levels is None:
        return False
    median, spread = levels
    return bool(np.median(square[outline > 127]) > median + _ENHANCED * spread)


def without_agent(
    square: Square, outline: Square, brain: Square, rng: np.random.Generator
) -> Square:
    """Show an enhancing tumour as T1 without contrast agent would.

    There it is about as bright as the brain, or darker; some of its texture and its
    pressure on what lies around it are left to tell it by.

    Parameters
    ----------
    square
        Shape (S, S), uint8: a head in T1 with contrast agent.
    outline, brain
        Shape (S, S), uint8, 255 inside.
    rng
        Source of chance.

    Returns
    -------
    ndarray
        Shape (S, S), uint8; the square itself where the brain around the tumour is
        not known.
    """
    levels = _surroundings(square, outline, brain)
    if levels is None:
        return square
    median, spread = levels
    grey = square.astype(np.float32)
    tumor = grey[outline > 127]
    own = max(float(tumor.std()), 1.0)
    level = median + spread * rng.uniform(-1.3, 0.3)
    texture = spread * rng.uniform(0.25, 0.7) / own
    if rng.random() < 0.2:
        texture = -texture
    shown = level + texture * (grey - float(tumor.mean()))
    # A rim of what enhances lies outside of most outlines.
    whole = cv2.dilate(outline, disc(int(rng.integers(1, 4))))
    soft = cv2.GaussianBlur(whole, (0, 0), rng.uniform(1.0, 2.0)) / np.float32(255.0)
    mixed = grey * (1.0 - soft) + shown * soft
    # Vessels and dura enhance too.
    bright = np.where(brain > 0, median + 2.0 * spread, 255.0)
    mixed = np.where(mixed > bright, bright + 0.4 * (mixed - bright), mixed)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def _surroundings(
    square: Square, outline: Square, brain: Square
) -> tuple[float, float] | None:
    """Find the median grey of the brain around an outline, and the brain's spread."""
    inside = (outline > 127).astype(np.uint8)
    near = (cv2.dilate(inside, disc(_RING)) > 0) & (inside == 0) & (brain > 0)
    rest = (brain > 0) & (inside == 0)
    if not inside.any() or near.sum() < 50 or rest.sum() < _MIN_BRAIN:
        return None
    low, high = np.percentile(square[rest], (16, 84))
    middle = float(np.median(square[near]))
    return middle, max(float(high - low) / 2.0, 1.0)
