"""What can go wrong with a scan before it is a picture, drawn at random.

A scanner measures the picture's spectrum, line by line. Spikes, ghosts and motion
are faults of some of its points or lines (as in TorchIO, Perez-Garcia et al. 2021,
Comput Methods Programs Biomed).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

Square = NDArray[np.uint8]
_Spectrum = NDArray[np.complex64]


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
    spectrum = _spectrum(square)
    fault = rng.integers(3)
    if fault == 0:
        _add_spikes(spectrum, rng)
    elif fault == 1:
        spectrum *= _ghosting_gain(len(square), rng)
    else:
        _move(spectrum, square, rng)
    picture = np.abs(fft.ifft2(spectrum))
    return np.rint(np.clip(picture, 0.0, 255.0)).astype(np.uint8)


def _spectrum(square: Square) -> _Spectrum:
    return np.asarray(fft.fft2(square.astype(np.float32)), np.complex64)


def _add_spikes(spectrum: _Spectrum, rng: np.random.Generator) -> None:
    edge = len(spectrum)
    strongest = float(np.abs(spectrum[0, 0]))
    for _ in range(int(rng.integers(1, 5))):
        row, column = rng.integers(0, edge, 2)
        phase = np.exp(2j * np.pi * rng.random())
        spectrum[row, column] += rng.uniform(0.02, 0.3) * strongest * phase


def _ghosting_gain(edge: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Weaken every n-th line, but for the lowest frequencies."""
    gain = np.ones(edge, np.float32)
    period = int(rng.integers(2, 6))
    gain[int(rng.integers(period)) :: period] = 1.0 - rng.uniform(0.1, 0.7)
    spared = int(rng.integers(1, 4))
    gain[:spared], gain[-spared:] = 1.0, 1.0
    return gain[:, None] if rng.random() < 0.5 else gain[None, :]


def _move(spectrum: _Spectrum, square: Square, rng: np.random.Generator) -> None:
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
        spectrum[lines] = _spectrum(moved)[lines]
