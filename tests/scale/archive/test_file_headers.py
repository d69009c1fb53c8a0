"""What the start of a file tells, before its pixels are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from tests.samples.dicom_studies import write_series
from tumorlens.scale.archive.file_headers import FileHeader, read_headers
from tumorlens.scale.archive.sources import HEAD_BYTES, ArchiveFile


def header_of(path: Path, asked_for: bool = False) -> FileHeader:
    (header,) = read_headers([ArchiveFile(str(path), path.name)], [asked_for])
    return header


def test_a_series_is_known_without_the_files_name(tmp_path: Path) -> None:
    path = write_series(tmp_path / "series", slices=1)[0].rename(tmp_path / "IM0001")
    uid = str(dcmread(path).SeriesInstanceUID)
    assert header_of(path) == FileHeader(True, path.stat().st_size, 1, uid)


def test_a_header_longer_than_the_start_is_read_as_a_whole(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path / "series", slices=1)
    item = dcmread(path)
    block = item.private_block(0x0009, "DRAWN", create=True)
    block.add_new(0x10, "OB", bytes(2 * HEAD_BYTES))
    item.save_as(path)
    assert header_of(path).series == str(item.SeriesInstanceUID)


def test_frames_count_as_slices(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path / "series", slices=1)
    item = dcmread(path)
    item.NumberOfFrames = 12
    item.save_as(path)
    assert header_of(path).slices == 12


@pytest.mark.parametrize(
    ("name", "content", "asked_for", "is_picture"),
    [
        ("a.png", b"x", False, True),
        ("a.PNG", b"", False, True),
        ("a.zip", b"x", False, True),
        ("a.nii.gz", b"x", False, True),
        ("notes.txt", b"x", False, False),
        ("notes.txt", b"x", True, True),
        ("cut", b"\0" * 128 + b"DICM\x02\0", False, True),
    ],
)
def test_pictures_are_told_by_name_dicom_by_content(
    tmp_path: Path, name: str, content: bytes, asked_for: bool, is_picture: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    header = header_of(path, asked_for)
    assert header.is_picture is is_picture
    assert header.series is None


def test_volumes_count_as_many_slices(tmp_path: Path) -> None:
    (tmp_path / "head.nii").write_bytes(b"x")
    assert header_of(tmp_path / "head.nii").slices > 1


def test_a_file_that_is_gone_is_kept_for_its_row(tmp_path: Path) -> None:
    assert header_of(tmp_path / "gone") == FileHeader(True)
