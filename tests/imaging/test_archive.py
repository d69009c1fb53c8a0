"""Archives are read in memory; those that try more are refused."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from tests.imaging import dicom_samples
from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.archive import read_zip
from tumorlens.imaging.read import read_study


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


def test_a_series_and_a_picture(slice_file: Path) -> None:
    data = pack(
        ("p.png", slice_file.read_bytes()),
        ("notes.txt", b"hello"),
        *((f"Doe/{z}", dicom(z)) for z in (9, 1)),
    )
    study = read_study(data, "study.zip")
    assert [len(series.slices) for series in study.series] == [2, 1]
    assert all("Doe" not in item.source for item in study.slices)
    assert any("left out" in note for note in study.notes)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (pack(("../a", b"x")), InputError, "leads out"),
        (pack(("a/..\\..\\b", b"x")), InputError, "leads out"),
        (pack(("/etc/a", b"x")), InputError, "leads out"),
        (pack((link(), b"/etc/passwd")), InputError, "link"),
        (pack(("a.zip", pack(("b", b"x")))), InputError, "another archive"),
        (pack(*((str(i), b"") for i in range(10_001))), TooLargeError, "10,000"),
        (pack(("a", bytes(20 * 2**20))), TooLargeError, "inflates"),
        (encrypted(), InputError, "encrypted"),
        (lying(100), DamagedFileError, "."),
        (lying(10_000), DamagedFileError, "."),
        (lying(2**31), TooLargeError, "inflates"),
        (pack(), InputError, "no file"),
    ],
)
def test_hostile_archives(data: bytes, kind: type[InputError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        read_zip(data, "hostile.zip")
    assert "hostile.zip" in caught.value.message


def test_cut_off_at_each_kilobyte() -> None:
    data = good()
    for end in [*range(4, len(data), 256), len(data) - 1]:
        with pytest.raises(InputError):
            read_zip(data[:end], "cut.zip")
