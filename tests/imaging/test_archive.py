"""Archives are read in memory; those that try more are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples.zips import dicom, encrypted, good, link, lying, pack
from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.read import read_study, read_zip


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
