"""The overlay as a secondary capture."""

import io

import numpy as np
import pydicom
import pytest

from tests.samples.dicom_findings import assert_valid, drawn_finding, drawn_headers
from tumorlens.errors import InputError
from tumorlens.report.dicom.headers import SC_SERIES
from tumorlens.report.dicom.sc import PARTIAL, build_sc, burn_in


def _overlay(height=40, width=48):
    rng = np.random.default_rng(3)
    return rng.integers(0, 255, (height, width, 3), np.uint8)


def _again(dataset):
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    return pydicom.dcmread(file)


@pytest.mark.parametrize("width", [48, 256, 512, 900])
def test_the_picture_is_kept_and_the_notice_burned_in_below(width):
    overlay = _overlay(width, width)
    found = _again(build_sc(drawn_headers(), 2, overlay, drawn_finding()))
    pixels = found.pixel_array
    times = pixels.shape[1] // width
    assert pixels.shape[1] >= 512
    np.testing.assert_array_equal(pixels[: width * times : times, ::times], overlay)
    band = pixels[width * times :]
    assert band.max() == 255
    assert band[:, -4:].max() == 0, "the notice is cut off"
    assert found.BurnedInAnnotation == "YES"


def test_it_refers_to_its_slice_and_patient():
    headers = drawn_headers()
    found = build_sc(headers, 2, _overlay(), drawn_finding())
    source = found.SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == headers[2].SOPInstanceUID
    assert list(found.PatientOrientation) == ["L", "P"]
    assert found.SeriesNumber == SC_SERIES
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate"):
        assert found[keyword].value == headers[0][keyword].value


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict.fromkeys(
            (
                "PatientName",
                "PatientID",
                "PatientSex",
                "StudyDate",
                "StudyTime",
                "ImageOrientationPatient",
                "SpecificCharacterSet",
            )
        ),
    ],
)
def test_capture_keeps_the_standard(changes, tmp_path):
    found = build_sc(drawn_headers(**changes), 0, _overlay(), drawn_finding())
    assert_valid(found, tmp_path)


def test_a_slice_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no slice -1"):
        build_sc(drawn_headers(), -1, _overlay(), drawn_finding())


@pytest.mark.parametrize(
    "overlay", [np.zeros((40, 48), np.uint8), np.zeros((40, 48, 3), np.float32)]
)
def test_what_is_no_rgb_picture_is_refused(overlay):
    with pytest.raises(InputError, match="overlay has the shape"):
        build_sc(drawn_headers(), 0, overlay, drawn_finding())


@pytest.mark.parametrize(
    ("changes", "caption"),
    [
        ({}, "Tumour: glioma (any tumour 97.0 %)"),
        ({"p_tumor": 0.0004}, "Tumour: glioma (any tumour < 0.1 %)"),
        ({"headline": "Not judged: why", "p_tumor": None}, "Not judged: why"),
    ],
)
def test_the_caption_has_a_number_only_where_there_is_one(changes, caption):
    found = build_sc(drawn_headers(), 0, _overlay(), drawn_finding(**changes))
    assert np.array_equal(found.pixel_array, burn_in(_overlay(), caption))


def test_a_picture_of_a_part_says_so_in_its_pixels_and_in_words(tmp_path):
    missing = ("Four of 22 images have come.",)
    whole = build_sc(drawn_headers(), 2, _overlay(), drawn_finding())
    partial = build_sc(drawn_headers(), 2, _overlay(), drawn_finding(missing=missing))
    caption = "Tumour: glioma (any tumour 97.0 %)"
    burnt = burn_in(_overlay(), caption, PARTIAL)
    assert np.array_equal(partial.pixel_array, burnt)
    # The line is there, and lies wholly within the picture.
    line = burnt[whole.Rows - 40 :, -20:]
    assert burnt.shape[0] > whole.Rows and not line.any()
    assert missing[0] in partial.DerivationDescription
    assert_valid(partial, tmp_path)
