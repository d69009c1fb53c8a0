"""The window that a DICOM file stores is read, in the units of the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.samples.dicom_files import head, saved, slice_file
from tumorlens.imaging.dicom.grouping import read_dicom
from tumorlens.imaging.preprocess.slice import Preprocessing, prepare
from tumorlens.imaging.study import Slice


def read(pixels: np.ndarray | None = None, **tags: Any) -> Slice:
    return read_dicom(saved(slice_file(pixels, **tags)), "x").slices[0]


def test_centre_and_width_become_the_two_ends() -> None:
    assert read(WindowCenter=500, WindowWidth=800).window == (100.0, 900.0)


def test_of_several_windows_the_first_is_taken() -> None:
    found = read(WindowCenter=[500, 40], WindowWidth=[800, 80])
    assert found.window == (100.0, 900.0)


def test_it_is_in_rescaled_units() -> None:
    found = read(
        WindowCenter=1000, WindowWidth=400, RescaleSlope=2, RescaleIntercept=-100
    )
    assert found.window == (800.0, 1200.0)
    assert found.pixels.max() == 2 * 3000 - 100


@pytest.mark.parametrize(("slope", "summand"), [(1, 0), (2, -100)])
def test_it_is_turned_round_with_the_pixels(slope: int, summand: int) -> None:
    """What was shown as white before has to be so after."""
    tags = {
        "WindowCenter": 900,
        "WindowWidth": 600,
        "RescaleSlope": slope,
        "RescaleIntercept": summand,
    }
    # Its corners are neither air nor white, so the greys are taken at their word.
    ramp = np.linspace(0, 3000, 64 * 64).reshape(64, 64).astype(np.uint16)
    plain = read(ramp, **tags)
    turned = read(ramp, PhotometricInterpretation="MONOCHROME1", **tags)
    assert plain.window == (600.0, 1200.0)
    assert turned.window is not None

    def shown(item: Slice) -> np.ndarray:
        low, high = item.window or (0.0, 1.0)
        return np.clip((item.pixels - low) / (high - low), 0.0, 1.0)

    assert np.allclose(shown(turned), 1.0 - shown(plain), atol=1e-6)


def test_it_stands_in_the_groups_of_an_enhanced_file() -> None:
    window = Dataset()
    window.WindowCenter, window.WindowWidth = 300, 200
    group = Dataset()
    group.FrameVOILUTSequence = [window]
    found = read(
        np.stack([head()] * 2), SharedFunctionalGroupsSequence=[group], NumberOfFrames=2
    )
    assert found.window == (200.0, 400.0)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"WindowCenter": 500},
        {"WindowCenter": 500, "WindowWidth": 0},
        {"WindowCenter": 500, "WindowWidth": -4},
        {"WindowCenter": 500, "WindowWidth": 800, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": "1e300", "WindowWidth": 800},
    ],
)
def test_where_there_is_none_that_can_be_used(tags: dict[str, Any]) -> None:
    assert read(**tags).window is None


def test_the_model_s_input_does_not_know_of_it() -> None:
    plain, windowed = read(), read(WindowCenter=50, WindowWidth=10)
    assert windowed.window is not None
    one, two = (prepare(item.pixels, Preprocessing())[0] for item in (plain, windowed))
    assert np.array_equal(one, two)
