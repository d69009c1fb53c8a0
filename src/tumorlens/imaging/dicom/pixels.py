"""The frames of a DICOM file, decoded one by one; coded ones are checked before."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError, FatalFileError, InputError, TooLargeError
from tumorlens.imaging.dicom.decoder import (
    DecoderEndedError,
    DecodingError,
    NoDecoderError,
    decode_apart,
)
from tumorlens.imaging.dicom.header import integer, numbers, text
from tumorlens.imaging.limits import MAX_PAGES, MAX_STUDY_PIXELS, check_dimensions

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

_PALETTE = "PALETTE COLOR"
_GREY = ("MONOCHROME1", "MONOCHROME2", _PALETTE)
_OTHER_GREY = ("", "MONOCHROME", "MONO", "MONO2", "GRAYSCALE", "GREYSCALE", "GRAY")
"""What old senders write, or leave out, where they mean grey values."""

_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

_RLE = "1.2.840.10008.1.2.5"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


class Layout(NamedTuple):
    """Layout of the pixels that the header states.

    Parameters
    ----------
    frames, rows, columns, samples
        Counts; samples is 1 for grey and 3 for colour.
    allocated, stored
        Bits of a value in the file, and how many of them count.
    signed
        Whether values may be negative.
    colours
        PhotometricInterpretation.
    high
        The bit, from 0, in which a value's highest bit lies.
    """

    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    colours: str
    high: int

    @property
    def lowest_bit(self) -> int:
        """The bit, from 0, in which a value's lowest bit lies."""
        return self.high + 1 - self.stored

    @property
    def top(self) -> int:
        """The sum of a value and of what MONOCHROME1 turns it into."""
        return -1 if self.signed else 2**self.stored - 1


def layout(header: Dataset, name: str) -> Layout:
    """Read and check what the header states, before anything is decoded.

    Raises
    ------
    DamagedFileError
        Where a tag is missing or impossible.
    TooLargeError, TooSmallError, InputError
        Where a limit is passed, or the file holds no picture.
    """
    if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
        raise InputError(
            f"{name} holds computed values (float pixel data), not an acquired slice.",
            "Give the series that they were computed from.",
        )
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
    stored = integer(header, "BitsStored", name, allocated)
    signed = integer(header, "PixelRepresentation", name, 0)
    colours = text(header, "PhotometricInterpretation").upper()
    if colours in _OTHER_GREY:
        colours = "MONOCHROME2" if samples == 1 else "RGB"
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
    # What reads the pixels wants each of them stated. A broken element is replaced
    # unread: to set its value, pydicom would first read the one it has.
    header.add_new("SamplesPerPixel", "US", samples)
    header.add_new("BitsStored", "US", stored)
    header.add_new("PixelRepresentation", "US", signed)
    header.add_new("PhotometricInterpretation", "CS", colours)
    if samples > 1:
        planar = integer(header, "PlanarConfiguration", name, 0)
        header.add_new("PlanarConfiguration", "US", planar)
    return Layout(
        frames,
        rows,
        columns,
        samples,
        allocated,
        stored,
        signed == 1,
        colours,
        _high_bit(header, allocated, stored),
    )


def _high_bit(header: Dataset, allocated: int, stored: int) -> int:
    """Read HighBit, which lies at the top of the stored bits where it says nothing."""
    stated = numbers(header, "HighBit", 1)
    if stated is None or not stored - 1 <= stated[0] < allocated:
        return stored - 1
    return int(stated[0])


def with_likely_bits(header: Dataset, shape: Layout) -> Layout:
    """Doubt a sign or a number of bits that tears the picture.

    Converters state signed values where they write unsigned ones, and fewer bits than
    they use: bright tissue would turn dark at an edge. The pixels tell, since a picture
    is smoother read right.

    Parameters
    ----------
    header
        The data set, with plain pixel data; its tags are put right.
    shape
        Layout as `layout` reads it.
    """
    try:
        data = header.PixelData
    # pydicom reads an element when it is asked for; `decode` says what is wrong.
    except Exception:
        return shape
    count = shape.rows * shape.columns
    middle = 2 * count * (shape.frames // 2)
    if (
        shape.allocated != 16
        or shape.samples != 1
        or shape.lowest_bit
        or header.original_encoding[1] is False
        or not isinstance(data, bytes)
        or data.startswith(_ITEM)
        or len(data) < middle + 2 * count
    ):
        return shape
    words = np.frombuffer(data, "<u2", count, middle).reshape(shape.rows, -1)
    likely, share = shape, 1.0
    mask = 2**shape.stored - 1
    if shape.signed:
        quarter = 2 ** (shape.stored - 2)
        values = (words & mask).astype(np.int32)
        turned = np.where(values >= 2 * quarter, values - 4 * quarter, values)
        if turned.min() < -quarter and turned.max() > quarter:
            likely = shape._replace(signed=False)
    elif shape.stored < 16 and not _has_overlay(header):
        values, turned = words.astype(np.int32), (words & mask).astype(np.int32)
        if np.count_nonzero(words > mask) > _LEAST_BEYOND * count:
            # What else may stand in those bits is rough as well.
            likely, share = shape._replace(stored=16, high=15), _SMOOTHER
    if likely is shape or _roughness(values) > share * _roughness(turned):
        return shape
    header.add_new("PixelRepresentation", "US", int(likely.signed))
    header.add_new("BitsStored", "US", likely.stored)
    header.add_new("HighBit", "US", likely.high)
    return likely


_ITEM = b"\xfe\xff\x00\xe0"
_LEAST_BEYOND = 0.02
_SMOOTHER = 0.5


def _has_overlay(header: Dataset) -> bool:
    # Its rows, and the bit that it lies in (PS3.3 C.9.2).
    return any(
        (group, element) in header
        for group in range(0x6000, 0x6020, 2)
        for element in (0x0010, 0x0102)
    )


def _roughness(values: NDArray[np.int32]) -> float:
    """Mean step between neighbours, over the range of all values."""
    steps = np.abs(np.diff(values, axis=1)).mean()
    return float(steps) / max(1.0, float(values.max()) - float(values.min()))


class Lookup(NamedTuple):
    """A table that turns stored values into the file's own units (PS3.3 C.11.1).

    Parameters
    ----------
    first
        The stored value of the table's first entry.
    table
        Shape (N,), float32; values beyond its ends get the end's entry.
    top
        The sum of a value and of what it was turned into; None where `decode`
        turned none round.
    """

    first: int
    table: NDArray[np.float32]
    top: int | None

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Look values up; those that were turned round stay so."""
        stored = values if self.top is None else self.top - values
        index = np.clip(stored.astype(np.int64) - self.first, 0, len(self.table) - 1)
        units = self.table[index]
        return units if self.top is None else self.table.max() - units


def modality_lookup(header: Dataset, name: str) -> Lookup | None:
    """Read the modality's lookup table; None where the file has none.

    Raises
    ------
    DamagedFileError
        Where the table is broken.
    """
    try:
        tables = header.get("ModalityLUTSequence")
        if not tables:
            return None
        entries, first, bits = (int(x) for x in tables[0].LUTDescriptor)
        data = tables[0].LUTData
        entries = entries or 2**16
        if isinstance(data, bytes):
            width = "<u1" if bits <= 8 and len(data) < 2 * entries else "<u2"
            data = np.frombuffer(data, width)
        table = np.asarray(data, np.float32).ravel()[:entries]
        if table.size < entries or not 2 <= entries <= 2**16:
            raise ValueError("the table is too short")
        signed = text(header, "PixelRepresentation") == "1"
        if signed and first >= 2**15:
            first -= 2**16
        inverted = text(header, "PhotometricInterpretation") == "MONOCHROME1"
        stored = int(header.BitsStored)
    # pydicom reads an element when it is asked for, and raises what it likes.
    except Exception as error:
        raise DamagedFileError(f"{name} holds a broken ModalityLUTSequence.") from error
    top = (-1 if signed else 2**stored - 1) if inverted else None
    return Lookup(first, table, top)


def decode(
    header: Dataset, shape: Layout, name: str
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_] | None]]:
    """Decode the stored values, frame by frame, brighter is higher.

    Windows (VOI LUT) are not applied: they are how one reader liked to see the
    slice, and the shared preprocessing does the intensity for training and
    serving alike. The caller keeps pydicom quiet: a generator that is not taken
    to its end would keep the lock of `quiet`.

    Yields
    ------
    values
        Shape (H, W), or (H, W, 3) in RGB; integers, not yet rescaled.
    padded
        Shape (H, W), true where the header says that nothing was measured; None
        where it says so of no pixel.

    Raises
    ------
    DamagedFileError
        Where the data are cut off, or say something else than the header.
    InputError
        Where no decoder for the transfer syntax is installed.
    """
    syntax = _checked_syntax(header, shape, name)
    shift, coded = shape.lowest_bit, header
    if shift:
        # What lies below the values would be taken for their lowest bits.
        coded = copy.copy(header)
        coded.BitsStored = shape.high + 1
    if syntax.is_encapsulated:
        wide = shape._replace(stored=shape.high + 1)
        stored = _decode_compressed(coded, wide, syntax, name)
    else:
        stored = _plain(coded, name)
    padding = _padding(header)
    count = 0
    for frame in stored:
        count += 1
        if count > shape.frames:
            break
        values = frame >> shift if shift else frame
        padded = None
        if padding is not None and values.ndim == 2:
            padded = _padded(values, padding, shape, header, syntax, count - 1)
        yield _upright(values, shape, header, name), padded
    if count != shape.frames:
        more = "more than" if count > shape.frames else f"{count} of"
        raise DamagedFileError(f"{name} holds {more} {shape.frames} frames.")


def _padding(header: Dataset) -> tuple[int, int] | None:
    """Read the lowest and highest value that mark padding (PS3.3 C.7.5.1.1.2)."""
    first = numbers(header, "PixelPaddingValue", 1)
    if first is None:
        return None
    last = numbers(header, "PixelPaddingRangeLimit", 1) or first
    low, high = sorted((int(first[0]), int(last[0])))
    return low, high


def _padded(
    values: NDArray[Any],
    padding: tuple[int, int],
    shape: Layout,
    header: Dataset,
    syntax: UID,
    index: int,
) -> NDArray[np.bool_]:
    """Find the padded pixels of a frame.

    A value may be written without its sign, or in bits beyond the stored ones.
    """
    low, high = padding
    lowest, highest = (
        (-(2 ** (shape.stored - 1)), 2 ** (shape.stored - 1) - 1)
        if shape.signed
        else (0, 2**shape.stored - 1)
    )
    if shape.signed and low > highest:
        low, high = low - 2**shape.allocated, high - 2**shape.allocated
    elif not shape.signed and high < 0:
        low, high = low + 2**shape.allocated, high + 2**shape.allocated
    if high >= lowest and low <= highest:
        return np.asarray((values >= low) & (values <= high))
    if syntax.is_encapsulated or shape.allocated != 16 or shape.samples != 1:
        return np.zeros(values.shape, np.bool_)
    size = shape.rows * shape.columns
    order = "<u2" if syntax.is_little_endian else ">u2"
    words = np.frombuffer(header.PixelData, order, size, 2 * index * size)
    raw = words.reshape(values.shape).astype(np.int64)
    return np.asarray((raw >= low % 2**16) & (raw <= high % 2**16))


def _plain(header: Dataset, name: str) -> Iterator[NDArray[Any]]:
    from pydicom.pixels.utils import iter_pixels

    try:
        yield from iter_pixels(header)
    # What pydicom raises on broken pixel data is not documented.
    except Exception as error:
        raise DamagedFileError(
            f"{name} holds pixel data that are cut off or broken."
        ) from error


def _upright(
    frame: NDArray[Any], shape: Layout, header: Dataset, name: str
) -> NDArray[Any]:
    """Check a frame's size, look its colours up, and turn MONOCHROME1 round."""
    if frame.shape[:2] != (shape.rows, shape.columns):
        raise DamagedFileError(f"{name} holds pixels of another size than it states.")
    if shape.colours == _PALETTE:
        return _coloured(frame, header, name)
    if shape.colours != "MONOCHROME1":
        return frame
    # Around the middle of what the bits can hold: the same for each slice.
    wide = np.int64 if shape.stored > 16 else np.int32
    return np.asarray(np.subtract(shape.top, frame, dtype=wide))


def _coloured(frame: NDArray[Any], header: Dataset, name: str) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_color_lut

    try:
        return apply_color_lut(frame, header)[..., :3]
    # What pydicom raises on a broken palette is not documented.
    except Exception as error:
        raise DamagedFileError(f"{name} holds a broken palette of colours.") from error


_PACKINGS = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.6.", "1.2.840.10008.1.2.7.")
"""Starts of the identifiers of pictures, encapsulated text and films (PS3.5 A.4)."""


def _no_decoder(name: str) -> DamagedFileError:
    return DamagedFileError(
        f"{name} is compressed in a way that no decoder here can read.",
        "Export it uncompressed (Explicit VR Little Endian).",
    )


def _checked_syntax(header: Dataset, shape: Layout, name: str) -> UID:
    """Return the transfer syntax; the size of plain data is held against the header."""
    from pydicom.uid import UID, AllTransferSyntaxes

    meta = getattr(header, "file_meta", None)
    syntax = UID(text(meta, "TransferSyntaxUID")) if meta is not None else UID("")
    try:
        data = header.PixelData
    # pydicom reads an element when it is asked for, and raises what it likes.
    except Exception as error:
        raise DamagedFileError(f"{name} holds broken pixel data.") from error
    if not isinstance(data, bytes):
        raise DamagedFileError(f"{name} holds no bytes in the tag PixelData.")
    if not syntax and meta is not None:
        plain = header.original_encoding
        meta.TransferSyntaxUID = syntax = UID(
            "1.2.840.10008.1.2" if plain[0] else "1.2.840.10008.1.2.1"
        )
    if syntax not in AllTransferSyntaxes:
        if syntax.startswith(_PACKINGS):
            raise _no_decoder(name)
        raise DamagedFileError(f"{name} names an unknown transfer syntax.")
    size = shape.rows * shape.columns * shape.samples * (shape.allocated // 8)
    if (
        meta is not None
        and syntax.is_encapsulated
        and not data.startswith(_ITEM)
        and size * shape.frames <= len(data) <= size * shape.frames + 1
    ):
        # Unpacked by a program that left the name of the packing.
        meta.TransferSyntaxUID = syntax = UID("1.2.840.10008.1.2.1")
    if (
        not syntax.is_encapsulated
        and "422" not in shape.colours
        and len(data) < size * shape.frames
    ):
        raise DamagedFileError(
            f"{name} holds {len(data)} bytes of pixels where its header states "
            f"{size * shape.frames}."
        )
    return syntax


def _decode_compressed(
    header: Dataset, shape: Layout, syntax: str, name: str
) -> Iterator[NDArray[Any]]:
    """Decode frame by frame, in another process.

    Parameters
    ----------
    header
        The data set, with encapsulated pixel data.
    shape
        Layout of the pixels that it states.
    syntax
        UID of its transfer syntax.
    name
        The name of the file, for messages.

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
        for frame in _coded_frames(header, shape, syntax, name):
            yield decode_apart(syntax, options, frame)
    except NoDecoderError as error:
        raise _no_decoder(name) from error
    except DecoderEndedError as error:
        raise FatalFileError(
            f"{name} holds compressed pixel data that end their decoder, or keep it "
            "busy for longer than a slice does."
        ) from error
    except DecodingError as error:
        raise DamagedFileError(
            f"{name} holds compressed pixel data that are cut off or broken."
        ) from error


def _coded_frames(
    header: Dataset, shape: Layout, syntax: str, name: str
) -> Iterator[bytes]:
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


_LEAST_PADDED = 0.01
"""Share of a picture's pixels: fewer are a bright vessel, or dirt."""

_LEAST_LEVELS = 16


def without_padding(
    pixels: NDArray[np.float32], padded: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Give what was padded the darkest value of the rest: it is air.

    Parameters
    ----------
    pixels
        Shape (H, W), float32.
    padded
        Shape (H, W), true where the scanner measured nothing.
    """
    if padded.all() or not padded.any():
        return pixels
    return np.where(padded, pixels[~padded].min(), pixels)


def unstated_padding(pixels: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Find what was padded though nothing says so.

    Padding is one value, in many pixels, that lies farther from all others than they
    lie apart.

    Parameters
    ----------
    pixels
        Shape (H, W), float32.

    Returns
    -------
    ndarray or None
        Shape (H, W), true where padded; None where nothing looks so.
    """
    low, high, _, _ = cv2.minMaxLoc(pixels)
    for extreme in (high, low):
        others = (pixels != np.float32(extreme)).view(np.uint8)
        count = pixels.size - cv2.countNonZero(others)
        if not _LEAST_PADDED * pixels.size <= count < pixels.size:
            continue
        darkest, brightest, _, _ = cv2.minMaxLoc(pixels, others)
        gap = extreme - brightest if extreme == high else darkest - extreme
        if gap <= brightest - darkest or brightest == darkest:
            continue
        # A drawing in few greys is none that a scanner measured.
        if len(np.unique(pixels[others > 0])) >= _LEAST_LEVELS:
            return np.asarray(others == 0, np.bool_)
    return None
