"""Zip and tar archives packed for the tests."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile

from tests.samples import coded_dicom as coded_samples
from tests.samples import dicom_files as dicom_samples
from tests.samples.pictures import blank_png


def pack(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            # The same at any time: where it names a test, it must not change.
            dated = zipfile.ZipInfo(name) if isinstance(name, str) else name
            archive.writestr(dated, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tarred(
    *members: tuple[str | tarfile.TarInfo, bytes],
    packed: bool = True,
    kind: int = tarfile.PAX_FORMAT,
) -> bytes:
    """Make a tar archive, by default packed by gzip, the same at any time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in members:
            item = tarfile.TarInfo(name) if isinstance(name, str) else name
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0) if packed else buffer.getvalue()


def link() -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("link")
    made.external_attr = (stat.S_IFLNK | 0o777) << 16
    return made


def dicom(position: float) -> bytes:
    return dicom_samples.saved(dicom_samples.slice_file(position=position))


def good() -> bytes:
    return pack(*((f"s/{z}", dicom(z)) for z in (9, 1, 5)))


def encrypted() -> bytes:
    data = bytearray(good())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def overlapping(members: int = 2000) -> bytes:
    """List one picture 2,000 times: the archive holds its bytes once."""
    whole = pack(("a.png", blank_png(3000)))
    start, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    entry = whole[start:end]
    numbers = (0, 0, members, members, len(entry) * members, start, 0)
    return whole[:start] + entry * members + b"PK\5\6" + struct.pack("<4H2IH", *numbers)


def fatal_zip(members: int = 30, good_at: int | None = None) -> bytes:
    """Pack files that each end the process which decodes them, and perhaps a good one.

    The good one stands at the place `good_at`.
    """
    code = coded_samples.shipped("MR_small_jpeg_ls_lossless.dcm").read_bytes()
    fatal = coded_samples.with_code_byte(code, 6, 128)
    files = [(f"{number}.dcm", fatal) for number in range(members)]
    if good_at is not None:
        files.insert(good_at, ("good.dcm", dicom(0.0)))
    return pack(*files)


def lying(size: int) -> bytes:
    data = bytearray(good())
    place = data.index(b"PK\1\2") + 24
    data[place : place + 4] = size.to_bytes(4, "little")
    return bytes(data)
