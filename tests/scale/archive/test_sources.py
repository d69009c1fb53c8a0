"""Where an archive's files lie, a real S3 server too, and what their starts say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from nibabel.nifti1 import Nifti1PairHeader
from pydicom import dcmread

from tests.samples.archives import archive_rows, draw_archive
from tests.samples.dicom_studies import write_series
from tests.samples.s3_server import BUCKET, s3_server, settings, upload
from tumorlens.cli.main import main
from tumorlens.errors import (
    MissingFileError,
    SettingError,
    SourceDownError,
    TooLargeError,
    UnreadableFileError,
)
from tumorlens.imaging.limits import MAX_FILE_BYTES
from tumorlens.scale.archive import sources
from tumorlens.scale.archive.sources import (
    HEAD_BYTES,
    ArchiveFile,
    FileHeader,
    ListedFile,
    archive_file,
    is_url,
    list_files,
    open_source,
    read_file,
    read_head,
    read_headers,
)

fsspec = pytest.importorskip("fsspec", reason="the extra 'archive' is not installed")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/a", True),
        ("webdav+https://host/a", True),
        ("/a/b", False),
        ("a:/b", False),
        ("://b", False),
    ],
)
def test_urls_are_told_from_paths(path: str, expected: bool) -> None:
    assert is_url(path) is expected


def test_a_folder_is_listed_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "a.png", ".hidden/c.png", "DICOMDIR", ".x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listed = list(list_files(str(tmp_path)))
    assert [file.path for file in listed] == ["a.png", "b/1.png", "b/2.png"]
    assert not any(file.asked_for for file in listed)


def test_files_keep_the_names_that_the_user_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_source("set")
    assert archive_file(source, "a/1.png") == ArchiveFile(
        str(tmp_path / "set" / "a" / "1.png"), "set/a/1.png"
    )
    assert archive_file(source, "") == ArchiveFile(str(tmp_path / "set"), "set")
    manifest = open_source("set/list.csv")
    assert archive_file(manifest, "1.png").location == str(tmp_path / "set" / "1.png")
    assert archive_file(manifest, "/x/1.png").location == "/x/1.png"
    assert archive_file(manifest, "s3://b/1.png").location == "s3://b/1.png"
    assert archive_file(open_source("s3://b/x/"), "1.png").name == "s3://b/x/1.png"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_becomes_a_row(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    try:
        assert list(list_files(str(tmp_path))) == [ListedFile("closed", True)]
        with pytest.raises(UnreadableFileError, match="cannot be opened"):
            read_file(ArchiveFile(str(closed), "closed"))
    finally:
        closed.chmod(0o700)


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.png does not exist"):
        read_file(ArchiveFile(str(tmp_path / "gone.png"), "gone.png"))
    with pytest.raises(MissingFileError, match="empty holds no picture"):
        read_head(ArchiveFile(str(tmp_path), "empty"))
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(TooLargeError, match=r"large\.png"):
        read_file(ArchiveFile(str(large), "large.png"))
    assert read_head(ArchiveFile(str(large), "large.png")) == (
        bytes(sources.HEAD_BYTES),
        MAX_FILE_BYTES + 1,
    )


def test_an_unknown_kind_of_address_is_refused() -> None:
    with pytest.raises(SettingError, match="no kind of address that is known"):
        list(list_files("nothing://bucket/a"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn archive of everything that a run meets."""
    return draw_archive(tmp_path_factory.mktemp("archive") / "drawn")


@pytest.fixture(scope="module")
def bucket(archive: Path) -> Iterator[str]:
    """The same archive in a bucket of an S3 server; yields its address."""
    for name in ("moto", "flask_cors", "s3fs"):
        pytest.importorskip(name, reason="the S3 server of the tests is not installed")
    with s3_server() as address, pytest.MonkeyPatch.context() as patch:
        for name, value in settings(address).items():
            patch.setenv(name, value)
        sources._file_system.cache_clear()
        upload(archive)
        yield f"s3://{BUCKET}"
    sources._file_system.cache_clear()


def test_a_bucket_has_the_rows_of_the_folder(
    bucket: str, archive: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    more = ["--model", str(tiny_bundle), "--threads", "1"]
    assert main(["batch", bucket, "--out", str(tmp_path / "s3"), *more]) == 1
    assert main(["batch", str(archive), "--out", str(tmp_path / "disk"), *more]) == 1
    stored, local = archive_rows(tmp_path / "s3"), archive_rows(tmp_path / "disk")
    for row in local:
        row["file"] = row["file"].replace(str(archive), bucket)
    assert stored == local


def test_a_bucket_is_listed_by_folder_and_by_object(bucket: str) -> None:
    short = [file.path for file in list_files(f"{bucket}/short")]
    assert short == ["0.dcm", "1.dcm"]
    assert list(list_files(f"{bucket}/short/0.dcm")) == [ListedFile("", True)]
    assert list(list_files(f"{bucket}/nowhere")) == [ListedFile("", True)]
    with pytest.raises(MissingFileError, match="nowhere does not exist"):
        read_file(archive_file(open_source(f"{bucket}/nowhere"), ""))


def test_a_store_that_does_not_answer_stops_the_run(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = sources._store(f"{bucket}/short/0.dcm")
    monkeypatch.setattr(sources, "_FIRST_PAUSE", 0.0)
    with pytest.raises(SourceDownError, match=rf"{bucket} does not answer: broken"):
        sources._patiently(f"{bucket}/a", lambda: _broken())
    assert store.exists(f"{BUCKET}/short/0.dcm")


def _broken() -> bytes:
    raise ConnectionResetError("broken")


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
        ("a.hdr", Nifti1PairHeader().binaryblock, False, True),
        ("a.img", bytes(4000), False, False),
        ("sub-01_T1w.nii.gz", b"x", False, True),
        ("BraTS_00000_seg.nii.gz", b"x", False, False),
        ("BraTS_00000_seg.nii.gz", b"x", True, True),
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
