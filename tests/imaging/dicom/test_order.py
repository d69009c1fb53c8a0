"""Slices are put in order by whatever tells it, and what is missing is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.imaging.dicom.test_grouping import drawn, gathered, values
from tests.samples.dicom_files import saved, slice_file
from tumorlens.imaging.dicom.grouping import gather_series

UNSORTED = (4, 1, 5, 2, 3)


def shuffled(**tags: Any) -> list[Dataset]:
    """Draw slices 1 to 5 in no order."""
    return [drawn(n, **tags) for n in UNSORTED]


def test_positions_rule_without_pixel_spacing_and_against_the_numbers() -> None:
    made = [
        drawn(n, 5.0 * n, PixelSpacing=None, InstanceNumber=99 - n) for n in UNSORTED
    ]
    (series,) = (study := gathered(*made)).series
    assert values(series) == [1, 2, 3, 4, 5]
    assert series.slices[0].placement is None
    assert series.slices[0].plane == "axial"
    assert any("spacing of pixels" in note for note in study.notes)


def test_positions_rule_without_an_orientation() -> None:
    made = shuffled(ImageOrientationPatient=None)
    (series,) = (study := gathered(*made)).series
    assert values(series) == [1, 2, 3, 4, 5]
    assert any("how the slices are turned" in note for note in study.notes)


def test_one_position_and_one_number_for_all_leave_the_names() -> None:
    made = [drawn(n, position=0.0, InstanceNumber=1) for n in (1, 2, 3, 4)]
    (series,) = (study := gathered(*made)).series
    assert values(series) == [1, 2, 3, 4]
    assert any("guess" in note for note in study.notes)


@pytest.mark.parametrize(
    ("tag", "said"),
    [("SliceLocation", "SliceLocation"), ("InstanceNumber", "InstanceNumber")],
)
def test_one_position_for_all_is_not_believed(tag: str, said: str) -> None:
    made = [drawn(n, position=7.0, InstanceNumber=n) for n in UNSORTED]
    for n, item in zip(UNSORTED, made, strict=True):
        if tag == "SliceLocation":
            item.SliceLocation, item.InstanceNumber = 3.0 * n, 100 - n
    (series,) = (study := gathered(*made)).series
    assert values(series) == [1, 2, 3, 4, 5]
    assert all(item.placement is None for item in series.slices)
    assert any("same positions" in note for note in study.notes)
    assert any(said in note for note in study.notes)


def test_positions_that_were_rounded_into_each_other_are_not_believed() -> None:
    made = [
        drawn(n, position=float(n // 2), SliceLocation=0.5 * n)
        for n in (3, 1, 0, 2, 4, 5)
    ]
    (series,) = gathered(*made).series
    assert values(series) == [0, 1, 2, 3, 4, 5]


def test_time_points_of_one_place_are_believed() -> None:
    made = [drawn(n, position=7.0, TemporalPositionIdentifier=n) for n in UNSORTED]
    study = gathered(*made)
    assert len(study.series) == 5
    assert all(series.slices[0].placement is not None for series in study.series)


def test_without_any_tag_the_order_is_a_guess_and_says_so() -> None:
    made = [drawn(n, ImagePositionPatient=None, InstanceNumber=None) for n in (1, 2, 3)]
    (series,) = (study := gathered(*made)).series
    assert values(series) == [1, 2, 3]
    assert any("guess" in note for note in study.notes)


def test_a_complete_series_has_no_note() -> None:
    assert gathered(*shuffled()).notes == ()


@pytest.mark.parametrize("backwards", [False, True])
def test_missing_slices_are_said_with_their_place(backwards: bool) -> None:
    places = [5.0 * n for n in (1, 2, 3, 6, 7, 8)]
    if backwards:
        places = [-place for place in places]
    files = [
        (str(i), saved(slice_file(position=z, SOPInstanceUID=f"1.2.{i}")))
        for i, z in enumerate(places)
    ]
    study, _ = gather_series(files)
    (note,) = study.notes
    assert "missing" in note
    assert "about 2 between slices 3 and 4 (15 mm apart)" in note


def test_uneven_slices_are_said() -> None:
    rng = np.random.default_rng(0)
    files = [
        (
            str(i),
            saved(
                slice_file(
                    position=5.0 * i + rng.uniform(0, 2.2), SOPInstanceUID=f"1.2.{i}"
                )
            ),
        )
        for i in range(8)
    ]
    study, _ = gather_series(files)
    assert any("unevenly" in note or "missing" in note for note in study.notes)
