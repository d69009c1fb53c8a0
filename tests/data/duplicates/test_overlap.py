"""What two sets share is counted: copies, near copies, patients."""

from dataclasses import replace

import cv2
import pytest

from tests.samples.heads import draw_people, draw_person
from tumorlens.data.duplicates.overlap import measure_overlap
from tumorlens.data.manifest import Record
from tumorlens.taxonomy import TumorClass


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return draw_people(tmp_path_factory.mktemp("people"), 6)


@pytest.fixture(scope="module")
def mirrored(people, tmp_path_factory):
    """Person 0 as a mirrored JPEG, under no name."""
    path = tmp_path_factory.mktemp("copies") / "mirrored.jpg"
    cv2.imwrite(str(path), cv2.imread(str(people[0].path), 0)[:, ::-1])
    return Record(path, people[0].label)


def test_sets_apart_share_nothing(people):
    found = measure_overlap(people[:3], people[3:])
    assert (found.pictures, found.compared_with) == (3, 3)
    assert found.identical == found.copies == found.same_patient == found.shared == 0


def test_the_same_and_the_nearly_same_are_counted_apart(people, mirrored):
    unnamed = [replace(row, patient="") for row in people[:3]]
    found = measure_overlap([*unnamed, mirrored], [people[0], people[5]])
    assert found.identical == 1
    assert found.copies == 2
    assert found.same_patient == 0
    assert found.shared == 2
    assert found.examples == ("0.png", "mirrored.jpg")


def test_a_patient_on_both_sides_is_counted_without_a_copy(people):
    other = replace(people[1], patient=people[0].patient)
    found = measure_overlap(people[:1], [other])
    assert found.copies == 0
    assert found.same_patient == found.shared == 1


def test_a_third_set_says_whose_pictures_are_shared(people, mirrored, tmp_path):
    # A second slice of person 0 is in training, and the third set knows both.
    second = tmp_path / "second.png"
    cv2.imwrite(str(second), draw_person(40))
    slices = [people[0], Record(second, TumorClass.GLIOMA, people[0].patient)]
    training = [replace(slices[1], patient="")]
    assert measure_overlap([mirrored], training).shared == 0
    found = measure_overlap([mirrored], training, known=slices)
    assert found.copies == 0
    assert found.same_patient == found.shared == 1


def test_a_picture_that_cannot_be_read_is_shared_with_nobody(people, tmp_path):
    gone = Record(tmp_path / "gone.png", TumorClass.GLIOMA)
    found = measure_overlap([gone], [gone, *people])
    assert found.pictures == 0
    assert found.shared == 0
