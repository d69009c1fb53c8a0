"""Whole scans cut into slices that stand as a radiologist sees them."""

import cv2
import nibabel
import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.dicom_files import saved, slice_file
from tumorlens.data.series.volume_slices import cut_volumes, slices_of
from tumorlens.errors import DatasetError, InputError, MissingFileError
from tumorlens.imaging.study import Plane


@pytest.fixture
def scan():
    """Axes right, front, top; brightest in front, and half as bright on top."""
    voxels = np.zeros((40, 50, 60), np.float32)
    voxels[5:35, 5:45, 5:55] = 100.0
    voxels[5:35, 35:45, 5:55] = 200.0
    voxels[5:35, 5:35, 45:55] = 150.0
    return voxels


def test_the_face_is_up_or_left_and_the_top_is_up(scan):
    middle = {}
    for plane, number, picture in slices_of((scan, (1.0, 1.0, 1.0)), 1.0):
        if number == 20 or plane is not Plane.SAGITTAL:
            middle.setdefault(plane, picture) if number >= 20 else None
    axial, sagittal = middle[Plane.AXIAL], middle[Plane.SAGITTAL]
    assert axial.shape == (50, 40)
    assert axial[10, 20] == 255 and axial[40, 20] < 140
    assert sagittal.shape == (60, 50)
    assert sagittal[30, 10] == 255 and sagittal[30, 40] < 140
    assert sagittal[8, 40] > sagittal[30, 40]


def test_pixels_are_square_and_the_ends_are_left_out(scan):
    found = list(slices_of((scan, (1.0, 1.0, 2.0)), 4.0))
    coronal = [picture for plane, _, picture in found if plane is Plane.CORONAL]
    assert all(picture.shape == (120, 40) for picture in coronal)
    axial = [number for plane, number, _ in found if plane is Plane.AXIAL]
    assert min(axial) >= 5 and max(axial) < 55
    assert set(np.diff(axial)) == {2}


def test_a_nifti_of_any_orientation_becomes_labelled_pictures(tmp_path):
    head = np.stack([draw_phantom(64, 64, seed=3)] * 24, axis=-1).astype(np.float32)
    turned = np.diag([-2.0, -2.0, 2.0, 1.0])
    path = tmp_path / "one.nii.gz"
    nibabel.save(nibabel.Nifti1Image(head, turned), path)
    records = cut_volumes(
        [path], tmp_path / "out", label="no_tumor", source="mine", every_mm=8.0
    )
    assert {row.patient for row in records} == {"mine:one"}
    assert {row.plane for row in records} == {"axial", "coronal", "sagittal"}
    assert all(cv2.imread(str(row.path), 0) is not None for row in records)


def test_a_folder_of_one_dicom_series_is_cut_too(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    for number in range(24):
        pixels = draw_phantom(64, 64, seed=3).astype(np.uint16)
        data = saved(slice_file(pixels, 3.0 * number, PixelSpacing=[3, 3]))
        (folder / f"{number}.dcm").write_bytes(data)
    records = cut_volumes(
        [folder], tmp_path / "out", label="no_tumor", source="mine", every_mm=9.0
    )
    assert {row.patient for row in records} == {"mine:series"}
    assert {row.plane for row in records} == {"axial", "coronal", "sagittal"}


def head_with_skull():
    """Draw rings of scalp (230), skull (5) and brain (120)."""
    picture = np.zeros((256, 256), np.uint8)
    for radius, grey in ((115, 230), (103, 5), (90, 120)):
        cv2.circle(picture, (128, 128), radius, grey, -1)
    return picture


def test_heads_are_shown_without_their_skull(tmp_path):
    head = np.stack([head_with_skull()] * 8, axis=-1).astype(np.float32)
    path = tmp_path / "one.nii.gz"
    nibabel.save(nibabel.Nifti1Image(head, np.diag([1.0, 1.0, 8.0, 1.0])), path)
    order = {"label": "no_tumor", "source": "mine", "every_mm": 20.0}
    whole = cut_volumes([path], tmp_path / "whole", **order)
    bare = cut_volumes([path], tmp_path / "bare", **order, stripped=True)
    axial = {row.path.name for row in bare if row.plane == "axial"}
    assert axial == {row.path.name for row in whole if row.plane == "axial"}
    for name in axial:
        before, after = (
            cv2.imread(str(tmp_path / kind / name), 0) for kind in ("whole", "bare")
        )
        # The scalp is the brightest of the drawn head, and outermost.
        assert (before > 220).mean() > 0.02
        assert (after > 220).mean() < 0.005


def test_what_is_no_scan_is_refused_by_name(tmp_path):
    bad = tmp_path / "bad.nii"
    bad.write_bytes(b"no scan")
    with pytest.raises(InputError, match=r"bad\.nii"):
        cut_volumes([bad], tmp_path, label="no_tumor", source="x", every_mm=5.0)
    flat = tmp_path / "flat.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4), np.float32), np.eye(4)), flat)
    with pytest.raises((DatasetError, InputError), match=r"flat\.nii"):
        cut_volumes([flat], tmp_path, label="no_tumor", source="x", every_mm=5.0)
    with pytest.raises(MissingFileError):
        cut_volumes(
            [tmp_path / "none.nii"], tmp_path, label="no_tumor", source="x", every_mm=5
        )
