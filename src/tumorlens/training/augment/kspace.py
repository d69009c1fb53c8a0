"""Faults of a scan before it is a picture: spikes, ghosts, motion.

A scanner measures the picture's spectrum, line by line. Spikes, ghosts and motion
are faults of some of its points or lines (as in TorchIO, Perez-Garcia et al. 2021,
Comput Methods Programs Biomed).

The functions without chance also serve the measurement of robustness
(`tumorlens.evaluation.corruption`), which draws faults and strengths of
its own.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

Square = NDArray[np.uint8]
Spectrum = NDArray[np.complex64]


def spectrum_of(picture: NDArray[Any]) -> Spectrum:
    """Compute the spectrum of a picture.

    Parameters
    ----------
    picture
        Shape (H, W), any real dtype.

    Returns
    -------
    ndarray
        Shape (H, W), complex64; the lowest frequency at [0, 0], the highest in the
        middle.
    """
    return np.asarray(fft.fft2(picture.astype(np.float32)), np.complex64)


def picture_of(spectrum: Spectrum) -> NDArray[np.float32]:
    """Compute the picture of a spectrum: magnitudes, shape (H, W), float32."""
    return np.asarray(np.abs(fft.ifft2(spectrum)), np.float32)


def add_spike(spectrum: Spectrum, row: int, column: int, share: complex) -> None:
    """Let one point flare up, in place.

    Parameters
    ----------
    spectrum
        Shape (H, W), as `spectrum_of` gives it.
    row, column
        The point.
    share
        Height of the spike, as a share of the lowest frequency's magnitude; a
        complex number also turns its phase.
    """
    spectrum[row, column] += share * float(np.abs(spectrum[0, 0]))


def weakened_lines(
    lines: int, first: int, period: int, lost: float
) -> NDArray[np.float32]:
    """Weaken every n-th line, which gives ghosts.

    Parameters
    ----------
    lines
        Length of the result.
    first
        The first line that is weakened.
    period
        Distance from one such line to the next, in lines.
    lost
        Share of the signal that they lose, 0 to 1.

    Returns
    -------
    ndarray
        Shape (lines,), float32, 0 to 1: a factor for each line.
    """
    gain = np.ones(lines, np.float32)
    gain[first::period] = 1.0 - lost
    return gain


def spare_lowest(gain: NDArray[np.float32], rising: int, falling: int) -> None:
    """Leave the lowest frequencies as they are, in place.

    Parameters
    ----------
    gain
        Shape (lines,): a factor for each line, the lowest frequency first.
    rising, falling
        Lines that are spared: so many from the lowest frequency on, and so many of
        negative frequency before it.
    """
    gain[:rising], gain[len(gain) - falling :] = 1.0, 1.0


def take_lines(
    spectrum: Spectrum, lines: NDArray[np.intp], moved: NDArray[Any]
) -> None:
    """Take some lines from a picture of the head where it had moved to, in place.

    Parameters
    ----------
    spectrum
        Shape (H, W), as `spectrum_of` gives it.
    lines
        Their rows.
    moved
        Shape (H, W), any real dtype: the picture of the moved head.
    """
    spectrum[lines] = spectrum_of(moved)[lines]


def scan_badly(square: Square, rng: np.random.Generator) -> Square:
    """Give a picture spikes, ghosts or motion, one of them.

    Parameters
    ----------
    square
        Shape (S, S), uint8.
    rng
        Source of chance.

    Returns
    -------
    ndarray
        Shape (S, S), uint8.
    """
    spectrum = spectrum_of(square)
    fault = rng.integers(3)
    if fault == 0:
        _draw_spikes(spectrum, rng)
    elif fault == 1:
        spectrum *= _draw_ghosts(len(square), rng)
    else:
        _draw_motion(spectrum, square, rng)
    return np.rint(np.clip(picture_of(spectrum), 0.0, 255.0)).astype(np.uint8)


def _draw_spikes(spectrum: Spectrum, rng: np.random.Generator) -> None:
    edge = len(spectrum)
    for _ in range(int(rng.integers(1, 5))):
        row, column = rng.integers(0, edge, 2)
        phase = np.exp(2j * np.pi * rng.random())
        add_spike(spectrum, row, column, rng.uniform(0.02, 0.3) * phase)


def _draw_ghosts(edge: int, rng: np.random.Generator) -> NDArray[np.float32]:
    period = int(rng.integers(2, 6))
    lost = rng.uniform(0.1, 0.7)
    first = int(rng.integers(period))
    spared = int(rng.integers(1, 4))
    gain = weakened_lines(edge, first, period, lost)
    spare_lowest(gain, spared, spared)
    return gain[:, None] if rng.random() < 0.5 else gain[None, :]


def _draw_motion(spectrum: Spectrum, square: Square, rng: np.random.Generator) -> None:
    """Take some stretches of lines from the head where it had moved to."""
    edge = len(square)
    for _ in range(int(rng.integers(1, 4))):
        middle = (edge / 2, edge / 2)
        turn = cv2.getRotationMatrix2D(middle, rng.normal(0.0, 3.0), 1.0)
        shift = np.zeros((2, 3))
        shift[:, 2] = rng.normal(0.0, 0.012, 2) * edge
        moved = cv2.warpAffine(square, turn + shift, (edge, edge)).astype(np.uint8)
        start = int(rng.integers(edge))
        lines = np.arange(start, start + int(edge * rng.uniform(0.05, 0.3))) % edge
        take_lines(spectrum, lines, moved)
