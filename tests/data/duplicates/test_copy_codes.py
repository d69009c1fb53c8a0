"""Short codes know copies, and nothing else."""

import cv2
import numpy as np
import pytest

from tests.samples.heads import draw_person
from tumorlens.data.duplicates.copies import take_fingerprints
from tumorlens.data.duplicates.copy_codes import TrainingCodes, training_fingerprints
from tumorlens.data.manifest import Record
from tumorlens.errors import BundleError

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
