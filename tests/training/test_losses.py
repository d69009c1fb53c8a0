"""The evidence head's loss: cells, and the place of the strongest."""

import keras
import numpy as np
import pytest

from tumorlens.taxonomy import TumorClass
from tumorlens.training.batches import cell_targets
from tumorlens.training.losses import PEAK, CandidateLoss, EvidenceLoss

GRID = 16


def outline():
    drawn = np.zeros((256, 256), np.uint8)
    drawn[64:128, 64:136] = 255
    return drawn


def losses(evidence, label=TumorClass.MENINGIOMA, drawn=None):
    """Loss of one slice with the place of its peak, and without."""
    target = cell_targets((label,), drawn, GRID)
    told = target.classes[None], evidence[None], target.weights[None]
    cells = keras.losses.CategoricalCrossentropy(from_logits=True)
    return float(EvidenceLoss()(*told)), float(cells(*told))


def with_spots(*spots):
    evidence = np.zeros((GRID, GRID, 4), np.float32)
    evidence[..., 3] = 5.0
    for row, column, odds in spots:
        evidence[row, column, 1] = 5.0 + odds
    return evidence


def test_a_peak_inside_the_outline_costs_nothing_more():
    whole, cells = losses(with_spots((5, 5, 20.0)), drawn=outline())
    assert whole == pytest.approx(cells, abs=1e-4)


def test_a_peak_beside_the_outline_costs_how_far_it_stands_out():
    spots = (5, 5, 10.0), (12, 12, 16.0)
    whole, cells = losses(with_spots(*spots), drawn=outline())
    assert whole - cells == pytest.approx(PEAK * 6.0, abs=0.01)


def test_a_peak_on_the_rim_is_neither_right_nor_wrong():
    drawn = outline()
    drawn[:, 132:] = 0  # a quarter of the last column of cells
    target = cell_targets((TumorClass.MENINGIOMA,), drawn, GRID)
    assert not target.classes[5, 8].any()
    spots = (5, 5, 20.0), (5, 8, 30.0)
    whole, cells = losses(with_spots(*spots), drawn=drawn)
    assert whole == pytest.approx(cells, abs=1e-4)


@pytest.mark.parametrize("label", [TumorClass.NO_TUMOR, TumorClass.GLIOMA])
def test_a_slice_without_an_outline_has_no_place_to_learn(label):
    evidence = np.random.default_rng(0).normal(size=(GRID, GRID, 4))
    whole, cells = losses(evidence.astype(np.float32), label)
    assert whole == pytest.approx(cells, abs=1e-5)


def candidate_losses(targets, logits, smoothing=0.0):
    loss = CandidateLoss(smoothing)
    return np.array(loss.call(np.float32(targets), np.float32(logits)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_answer_is_plain_cross_entropy(smoothing):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5, 4)).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]]
    usual = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction=None
    )(targets, logits)
    np.testing.assert_allclose(
        candidate_losses(targets, logits, smoothing), np.array(usual), rtol=1e-5
    )


def test_two_answers_count_together():
    shares = np.array([[0.3, 0.5, 0.2]])
    found = candidate_losses([[1.0, 1.0, 0.0]], np.log(shares))
    np.testing.assert_allclose(found, -np.log(0.8), rtol=1e-5)


def test_a_row_without_an_answer_is_finite():
    assert np.isfinite(candidate_losses([[0.0, 0.0]], [[1.0, 2.0]])).all()


def test_answers_that_are_not_present_learn_nothing():
    present = keras.Variable(np.float32([1, 1, 0, 0]), trainable=False)
    few, all_four = CandidateLoss(0.1, present), CandidateLoss(0.1)
    logits = np.float32([[0.3, -0.2, 4.0, 1.0]])
    others = np.float32([[0.3, -0.2, -3.0, 2.0]])
    truth = np.float32([[0.0, 1.0, 0.0, 0.0]])
    found = [np.array(few.call(truth, item)) for item in (logits, others)]
    np.testing.assert_allclose(*found, rtol=1e-5)
    np.testing.assert_allclose(
        found[0], candidate_losses(truth[:, :2], logits[:, :2], 0.1), rtol=1e-5
    )
    assert not np.allclose(all_four.call(truth, logits), found[0])
