"""Which columns are learned, how, and why others are not; what is fitted holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.samples.clinical import made_patients
from tumorlens.calibration.clinical import (
    PENALTIES,
    ClinicalData,
    choose_columns,
    cross_fit,
    deal_folds,
    fit_clinical,
    groups_of_patients,
)
from tumorlens.errors import DatasetError
from tumorlens.inference.clinical import (
    CategoryColumn,
    ClinicalModel,
    NumberColumn,
    encode,
)
from tumorlens.taxonomy import CLASSES, own_classes

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


def log_loss(found, data):
    likely = found[np.arange(len(data.labels)), data.labels]
    return np.average(-np.log(likely), weights=data.weights)


def test_a_column_that_tells_a_class_gets_its_weight():
    fitted = fit_clinical(made_patients(patients=200, effect=2.0))
    assert fitted.weights[0, 1] > 3 * np.abs(fitted.weights[1:]).max()
    assert fitted.penalty < PENALTIES[0]
    assert 0.7 < fitted.temperature < 1.4


def test_columns_that_say_nothing_are_all_but_silenced():
    data = made_patients(patients=200)
    assert np.abs(fit_clinical(data).weights).max() < 0.15
    alone, both = cross_fit(data.without_columns()), cross_fit(data)
    assert log_loss(both, data) == pytest.approx(log_loss(alone, data), abs=0.02)


def test_a_fold_is_judged_by_a_model_that_never_saw_it():
    data = made_patients(effect=2.0)
    first = data.folds == 0
    wrong = replace(data, labels=np.where(first, (data.labels + 1) % 4, data.labels))
    assert np.array_equal(cross_fit(wrong)[first], cross_fit(data)[first])
    assert not np.array_equal(cross_fit(wrong)[~first], cross_fit(data)[~first])


def test_an_image_too_sure_of_itself_is_cooled():
    data = made_patients(patients=200)
    powers = data.probabilities**4
    hot = replace(data, probabilities=powers / powers.sum(axis=1, keepdims=True))
    assert log_loss(cross_fit(hot.without_columns()), hot) < log_loss(
        hot.probabilities, hot
    )


def test_a_patient_counts_once_however_many_slices_there_are():
    data = made_patients(effect=1.0)
    own = data.patients == 1
    rows = np.concatenate([np.arange(len(own)), np.repeat(np.flatnonzero(own), 30)])
    many = ClinicalData(
        data.probabilities[rows],
        data.features[rows],
        data.labels[rows],
        data.patients[rows],
        data.folds[rows],
    )
    assert fit_clinical(many).weights == pytest.approx(
        fit_clinical(data).weights, abs=1e-3
    )


def test_a_class_that_nobody_has_keeps_the_image_s_probability():
    data = made_patients(effect=1.0)
    data = data.take(data.labels != 3)
    found = cross_fit(data)
    assert found[:, 3] == pytest.approx(data.probabilities[:, 3])
    assert found.sum(axis=1) == pytest.approx(1.0)


def test_without_the_image_only_columns_tell_the_learned_classes_apart():
    data = made_patients(patients=200, effect=2.5)
    data = data.take(data.labels != 3)
    blind = replace(data, features=data.features[:, 1:]).without_image()
    found = cross_fit(blind)
    assert found[:, 3] == pytest.approx(data.probabilities[:, 3])
    told = found[:, 1] / found[:, :3].sum(axis=1)
    assert np.ptp(told) < 0.3, "noise tells little, and the image is not asked"
    found = cross_fit(data.without_image())
    told = found[:, 1] / found[:, :3].sum(axis=1)
    assert np.ptp(told) > 0.5
    assert told[data.labels == 1].mean() > 2.0 * told[data.labels != 1].mean()


def test_what_is_served_is_what_was_fitted():
    data = made_patients(effect=1.0)
    fitted = fit_clinical(data)
    served = ClinicalModel(
        tuple(NumberColumn(name, 0.0, 1.0, 0.0) for name in "abc"),
        CLASSES,
        fitted.image_weight,
        tuple(fitted.bias),
        fitted.weights,
        fitted.temperature,
        {},
    )
    assert served.fuse(data.probabilities, data.features) == pytest.approx(
        fitted.fuse(data)
    )
    # The same of classes of a user's own, one of which nobody had.
    own = own_classes({"astro": True, "germ": True, "meningeal": True, "none": False})
    assert served.bundle_classes == CLASSES
    some = data.take(data.labels != 1)
    fitted = fit_clinical(some)
    served = replace(
        served,
        classes=tuple(own[row] for row in fitted.classes),
        image_weight=fitted.image_weight,
        bias=tuple(fitted.bias),
        weights=fitted.weights,
        temperature=fitted.temperature,
    )
    assert served.bundle_classes == own
    assert served.fuse(data.probabilities, data.features) == pytest.approx(
        fitted.fuse(data)
    )


def test_folds_keep_patients_whole_and_classes_even():
    data = made_patients(patients=43, slices=3)
    folds = deal_folds(data.labels, data.patients, 4)
    assert set(folds) == {0, 1, 2, 3}
    for patient in range(43):
        assert len(set(folds[data.patients == patient])) == 1
    for label in range(4):
        counts = np.bincount(folds[data.labels == label], minlength=4) / 3
        assert counts.max() - counts.min() <= 1
