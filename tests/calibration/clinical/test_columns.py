"""Which columns are learned, how, and why others are not."""

from __future__ import annotations

import numpy as np
import pytest

from tumorlens.calibration.clinical.columns import choose_columns, groups_of_patients
from tumorlens.errors import DatasetError
from tumorlens.inference.clinical import CategoryColumn, NumberColumn, encode

AGES = [str(30 + number) for number in range(20)]
SEXES = ["F", "m"] * 10


def choose(**columns):
    rows = [
        dict(zip(columns, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]
    return choose_columns(list(columns), rows, range(2, 2 + len(rows)))


def test_numbers_are_standardised_and_categories_counted():
    chosen = choose(age=AGES, sex=SEXES)
    age, sex = chosen.columns
    assert age == NumberColumn("age", 39.5, pytest.approx(np.std(range(20))), 0.0)
    assert sex == CategoryColumn("sex", ("f", "m"), (0.5, 0.5), 0.0)
    assert chosen.left_out == ()
    assert chosen.missing == {"age": 0, "sex": 0}


def test_the_lack_of_a_value_is_learned_where_enough_lack_it():
    few = choose(age=["", *AGES[1:]])
    many = choose(age=[*[""] * 5, *AGES[5:]])
    assert few.columns[0].features == ("age",)
    assert many.columns[0].features == ("age", "age: missing")
    assert many.columns[0].missing_share == 0.25
    assert few.missing == {"age": 1}
    assert encode(many.columns, {"age": ""}).features == pytest.approx([0.0, 0.75])


def test_rare_categories_are_not_learned_and_do_not_travel():
    chosen = choose(side=[*["left"] * 8, *["right"] * 8, *["a rare one"] * 4])
    assert chosen.columns[0].categories == ("left", "right")
    assert "rare" not in repr(chosen)


@pytest.mark.parametrize(
    "name",
    [
        *("name", "Patient Name", "patient_id", "PatientID", "MRN", "date of birth"),
        *("birthDate", "dob", "e-mail address", "surname", "bcr_patient_barcode"),
    ],
)
def test_a_column_that_says_who_it_is_is_left_out(name):
    chosen = choose(**{name: AGES, "sex": SEXES})
    assert [column.name for column in chosen.columns] == ["sex"]
    assert repr(name) in chosen.left_out[0]
    assert "who the patient is" in chosen.left_out[0]


@pytest.mark.parametrize("name", ["IDH", "drug name", "widow", "idiopathic"])
def test_a_name_that_only_looks_like_it_is_learned(name):
    assert choose(**{name: SEXES}).columns[0].name == name


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["3T"] * 20, "all its values are the same"),
        (["yes", *[""] * 19], "all its values are the same"),
        ([""] * 20, "no value"),
        ([f"2001-03-{day + 1:02d}" for day in range(20)], "dates"),
        ([f"{day + 1}.3.2001" for day in range(20)], "dates"),
        ([f"secret {number}" for number in range(20)], "stands there once"),
        ([str(100_200 + number) for number in range(20)], "numbers of people"),
        ([f"secret {number // 2}" for number in range(20)], "none of its categories"),
        ([f"{number},5" for number in range(20)], "decimal commas"),
    ],
)
def test_a_column_that_says_nothing_or_too_much_is_left_out(values, words):
    chosen = choose(odd=values, sex=SEXES)
    assert [column.name for column in chosen.columns] == ["sex"]
    assert words in chosen.left_out[0]
    assert "secret" not in chosen.left_out[0]


@pytest.mark.parametrize("name", ["label", "Split", "fold", "source"])
def test_a_column_of_the_manifest_is_left_out(name):
    assert "manifest" in choose(**{name: SEXES, "age": AGES}).left_out[0]


def test_text_among_numbers_is_a_slip_and_its_line_is_named():
    with pytest.raises(DatasetError, match="line 5") as caught:
        choose(age=[*AGES[:3], "secret", *AGES[4:]])
    assert "secret" not in str(caught.value)


def test_numbers_among_text_are_categories():
    stage = choose(stage=[*["1"] * 10, *["x"] * 10]).columns[0]
    assert stage.categories == ("1", "x")


def test_no_column_is_left():
    with pytest.raises(DatasetError, match="'name' is left out"):
        choose(name=AGES)


def test_sex_and_age_bands():
    rows = [
        {"Sex": "F", "Age (years)": "17.5", "stage": "1"},
        {"Sex": "m ", "Age (years)": "18", "stage": "2"},
        {"Sex": "", "Age (years)": "59.9", "stage": "1"},
        {"Sex": "f", "Age (years)": "60", "stage": "2"},
        {"Sex": "f", "Age (years)": "", "stage": "2"},
    ]
    assert groups_of_patients(rows) == {
        "Sex": ["f", "m", "", "f", "f"],
        "Age (years)": ["under 18", "18 to 39", "40 to 59", "60 and over", ""],
    }


def test_one_group_is_none():
    assert groups_of_patients([{"sex": "f"}, {"sex": "F"}, {"sex": ""}]) == {}
    assert groups_of_patients([{"stage": "1"}, {"stage": "2"}]) == {}
    assert groups_of_patients([]) == {}
