"""NIfTI: real files, every orientation, and files that mean harm."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.testing import data_path

from tests.imaging.test_geometry import find, marked
from tumorlens.errors import DamagedFileError, InputError, TooLargeError, TooSmallError
from tumorlens.imaging.formats import is_nifti
from tumorlens.imaging.read import read_study
from tumorlens.imaging.readers.nifti import read_nifti
from tumorlens.imaging.study import Plane

DATA = Path(os.environ.get("TUMORLENS_DATA", "../shared/data"))
SHIPPED = Path(data_path)
RNG = np.random.default_rng(0)


def packed(voxels: np.ndarray, affine: Any = None, kind: Any = None) -> bytes:
    """One .nii file; the affine is RAS."""
    kind = kind or nibabel.Nifti1Image
    image = kind(voxels, np.eye(4) if affine is None else affine)
    return bytes(image.to_bytes())


def patched(data: bytes, offset: int, form: str, *values: Any) -> bytes:
    """Write fields of a NIfTI-1 header."""
    out = bytearray(data)
    struct.pack_into("<" + form, out, offset, *values)
    return bytes(out)


DIM, DATATYPE, PIXDIM, VOX_OFFSET, SLOPE, XYZT = 40, 70, 76, 108, 112, 123
QFORM_CODE, SFORM_CODE, QUATERN_B, SROW = 252, 254, 256, 280

SMALL = RNG.integers(0, 900, (36, 40, 34)).astype(np.int16)
PLAIN = packed(SMALL)


def refused(data: bytes, kind: type[InputError] = InputError, **more: Any) -> str:
    """Read what cannot be read, and return the message."""
    with pytest.raises(kind) as caught:
        read_nifti(data, "head.nii", **more)
    assert "head.nii" in caught.value.message and caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "LAS"])
def test_a_mark_is_found_in_the_patient(codes: str, kind: Any):
    voxels, affine, mark = marked(codes, 12.0)
    for data in (packed(voxels, affine, kind), gzip.compress(packed(voxels, affine))):
        assert is_nifti(data)
        study = read_nifti(data, "head.nii.gz")
        (series,) = study.series
        assert study.notes == () and study.slices[0].source == "head.nii.gz"
        depth, row, column = find(series)
        found = series.slices[depth]
        assert found.index == depth and found.plane is Plane.AXIAL
        assert found.placement is not None
        assert np.allclose(found.placement.at(column, row), mark, atol=1e-3)


def test_the_widest_step_tells_the_plane():
    voxels, affine, _ = marked("PSR", 5.0, (1.0, 4.0, 1.0))
    study = read_nifti(packed(voxels, affine), "head.nii")
    assert {item.plane for item in study.slices} == {Plane.CORONAL}
    assert len(study.slices) == 48


def test_a_thin_slab_is_read_from_its_broad_side():
    study = read_nifti(packed(np.ones((64, 5, 64), np.uint8)), "head.nii")
    assert len(study.slices) == 5 and study.slices[0].plane is Plane.CORONAL


def test_one_slice_of_two_dimensions():
    data = patched(PLAIN, DIM, "4h", 2, 36, 40, 1)
    assert len(read_nifti(data, "head.nii").slices) == 1


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "u2", "i4", ">f4", "f8", "i8"])
def test_every_real_type(dtype: str):
    voxels = (SMALL % 100).astype(dtype)
    header = nibabel.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(voxels.dtype)
    image = nibabel.Nifti1Image(voxels, np.eye(4), header, dtype=voxels.dtype)
    study = read_nifti(image.to_bytes(), "head.nii")
    # RAS to display: right on the left, front on top.
    shown = voxels[::-1, ::-1, 7].T
    assert np.array_equal(study.slices[7].pixels, shown.astype(np.float32))
    assert study.slices[7].pixels.dtype == np.float32


def test_values_are_scaled():
    study = read_nifti(patched(PLAIN, SLOPE, "2f", 0.5, -3.0), "head.nii")
    expected = SMALL[::-1, ::-1, 0].T.astype(np.float32) * 0.5 - 3.0
    assert np.array_equal(study.slices[0].pixels, expected)


@pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf")])
def test_a_slope_that_means_none(slope: float):
    study = read_nifti(patched(PLAIN, SLOPE, "2f", slope, 5.0), "head.nii")
    assert study.slices[0].pixels.max() == SMALL[:, :, 0].max()


def test_metres_are_read_as_metres():
    affine = np.diag([0.001, 0.001, 0.001, 1.0])
    data = patched(packed(SMALL, affine), XYZT, "B", 1)
    assert read_nifti(data, "a").slices[0].spacing_mm == pytest.approx((1.0, 1.0))


def test_the_sform_goes_before_the_qform():
    image = nibabel.Nifti1Image(SMALL, None)
    image.set_qform(np.diag([1, 1, 5.0, 1]), 1)
    only_q = read_nifti(image.to_bytes(), "a")
    assert len(only_q.slices) == 34 and not only_q.notes
    image.set_sform(np.diag([1, 5.0, 1, 1]), 2)
    assert read_nifti(image.to_bytes(), "a").slices[0].plane is Plane.CORONAL


def test_without_an_orientation_a_note_says_so():
    data = patched(PLAIN, QFORM_CODE, "2h", 0, 0)
    (note,) = read_nifti(data, "head.nii").notes
    assert "right" in note


def test_one_volume_of_a_series_of_volumes():
    many = np.stack([SMALL, SMALL + 1000], axis=-1)
    data = gzip.compress(packed(many))
    assert "2 volumes" in refused(data)
    assert read_nifti(data, "a", volume=1).slices[0].pixels.min() >= 1000
    assert read_nifti(data, "a", volume=0).slices[0].pixels.max() < 1000
    refused(data, volume=2)
    refused(data, volume=-1)
    assert read_nifti(packed(SMALL[..., None]), "a").slices


def test_files_that_nibabel_ships():
    study = read_nifti((SHIPPED / "anatomical.nii").read_bytes(), "anatomical.nii")
    image = nibabel.load(SHIPPED / "anatomical.nii")
    assert sum(item.pixels.size for item in study.slices) == np.prod(image.shape)
    total = sum(float(item.pixels.sum(dtype=np.float64)) for item in study.slices)
    assert total == pytest.approx(float(image.get_fdata().sum()))
    assert "2 volumes" in refused((SHIPPED / "example4d.nii.gz").read_bytes())
    assert is_nifti((SHIPPED / "example_nifti2.nii.gz").read_bytes())
    refused((SHIPPED / "example_nifti2.nii.gz").read_bytes())
    refused((SHIPPED / "nifti1.hdr").read_bytes())
    refused((SHIPPED / "nifti2.hdr").read_bytes())
    assert not is_nifti((SHIPPED / "small.mnc").read_bytes())
    assert not is_nifti((SHIPPED / "example4d+orig.BRIK.gz").read_bytes())


@pytest.mark.skipif(not (DATA / "volumes").is_dir(), reason="no volumes here")
def test_real_heads():
    for path in sorted((DATA / "volumes").glob("IXI0[14]*.nii.gz")):
        study = read_nifti(path.read_bytes(), path.name)
        assert {item.plane for item in study.slices} == {Plane.AXIAL}
        assert nibabel.aff2axcodes(nibabel.load(path).affine) == ("P", "S", "R")
        # Columns run to the left, rows to the back.
        place = study.slices[0].placement
        assert place is not None and place.across[0] > 0 and place.down[1] > 0


def test_a_small_file_that_claims_107_gb():
    data = patched(PLAIN, DIM, "4h", 3, 30_000, 30_000, 30)
    data = gzip.compress(patched(data, DATATYPE, "2h", 16, 32) + bytes(40_000_000))
    assert len(data) < 200_000
    tracemalloc.start()
    message = refused(data, TooLargeError)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "30000" in message and peak < 5_000_000


def test_zeros_that_inflate_too_well():
    data = patched(PLAIN, DIM, "4h", 3, 450, 450, 450)
    data = gzip.compress(data + bytes(182_000_000), 9)
    tracemalloc.start()
    refused(data, TooLargeError)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("offset", "form", "values", "kind"),
    [
        (DIM, "4h", (3, 0, 40, 34), DamagedFileError),
        (DIM, "4h", (3, 36, -40, 34), DamagedFileError),
        (DIM, "4h", (3, 36, 40, 0), DamagedFileError),
        (DIM, "6h", (5, 36, 40, 34, 1, 2), InputError),
        (DIM, "2h", (0, 36), DamagedFileError),
        (DIM, "2h", (99, 36), DamagedFileError),
        (DIM, "2h", (1, 36), InputError),
        (DIM, "5h", (4, 36, 40, 34, -1), DamagedFileError),
        (DIM, "4h", (3, 20, 20, 34), TooSmallError),
        (DIM, "4h", (3, 32_767, 32_767, 32_767), TooLargeError),
        (DIM, "4h", (3, 32_767, 40, 34), InputError),
        (DATATYPE, "2h", (32, 64), InputError),
        (DATATYPE, "2h", (128, 24), InputError),
        (DATATYPE, "2h", (1536, 128), InputError),
        (DATATYPE, "2h", (1, 1), InputError),
        (DATATYPE, "2h", (7777, 16), InputError),
        (VOX_OFFSET, "f", (float("nan"),), DamagedFileError),
        (VOX_OFFSET, "f", (1e30,), DamagedFileError),
        (VOX_OFFSET, "f", (-8.0,), DamagedFileError),
        (VOX_OFFSET, "f", (100.0,), DamagedFileError),
        (SLOPE, "2f", (3e38, 0.0), InputError),
        (SROW, "f", (3e38,), InputError),
        (SROW, "f", (0.0,), InputError),
        (SROW, "2f", (1.0, 0.3), InputError),
        (SROW, "8f", (1, 0, 0, 0, 1, 0, 0, 0), InputError),
    ],
)
def test_headers_that_cannot_be(
    offset: int, form: str, values: tuple[Any, ...], kind: type[InputError]
):
    data = patched(PLAIN, offset, form, *values)
    refused(data, kind)
    refused(gzip.compress(data, 1), kind)


QFORM_ALONE = patched(PLAIN, QFORM_CODE, "2h", 1, 0)


@pytest.mark.parametrize(
    "data",
    [
        patched(PLAIN, SROW, "f", float("nan")),
        patched(PLAIN, SROW, "f", float("inf")),
        patched(QFORM_ALONE, QUATERN_B, "3f", 9.0, 9.0, 9.0),
        patched(QFORM_ALONE, QUATERN_B, "3f", float("nan"), 0.0, 0.0),
        patched(QFORM_ALONE, PIXDIM, "4f", 1, -1, 1, 1),
    ],
)
def test_a_broken_orientation_and_no_other_leaves_a_guess(data: bytes):
    (series,) = (study := read_nifti(data, "a")).series
    assert series.place_guessed
    assert series.slices[0].spacing_mm == pytest.approx((1.0, 1.0))
    assert any("orientation is broken" in note for note in study.notes)
    assert any("sides may be wrong" in note for note in study.notes)


def test_a_qform_of_no_volume_is_refused():
    refused(patched(QFORM_ALONE, PIXDIM, "4f", 1, 0, 1, 1))


@pytest.mark.parametrize("size", [0.0, float("nan")])
def test_voxels_of_no_stated_size_are_said(size: float):
    data = patched(patched(PLAIN, QFORM_CODE, "2h", 0, 0), PIXDIM + 12, "f", size)
    study = read_nifti(data, "a")
    assert len(study.slices) > 1
    assert any("1 mm was taken" in note for note in study.notes)


@pytest.mark.parametrize(
    "data",
    [
        patched(PLAIN, DIM, "5h", 4, 36, 40, 34, 0),
        patched(PLAIN, SLOPE, "2f", 1.0, float("nan")),
        patched(PLAIN, VOX_OFFSET, "f", 0.0),
        patched(PLAIN, 344, "4B", *b"ni1\0"),
        PLAIN[:348] + patched(PLAIN, VOX_OFFSET, "f", 348.0)[352:],
    ],
    ids=["no volumes", "intercept", "no offset", "mark of two files", "no extension"],
)
def test_harmless_oddities_are_read(data: bytes):
    if len(data) < len(PLAIN):
        data = patched(data, VOX_OFFSET, "f", 348.0)
    pixels = np.array([item.pixels for item in read_nifti(data, "a").slices])
    expected = np.array([item.pixels for item in read_nifti(PLAIN, "a").slices])
    assert np.array_equal(pixels, expected)


def test_vectors_of_the_fifth_dimension_are_volumes():
    data = packed(np.stack([SMALL, SMALL + 1000], -1)[..., None, :])
    assert "2 volumes" in refused(data)
    assert read_nifti(data, "a", 1).slices[0].pixels.min() >= 1000


@pytest.mark.parametrize("top", [1, 255])
def test_an_outline_is_read_as_it_is(top: int):
    mask = np.where(SMALL > 450, top, 0).astype(np.uint8)
    slices = read_nifti(packed(mask), "a").slices
    assert {float(x) for item in slices for x in np.unique(item.pixels)} == {0.0, top}


def test_labels_are_read_and_said():
    study = read_nifti(patched(PLAIN, 68, "h", 1002), "a")
    assert any("labels" in note for note in study.notes)


def test_a_volume_of_white_air_is_turned_round():
    ball = np.hypot(*np.mgrid[-1:1:64j, -1:1:64j])[..., None] < 0.8
    head = np.where(ball, RNG.integers(300, 900, (64, 64, 40)), 0).astype(np.int16)
    study = read_nifti(packed(np.int16(1000) - head), "a")
    expected = read_nifti(packed(head), "a")
    for item, other in zip(study.slices, expected.slices, strict=True):
        assert np.corrcoef(item.pixels.ravel(), other.pixels.ravel())[0, 1] > 0.999
    assert any("inverted" in note for note in study.notes)
    assert expected.notes == ()


def test_zeros_around_a_head_that_was_normalised_within_a_mask_are_air():
    ball = np.hypot(*np.mgrid[-1:1:64j, -1:1:64j])[..., None] < 0.8
    head = np.where(ball, RNG.normal(0, 1, (64, 64, 40)), 0).astype(np.float32)
    study = read_nifti(packed(head), "a")
    assert all(item.pixels[0, 0] == head.min() for item in study.slices)
    assert any("normalised within a mask" in note for note in study.notes)
    # Values that were normalised whole have no such zeros.
    whole = read_nifti(packed(np.where(ball, head, -2.5).astype(np.float32)), "a")
    assert whole.notes == () and whole.slices[0].pixels.min() < -2.5


def test_the_values_of_a_ct_are_refused():
    ball = np.hypot(*np.mgrid[-1:1:64j, -1:1:64j])[..., None] < 0.8
    tissue = RNG.normal(40, 10, (64, 64, 40)).astype(np.int16)
    ct = np.where(ball, tissue, -1024).astype(np.int16)
    ct[20:24] += 900
    assert "computed tomography" in refused(packed(ct))
    # An MR that a program counts from -1024 has no such tissue.
    assert read_nifti(packed((ct + 1024) * 3 - np.int16(1024)), "a").slices


def test_an_outline_of_all_but_a_hole_stays_as_it_was_drawn():
    x, y, z = np.indices((64, 64, 20)) - np.array([32, 32, 10])[:, None, None, None]
    outline = (x**2 + y**2 + 4 * z**2 > 300).astype(np.uint8)
    study = read_nifti(packed(outline), "outline.nii")
    drawn = np.mean([item.pixels.mean() for item in study.slices])
    assert drawn == pytest.approx(outline.mean())
    assert study.notes == ()


def test_a_number_beyond_32_bits_is_refused():
    voxels = SMALL.astype(np.float64)
    voxels[3, 4, 5] = 1e300
    assert "slice 5" in refused(packed(voxels))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("low", "air"), [(5.0, 0.0), (-9.0, -9.0)])
def test_what_is_no_number_is_air(value: float, low: float, air: float):
    voxels = np.maximum(SMALL, 6).astype(np.float32)
    voxels[9, 9, 9] = low
    voxels[:12, :, :] = value
    voxels[9, 9, 9] = low
    study = read_nifti(packed(voxels), "head.nii")
    pixels = np.stack([item.pixels for item in study.slices])
    assert pixels.min() == air
    assert (pixels == air).sum() >= 12 * 40 * 34 - 1
    assert any("no finite numbers" in note for note in study.notes)


def test_nothing_but_nan_is_refused():
    refused(packed(np.full((36, 40, 34), np.nan, np.float32)))


def test_slices_that_lie_in_the_fourth_dimension_are_told_from_volumes():
    assert "one slice each" in refused(packed(SMALL[:, :, None, :]))


def test_dimensions_of_one_step_add_nothing():
    assert len(read_nifti(packed(SMALL[..., None, None]), "a").slices) == 34
    data = patched(PLAIN, DIM, "8h", 7, 36, 40, 34, 1, 0, 0, 0)
    assert len(read_nifti(data, "a").slices) == 34


# --- Fields that disagree ---


def both_forms(sform: np.ndarray, qform: np.ndarray) -> bytes:
    image = nibabel.Nifti1Image(SMALL, None)
    image.set_qform(qform, 1)
    image.set_sform(sform, 1)
    return bytes(image.to_bytes())


RAS = np.diag([2.0, 2.0, 5.0, 1.0])


@pytest.mark.parametrize(
    "broken",
    [np.zeros((4, 4)), np.full((4, 4), np.nan), np.array([[1, 1, 0, 0]] * 4) * 1.0],
)
def test_a_broken_sform_gives_way_to_a_good_qform(broken: np.ndarray):
    broken = broken.copy()
    broken[3] = 0, 0, 0, 1
    data = patched(both_forms(RAS, RAS), SROW, "12f", *broken[:3].ravel())
    study = read_nifti(data, "a")
    assert study.slices[0].spacing_mm == pytest.approx((2.0, 2.0))
    assert any("sform is no orientation" in note for note in study.notes)


def test_a_broken_qform_is_said_too():
    data = patched(both_forms(RAS, RAS), QUATERN_B, "3f", 9.0, 9.0, 9.0)
    study = read_nifti(data, "a")
    assert study.slices[0].spacing_mm == pytest.approx((2.0, 2.0))
    assert any("qform is no orientation" in note for note in study.notes)


def test_voxels_that_no_scanner_makes_lose():
    tiny = np.diag([0.002, 0.002, 0.005, 1.0])
    study = read_nifti(both_forms(tiny, RAS), "a")
    assert study.slices[0].spacing_mm == pytest.approx((2.0, 2.0))
    assert any("contradicts itself: voxels" in note for note in study.notes)


def test_forms_that_disagree_about_sides_are_said():
    study = read_nifti(both_forms(np.diag([-2.0, 2.0, 5.0, 1.0]), RAS), "a")
    assert any("sides may be wrong" in note for note in study.notes)


def test_forms_that_agree_have_no_note():
    assert not read_nifti(both_forms(RAS, RAS), "a").notes


@pytest.mark.parametrize("unit", [1, 3])
def test_a_unit_that_makes_no_head_is_not_believed(unit: int):
    study = read_nifti(patched(both_forms(RAS, RAS), XYZT, "B", unit), "a")
    assert study.slices[0].spacing_mm == pytest.approx((2.0, 2.0))
    assert any("taken as millimetres" in note for note in study.notes)


def test_values_with_which_nothing_can_be_computed():
    voxels = SMALL.astype(np.float32)
    voxels[3, 4, 5], voxels[3, 4, 6] = -3.4e38, 3.4e38
    assert "holds values from -3.4e+38" in refused(packed(voxels))


def test_truncated_at_each_kilobyte():
    whole = gzip.compress(PLAIN, 1)
    for data in (PLAIN, whole):
        for end in [*range(0, len(data), 1024), len(data) - 9, len(data) - 1]:
            refused(data[:end], DamagedFileError)


def test_a_wrong_checksum():
    data = bytearray(gzip.compress(PLAIN, 1))
    data[-6] ^= 1
    refused(bytes(data), DamagedFileError)


def test_gzip_in_many_parts():
    parts = [gzip.compress(PLAIN[i : i + 5000]) for i in range(0, len(PLAIN), 5000)]
    assert len(read_nifti(b"".join(parts), "a").slices) == 34
    empty = gzip.compress(b"")
    refused(gzip.compress(PLAIN[:5000]) + empty * 30_000, InputError)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=12
    ),
    st.booleans(),
)
def test_mutated_bytes_give_slices_or_a_clear_error(
    changes: list[tuple[int, int]], squeezed: bool
):
    base = _MUTATED_GZ if squeezed else PLAIN
    data = bytearray(base)
    for place, value in changes:
        data[place] = value
    try:
        study = read_nifti(bytes(data), "head.nii")
    except InputError as error:
        assert "head.nii" in error.message
    else:
        assert all(np.isfinite(item.pixels).all() for item in study.slices)


_MUTATED_GZ = gzip.compress(PLAIN, 1)


def coloured(*channels: np.ndarray) -> bytes:
    """Write a volume of colours, of three or four channels."""
    kinds = [(name, "u1") for name, _ in zip("RGBA", channels, strict=False)]
    voxels = np.zeros(channels[0].shape, kinds)
    for (name, _), values in zip(kinds, channels, strict=True):
        voxels[name] = values
    return bytes(nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 4.0, 1.0])).to_bytes())


GREYS = np.random.default_rng(0).integers(0, 255, (36, 40, 34)).astype(np.uint8)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("alpha", [(), (0,), (255,)])
def test_colours_that_are_greys_are_read(packed: bool, alpha: tuple[int, ...]) -> None:
    data = coloured(GREYS, GREYS, GREYS, *(np.full_like(GREYS, x) for x in alpha))
    study = read_study(gzip.compress(data) if packed else data, "rgb.nii")
    (series,) = study.series
    sums = sorted(int(item.pixels.sum()) for item in series.slices)
    assert sums == sorted(int(GREYS[:, :, z].sum()) for z in range(34))


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_colour_laid_over_a_scan_is_refused(channel: int) -> None:
    channels = [GREYS.copy() for _ in range(3)]
    channels[channel][20, 20, 17] ^= 1
    with pytest.raises(InputError, match="colours") as caught:
        read_study(coloured(*channels), "overlay.nii")
    assert "without the colours" in caught.value.hint


def test_colours_that_are_cut_off_are_refused() -> None:
    data = coloured(GREYS, GREYS, GREYS)
    for cut in (data[: len(data) // 2], gzip.compress(data)[:20_000]):
        with pytest.raises(DamagedFileError, match="cut off"):
            read_study(cut, "rgb.nii")


INTENT_CODE, DESCRIP = 68, 148


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (patched(PLAIN, INTENT_CODE, "h", 3), "a statistic"),
        (patched(PLAIN, INTENT_CODE, "h", 1007), "vectors"),
        (patched(PLAIN, DESCRIP, "80s", b"SPM{T_[18.0]} - contrast 1"), "a statistic"),
        (patched(PLAIN, DESCRIP, "80s", b"Tissue class 1"), "share of a tissue"),
        (patched(PLAIN, DESCRIP, "80s", b"Deformation"), "deformation"),
    ],
)
def test_what_a_header_calls_calculated_is_refused(data: bytes, said: str):
    assert said in refused(data)


def test_a_plain_description_refuses_nothing():
    data = patched(PLAIN, DESCRIP, "80s", b"TE=3;Time=1;SPM compatible")
    assert read_nifti(data, "head.nii").notes == read_nifti(PLAIN, "head.nii").notes


def test_a_volume_in_many_packed_parts_is_read():
    parts = b"".join(
        gzip.compress(PLAIN[start : start + 65280])
        for start in range(0, len(PLAIN), 65280)
    )
    found = read_nifti(parts, "head.nii.gz").slices
    assert all(
        np.array_equal(one.pixels, two.pixels)
        for one, two in zip(found, read_nifti(PLAIN, "head.nii").slices, strict=True)
    )
