"""Every limit on the size of input, and why it stands where it stands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tumorlens.errors import (
    FatalFileError,
    InputError,
    TooLargeError,
    TooManyBrokenError,
    TooSmallError,
)

MAX_FILE_BYTES = 128 * 2**20
"""Bytes of one file; a picture of `MAX_PIXELS`, 16-bit RGB, fits uncompressed."""

MAX_PIXELS = 20_000_000
"""Pixels of one picture: a film scanned at 300 dpi (4200 x 3400 px) fits, and
one run stays within about 600 MB of memory."""

MAX_SIDE = 16_384
"""Pixels of the longer side."""

MIN_SIDE = 32
"""Pixels of the shorter side: below, one cell of the evidence map would cover
less than about two pixels of the picture."""

MAX_ASPECT = 8.0
"""Longer over shorter side: a head fills neither a line nor a ribbon."""

MAX_PAGES = 1_000
"""Pages of one TIFF, frames of one DICOM file, slices of one volume in the plane it is
read in: a series has a few hundred, and each takes the network's time."""

MAX_STUDY_PIXELS = 100_000_000
"""Pixels of all pages together: 380 slices of 512 x 512, 400 MB as float32."""

MAX_VALUE = 1e30
"""The highest value of a pixel, up or down: sums over a picture stay far inside
what a float32 holds."""

MAX_ENTRIES = 10_000
"""Files of one archive or folder: a study of many series fits."""

MAX_UNPACKED_BYTES = 512 * 2**20
"""Bytes of all files of one archive together, unpacked."""

FREE_UNPACKED_BYTES = 48 * 2**20
"""Bytes that any file may become, however small: 12 million pixels, a whole series."""

MAX_UNPACKED_RATIO = 250
"""Bytes in memory that one byte of a larger file may become, 4 for each pixel: heads
reach 40."""

MAX_RATIO = 200
"""Bytes that one packed byte of an archive may become: empty slices reach 100."""

MAX_FATAL_FILES = 5
"""Files of one study that may end the process which decodes them, each in up to two
seconds: a scanner writes none."""

MAX_BROKEN_SECONDS = 60.0
"""Time that the files of one study may take which cannot be read."""


def check_file_size(size: int, name: str) -> None:
    """Refuse a file that is too large to be read into memory.

    Parameters
    ----------
    size
        Size in bytes.
    name
        The name of the file, for the message.

    Raises
    ------
    TooLargeError
        Above `MAX_FILE_BYTES`.
    """
    if size > MAX_FILE_BYTES:
        raise TooLargeError(
            f"{name} has {size / 2**20:.0f} MB; "
            f"at most {MAX_FILE_BYTES // 2**20} MB are read.",
            "Give single slices, or save them compressed.",
        )


def check_unpacked(pixels: int, pixel_bytes: int, size: int, name: str) -> None:
    """Refuse a small file that would become very much in memory.

    Parameters
    ----------
    pixels
        Number of all pixels, as the header states them.
    pixel_bytes
        Bytes of one pixel as it is stored; at least 4 are counted, which a slice has.
    size
        The size of the file, in bytes.
    name
        The name of the file, for the message.

    Raises
    ------
    TooLargeError
        Above `FREE_UNPACKED_BYTES` and `MAX_UNPACKED_RATIO`.
    """
    unpacked = pixels * max(4, pixel_bytes)
    if unpacked > max(FREE_UNPACKED_BYTES, MAX_UNPACKED_RATIO * size):
        raise TooLargeError(
            f"{name} has {size / 1e3:.0f} KB and claims {pixels / 1e6:.0f} million "
            "pixels, more than so few bytes hold of a series.",
            "Save it again uncompressed, if it is one.",
        )


def check_values(low: float, high: float, name: str) -> None:
    """Refuse values that are no intensities, and with which nothing can be computed.

    Parameters
    ----------
    low, high
        The darkest and the brightest value.
    name
        The name of the file, for the message.

    Raises
    ------
    InputError
        Where one is farther than `MAX_VALUE` from 0.
    """
    if max(-low, high) > MAX_VALUE:
        raise InputError(
            f"{name} holds values from {low:.3g} to {high:.3g}; at most {MAX_VALUE:g} "
            "up or down are read.",
            "Replace what marks missing pixels, or scale the values down.",
        )


def check_dimensions(width: int, height: int, name: str) -> None:
    """Refuse a picture whose size, as its header states it, cannot be a slice.

    Parameters
    ----------
    width, height
        Size in pixels.
    name
        The name of the file, for the message.

    Raises
    ------
    TooSmallError, TooLargeError, InputError
        Under `MIN_SIDE`, above `MAX_SIDE` or `MAX_PIXELS`, and beyond
        `MAX_ASPECT`, in this order.
    """
    shorter, longer = sorted((width, height))
    if shorter < MIN_SIDE:
        raise TooSmallError(
            f"{name} is {width} x {height} pixels; "
            f"both sides must have at least {MIN_SIDE}."
        )
    if longer > MAX_SIDE or width * height > MAX_PIXELS:
        raise TooLargeError(
            f"{name} is {width} x {height} pixels; at most {MAX_SIDE} a side "
            f"and {MAX_PIXELS // 10**6} million in all are read.",
            "Scale the picture down; a slice needs no more than 1024 x 1024.",
        )
    if longer > MAX_ASPECT * shorter:
        raise InputError(
            f"{name} is {width} x {height} pixels, too long and narrow for a slice.",
            "Give one slice, not a strip of many.",
        )


_FREE_SECONDS = 0.05
"""Seconds that any file may take: thousands of another kind cost nothing."""


class BrokenFiles:
    """Files of one study that could not be read, and what trying took.

    Each alone is held to seconds, but an archive may hold thousands.

    Parameters
    ----------
    label
        Name of the study, for messages.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._fatal = 0
        self._slow = 0
        self._seconds = 0.0

    @contextmanager
    def passing_over(
        self, name: str, failures: list[tuple[str, InputError]]
    ) -> Iterator[None]:
        """Read one file inside: that it cannot be read is noted and charged.

        Parameters
        ----------
        name
            The name of the file.
        failures
            List that gets its name and error.

        Raises
        ------
        TooManyBrokenError
            Where the files of `MAX_FATAL_FILES` ended their decoder, or all
            together took `MAX_BROKEN_SECONDS`.
        """
        start = time.monotonic()
        try:
            yield
        except InputError as error:
            # A copy: the error itself holds on to all that was being read.
            failures.append((name, type(error)(error.message, error.hint)))
            self._charge(name, error, time.monotonic() - start)

    def _charge(self, name: str, error: InputError, seconds: float) -> None:
        hint = "Leave those files out, or export the study again, uncompressed."
        self._fatal += isinstance(error, FatalFileError)
        if self._fatal >= MAX_FATAL_FILES:
            raise TooManyBrokenError(
                f"{self._label} holds {self._fatal} files whose pixel data end their "
                f"decoder or keep it busy, the last of them {name}; the rest of the "
                "study was not read.",
                hint,
            ) from error
        if seconds > _FREE_SECONDS:
            self._slow += 1
            self._seconds += seconds
        if self._seconds >= MAX_BROKEN_SECONDS:
            raise TooManyBrokenError(
                f"{self._label} holds {self._slow} files that took long and could not "
                f"be read, the last of them {name}; the rest of the study was not "
                "read.",
                hint,
            ) from error
