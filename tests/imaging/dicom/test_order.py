"""Slices are put in order by whatever tells it, and what is missing is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

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


# --- Places that are wrong, and orders that only old or odd tags tell ---


@pytest.mark.parametrize("left_over", [30.0, 27.0], ids=["another's", "anywhere"])
def test_one_position_that_contradicts_all_others_is_mended(left_over: float) -> None:
    made = [drawn(n, left_over if n == 4 else 5.0 * n) for n in (3, 8, 1, 7, 4, 2)]
    made += [drawn(n) for n in (5, 6, 9, 10)]
    (series,) = (study := gathered(*made)).series
    assert values(series) == list(range(1, 11))
    placement = series.slices[3].placement
    assert placement is not None
    assert placement.origin == pytest.approx((-30, -40, 20))
    assert any("1 of 10 slices states a position" in note for note in study.notes)


def test_a_slice_that_was_taken_again_keeps_its_place() -> None:
    made = [drawn(n) for n in range(1, 11)]
    study = gathered(*made, drawn(11, position=20.0))
    assert [values(series) for series in study.series] == [list(range(1, 11)), [11]]


def test_a_distance_from_the_middle_tells_no_order() -> None:
    made = [
        drawn(n, ImagePositionPatient=None, SliceLocation=abs(5.0 * n - 31.0))
        for n in (4, 1, 9, 2, 12, 3, 5, 8, 6, 11, 7, 10)
    ]
    (series,) = (study := gathered(*made)).series
    assert values(series) == list(range(1, 13))
    assert any("InstanceNumber" in note for note in study.notes)


@pytest.mark.parametrize("tag", ["Location", "ImagePosition"])
def test_tags_of_before_dicom_tell_the_order_and_no_place(tag: str) -> None:
    made = []
    for n in UNSORTED:
        item = drawn(n, ImagePositionPatient=None, InstanceNumber=None)
        item.ImagePosition = [0, 0, 5 * n] if tag == "ImagePosition" else None
        item.Location = 5 * n if tag == "Location" else None
        made.append(item)
    (series,) = (study := gathered(*made)).series
    assert values(series) == [1, 2, 3, 4, 5]
    assert series.slices[0].placement is None
    assert any("retired tags" in note for note in study.notes)


def test_identifiers_that_count_tell_the_order_before_names_do() -> None:
    bare: dict[str, Any] = {"ImagePositionPatient": None, "InstanceNumber": None}
    (series,) = (study := gathered(*shuffled(**bare))).series
    assert values(series) == [1, 2, 3, 4, 5]
    assert any("SOPInstanceUID" in note for note in study.notes)
    made = [
        drawn(n, SOPInstanceUID=UID(f"1.2.{997 * 31**n % 10007}"), **bare)
        for n in UNSORTED
    ]
    (series,) = (study := gathered(*made)).series
    assert values(series) == list(UNSORTED)
    assert any("names of the files" in note for note in study.notes)


@pytest.mark.parametrize("tag", ["InstanceNumber", "SliceLocation"])
def test_numbers_that_are_missing_are_said_where_no_place_is_known(tag: str) -> None:
    made = []
    for n in (1, 2, 3, 4, 7, 8, 9):
        item = drawn(n, ImagePositionPatient=None, InstanceNumber=None)
        setattr(item, tag, n if tag == "InstanceNumber" else 5.0 * n)
        made.append(item)
    study = gathered(*made)
    (note,) = (note for note in study.notes if "missing" in note)
    assert f"{tag}: about 2 between slices 4 and 5" in note


def test_numbers_in_steps_miss_nothing() -> None:
    made = [
        drawn(n, ImagePositionPatient=None, InstanceNumber=3 * n) for n in range(1, 7)
    ]
    assert not any("missing" in note for note in gathered(*made).notes)


@pytest.mark.parametrize(
    ("stated", "thickness", "is_said"),
    [(5.0, 5.0, True), (10.0, 5.0, False), (2.0, 8.0, False), (7.0, 5.0, False)],
    ids=["every other", "complete", "a gap between slices", "no multiple"],
)
def test_every_other_slice_alone_is_said(
    stated: float, thickness: float, is_said: bool
) -> None:
    made = [
        drawn(n, 10.0 * n, SpacingBetweenSlices=stated, SliceThickness=thickness)
        for n in range(6)
    ]
    study = gathered(*made)
    assert any("10 mm apart" in note for note in study.notes) is is_said
    assert len(study.series) == 1


def with_commas(made: Dataset) -> bytes:
    """Save a file whose decimal numbers have commas, as some languages write them."""
    for keyword in ("ImagePositionPatient", "PixelSpacing", "SliceLocation"):
        element = made[keyword]
        numbers = np.atleast_1d(np.array(element.value, float))
        raw = "\\".join(f"{x:.2f}".replace(".", ",") for x in numbers).encode()
        raw += b" " * (len(raw) % 2)
        made[keyword] = RawDataElement(element.tag, "DS", len(raw), raw, 0, False, True)
    return saved(made)


def test_decimal_commas_are_read_as_points() -> None:
    made = [
        drawn(n, 5.5 * n, InstanceNumber=99 - n, SliceLocation=5.5 * n)
        for n in UNSORTED
    ]
    study, _ = gather_series([(str(i), with_commas(x)) for i, x in enumerate(made)])
    (series,) = study.series
    assert values(series) == [1, 2, 3, 4, 5]
    assert series.slices[0].spacing_mm == (2.0, 1.0)
    assert [x.placement.origin[2] for x in series.slices if x.placement] == [
        5.5 * n for n in (1, 2, 3, 4, 5)
    ]


def test_numbers_under_the_kind_of_text_are_read() -> None:
    made = [drawn(n, 5.0 * n, InstanceNumber=99 - n) for n in UNSORTED]
    for item in made:
        for keyword in ("PixelSpacing", "ImagePositionPatient"):
            element = item[keyword]
            item[keyword] = DataElement(
                element.tag, "UT", "\\".join(str(x) for x in element.value)
            )
    (series,) = gathered(*made).series
    assert values(series) == [1, 2, 3, 4, 5]
    assert series.slices[0].spacing_mm == (2.0, 1.0)
    assert series.slices[0].placement is not None
