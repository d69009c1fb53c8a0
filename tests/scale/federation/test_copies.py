"""Copies between hospitals are found by hashes that say nothing without the key."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.samples.heads import draw_person
from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError, SettingError
from tumorlens.scale.federation.copies import (
    PIECES,
    SHARED_PIECES,
    compare_hashes,
    hash_records,
    read_key,
    rows_to_leave_out,
)
from tumorlens.taxonomy import TumorClass

KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def people(folder, numbers, change=lambda picture: picture, suffix=".png"):
    """Write one slice each of some people, changed in some way."""
    folder.mkdir(parents=True)
    rows = []
    for number in numbers:
        path = folder / f"{number}{suffix}"
        cv2.imwrite(str(path), change(draw_person(number, 256)))
        rows.append(Record(path, TumorClass.GLIOMA, f"{folder.name}-{number}"))
    return rows


def found(first, second, key=KEY):
    sites = {"a": hash_records(first, key), "b": hash_records(second, key)}
    (pair,) = compare_hashes(sites)
    return pair


def test_identical_pictures_are_found_and_others_are_not(tmp_path):
    pair = found(people(tmp_path / "a", range(40)), people(tmp_path / "b", [60, 7, 61]))
    assert pair.identical == (1,)
    assert pair.near == (1,)
    assert pair.patients == ()


@pytest.mark.parametrize(
    ("change", "suffix"),
    [
        (lambda picture: picture, ".jpg"),
        (lambda picture: cv2.resize(picture, (200, 200)), ".png"),
        (lambda picture: picture[:, ::-1], ".png"),
    ],
    ids=["compressed", "smaller", "mirrored"],
)
def test_near_copies_are_found(tmp_path, change, suffix):
    changed = people(tmp_path / "b", range(20, 30), change, suffix)
    pair = found(people(tmp_path / "a", range(30)), changed)
    assert len(pair.near) >= 9
    assert pair.identical == ()


def test_different_people_share_few_pieces(tmp_path):
    hashes = hash_records(people(tmp_path / "a", range(80)), KEY)
    plain = hashes.pieces[:, 0, 0]
    shared = (plain[:, None] == plain[None]).sum(axis=2)
    np.fill_diagonal(shared, 0)
    assert shared.max() < SHARED_PIECES < PIECES


def test_a_patient_is_found_by_name(tmp_path):
    first, second = people(tmp_path / "a", [1]), people(tmp_path / "b", [2, 3])
    named = [Record(row.path, row.label, "same") for row in (*first, *second[:1])]
    pair = found(named[:1], [named[1], Record(second[1].path, None, "")])
    assert pair.patients == (0,)
    assert pair.near == ()


def test_nothing_matches_under_another_key(tmp_path):
    rows = people(tmp_path / "a", range(10))
    one, other = hash_records(rows, KEY), hash_records(rows, OTHER_KEY)
    assert not np.isin(one.pixels, other.pixels).any()
    assert not np.isin(one.pieces, other.pieces).any()
    with pytest.raises(DatasetError, match="different keys; c differs"):
        compare_hashes({"a": one, "b": one, "c": other})


def test_unreadable_and_blank_pictures_are_copies_of_nothing(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "blank.png"), np.zeros((64, 64), np.uint8))
    rows = [
        Record(tmp_path / name, TumorClass.GLIOMA, "")
        for name in ("broken.png", "blank.png")
    ]
    pair = found(rows, rows)
    assert (pair.identical, pair.near, pair.patients) == ((), (), ())


def test_the_first_site_by_name_keeps_a_copy(tmp_path):
    rows = people(tmp_path / "x", [1, 2])
    hashes = hash_records(rows, KEY)
    pairs = compare_hashes({"south": hashes, "north": hashes, "east": hashes})
    assert rows_to_leave_out(pairs) == {"north": [0, 1], "south": [0, 1]}
    assert pairs[0].counts() == {
        "sites": "east, north",
        "identical": 2,
        "near": 2,
        "patients": 2,
    }


def test_a_key_that_can_be_guessed_is_refused(tmp_path):
    (tmp_path / "key").write_text("hospital\n")
    with pytest.raises(SettingError, match="has 8 bytes"):
        read_key(tmp_path / "key")
    with pytest.raises(SettingError, match="cannot be read"):
        read_key(tmp_path / "none")
    (tmp_path / "key").write_text("0123456789abcdef" * 2 + "\n")
    assert len(read_key(tmp_path / "key")) == 32
