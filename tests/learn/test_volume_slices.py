"""Whole scans cut into slices that stand as a radiologist sees them."""

import cv2
import nibabel
import numpy as np
import pytest

from tests.conftest import draw_phantom
from tumorlens.errors import DatasetError, MissingFileError
from tumorlens.imaging.study import Plane
from tumorlens.learn.volume_slices import cut_volumes, slices_of


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


def test_what_is_no_scan_is_refused_by_name(tmp_path):
    bad = tmp_path / "bad.nii"
    bad.write_bytes(b"no scan")
    with pytest.raises(DatasetError, match=r"bad\.nii"):
        cut_volumes([bad], tmp_path, label="no_tumor", source="x", every_mm=5.0)
    flat = tmp_path / "flat.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4), np.float32), np.eye(4)), flat)
    with pytest.raises(DatasetError, match="shape"):
        cut_volumes([flat], tmp_path, label="no_tumor", source="x", every_mm=5.0)
    with pytest.raises(MissingFileError):
        cut_volumes(
            [tmp_path / "none.nii"], tmp_path, label="no_tumor", source="x", every_mm=5
        )
