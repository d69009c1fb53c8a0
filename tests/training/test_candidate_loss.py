"""A slice that may show one of several findings teaches that it shows one of them."""

import keras
import numpy as np
import pytest

from tumorlens.training.candidate_loss import CandidateLoss


def losses(targets, logits, smoothing=0.0):
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
        losses(targets, logits, smoothing), np.array(usual), rtol=1e-5
    )


def test_two_answers_count_together():
    shares = np.array([[0.3, 0.5, 0.2]])
    found = losses([[1.0, 1.0, 0.0]], np.log(shares))
    np.testing.assert_allclose(found, -np.log(0.8), rtol=1e-5)


def test_a_row_without_an_answer_is_finite():
    assert np.isfinite(losses([[0.0, 0.0]], [[1.0, 2.0]])).all()
