"""Formats are told by content; files that cannot be read get clear errors."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from tests.conftest import Phantom
from tests.samples import dicom_files as dicom_samples
from tests.samples.coded_dicom import shipped
from tumorlens.errors import (
    EmptyFileError,
    InputError,
    MissingFileError,
    TooLargeError,
    UnknownFormatError,
    UnreadableFileError,
)
from tumorlens.imaging import limits
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.formats import FILE_FORMATS
from tumorlens.imaging.grey import to_slice
from tumorlens.imaging.read import read_study
from tumorlens.imaging.readers.raster import is_raster


def test_path_text_and_bytes_give_the_same(slice_file: Path) -> None:
    studies = [
        read_study(slice_file),
        read_study(str(slice_file)),
        read_study(slice_file.read_bytes()),
    ]
    first, *others = [study.slices[0].pixels for study in studies]
    assert all((other == first).all() for other in others)


def test_the_source_is_the_name_the_user_knows(slice_file: Path) -> None:
    data = slice_file.read_bytes()
    assert read_study(slice_file).slices[0].source == str(slice_file)
    assert read_study(data).slices[0].source == "picture"
    assert read_study(data, "upload.png").slices[0].source == "upload.png"


def test_the_name_does_not_decide_the_format(slice_file: Path) -> None:
    renamed = slice_file.rename(slice_file.with_suffix(".jpg"))
    assert read_study(renamed).slices


def refused(source: str | Path | bytes, kind: type[InputError]) -> str:
    """Read what cannot be read, and return the message."""
    with pytest.raises(kind) as caught:
        read_study(source)
    assert caught.value.hint
    return caught.value.message


def test_missing(tmp_path: Path) -> None:
    assert "nowhere.png" in refused(tmp_path / "nowhere.png", MissingFileError)


def test_a_path_through_a_file(slice_file: Path) -> None:
    refused(slice_file / "deeper.png", MissingFileError)


def test_a_null_character_in_a_path() -> None:
    refused("a\0b.png", MissingFileError)


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    refused(tmp_path / ("x" * 300), UnreadableFileError)


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    assert "empty.png" in refused(path, EmptyFileError)
    refused(b"", EmptyFileError)


def test_text_named_jpg(tmp_path: Path) -> None:
    path = tmp_path / "note.jpg"
    path.write_text("This is no picture.")
    assert "note.jpg" in refused(path, UnknownFormatError)


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 128 + b"DICM" + b"\0" * 64,
        b"\0" * 344 + b"n+1\0",
        b"\x1f\x8b\x08",
        b"PK\3\4",
    ],
    ids=["dicom", "nifti", "gzip", "zip"],
)
def test_the_start_of_a_format_alone_is_refused(data: bytes) -> None:
    refused(data, InputError)


def test_a_dicom_file_that_starts_like_a_tiff_is_dicom() -> None:
    data = shipped("MR_small.dcm").read_bytes()
    assert is_raster(data)
    assert read_study(data, "a").slices[0].spacing_mm == (0.3125, 0.3125)


def test_a_volume_can_be_chosen_of_a_nifti_file_alone(
    slice_file: Path, tmp_path: Path
) -> None:
    for source in (slice_file, tmp_path):
        with pytest.raises(InputError, match="no volume to choose"):
            read_study(source, volume=0)


def test_a_folder_without_files(tmp_path: Path) -> None:
    assert "no file" in refused(tmp_path, MissingFileError)


def test_a_folder_is_one_study(slice_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    (folder / "deeper").mkdir(parents=True)
    for position in (4.0, 2.0):
        made = dicom_samples.slice_file(position=position)
        (folder / "deeper" / f"{9 - position}").write_bytes(dicom_samples.saved(made))
    slice_file.rename(folder / "picture.png")
    (folder / "link").symlink_to("/etc/passwd")
    study = read_study(folder)
    assert [len(series.slices) for series in study.series] == [2, 1]


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", UnreadableFileError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(slice_file: Path) -> None:
    slice_file.chmod(0)
    assert "permission" in refused(slice_file, UnreadableFileError)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(limits.MAX_FILE_BYTES + 1)  # Sparse: takes no room.
    assert "large.png" in refused(path, TooLargeError)


def test_a_name_that_is_no_utf8(slice_file: Path) -> None:
    path = slice_file.rename(slice_file.parent / os.fsdecode(b"caf\xe9.png"))
    source = read_study(path).slices[0].source
    assert source.endswith(r"caf\xe9.png")
    source.encode("utf-8")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("été.png", "été.png"),
        ("a\nb\x1b[31m.png", r"a\nb\x1b[31m.png"),
        (os.fsdecode(b"\xff"), r"\xff"),
        ("", "''"),
    ],
)
def test_names_are_shown_without_control_characters(path: str, shown: str) -> None:
    assert display_name(path) == shown


def test_a_reader_stands_behind_every_ending_of_a_picture(phantom: Phantom) -> None:
    from PIL import Image

    Image.init()
    head = to_slice(phantom(), "x").pixels.astype("uint8")
    (pictures,) = (item for item in FILE_FORMATS if item.matches is is_raster)
    for suffix in pictures.suffixes:
        buffer = io.BytesIO()
        Image.fromarray(head).save(buffer, Image.registered_extensions()[suffix])
        assert read_study(buffer.getvalue()).slices


def test_a_dicom_file_with_a_preamble_like_tiff_is_read_as_dicom() -> None:
    path = get_testdata_file("MR_small.dcm", download=False)
    assert isinstance(path, str)
    data = Path(path).read_bytes()
    assert data.startswith(b"II*\0")
    (series,) = read_study(data, "small").series
    assert len(series.headers) == 1
