"""The clinical model finds what columns say, and is silent where they say nothing."""

from dataclasses import replace

import numpy as np
import pytest

from tests.samples.clinical import made_patients
from tumorlens.calibration.clinical.fit import (
    PENALTIES,
    ClinicalData,
    cross_fit,
    deal_folds,
    fit_clinical,
)
from tumorlens.inference.clinical import ClinicalModel, NumberColumn
from tumorlens.taxonomy import CLASSES


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


def test_folds_keep_patients_whole_and_classes_even():
    data = made_patients(patients=43, slices=3)
    folds = deal_folds(data.labels, data.patients, 4)
    assert set(folds) == {0, 1, 2, 3}
    for patient in range(43):
        assert len(set(folds[data.patients == patient])) == 1
    for label in range(4):
        counts = np.bincount(folds[data.labels == label], minlength=4) / 3
        assert counts.max() - counts.min() <= 1
