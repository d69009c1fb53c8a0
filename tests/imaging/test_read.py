"""Formats are told by content; files that cannot be read get clear errors."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file

from tests.conftest import Phantom, draw_phantom
from tests.samples import dicom_files as dicom_samples
from tests.samples.coded_dicom import shipped
from tests.samples.dicom_studies import write_series
from tests.samples.pictures import drawn_heic
from tests.samples.zips import pack
from tumorlens.errors import (
    DamagedFileError,
    EmptyFileError,
    InputError,
    MissingFileError,
    TooLargeError,
    UnknownFormatError,
    UnreadableFileError,
)
from tumorlens.imaging import limits
from tumorlens.imaging.formats import FORMATS, PICTURES, Format, display_name
from tumorlens.imaging.limits import FREE_UNPACKED_BYTES
from tumorlens.imaging.read import (
    holds_many_pages,
    is_single,
    read,
    read_collection,
    read_study,
    source_name,
)
from tumorlens.imaging.study import Study, stacks_of, to_slice


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
    assert data.startswith(b"II*\0")
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
    Image.init()
    head = to_slice(phantom(), "x").pixels.astype("uint8")
    # Nothing here writes HEIC; a drawn one is read below.
    for suffix in set(FORMATS[Format.RASTER].suffixes) - {".heic"}:
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


def test_the_hint_names_every_format_that_is_read() -> None:
    with pytest.raises(UnknownFormatError) as caught:
        read_study(b"\1\2\3\0", "x")
    named = [item.value for item in Format if item is not Format.RASTER]
    for title in (*named, *(kind.title for kind in PICTURES)):
        assert title in caught.value.hint


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["dicom", "png"])
@pytest.mark.parametrize("given", ["bytes", "file", "folder", "zip"])
def test_a_file_that_gzip_packed_is_read(
    tmp_path: Path, phantom: Phantom, kind: str, given: str
) -> None:
    made = dicom_samples.saved(dicom_samples.slice_file())
    plain = made if kind == "dicom" else png(phantom())
    packed = gzip.compress(plain)
    (tmp_path / "IM1.gz").write_bytes(packed)
    sources: dict[str, Any] = {
        "bytes": packed,
        "file": tmp_path / "IM1.gz",
        "folder": tmp_path,
        "zip": pack(("a/IM1.gz", packed)),
    }
    (slice_,) = read_study(sources[given], "scan").slices
    (same,) = read_study(plain).slices
    assert np.array_equal(slice_.pixels, same.pixels)


def test_a_file_that_gzip_packed_twice_is_read(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(1, 900, (40, 40, 34)).astype(np.int16)
    plain = nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()
    twice = gzip.compress(gzip.compress(plain))
    (tmp_path / "head.nii.gz").write_bytes(twice)
    expected = [item.pixels for item in read_study(plain).slices]
    for source in (twice, tmp_path / "head.nii.gz", tmp_path, pack(("a", twice))):
        found = [item.pixels for item in read_study(source, "a").slices]
        assert np.array_equal(found, expected)


def test_what_swells_inside_two_packings_is_refused(phantom: Phantom) -> None:
    swelling = gzip.compress(gzip.compress(png(phantom()) + bytes(2**28)))
    with pytest.raises(InputError):
        read_study(swelling, "a.png.gz")


def test_links_of_a_folder_are_followed_to_files(
    slice_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sub-01"
    folder.mkdir()
    (folder / "sub-01_T1w.png").symlink_to(slice_file)
    (folder / "sub-01_T2w.png").symlink_to(tmp_path / "objects" / "missing.png")
    study = read_study(folder)
    assert len(study.slices) == 1
    assert study.notes == (
        "1 file was left out: it is a link to a file that is not there.",
    )
    with pytest.raises(MissingFileError, match="is a link") as caught:
        read_study(folder / "sub-01_T2w.png")
    assert "datalad get" in caught.value.hint


def test_packed_files_of_a_series_are_one_series(tmp_path: Path) -> None:
    for z in range(4):
        made = dicom_samples.slice_file(position=5.0 * z)
        data = gzip.compress(dicom_samples.saved(made))
        (tmp_path / f"{z}.dcm.gz").write_bytes(data)
    (series,) = read_study(tmp_path).series
    assert len(series.slices) == 4


def test_packed_files_keep_to_the_limits(tmp_path: Path, phantom: Phantom) -> None:
    whole = gzip.compress(png(phantom()))
    swelling = gzip.compress(png(phantom()) + bytes(FREE_UNPACKED_BYTES))
    with pytest.raises(DamagedFileError, match="cut off"):
        read_study(whole[:-20], "a.png.gz")
    with pytest.raises(TooLargeError, match="inflates"):
        read_study(swelling, "a.png.gz")
    (tmp_path / "a.png").write_bytes(png(phantom()))
    (tmp_path / "b.png.gz").write_bytes(whole[:-20])
    study = read_study(tmp_path)
    assert len(study.slices) == 1
    assert study.notes == (
        "1 file was left out: it is cut off inside its packed part.",
    )


# --- What people have ---


def test_a_photograph_of_a_phone_is_read() -> None:
    (item,) = read_study(drawn_heic(), "photo.heic").slices
    assert item.pixels.shape == (64, 64)
    assert item.pixels[24, 24] > item.pixels[40, 40] > 100 > item.pixels[2, 2]


@pytest.mark.parametrize("end", [12, 28, 60, 300, 600])
def test_a_cut_photograph_is_named(end: int) -> None:
    message = refused(drawn_heic()[:end], InputError)
    assert "HEIC" in message or "no picture format" in message


@pytest.mark.parametrize("suffix", ["GIF", "WEBP", "PNG", "AVIF"])
def test_each_frame_of_an_animation_is_a_slice(suffix: str) -> None:
    from PIL import Image

    frames = [
        Image.fromarray(np.pad(np.full((40, 40), 60 * n, np.uint8), 12)).convert("RGB")
        for n in range(1, 4)
    ]
    buffer = io.BytesIO()
    options = {"lossless": True} if suffix == "WEBP" else {}
    frames[0].save(buffer, suffix, save_all=True, append_images=frames[1:], **options)
    study = read_study(buffer.getvalue(), "cine")
    greys = [float(item.pixels[32, 32]) for item in study.slices]
    np.testing.assert_allclose(greys, [60, 120, 180], atol=6)
    assert [item.index for item in study.slices] == [0, 1, 2]
    assert any("3 frames" in note for note in study.notes)


def test_an_animation_of_too_many_pixels_is_refused() -> None:
    from PIL import Image

    frames = [Image.new("L", (3000, 3000), n) for n in range(6)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    refused(buffer.getvalue(), TooLargeError)


def drawn_series(count: int = 4) -> list[bytes]:
    return [
        dicom_samples.saved(dicom_samples.slice_file(position=5.0 * n))
        for n in range(count)
    ]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_viewer_beside_the_pictures_is_passed_over(tmp_path: Path, kind: str) -> None:
    files = {f"IM{n}": data for n, data in enumerate(drawn_series())}
    files |= {
        "viewer/core.jar": pack(("a.class", b"\xca\xfe\xba\xbe")),
        "AUTORUN.INF": b"[autorun]\nopen=viewer.exe",
        "viewer/viewer.exe": b"MZ" + bytes(3 * 2**20),
        "report.pdf": b"%PDF-1.4",
        "README": b"hello",
    }
    if kind == "zip":
        source: object = pack(*files.items())
    else:
        source = tmp_path / "disc"
        for name, data in files.items():
            path = tmp_path / "disc" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    study = read_study(source, "disc")  # type: ignore[arg-type]
    assert [len(series.slices) for series in study.series] == [4]
    said = " ".join(study.notes)
    assert "PDF" in said and "text" in said and "archive" in said
    assert "README" not in said


def test_a_huge_neighbour_in_a_folder_is_not_read(tmp_path: Path) -> None:
    for number, data in enumerate(drawn_series()):
        (tmp_path / f"{number}").write_bytes(data)
    with (tmp_path / "setup.exe").open("wb") as file:
        file.write(b"MZ")
        file.truncate(limits.MAX_FILE_BYTES + 1)
    assert len(read_study(tmp_path).slices) == 4


def test_pictures_in_an_archive_keep_their_names_and_count_as_people_do(
    slice_file: Path,
) -> None:
    data = slice_file.read_bytes()
    study = read_study(
        pack(("x/10.png", data), ("x/9.png", data), ("y/9.png", data)), "a.zip"
    )
    sources = [item.source for item in study.slices]
    assert sources[:2] == ["a.zip/9.png", "a.zip/10.png"]
    assert sources[2].endswith("/9.png") and sources[2] != sources[0]


def disc(folder: Path) -> Path:
    """Write a disc: slices two folders deep, and the table of its contents."""
    from pydicom.fileset import FileSet

    made = FileSet()
    for path in write_series(folder / "made", slices=4):
        made.add(path)
    made.write(folder / "disc")
    # pydicom leaves its staging folder to the garbage collector, which warns.
    made._stage["t"].cleanup()
    return folder / "disc" / "DICOMDIR"


def test_a_dicomdir_stands_for_the_files_that_it_lists(tmp_path: Path) -> None:
    directory = disc(tmp_path)
    (directory.parent / "other.dcm").write_bytes(drawn_series()[0])
    study = read_study(directory)
    assert [len(series.slices) for series in study.series] == [4]
    assert len(read_study(directory.parent).series) == 2
    for path in list(directory.parent.rglob("*")):
        if path.is_file() and path.name.startswith("IM") and path.name.endswith("0"):
            path.rename(path.with_name(path.name.lower()))
    assert [len(series.slices) for series in read_study(directory).series] == [4]


def test_a_dicomdir_whose_files_are_elsewhere_says_so(tmp_path: Path) -> None:
    data = disc(tmp_path).read_bytes()
    (tmp_path / "DICOMDIR").write_bytes(data)
    assert "none of which" in refused(tmp_path / "DICOMDIR", MissingFileError)
    with pytest.raises(InputError) as caught:
        read_study(data, "DICOMDIR")
    assert "folder" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7", "PDF"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"\x1f\x8b" + bytes(40), "gzip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x18ftypmp42", "film"),
        (b"MZ\x90", "program"),
        (b"patient;finding", "text"),
        (b"P5\n64 64\n255\n", "Netpbm"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\xef\xbb\xbf\r\n<html>", "a web page"),
        (b"\ntype  = string-attribute", "AFNI"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"/annex/objects/MD5E-s123--1f.nii.gz", "git-annex"),
        (b'[{"00080005":{"vr":"CS"}}]', "written as JSON"),
        (b"--a\r\nContent-Type: application/dicom\r\n\r\n\0", "several parts"),
        (b"\r\n--a\r\nContent-ID: 1\r\nContent-Type: a/b\r\n", "several parts"),
        (b"data:image/png;base64,iVBORw0KGgo=", "written as text"),
        (b"# === DATA DESCRIPTION FILE ===", "Philips PAR/REC"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"L\0\0\0\1\x14\2\0" + bytes(60), "shortcut"),
        (b"[InternetShortcut]\r\nURL=https://example.org\r\n", "link to a page"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(60), "AppleDouble"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "Outlook"),
        (b"bplist00" + bytes(60), "iCloud"),
        (b"MIME-Version: 1.0\r\nFrom: a@b.c\r\n d@e.f\r\nTo: g\r\n\r\nHi", "e-mail"),
        (b'<?xml version="1.0"?><NativeDicomModel>', "XML"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(60), "film"),
        (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(60), "EMF"),
        (bytes(4096), "zeros alone"),
        (b"\x01\x02\x03\x00", "unsupported format"),
    ],
)
def test_what_is_not_read_is_named_by_its_content(data: bytes, said: str) -> None:
    assert said in refused(data, UnknownFormatError)


def test_single_pictures_beside_a_series_are_set_aside(slice_file: Path) -> None:
    files = {f"IM{n}": data for n, data in enumerate(drawn_series())}
    study = read_study(pack(*files.items(), ("p.png", slice_file.read_bytes())), "a")
    stacks = stacks_of(study)
    assert [len(series.slices) for series in stacks.series] == [4]
    assert any("1 single picture" in note for note in stacks.notes)
    alone = read_study(slice_file)
    assert stacks_of(alone) is alone


def test_pictures_of_a_document_are_read(phantom: Phantom) -> None:
    document = pack(
        ("[Content_Types].xml", b"<Types/>"), ("word/media/image1.png", png(phantom()))
    )
    study = read_study(document, "letter.docx")
    assert [item.source for item in study.slices] == ["letter.docx/image1.png"]


def test_names_beyond_ascii_in_an_archive(phantom: Phantom) -> None:
    study = read_study(pack(("Kopf Übersicht/Bild ä.png", png(phantom()))), "a.zip")
    assert study.slices[0].source == "a.zip/Bild ä.png"


def test_an_archive_packed_by_another_method_says_what_to_do(phantom: Phantom) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", png(phantom()))
    assert "method" in refused(buffer.getvalue(), InputError)


def test_files_that_take_long_to_read_are_told_without_reading_them() -> None:
    def picture(kind: str, frames: int) -> bytes:
        file, one = io.BytesIO(), Image.new("L", (64, 64))
        others = [Image.new("L", (64, 64), 9 * number) for number in range(1, frames)]
        one.save(file, kind, save_all=True, append_images=others)
        return file.getvalue()

    for kind in ("TIFF", "GIF", "WebP"):
        assert holds_many_pages(picture(kind, 3))
        assert not holds_many_pages(picture(kind, 1))
    assert not holds_many_pages(picture("PNG", 1))
    one_slice = dicom_samples.saved(dicom_samples.slice_file())
    assert not holds_many_pages(one_slice)
    assert holds_many_pages(one_slice + bytes(5 * 2**20))
    assert holds_many_pages(pack(("a.dcm", one_slice)))
    # Who reads it says what is wrong.
    assert not holds_many_pages(picture("TIFF", 3)[:40])


def test_an_empty_file_among_those_that_were_sent_is_called_empty() -> None:
    files = [("x#1", drawn_series(1)[0]), ("x#2", b"")]
    assert read_collection(files, "x").notes == ("1 file was left out: it is empty.",)


HEAD = draw_phantom(lesion=(90, 110, 18))


def pixels(study: Study) -> np.ndarray:
    (slice_,) = study.slices
    return slice_.pixels


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "CMYK"])
def test_a_pillow_image_is_read_as_its_picture(mode: str) -> None:
    image = Image.fromarray(HEAD)
    if mode == "CMYK":
        image = image.convert("RGB")
    image = image.convert(mode)
    # Printing inks are no exact greys.
    near = 8 if mode == "CMYK" else 1
    assert np.abs(pixels(read(image)) - HEAD).max() <= near


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_a_pillow_image_of_many_greys_loses_none(kind: type) -> None:
    values = HEAD.astype(kind) * 100
    found = pixels(read(Image.fromarray(values)))
    assert np.allclose(found, values, rtol=1e-5)


def test_a_pillow_image_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.fromarray(HEAD[:, :200])
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert pixels(read(opened)).shape == (200, 256)


def test_of_an_animation_the_frame_at_hand_is_read_and_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full_like(HEAD, 40)), Image.fromarray(HEAD)]
    frames[0].save(tmp_path / "a.tiff", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.tiff") as opened:
        opened.seek(1)
        study = read(opened)
    assert np.array_equal(pixels(study), HEAD)
    assert "Of 2 frames" in study.notes[-1]


def test_an_open_file_is_read_with_its_name(slice_file: Path) -> None:
    with slice_file.open("rb") as file:
        study = read(file)
    assert np.array_equal(pixels(study), pixels(read_study(slice_file)))
    assert study.slices[0].source == str(slice_file)
    found = read(io.BytesIO(slice_file.read_bytes()), "x.png")
    assert found.slices[0].source == "x.png"


def test_a_file_that_is_opened_as_text_says_how_to_open_it() -> None:
    with pytest.raises(InputError, match="opened as text") as caught:
        read(io.StringIO("text"))
    assert "'rb'" in caught.value.hint


@pytest.mark.parametrize(
    "kind", [nibabel.Nifti1Image, nibabel.Nifti2Image, nibabel.MGHImage]
)
def test_a_nibabel_image_is_read_as_its_file(kind: type, tmp_path: Path) -> None:
    voxels = np.stack([HEAD] * 3, axis=2).astype(np.float32)
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    path = tmp_path / "head.nii"
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    from_file, from_memory = read_study(path), read(kind(voxels, affine))
    assert len(from_memory.slices) == 3
    for one, other in zip(from_file.slices, from_memory.slices, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert one.placement == other.placement


def test_a_dataset_is_read_as_its_file_and_a_list_as_a_series(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a", slices=3)
    datasets = [pydicom.dcmread(path) for path in files]
    one = read(datasets[0])
    assert np.array_equal(pixels(one), pixels(read_study(files[0])))
    (series,) = read(datasets).series
    assert len(series.slices) == 3


def test_a_dataset_made_in_memory_needs_no_file_meta(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path / "a", slices=1)
    known = pydicom.dcmread(path)
    expected = pixels(read_study(path))
    del known.file_meta
    assert np.array_equal(pixels(read(known)), expected)
    assert not hasattr(known, "file_meta"), "the caller's own stays as it was"


def test_a_dataset_that_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="cannot be written"):
        read(pydicom.Dataset())
    (path,) = write_series(tmp_path / "a", slices=1)
    empty = pydicom.dcmread(path)
    del empty.PixelData
    with pytest.raises(InputError):
        read(empty)


@pytest.mark.parametrize("source", [7, None, [], {"a": 1}, object()])
def test_what_is_no_picture_is_refused_with_what_would_be(source: object) -> None:
    with pytest.raises(InputError, match="A picture cannot be a") as caught:
        read(source)
    assert "pydicom" in caught.value.hint


def test_a_study_stays_as_it_is(slice_file: Path) -> None:
    study = read_study(slice_file)
    assert read(study) is study


def test_pictures_are_told_from_lists_of_pictures(slice_file: Path) -> None:
    with slice_file.open("rb") as file:
        assert is_single(file)
    assert is_single(pydicom.Dataset())
    assert is_single(Image.fromarray(HEAD))
    assert is_single(HEAD)
    assert not is_single([HEAD])
    assert not is_single(iter([HEAD]))


def test_every_source_has_a_name_for_messages(slice_file: Path) -> None:
    assert source_name(slice_file) == str(slice_file)
    assert source_name(HEAD) == "array"
    assert source_name(b"bytes") == "picture"
    with slice_file.open("rb") as file:
        assert source_name(file) == str(slice_file)
