"""FreeSurfer's volumes lie where FreeSurfer says, and hostile ones are refused."""

from __future__ import annotations

import gzip
import struct

import nibabel
import numpy as np
import pytest
from nibabel.freesurfer.mghformat import MGHImage

from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.formats import is_mgh
from tumorlens.imaging.read import read_study
from tumorlens.imaging.readers.mgh import read_mgh
from tumorlens.imaging.readers.nifti import read_nifti

RNG = np.random.default_rng(0)
VOXELS = RNG.integers(0, 900, (36, 40, 34)).astype(np.int16)
TURNED = np.array(
    [[0.1, 0, -1.5, 20], [-1, 0.05, 0, 30], [0, 1, 0.1, -40], [0, 0, 0, 1.0]]
)
TURNED[:3, :3] = np.linalg.qr(TURNED[:3, :3])[0] * (1.2, 0.9, 3.0)


def packed(voxels: np.ndarray = VOXELS, affine: np.ndarray = TURNED) -> bytes:
    return bytes(MGHImage(voxels, affine).to_bytes())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_it_gives_the_slices_that_nifti_gives(dtype: type, pack: type) -> None:
    voxels = (VOXELS // 4).astype(dtype)
    data = pack(packed(voxels))
    assert is_mgh(data)
    study = read_study(data, "brain.mgz")
    nifti = read_nifti(nibabel.Nifti1Image(voxels, TURNED).to_bytes(), "a")
    assert not study.notes
    for one, two in zip(study.slices, nifti.slices, strict=True):
        assert np.array_equal(one.pixels, two.pixels)
        assert one.placement is not None and two.placement is not None
        np.testing.assert_allclose(
            one.placement.origin, two.placement.origin, atol=1e-3
        )
        np.testing.assert_allclose(
            one.placement.across, two.placement.across, atol=1e-5
        )


def test_without_directions_the_place_is_said_to_be_a_guess() -> None:
    data = bytearray(packed())
    struct.pack_into(">h", data, 28, 0)
    study = read_mgh(bytes(data), "a.mgh")
    assert study.series[0].place_guessed
    assert any("does not say how" in note for note in study.notes)


@pytest.mark.parametrize(
    ("offset", "values", "kind", "said"),
    [
        (16, (5,), InputError, "5 volumes"),
        (4, (30_000, 30_000, 30_000), TooLargeError, "voxels"),
        (20, (2,), DamagedFileError, "header"),
        (4, (-1,), DamagedFileError, "header"),
    ],
)
def test_headers_that_cannot_be(
    offset: int, values: tuple[int, ...], kind: type[InputError], said: str
) -> None:
    data = bytearray(packed())
    struct.pack_into(f">{len(values)}i", data, offset, *values)
    for whole in (bytes(data), gzip.compress(bytes(data))):
        with pytest.raises(kind, match=said) as caught:
            read_mgh(whole, "hostile.mgz")
        assert "hostile.mgz" in caught.value.message


def test_cut_off_at_each_kilobyte() -> None:
    for data in (packed(), gzip.compress(packed(), 1)):
        for end in range(0, len(data), 4096):
            with pytest.raises(InputError):
                read_mgh(data[:end], "cut.mgh")
