"""DICOM files drawn for the tests: no patient stands behind them."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

MR = "1.2.840.10008.5.1.4.1.1.4"
AXIAL = [1, 0, 0, 0, 1, 0]


def head(size: int = 64) -> NDArray[np.uint16]:
    """Draw a bright disc with a brighter spot, shape (size, size)."""
    rows, columns = np.mgrid[:size, :size]
    disc = np.hypot(rows - size / 2, columns - size / 2) < 0.4 * size
    found = (disc * 900).astype(np.uint16)
    found[size // 4, size // 3] = 3000
    return found


def slice_file(
    pixels: NDArray[Any] | None = None, position: float = 0.0, **tags: Any
) -> Dataset:
    """Make an MR slice; a tag given as None is left out."""
    pixels = head() if pixels is None else pixels
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = UID(MR)
    made.SOPClassUID = UID(MR)
    made.SOPInstanceUID = UID(f"1.2.3.{int(position * 10) + 1000}")
    made.Modality = "MR"
    made.SeriesInstanceUID = UID("1.2.3.4")
    made.PatientName = "Secret^Person"
    made.Rows, made.Columns = pixels.shape[-2:]
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelSpacing = [2, 1]
    made.ImageOrientationPatient = AXIAL
    made.ImagePositionPatient = [-30, -40, position]
    for keyword, value in tags.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    made.PixelData = pixels.tobytes()
    return made


def saved(made: Dataset) -> bytes:
    """Write a data set into bytes."""
    buffer = io.BytesIO()
    made.preamble = b"\0" * 128
    made.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


def deflated(made: Dataset) -> bytes:
    """Write a data set in the deflated syntax."""
    made.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    buffer = io.BytesIO()
    made.preamble = b"\0" * 128
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def bomb(megabytes: int = 600) -> bytes:
    """Make a deflated file of a thousandth of what it inflates to."""
    start = saved(slice_file())
    meta = start[: start.index(b"1.2.840.10008.1.2.1\0")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # An element of the group 0009 that is 600 MB of zeros.
    body = packer.compress(
        b"\x09\0\x01\0OB\0\0" + (megabytes * 2**20).to_bytes(4, "little")
    )
    body += packer.flush(zlib.Z_FULL_FLUSH)
    # A block after a full flush stands by itself, so one does for all.
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    body += block * megabytes
    meta = meta[:132] + b"\x02\0\x10\0UI\x16\x00" + b"1.2.840.10008.1.2.1.99"
    return meta + body


def nested(depth: int = 300) -> bytes:
    """Make a file whose sequences, of stated length, lie inside one another."""
    value = b""
    for _ in range(depth):
        item = b"\xfe\xff\0\xe0" + len(value).to_bytes(4, "little") + value
        value = b"\x08\0\x40\x11SQ\0\0" + len(item).to_bytes(4, "little") + item
    return saved(slice_file()) + value


def nested_open(depth: int = 300) -> bytes:
    """Do the same with sequences of no stated length, written by hand."""
    start = saved(slice_file())
    opened = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    return start + opened * depth


def with_text(made: Dataset, keyword: str, raw: bytes) -> bytes:
    """Write a file with text as senders write it, which pydicom would not write."""
    raw += b" " * (len(raw) % 2)
    # A mark of the same length takes its place, so that all lengths hold.
    mark = b"Q" * len(raw)
    setattr(made, keyword, mark.decode())
    data = saved(made)
    assert data.count(mark) == 1
    return data.replace(mark, raw)
