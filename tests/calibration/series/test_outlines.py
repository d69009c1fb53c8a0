"""The lesion that is found is compared with a drawn one."""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest

from tests.samples.drawn_series import drawn_series
from tumorlens.calibration.series.outlines import (
    LEVELS,
    MEASURES,
    compare_outlines,
    drawn_outline,
)
from tumorlens.errors import DatasetError
from tumorlens.imaging.study import Series
from tumorlens.inference.series.results import SeenSlices

SPOT = np.s_[3:6, 90:130, 100:120]


def seen_with(series: Series, inner: int, outer: int) -> SeenSlices:
    """Evidence that is strong in the spot, and weaker around it."""
    seen = SeenSlices(series)
    seen.probabilities[:] = [0.1, 0.0, 0.0, 0.9]
    seen.probabilities[3:6] = [0.9, 0.0, 0.0, 0.1]
    seen.heads[:] = 200
    assert seen.evidence is not None
    seen.evidence[2:7, 70:150, 80:140] = outer
    seen.evidence[SPOT] = inner
    return seen


@pytest.fixture
def drawn() -> np.ndarray:
    outline = np.zeros((9, 256, 256), np.bool_)
    outline[SPOT] = True
    return outline


def test_the_right_level_fits_and_half_of_the_peak_is_too_large(
    drawn: np.ndarray,
) -> None:
    series = drawn_series()
    found = compare_outlines(seen_with(series, 252, 150), series, drawn)
    assert found is not None
    assert found.size_mm == 40.0
    by_level = {
        level: dict(zip(MEASURES, row, strict=True))
        for level, row in zip(LEVELS, found.measures, strict=True)
    }
    assert by_level[0.9]["dice"] == pytest.approx(1.0, abs=0.01)
    assert by_level[0.9]["size_error"] == 0.0
    assert by_level[0.9]["thickness_error"] == 0.0
    assert by_level[None]["size_ratio"] == 2.0
    assert by_level[None]["size_error"] == 1.0
    assert by_level[None]["dice"] < 0.4
    assert by_level[None]["peak_inside"] == 1.0


def test_nothing_found_is_wrong_by_the_whole_size(drawn: np.ndarray) -> None:
    series = drawn_series()
    found = compare_outlines(seen_with(series, 60, 30), series, drawn)
    assert found is not None
    assert found.measures[0].tolist() == [0.0, 1.0, 0.0, 3.0, 0.0]
    nothing = SeenSlices(series)
    assert compare_outlines(nothing, series, drawn) is None


def test_an_outline_of_another_grid_is_laid_over_the_scan(
    drawn: np.ndarray, tmp_path: Path
) -> None:
    """An outline of twice the pixel size, in RAS, marks the same place."""
    coarse = drawn[:, ::2, ::2].astype(np.uint8)
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    affine[:3, 3] = [128.0, 128.0, 0.0]
    path = tmp_path / "outline.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.transpose(coarse, (2, 1, 0)), affine), path)
    laid = drawn_outline(path, drawn_series())
    assert laid.shape == drawn.shape
    overlap = 2.0 * (laid & drawn).sum() / (laid.sum() + drawn.sum())
    assert overlap > 0.93


def test_pictures_are_outlines_of_single_slices(tmp_path: Path) -> None:
    picture = np.zeros((256, 256), np.uint8)
    picture[90:130, 100:120] = 255
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), picture)
    masks = [None] * 4 + [path] + [None] * 4
    laid = drawn_outline(masks, drawn_series())
    assert laid[4].sum() == 800
    assert laid.sum() == 800
    with pytest.raises(DatasetError, match="empty"):
        drawn_outline([None] * 9, drawn_series())
