"""Volumes in two files are read as one, whatever program wrote them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest

from tests.samples.zips import pack
from tumorlens.errors import (
    DamagedFileError,
    InputError,
    TooLargeError,
    UnknownFormatError,
)
from tumorlens.imaging.read import read_collection, read_study

RNG = np.random.default_rng(0)
VOXELS = RNG.integers(1, 900, (36, 40, 34)).astype(np.int16)
AFFINE = np.diag([1.0, 1.0, 4.0, 1.0])


def write_pair(folder: Path, kind: type) -> None:
    image = kind(VOXELS, AFFINE)
    nibabel.save(image, folder / "head.img")


@pytest.mark.parametrize(
    ("kind", "placed"),
    [
        (nibabel.Nifti1Pair, True),
        (nibabel.Nifti2Pair, True),
        (nibabel.AnalyzeImage, False),
    ],
)
@pytest.mark.parametrize("given", ["header", "folder", "zip"])
def test_header_and_image(tmp_path: Path, kind: type, placed: bool, given: str) -> None:
    write_pair(tmp_path, kind)
    if given == "zip":
        files = ((p.name, p.read_bytes()) for p in tmp_path.iterdir())
        study = read_study(pack(*files), "a.zip")
    else:
        study = read_study(tmp_path / "head.hdr" if given == "header" else tmp_path)
    (series,) = study.series
    assert sorted(int(item.pixels.sum()) for item in series.slices) == sorted(
        int(VOXELS[:, :, z].sum()) for z in range(34)
    )
    assert series.slices[0].spacing_mm == pytest.approx((1.0, 1.0))
    assert series.place_guessed is not placed


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd_in_two_files(tmp_path: Path, encoding: str) -> None:
    head = {"space": "RAS", "space directions": AFFINE[:3, :3], "encoding": encoding}
    nrrd.write(str(tmp_path / "head.nhdr"), VOXELS, head, detached_header=True)
    (series,) = read_study(tmp_path / "head.nhdr").series
    assert len(series.slices) == 34
    assert int(series.slices[0].pixels.sum()) == int(VOXELS[:, :, 0].sum())


@pytest.mark.parametrize(
    "kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair, nibabel.AnalyzeImage]
)
@pytest.mark.parametrize("first", ["header", "voxels"])
def test_a_header_and_its_voxels_that_come_loose_are_joined(
    tmp_path: Path, kind: type, first: str
) -> None:
    write_pair(tmp_path, kind)
    files = [("scan#1", path.read_bytes()) for path in sorted(tmp_path.iterdir())]
    if first == "voxels":
        files.reverse()
    note = ("scan#3", b"About this scan.")
    study = read_collection([note, *files], "scan")
    (series,) = study.series
    assert sum(int(item.pixels.sum()) for item in series.slices) == VOXELS.sum()
    assert "joined by size" in " ".join(study.notes)
    assert "1 file was left out: it is text, no picture." in study.notes


def test_the_order_tells_pairs_of_one_size_apart(tmp_path: Path) -> None:
    files = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        image = nibabel.Nifti1Pair(number * VOXELS, np.diag([1.0, 1.0, number, 1.0]))
        nibabel.save(image, folder / "head.img")
        files += [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]
    study = read_collection(files, "scan")
    for number, series in enumerate(study.series, 1):
        total = sum(int(item.pixels.sum()) for item in series.slices)
        assert total == number * VOXELS.sum()
    assert "the order in which they came" in study.notes[-1]


def test_a_metaimage_header_takes_the_only_other_file() -> None:
    header = (
        b"ObjectType = Image\nNDims = 3\nDimSize = 36 40 34\n"
        b"ElementSpacing = 1 1 4\nElementType = MET_SHORT\nElementDataFile = h.raw\n"
    )
    voxels = VOXELS.tobytes(order="F")
    study = read_collection([("1", voxels), ("2", header)], "scan")
    assert len(study.series[0].slices) == 34


def test_a_header_whose_voxels_did_not_come_says_so(tmp_path: Path) -> None:
    write_pair(tmp_path, nibabel.Nifti1Pair)
    header = (tmp_path / "head.hdr").read_bytes()
    with pytest.raises(InputError, match="voxels lie in a second file"):
        read_collection([("1", header), ("2", bytes(1000))], "scan")


def test_the_file_of_the_voxels_leads_to_its_header(tmp_path: Path) -> None:
    write_pair(tmp_path, nibabel.AnalyzeImage)
    (series,) = read_study(tmp_path / "head.img").series
    assert sum(int(item.pixels.sum()) for item in series.slices) == VOXELS.sum()
    (tmp_path / "head.hdr").unlink()
    with pytest.raises(UnknownFormatError):
        read_study(tmp_path / "head.img")


def pack_by_gzip(folder: Path, *ends: str) -> None:
    for end in ends:
        path = folder / f"head{end}"
        (folder / f"head{end}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize(
    "kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair, nibabel.AnalyzeImage]
)
@pytest.mark.parametrize("ends", [(".hdr", ".img"), (".hdr",), (".img",)])
@pytest.mark.parametrize("given", ["header", "image", "folder", "zip", "loose"])
def test_header_and_image_packed_by_gzip(
    tmp_path: Path, kind: type, ends: tuple[str, ...], given: str
) -> None:
    write_pair(tmp_path, kind)
    pack_by_gzip(tmp_path, *ends)
    files = [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
    first, second = sorted(tmp_path.iterdir())
    sources = {"header": first, "image": second, "folder": tmp_path}
    if given == "zip":
        study = read_study(pack(*files), "a.zip")
    elif given == "loose":
        study = read_collection(((f"x#{n}", x[1]) for n, x in enumerate(files)), "x")
    else:
        study = read_study(sources[given])
    (series,) = study.series
    assert sorted(int(item.pixels.sum()) for item in series.slices) == sorted(
        int(VOXELS[:, :, z].sum()) for z in range(34)
    )
    assert not any("left out" in note for note in study.notes)


def test_packed_voxels_that_start_later_are_found(tmp_path: Path) -> None:
    write_pair(tmp_path, nibabel.Nifti1Pair)
    header = bytearray((tmp_path / "head.hdr").read_bytes())
    header[108:112] = struct.pack("<f", 64.0)
    (tmp_path / "head.hdr").write_bytes(header)
    image = tmp_path / "head.img"
    image.write_bytes(bytes(64) + image.read_bytes())
    pack_by_gzip(tmp_path, ".hdr", ".img")
    (series,) = read_study(tmp_path / "head.hdr.gz").series
    assert int(series.slices[0].pixels.sum()) == int(VOXELS[:, :, 0].sum())


def test_packed_voxels_keep_to_the_limits(tmp_path: Path) -> None:
    write_pair(tmp_path, nibabel.Nifti1Pair)
    header = bytearray((tmp_path / "head.hdr").read_bytes())
    header[40:48] = struct.pack("<4h", 3, 512, 512, 340)
    (tmp_path / "head.hdr.gz").write_bytes(gzip.compress(header))
    (tmp_path / "head.hdr").unlink()
    (tmp_path / "head.img.gz").write_bytes(gzip.compress(bytes(50 * 2**20)))
    with pytest.raises(TooLargeError):
        read_study(tmp_path / "head.hdr.gz")


def test_packed_voxels_that_are_broken_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, nibabel.Nifti1Pair)
    pack_by_gzip(tmp_path, ".hdr", ".img")
    image = tmp_path / "head.img.gz"
    for broken in (b"\x1f\x8b\x08broken", image.read_bytes()[:5000]):
        image.write_bytes(broken)
        with pytest.raises(DamagedFileError):
            read_study(tmp_path / "head.hdr.gz")


def test_voxels_whose_name_comes_before_the_header_are_not_left_out(
    tmp_path: Path,
) -> None:
    voxels = np.ascontiguousarray(VOXELS.T)
    (tmp_path / "a.raw").write_bytes(voxels.tobytes())
    (tmp_path / "b.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 36 40 34\nElementSpacing = 1 1 4\n"
        "ElementType = MET_SHORT\nElementDataFile = a.raw\n"
    )
    study = read_study(tmp_path)
    assert len(study.slices) == 34
    assert not any("left out" in note for note in study.notes)


def test_a_lone_header_of_analyze_says_that_its_voxels_are_missing(
    tmp_path: Path,
) -> None:
    write_pair(tmp_path, nibabel.AnalyzeImage)
    (tmp_path / "head.img").unlink()
    with pytest.raises(InputError, match="in a second file") as caught:
        read_study(tmp_path / "head.hdr")
    assert "both files" in caught.value.hint
