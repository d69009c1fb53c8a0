"""The evidence as a segmentation."""

import io

import numpy as np
import pytest
from highdicom.seg import segread

from tests.samples.dicom_findings import (
    COLUMNS,
    ORIGIN,
    ROWS,
    SLICES,
    SPACING,
    STEP,
    assert_valid,
    drawn_finding,
    drawn_headers,
)
from tumorlens.errors import InputError
from tumorlens.report.dicom.headers import SEG_SERIES
from tumorlens.report.dicom.seg import build_seg


def _mask(*spots):
    mask = np.zeros((SLICES, ROWS, COLUMNS), bool)
    for spot in spots:
        mask[spot] = True
    return mask


def _again(dataset):
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    return segread(file)


def test_a_marked_voxel_lies_where_its_slice_says():
    found = _again(build_seg(drawn_headers(), _mask((3, 11, 29)), drawn_finding()))
    volume = found.get_volume(combine_segments=True)
    (index,) = np.argwhere(volume.array)
    place = volume.map_indices_to_reference(index[None])[0]
    expected = [
        ORIGIN[0] + 29 * SPACING[1],
        ORIGIN[1] + 11 * SPACING[0],
        ORIGIN[2] + 3 * STEP,
    ]
    np.testing.assert_allclose(place, expected, atol=1e-6)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_mask_comes_back_slice_by_slice(kind):
    headers = drawn_headers()
    mask = np.zeros((SLICES, ROWS, COLUMNS), kind)
    mask[1, 4:9, 5:30] = 1
    mask[2, 6:7, 1:40] = 1
    found = _again(build_seg(headers, mask, drawn_finding()))
    pixels = found.get_pixels_by_source_instance(
        [item.SOPInstanceUID for item in headers],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(pixels, mask.astype(np.uint8))


def test_slices_the_other_way_round_come_back_in_place():
    headers = drawn_headers()[::-1]
    found = _again(build_seg(headers, _mask((0, 2, 3)), drawn_finding()))
    volume = found.get_volume(combine_segments=True)
    place = volume.map_indices_to_reference(np.argwhere(volume.array))[0]
    assert place[2] == pytest.approx(ORIGIN[2] + STEP * (SLICES - 1))


def test_it_says_what_it_is_and_of_whom():
    headers = drawn_headers()
    found = build_seg(headers, _mask((1, 2, 3)), drawn_finding())
    segment = found.SegmentSequence[0]
    assert found.SegmentationType == "BINARY"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert "evidence-net" in segment.SegmentAlgorithmName
    assert found.SeriesNumber == SEG_SERIES
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert found[keyword].value == headers[0][keyword].value


def test_nothing_marked_is_none():
    assert build_seg(drawn_headers(), _mask(), drawn_finding()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"SliceThickness": None},
        {"PatientName": None, "PatientSex": None, "StudyDate": None, "StudyID": None},
    ],
)
def test_segmentation_keeps_the_standard(changes, tmp_path):
    mask = _mask((1, 2, 3), (4, 5, 6))
    found = build_seg(drawn_headers(**changes), mask, drawn_finding())
    assert_valid(found, tmp_path)


@pytest.mark.parametrize(
    "keyword", ["FrameOfReferenceUID", "ImagePositionPatient", "PixelSpacing"]
)
def test_headers_without_a_place_are_refused(keyword):
    with pytest.raises(InputError, match=keyword):
        build_seg(drawn_headers(**{keyword: None}), _mask((1, 2, 3)), drawn_finding())


def test_tilted_slices_are_refused():
    headers = drawn_headers()
    headers[2].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    with pytest.raises(InputError, match="ImageOrientationPatient"):
        build_seg(headers, _mask((1, 2, 3)), drawn_finding())


def test_frames_of_one_file_are_refused():
    headers = [drawn_headers()[0]] * SLICES
    with pytest.raises(InputError, match="multi-frame"):
        build_seg(headers, _mask((1, 2, 3)), drawn_finding())


@pytest.mark.parametrize(
    "mask", [np.ones((2, 3, 4), bool), np.ones((SLICES, ROWS, COLUMNS), np.float32)]
)
def test_a_mask_that_does_not_fit_is_refused(mask):
    with pytest.raises(InputError, match="mask has the shape"):
        build_seg(drawn_headers(), mask, drawn_finding())
