"""Copies keep their fingerprint and are found; other pictures are no copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.samples.heads import draw_people, draw_person
from tumorlens.data.duplicates import (
    NEAR_DUPLICATE,
    Fingerprint,
    TrainingCodes,
    fingerprint,
    groups,
    linked_copies,
    measure_overlap,
    near_pairs,
    near_to_first,
    take_fingerprints,
    training_fingerprints,
)
from tumorlens.data.manifest import Record
from tumorlens.errors import BundleError, InputError
from tumorlens.taxonomy import TumorClass

Picture = NDArray[np.uint8]


def resized(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (150, 130), interpolation=cv2.INTER_AREA))


def brightened(picture: Picture) -> Picture:
    return np.clip(picture.astype(int) * 1.2 + 12, 0, 255).astype(np.uint8)


def framed(picture: Picture) -> Picture:
    return cv2.copyMakeBorder(picture, 20, 0, 20, 10, cv2.BORDER_CONSTANT, value=0)


def mirrored(picture: Picture) -> Picture:
    return np.ascontiguousarray(resized(picture)[:, ::-1])


def save(path: Path, picture: Picture, quality: int = 95) -> Path:
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return path


def pair_of(one: Fingerprint, other: Fingerprint) -> list[bool]:
    pairs = near_pairs(np.stack([one.views, other.views]))
    return [pair.mirrored for pair in pairs]


@pytest.mark.parametrize("change", [resized, brightened, framed, mirrored])
def test_a_changed_copy_is_found(
    tmp_path: Path, change: Callable[[Picture], Picture]
) -> None:
    picture = draw_person(3)
    original = fingerprint(save(tmp_path / "a.png", picture))
    copy = fingerprint(save(tmp_path / "b.jpg", change(picture), quality=60))
    assert pair_of(original, copy) == [change is mirrored]
    assert original.pixels_digest != copy.pixels_digest


def test_another_head_is_no_copy(tmp_path: Path) -> None:
    heads = [
        fingerprint(save(tmp_path / f"{seed}.png", draw_person(seed)))
        for seed in range(2)
    ]
    assert pair_of(*heads) == []


def test_pixels_and_bytes_are_told_apart(tmp_path: Path) -> None:
    picture = draw_person(0)
    one = fingerprint(save(tmp_path / "a.png", picture))
    other = fingerprint(save(tmp_path / "a.bmp", picture))
    assert one.pixels_digest == other.pixels_digest
    assert one.bytes_digest != other.bytes_digest


def test_a_blank_picture_is_known(tmp_path: Path) -> None:
    blank = save(tmp_path / "a.png", np.full((40, 60), 77, np.uint8))
    assert fingerprint(blank).blank
    head = save(tmp_path / "b.png", draw_person(0))
    assert not fingerprint(head).blank


def test_size_grey_values_and_colour_are_kept(tmp_path: Path) -> None:
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[:, 45:] = (0, 0, 200)
    found = fingerprint(save(tmp_path / "a.png", picture))
    assert (found.height, found.width) == (60, 90)
    assert found.low == 0
    assert found.high > found.low
    assert found.colorfulness > 0.1


def test_a_broken_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(InputError, match=r"a\.png"):
        fingerprint(path)


def test_the_threshold_lies_between_copies_and_neighbours() -> None:
    assert 0.9 < NEAR_DUPLICATE < 0.98


def drawn_views(count: int, seed: int = 0) -> NDArray[np.int8]:
    noise = np.random.default_rng(seed).normal(0, 24, (count, 1, 12, 12))
    return np.clip(np.rint(noise), -127, 127).astype(np.int8)


def with_noise(views: NDArray[np.int8], seed: int) -> NDArray[np.int8]:
    noise = np.random.default_rng(seed).normal(0, 4, views.shape)
    return np.clip(np.rint(views + noise), -127, 127).astype(np.int8)


def correlation(one: NDArray[np.int8], other: NDArray[np.int8]) -> float:
    a, b = one.astype(float).ravel(), other.astype(float).ravel()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_every_copy_is_found_and_nothing_else() -> None:
    views = drawn_views(300)
    copies = with_noise(views[:40], 1)
    flipped = with_noise(views[40:80, :, :, ::-1], 2)
    every = np.concatenate([views, copies, flipped])
    pairs = near_pairs(every)
    assert {pair[:2] for pair in pairs} == {(row, 300 + row) for row in range(80)}
    assert all(pair.mirrored == (pair.first >= 40) for pair in pairs)


def test_the_similarity_is_the_correlation() -> None:
    views = drawn_views(5)
    every = np.concatenate([views, with_noise(views[2:3], 1)])
    (pair,) = near_pairs(every)
    assert pair.similarity == pytest.approx(correlation(every[2], every[5]), abs=1e-6)


def test_one_view_is_enough() -> None:
    views = drawn_views(20).reshape(10, 2, 12, 12)
    copy = views[3:4].copy()
    copy[:, 0] = drawn_views(1, seed=9)[0]
    (pair,) = near_pairs(np.concatenate([views, copy]))
    assert pair[:2] == (3, 10)


def test_a_crowd_of_equals_stays_one_group() -> None:
    views = with_noise(np.repeat(drawn_views(1), 400, axis=0), 1)
    pairs = near_pairs(views)
    assert set(groups(400, (pair[:2] for pair in pairs))) == {0}
    # Not every pair is compared, or the cost would grow with the square.
    assert len(pairs) < 400 * 399 / 2


def test_the_order_of_pictures_does_not_matter() -> None:
    views = drawn_views(60)
    every = np.concatenate([views, with_noise(views[:9], 1)])
    order = np.random.default_rng(0).permutation(len(every))
    found = {pair[:2] for pair in near_pairs(every)}
    moved = {
        tuple(sorted((int(order[pair.first]), int(order[pair.second]))))
        for pair in near_pairs(every[order])
    }
    assert found == moved


@pytest.mark.parametrize("count", [0, 1])
def test_few_pictures_have_no_pairs(count: int) -> None:
    assert near_pairs(drawn_views(count)) == []


def test_groups_follow_links_however_far() -> None:
    assert groups(6, [(4, 5), (0, 2), (2, 5)]) == [0, 1, 0, 3, 0, 0]


def test_the_first_of_two_symmetric_pictures_is_near_the_other():
    """`near_pairs` takes away what both share, which here is nearly all."""
    rng = np.random.default_rng(3)
    half = rng.integers(-90, 90, (1, 8, 4))
    even = np.concatenate((half, half[:, :, ::-1]), axis=2)
    changed = even + rng.integers(-4, 5, even.shape)
    other = rng.integers(-90, 90, even.shape)
    pictures = np.stack((even, changed, other)).astype(np.int8)
    assert near_to_first(pictures[:2])
    assert near_to_first(pictures[[1, 0]][..., ::-1])
    assert not near_to_first(pictures[[0, 2]])
    assert not near_to_first(pictures[:1])


def test_copies_are_linked_unless_both_train_only(tmp_path: Path) -> None:
    people = draw_people(tmp_path, 4)
    picture = cv2.imread(str(people[1].path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    cv2.imwrite(str(people[3].path), np.ascontiguousarray(picture[:, ::-1]))
    one_end = [
        replace(row, train_only=number == 3) for number, row in enumerate(people)
    ]
    ends = [replace(row, train_only=True) for row in people]
    assert linked_copies(people) == linked_copies(one_end) == [(1, 3)]
    assert linked_copies(ends) == []


PEOPLE = 12


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    for number in range(2 * PEOPLE):
        cv2.imwrite(str(folder / f"{number:02}.png"), draw_person(number))
    return [Record(path, None) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def text(people):
    return training_fingerprints(people[:PEOPLE])


def holds(text, paths):
    prints, _ = take_fingerprints([Record(path, None) for path in paths])
    return TrainingCodes.parse(text).holds(prints).tolist()


def test_the_text_is_short_ascii_and_the_same_each_time(people, text):
    assert text == training_fingerprints(people[:PEOPLE])
    assert text.isascii()
    assert len(text) < 1500 + 65 * PEOPLE
    assert len(TrainingCodes.parse(text)) == PEOPLE


def test_other_people_are_no_copies(people, text):
    assert (
        holds(text, [item.path for item in people])
        == [True] * PEOPLE + [False] * PEOPLE
    )


@pytest.mark.parametrize("way", ["jpeg", "smaller", "mirrored", "brighter"])
def test_a_changed_copy_is_still_known(people, text, way, tmp_path):
    found = []
    for item in people[:PEOPLE]:
        picture = cv2.imread(str(item.path), cv2.IMREAD_GRAYSCALE)
        changed = {
            "jpeg": picture,
            "smaller": cv2.resize(picture, (120, 120), interpolation=cv2.INTER_AREA),
            "mirrored": picture[:, ::-1],
            "brighter": np.clip(picture * 1.1 + 5, 0, 255).astype(np.uint8),
        }[way]
        path = tmp_path / f"{item.path.stem}.{'jpg' if way == 'jpeg' else 'png'}"
        cv2.imwrite(str(path), np.ascontiguousarray(changed))
        found += holds(text, [path])
    assert sum(found) >= PEOPLE - 1


def test_blank_and_missing_pictures_are_copies_of_nothing(people, tmp_path):
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.zeros((64, 64), np.uint8))
    text = training_fingerprints([Record(blank, None), people[0]])
    assert len(TrainingCodes.parse(text)) == 1
    missing = tmp_path / "gone.png"
    assert holds(text, [blank, missing, people[0].path]) == [False, False, True]


def test_codes_of_nothing_hold_nothing(people):
    assert holds(training_fingerprints([]), [people[0].path]) == [False]


@pytest.mark.parametrize("damage", [lambda text: text[:-7], lambda text: "x" + text])
def test_a_damaged_text_is_refused(text, damage):
    with pytest.raises(BundleError, match="fingerprints"):
        TrainingCodes.parse(damage(text))


@pytest.fixture(scope="module")
def drawn_people(tmp_path_factory):
    return draw_people(tmp_path_factory.mktemp("drawn_people"), 6)


@pytest.fixture(scope="module")
def mirrored_file(drawn_people, tmp_path_factory):
    """Person 0 as a mirrored_file JPEG, under no name."""
    path = tmp_path_factory.mktemp("copies") / "mirrored_file.jpg"
    cv2.imwrite(str(path), cv2.imread(str(drawn_people[0].path), 0)[:, ::-1])
    return Record(path, drawn_people[0].label)


def test_sets_apart_share_nothing(drawn_people):
    found = measure_overlap(drawn_people[:3], drawn_people[3:])
    assert (found.pictures, found.compared_with) == (3, 3)
    assert found.identical == found.copies == found.same_patient == found.shared == 0


def test_the_same_and_the_nearly_same_are_counted_apart(drawn_people, mirrored_file):
    unnamed = [replace(row, patient="") for row in drawn_people[:3]]
    found = measure_overlap(
        [*unnamed, mirrored_file], [drawn_people[0], drawn_people[5]]
    )
    assert found.identical == 1
    assert found.copies == 2
    assert found.same_patient == 0
    assert found.shared == 2
    assert found.examples == ("0.png", "mirrored_file.jpg")


def test_a_patient_on_both_sides_is_counted_without_a_copy(drawn_people):
    other = replace(drawn_people[1], patient=drawn_people[0].patient)
    found = measure_overlap(drawn_people[:1], [other])
    assert found.copies == 0
    assert found.same_patient == found.shared == 1


def test_a_third_set_says_whose_pictures_are_shared(
    drawn_people, mirrored_file, tmp_path
):
    # A second slice of person 0 is in training, and the third set knows both.
    second = tmp_path / "second.png"
    cv2.imwrite(str(second), draw_person(40))
    slices = [
        drawn_people[0],
        Record(second, TumorClass.GLIOMA, drawn_people[0].patient),
    ]
    training = [replace(slices[1], patient="")]
    assert measure_overlap([mirrored_file], training).shared == 0
    found = measure_overlap([mirrored_file], training, known=slices)
    assert found.copies == 0
    assert found.same_patient == found.shared == 1


def test_a_picture_that_cannot_be_read_is_shared_with_nobody(drawn_people, tmp_path):
    gone = Record(tmp_path / "gone.png", TumorClass.GLIOMA)
    found = measure_overlap([gone], [gone, *drawn_people])
    assert found.pictures == 0
    assert found.shared == 0
