"""Compressed frames of a DICOM file, checked before a decoder sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError, FatalFileError, InputError
from tumorlens.imaging.dicom.decoder import (
    DecoderEndedError,
    DecodingError,
    NoDecoderError,
    decode_apart,
)
from tumorlens.imaging.dicom.header import integer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from tumorlens.imaging.dicom.pixels import Layout

_RLE = "1.2.840.10008.1.2.5"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


def decode_compressed(
    header: Dataset, shape: Layout, syntax: str, name: str
) -> Iterator[NDArray[Any]]:
    """Decode frame by frame, in another process.

    Parameters
    ----------
    header
        With encapsulated pixel data.
    shape
        What it states of the pixels.
    syntax
        UID of its transfer syntax.
    name
        Of the file, for messages.

    Yields
    ------
    ndarray
        Shape (H, W), or (H, W, 3) in RGB; integers.

    Raises
    ------
    DamagedFileError
        Where a frame is cut off or broken, states another size than the header,
        or no decoder for it is installed.
    FatalFileError
        Where a frame ends the process that decodes it, or takes too long.
    """
    options: dict[str, int | str] = {
        "rows": shape.rows,
        "columns": shape.columns,
        "samples_per_pixel": shape.samples,
        "photometric_interpretation": shape.colours,
        "bits_allocated": shape.allocated,
        "bits_stored": shape.stored,
        "pixel_representation": int(shape.signed),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    if shape.samples > 1:
        options["planar_configuration"] = integer(
            header, "PlanarConfiguration", name, 0
        )
    try:
        # Its decoders read 8 bits, and call the rest broken.
        if syntax == _JPEG_EXTENDED and shape.stored > 8:
            raise NoDecoderError(syntax)
        for frame in _frames(header, shape, syntax, name):
            yield decode_apart(syntax, options, frame)
    except NoDecoderError as error:
        raise DamagedFileError(
            f"{name} is compressed in a way that no decoder here can read.",
            "Export it uncompressed (Explicit VR Little Endian).",
        ) from error
    except DecoderEndedError as error:
        raise FatalFileError(
            f"{name} holds compressed pixel data that end their decoder, or keep it "
            "busy for longer than a slice does."
        ) from error
    except DecodingError as error:
        raise DamagedFileError(
            f"{name} holds compressed pixel data that are cut off or broken."
        ) from error


def _frames(header: Dataset, shape: Layout, syntax: str, name: str) -> Iterator[bytes]:
    from pydicom.encaps import generate_frames

    most = 2 * shape.rows * shape.columns * shape.samples * (shape.allocated // 8)
    try:
        offsets = None
        if "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
            offsets = (header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths)
        for frame in generate_frames(
            header.PixelData,
            number_of_frames=shape.frames,
            extended_offsets=offsets,
        ):
            size = _coded_size(frame) if syntax != _RLE else None
            if size is not None and size != (shape.rows, shape.columns):
                raise DamagedFileError(
                    f"{name} states another size than its compressed data."
                )
            if len(frame) > most + 4096:
                raise DamagedFileError(
                    f"{name} holds more compressed data than its picture needs."
                )
            yield frame
    except InputError:
        raise
    # What pydicom raises on broken pixel data is not documented.
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
