"""Calibration, operating points and prediction sets."""

from __future__ import annotations

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from tumorlens.calibration.probabilities import (
    COVERAGE,
    fit_calibration,
    fit_cells,
    fit_prediction_sets,
)
from tumorlens.inference.slice.decision import (
    calibrated_probabilities,
    pool_evidence,
    softmax,
)
from tumorlens.inference.slice.prediction import cell_probabilities
from tumorlens.statistics import calibration_error
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX


@pytest.fixture
def outputs():
    """Overconfident logits, and evidence that agrees with the truth half the time."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 1500)
    honest = rng.normal(size=(1500, 4)) + 2.0 * np.eye(4)[labels]
    evidence = rng.normal(size=(1500, 4, 4, 4)).astype(np.float32)
    evidence[:, 1, 1] += 3.0 * np.eye(4)[labels]
    return (5.0 * honest).astype(np.float32), evidence, labels


def test_calibration_takes_overconfidence_away(outputs):
    logits, evidence, labels = outputs
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    before = calibration_error(powers / powers.sum(axis=1, keepdims=True), labels)
    facts = fit_calibration(
        logits[:1000], evidence[:1000], labels[:1000], ["one"] * 1000
    )
    pooled = pool_evidence(evidence, facts.evidence_cells)
    found = calibrated_probabilities(logits, pooled, facts)
    assert before > 0.1
    assert calibration_error(found[1000:], labels[1000:]) < 0.04


def test_both_heads_together_are_better_than_one(outputs):
    logits, evidence, labels = outputs
    both = fit_calibration(logits, evidence, labels, ["one"] * 1500)
    alone = fit_calibration(logits, None, labels, ["one"] * 1500)
    assert alone.evidence_weight == 0.0
    rows = np.arange(len(labels))
    losses = []
    for facts in (both, alone):
        pooled = pool_evidence(evidence, facts.evidence_cells)
        found = calibrated_probabilities(logits, pooled, facts)
        losses.append(-np.log(found[rows, labels]).mean())
    assert losses[0] < losses[1]


def test_a_small_hard_source_counts_as_much_as_a_large_easy_one(outputs):
    """In the easy one the slice head knows all; in the hard one it knows nothing."""
    logits, evidence, labels = outputs
    easy = np.arange(1500) >= 100
    logits = np.where(easy[:, None], logits, logits[::-1])
    sources = np.where(easy, "easy", "hard").tolist()
    apart = fit_calibration(logits, evidence, labels, sources)
    alike = fit_calibration(logits, evidence, labels, ["one"] * 1500)
    ratios = [found.evidence_weight / found.slice_weight for found in (apart, alike)]
    assert ratios[0] > 1.5 * ratios[1]


def test_the_evidence_head_is_never_left_out(outputs):
    logits, evidence, labels = outputs
    noise = np.random.default_rng(5).normal(size=evidence.shape).astype(np.float32)
    facts = fit_calibration(logits, noise, labels, ["one"] * 1500)
    assert facts.evidence_weight >= 0.499 * facts.slice_weight


def test_prediction_sets_hold_the_truth_as_often_as_they_state():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 6000)
    logits = rng.normal(size=(6000, 4)) + 1.5 * np.eye(4)[labels]
    found = np.exp(logits)
    found /= found.sum(axis=1, keepdims=True)
    alone = [str(row) for row in range(3000)]
    sets = fit_prediction_sets(found[:3000], labels[:3000], alone)
    for row, name in enumerate(CLASSES):
        own = found[3000:][labels[3000:] == row, row]
        assert (own >= sets.thresholds[name]).mean() == pytest.approx(
            COVERAGE, abs=0.02
        )


class GivenProbabilities(ClassifierMixin, BaseEstimator):
    """A classifier for MAPIE that hands its input on as probabilities."""

    classes_ = np.arange(len(CLASSES))

    def fit(self, given, labels):
        return self

    def predict_proba(self, given):
        return given

    def predict(self, given):
        return given.argmax(axis=1)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.filterwarnings("ignore:.*conformalization dataset has less labels")
def test_sets_of_one_slice_a_patient_are_those_of_mapie(outputs):
    logits, _, labels = outputs
    probabilities = softmax(logits / 5.0)
    patients = [f"p{row}" for row in range(len(labels))]
    thresholds = fit_prediction_sets(probabilities, labels, patients).thresholds
    for row, name in enumerate(CLASSES):
        own = labels == row
        peer = SplitConformalClassifier(
            GivenProbabilities(), COVERAGE, prefit=True, conformity_score="lac"
        )
        peer.conformalize(probabilities[own], labels[own])
        sets = peer.predict_set(probabilities)[1][:, row, 0]
        assert np.array_equal(sets, probabilities[:, row] >= thresholds[name])


def unequal_patients(rng, count):
    """Slices of gliomas: half the patients have 2 hard ones, half 40 easy ones.

    Returns
    -------
    probabilities
        Shape (N, 4); those of glioma differ between patients too.
    patients
        N keys.
    """
    values, patients = [], []
    for number in range(count):
        slices, ease = ((2, 0.0), (40, 2.0))[number % 2]
        own = ease + rng.normal() + 0.5 * rng.normal(size=slices)
        values.append(1.0 / (1.0 + np.exp(-own)))
        patients += [str(number)] * slices
    glioma = np.concatenate(values)
    found = np.repeat((1.0 - glioma)[:, np.newaxis] / 3.0, 4, axis=1)
    found[:, 0] = glioma
    return found, patients


def covered(threshold, found, patients):
    """Share of a patient's slices in whose set the class is, by patient and slice."""
    inside = found[:, 0] >= threshold
    _, rows, counts = np.unique(patients, return_inverse=True, return_counts=True)
    return (np.bincount(rows, inside) / counts).mean(), inside.mean()


@pytest.mark.parametrize("count", [20, 60])
def test_sets_cover_new_patients_who_have_unequal_numbers_of_slices(count):
    rng = np.random.default_rng(3)
    strangers = unequal_patients(rng, 4000)
    by_patient, by_slice = [], []
    for _ in range(150):
        found, patients = unequal_patients(rng, count)
        labels = np.zeros(len(patients), np.int64)
        sets = fit_prediction_sets(found, labels, patients)
        by_patient.append(covered(sets.thresholds[CLASSES[0]], *strangers)[0])
        alone = [str(row) for row in range(len(patients))]
        pooled = fit_prediction_sets(found, labels, alone)
        by_slice.append(covered(pooled.thresholds[CLASSES[0]], *strangers)[0])
    # The promise is kept on average over draws, and not by far too much.
    assert COVERAGE - 0.01 < np.mean(by_patient) < COVERAGE + 1.0 / count + 0.01
    # Slices that all weigh alike would break it: the hard patients have few.
    assert np.mean(by_slice) < COVERAGE - 0.1


def test_a_patient_with_many_slices_moves_no_threshold():
    rng = np.random.default_rng(4)
    found, patients = unequal_patients(rng, 40)
    labels = np.zeros(len(patients), np.int64)
    own = np.array(patients) == "1"
    again = np.concatenate([found, np.repeat(found[own], 9, axis=0)])
    sets = fit_prediction_sets(found, labels, patients)
    more = fit_prediction_sets(
        again, np.zeros(len(again), np.int64), [*patients, *["1"] * 9 * own.sum()]
    )
    assert more.thresholds == pytest.approx(sets.thresholds)


def test_a_class_with_few_patients_is_never_ruled_out():
    found = np.full((12, 4), 0.25)
    labels = np.repeat([0, 1, 2, 3], 3)
    alone = [str(row) for row in range(12)]
    sets = fit_prediction_sets(found, labels, alone)
    assert set(sets.thresholds.values()) == {0.0}
    # Eight patients cannot keep 90 %, however many their slices; nine can.
    for count, expected in ((8, 0.0), (9, 0.25)):
        patients = [str(row % count) for row in range(900)]
        sets = fit_prediction_sets(
            np.full((900, 4), 0.25), np.zeros(900, np.int64), patients
        )
        assert sets.thresholds[CLASSES[0]] == expected


def drawn(rng, slices, grid=10, scale=2.0, shift=3.0):
    """Odds of known probability, stretched and shifted as a network might."""
    true = rng.normal(-1.5, 1.5, (slices, grid, grid))
    inside = rng.random(true.shape) < 1 / (1 + np.exp(-true))
    evidence = np.zeros((slices, grid, grid, 4), np.float32)
    evidence[..., 0] = scale * true + shift
    evidence[..., NO_TUMOR_INDEX] = 0.0
    return evidence, inside.astype(np.float32), np.zeros(slices, np.int64)


def test_scale_and_bias_are_found_again():
    found = fit_cells(*drawn(np.random.default_rng(1), 400))
    assert found.scale == pytest.approx(0.5, rel=0.05)
    assert found.bias == pytest.approx(-1.5, abs=0.05)


def test_slices_without_outline_or_tumour_do_not_count():
    rng = np.random.default_rng(2)
    evidence, outlined, labels = drawn(rng, 60)
    alone = fit_cells(evidence, outlined, labels)
    more = np.concatenate([evidence, rng.normal(0, 9, evidence.shape)])
    shares = np.concatenate([outlined, np.full_like(outlined, np.nan)])
    shares[-1] = 1.0
    classes = np.concatenate([labels, labels])
    classes[-1] = NO_TUMOR_INDEX
    assert fit_cells(more.astype(np.float32), shares, classes) == alone


def test_without_outlines_nothing_is_fitted():
    evidence, outlined, labels = drawn(np.random.default_rng(3), 3)
    assert fit_cells(evidence, np.full_like(outlined, np.nan), labels) is None
    assert fit_cells(None, outlined, labels) is None


def test_an_over_eager_network_is_held_back():
    """Where every tenth cell is tumour, cells average a tenth after the fit."""
    rng = np.random.default_rng(4)
    evidence, _, labels = drawn(rng, 200)
    outlined = (rng.random(evidence.shape[:3]) < 0.1).astype(np.float32)
    found = fit_cells(evidence, outlined, labels)
    shares = [cell_probabilities(item, 0, found) for item in evidence]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.02)
