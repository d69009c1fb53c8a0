"""Zip archives packed for the tests."""

from __future__ import annotations

import io
import stat
import zipfile

from tests.imaging import dicom_samples


def pack(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


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


def lying(size: int) -> bytes:
    data = bytearray(good())
    place = data.index(b"PK\1\2") + 24
    data[place : place + 4] = size.to_bytes(4, "little")
    return bytes(data)
