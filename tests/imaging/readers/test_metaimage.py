"""MetaImage volumes, in one file and in two, lie where ITK says."""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.samples.zips import pack
from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.formats import is_metaimage
from tumorlens.imaging.read import read_study
from tumorlens.imaging.readers.metaimage import read_metaimage
from tumorlens.imaging.readers.nifti import read_nifti
from tumorlens.imaging.study import Study

RNG = np.random.default_rng(0)
VOXELS = RNG.integers(0, 900, (34, 40, 36)).astype("<i2")
ROTATION = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
SPACING, OFFSET = (1.2, 0.9, 3.0), (-20.0, 30.0, 40.5)


def header(place: str = "LOCAL", **changes: str) -> bytes:
    """Write a header; its matrix has the direction of one axis in each line."""
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": " ".join(f"{x:.9f}" for x in ROTATION.T.ravel()),
        "Offset": " ".join(map(str, OFFSET)),
        "ElementSpacing": " ".join(map(str, SPACING)),
        "DimSize": "36 40 34",
        "ElementType": "MET_SHORT",
        **changes,
        "ElementDataFile": place,
    }
    return "".join(f"{k} = {v}\n" for k, v in fields.items() if v).encode()


def as_nifti() -> Study:
    affine = np.eye(4)
    affine[:3, :3] = ROTATION * SPACING
    affine[:3, 3] = OFFSET
    image = nibabel.Nifti1Image(VOXELS.T, np.diag([-1, -1, 1, 1]) @ affine)
    return read_nifti(image.to_bytes(), "a")


def assert_same(study: Study, other: Study) -> None:
    for one, two in zip(study.slices, other.slices, strict=True):
        assert np.array_equal(one.pixels, two.pixels)
        assert one.placement is not None and two.placement is not None
        np.testing.assert_allclose(
            one.placement.origin, two.placement.origin, atol=1e-3
        )
        np.testing.assert_allclose(one.placement.down, two.placement.down, atol=1e-5)


@pytest.mark.parametrize(
    "data",
    [
        header() + VOXELS.tobytes(),
        header(BinaryDataByteOrderMSB="True") + VOXELS.astype(">i2").tobytes(),
        header(CompressedData="True") + zlib.compress(VOXELS.tobytes()),
        header(HeaderSize="-1") + b"some bytes" + VOXELS.tobytes(),
    ],
    ids=["plain", "big endian", "packed", "from the end"],
)
def test_it_gives_the_slices_that_nifti_gives(data: bytes) -> None:
    assert is_metaimage(data)
    study = read_study(data, "brain.mha")
    assert not study.notes
    assert_same(study, as_nifti())


@pytest.mark.parametrize("packed", [False, True])
def test_header_and_voxels_in_two_files(tmp_path: Path, packed: bool) -> None:
    raw = zlib.compress(VOXELS.tobytes()) if packed else VOXELS.tobytes()
    changes = {"CompressedData": "True"} if packed else {}
    (tmp_path / "b.mhd").write_bytes(header("a.raw", **changes))
    (tmp_path / "a.raw").write_bytes(raw)
    assert_same(read_study(tmp_path / "b.mhd"), as_nifti())
    for study in (
        read_study(tmp_path),
        read_study(pack(*((p.name, p.read_bytes()) for p in tmp_path.iterdir())), "z"),
    ):
        assert len(study.series) == 1
        assert_same(study, as_nifti())


def test_a_header_alone_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "b.mhd").write_bytes(header("a.raw"))
    with pytest.raises(InputError, match="another file"):
        read_study(tmp_path / "b.mhd")


@pytest.mark.parametrize("place", ["LIST", "s%03d.raw 1 9 1"])
def test_a_file_for_each_slice_is_named_as_such(place: str) -> None:
    with pytest.raises(InputError, match="for each slice"):
        read_study(header(place), "b.mhd")


@pytest.mark.parametrize(
    "place", ["../secret.raw", "/etc/passwd", "..", "LIST", "%03d.raw"]
)
def test_a_header_never_leads_out_of_its_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "secret.raw").write_bytes(VOXELS.tobytes())
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "b.mhd").write_bytes(header(place))
    with pytest.raises(InputError):
        read_study(inner / "b.mhd")


def test_a_link_beside_a_header_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(VOXELS.tobytes())
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a.raw").symlink_to(tmp_path / "secret")
    (inner / "b.mhd").write_bytes(header("a.raw"))
    with pytest.raises(InputError, match="another file"):
        read_study(inner / "b.mhd")


def test_without_directions_the_place_is_said_to_be_a_guess() -> None:
    study = read_metaimage(header(TransformMatrix="") + VOXELS.tobytes(), "a")
    assert study.series[0].place_guessed


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"NDims": "9"}, InputError),
        ({"NDims": "x"}, DamagedFileError),
        ({"DimSize": "36 40"}, DamagedFileError),
        ({"DimSize": "30000 30000 30000"}, TooLargeError),
        ({"ElementType": "MET_OTHER"}, InputError),
        ({"ElementNumberOfChannels": "3"}, InputError),
        ({"BinaryData": "False"}, InputError),
        ({"ElementSpacing": "0 0 0"}, InputError),
        ({"ElementSpacing": "nan 1 1"}, InputError),
        ({"TransformMatrix": "1 1 0 0 1 0 0 0 1"}, InputError),
        ({"CompressedData": "True"}, DamagedFileError),
        ({"HeaderSize": "99999999"}, DamagedFileError),
    ],
)
def test_headers_that_cannot_be(
    changes: dict[str, str], kind: type[InputError]
) -> None:
    with pytest.raises(kind) as caught:
        read_metaimage(header(**changes) + VOXELS.tobytes(), "hostile.mha")
    assert "hostile.mha" in caught.value.message


def test_cut_off_at_each_kilobyte() -> None:
    data = header() + VOXELS.tobytes()
    for end in range(0, len(data), 4096):
        with pytest.raises(InputError):
            read_metaimage(data[:end], "cut.mha")
