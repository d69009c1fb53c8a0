"""The frames of a DICOM file, decoded one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.dicom_header import integer, quiet, text
from tumorlens.imaging.limits import MAX_PAGES, MAX_STUDY_PIXELS, check_dimensions

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_RLE = "1.2.840.10008.1.2.5"
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


class Layout(NamedTuple):
    """What the header states of the pixels.

    Parameters
    ----------
    frames, rows, columns, samples
        Counts; samples is 1 for grey and 3 for colour.
    allocated, stored
        Bits of a value in the file, and how many of them count.
    signed
        Whether values may be negative.
    inverted
        Whether the lowest value is white (MONOCHROME1).
    """

    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    inverted: bool


def layout(header: Dataset, name: str) -> Layout:
    """Read and check what the header states, before anything is decoded.

    Raises
    ------
    DamagedFileError
        Where a tag is missing or impossible.
    TooLargeError, TooSmallError, InputError
        Where a limit is passed, or the file holds no picture.
    """
    if "PixelData" not in header:
        raise DamagedFileError(
            f"{name} holds no pixel data.", "Give a DICOM file that holds a picture."
        )
    rows = integer(header, "Rows", name)
    columns = integer(header, "Columns", name)
    check_dimensions(columns, rows, name)
    frames = integer(header, "NumberOfFrames", name, 1)
    if frames < 1:
        raise DamagedFileError(f"{name} states {frames} in the tag NumberOfFrames.")
    if frames > MAX_PAGES or frames * rows * columns > MAX_STUDY_PIXELS:
        raise TooLargeError(
            f"{name} states {frames} frames of {columns} x {rows} pixels; at most "
            f"{MAX_PAGES} frames and {MAX_STUDY_PIXELS // 10**6} million pixels "
            "are read.",
            "Split the file.",
        )
    samples = integer(header, "SamplesPerPixel", name, 1)
    allocated = integer(header, "BitsAllocated", name)
    stored = integer(header, "BitsStored", name)
    signed = integer(header, "PixelRepresentation", name, 0)
    colours = text(header, "PhotometricInterpretation") or "MONOCHROME2"
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        raise DamagedFileError(
            f"{name} states {allocated} in the tag BitsAllocated and {stored} in "
            "BitsStored."
        )
    if (samples, colours in _GREY, colours in _COLOUR) not in (
        (1, True, False),
        (3, False, True),
    ):
        raise InputError(
            f"{name} has a kind of colours that no MR slice has "
            "(PhotometricInterpretation).",
            "Export the slice as grey values.",
        )
    inverted = colours == "MONOCHROME1"
    return Layout(
        frames, rows, columns, samples, allocated, stored, signed == 1, inverted
    )


def decode(header: Dataset, shape: Layout, name: str) -> Iterator[NDArray[Any]]:
    """Decode the stored values, frame by frame, brighter is higher.

    Windows (VOI LUT) are not applied: they are how one reader liked to see the
    slice, and the shared preprocessing does the intensity for training and
    serving alike.

    Yields
    ------
    ndarray
        Shape (H, W), or (H, W, 3) in RGB; integers, not yet rescaled.

    Raises
    ------
    DamagedFileError
        Where the data are cut off, or say something else than the header.
    InputError
        Where no decoder for the transfer syntax is installed.
    """
    from pydicom.pixels.utils import iter_pixels

    _check_data(header, shape, name)
    count = 0
    try:
        with quiet():
            for frame in iter_pixels(header):
                count += 1
                yield _upright(np.asarray(frame), shape, name)
    except InputError:
        raise
    # The decoders of five libraries stand behind this; what they raise on broken
    # data is not documented.
    except Exception as error:
        if isinstance(error, NotImplementedError | RuntimeError) and (
            "missing dependencies" in str(error) or "decod" in str(error)[:60]
        ):
            raise DamagedFileError(
                f"{name} is compressed in a way that no decoder here can read.",
                "Export it uncompressed (Explicit VR Little Endian).",
            ) from error
        raise DamagedFileError(
            f"{name} holds pixel data that are cut off or broken."
        ) from error
    if count != shape.frames:
        raise DamagedFileError(f"{name} holds {count} of {shape.frames} frames.")


def _upright(frame: NDArray[Any], shape: Layout, name: str) -> NDArray[Any]:
    if frame.shape[:2] != (shape.rows, shape.columns):
        raise DamagedFileError(f"{name} holds pixels of another size than it states.")
    if not shape.inverted:
        return frame
    # Around the middle of what the bits can hold: the same for each slice.
    top = -1 if shape.signed else 2**shape.stored - 1
    return np.asarray(top - frame.astype(np.int64))


def _check_data(header: Dataset, shape: Layout, name: str) -> None:
    """Hold the size of the data against the header, before a decoder sees them."""
    from pydicom.uid import UID, AllTransferSyntaxes

    meta = getattr(header, "file_meta", None)
    syntax = UID(text(meta, "TransferSyntaxUID")) if meta is not None else UID("")
    data = header.PixelData
    if not isinstance(data, bytes):
        raise DamagedFileError(f"{name} holds no bytes in the tag PixelData.")
    if not syntax and meta is not None:
        plain = header.original_encoding
        meta.TransferSyntaxUID = syntax = UID(
            "1.2.840.10008.1.2" if plain[0] else "1.2.840.10008.1.2.1"
        )
    if syntax not in AllTransferSyntaxes:
        raise DamagedFileError(f"{name} names an unknown transfer syntax.")
    values = shape.rows * shape.columns * shape.samples * (shape.allocated // 8)
    if not syntax.is_compressed:
        if "422" not in text(header, "PhotometricInterpretation") and (
            len(data) < values * shape.frames
        ):
            raise DamagedFileError(
                f"{name} holds {len(data)} bytes of pixels where its header states "
                f"{values * shape.frames}."
            )
        return
    _check_frames(data, shape, syntax, values, name)


def _check_frames(
    data: bytes, shape: Layout, syntax: str, values: int, name: str
) -> None:
    from pydicom.encaps import generate_frames

    try:
        with quiet():
            for frame in generate_frames(data, number_of_frames=shape.frames):
                size = _coded_size(frame) if syntax != _RLE else None
                if size is not None and size != (shape.rows, shape.columns):
                    raise DamagedFileError(
                        f"{name} states another size than its compressed data."
                    )
                if len(frame) > 2 * values + 4096:
                    raise DamagedFileError(
                        f"{name} holds more compressed data than its picture needs."
                    )
    except InputError:
        raise
    except Exception as error:
        raise DamagedFileError(
            f"{name} holds compressed pixel data that are cut off or broken."
        ) from error


def _coded_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream states."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0:
        right, bottom, left, top = (
            int.from_bytes(frame[start + i : start + i + 4], "big")
            for i in (8, 12, 16, 20)
        )
        return bottom - top, right - left
    place = 2
    while frame[:2] == b"\xff\xd8" and place + 9 < len(frame):
        if frame[place] != 0xFF:
            return None
        marker = frame[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == 0xF7 or (
            0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        ):
            rows = int.from_bytes(frame[place + 5 : place + 7], "big")
            return rows, int.from_bytes(frame[place + 7 : place + 9], "big")
        place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None
