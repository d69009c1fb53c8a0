"""What other libraries hold in memory is read as the file that it would be."""

from __future__ import annotations

import io
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.conftest import draw_phantom
from tests.samples.dicom_studies import write_series
from tumorlens.errors import DamagedFileError, InputError
from tumorlens.imaging.objects import is_single, read, source_name
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Study

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
