"""A drawn head with a drawn lesion: no patient's picture."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.report.slice.overlay import encode_png

_SIZE = 512
_SCALP, _SKULL, _FLUID = 205.0, 28.0, 48.0
_GREY_MATTER, _WHITE_MATTER = 98.0, 132.0
_RIM, _CORE, _SWELLING = 238.0, 72.0, 84.0


def draw_head() -> NDArray[np.uint8]:
    """Draw an axial slice after contrast, as simple shapes, always the same.

    Returns
    -------
    ndarray
        Shape (512, 512), uint8.
    """
    rng = np.random.default_rng(7)
    axis = np.linspace(-1.0, 1.0, _SIZE, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    # Distances from the centre, 1 on the edge of the brain; folds wave the edges.
    brain = np.hypot(x / 0.62, y / 0.78)
    folds = 0.5 * _texture(rng, 7) + 0.5 * _texture(rng, 13)
    picture = np.zeros_like(x)
    picture[brain < 1.19] = _SCALP
    picture[brain < 1.11] = _SKULL
    picture[brain < 1.03] = _FLUID
    picture[brain + 0.035 * folds < 0.99] = _GREY_MATTER
    picture[(brain + 0.14 * folds < 0.82) & (brain < 0.93)] = _WHITE_MATTER
    picture[(np.abs(x + 0.006 * folds) < 0.007) & (brain < 1.0)] = _FLUID
    for side in (-1.0, 1.0):
        horn = np.hypot((x - side * (0.10 + 0.25 * y**2)) / 0.055, (y + 0.03) / 0.30)
        picture[horn + 0.1 * folds < 1.0] = _FLUID - 12.0
        nucleus = np.hypot((x - side * 0.24) / 0.085, (y + 0.02) / 0.15)
        picture[nucleus + 0.15 * folds < 1.0] = _GREY_MATTER + 6.0
    lesion = np.hypot((x - 0.30) / 0.15, (y + 0.30) / 0.13) + 0.10 * folds
    picture[(lesion < 1.65) & (picture > _FLUID) & (brain < 0.97)] = _SWELLING
    picture[lesion < 1.0] = _RIM
    picture[lesion < 0.60] = _CORE
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.6), np.float32)
    picture *= 1.0 + 0.05 * _texture(rng, 40)
    # Noise of a magnitude picture is Rician: of two channels (Gudbjartsson 1995).
    noise = rng.normal(0.0, 3.5, (2, _SIZE, _SIZE)).astype(np.float32)
    picture = np.hypot(picture + noise[0], noise[1])
    return np.asarray(np.minimum(picture, 255.0), np.uint8)


@cache
def drawn_head_png() -> bytes:
    """The head as a PNG file; it is drawn once."""
    return encode_png(draw_head())


def _texture(rng: np.random.Generator, sigma: float) -> NDArray[np.float32]:
    """Smooth noise of standard deviation 1, with grains of `sigma` pixels."""
    noise = rng.normal(size=(_SIZE, _SIZE)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.asarray(smooth / smooth.std(), np.float32)
