"""Volumes in two files are read as one, whatever program wrote them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest

from tests.samples.zips import pack
from tumorlens.imaging.read import read_study

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
