"""Differential privacy: what is bounded, what is added, and what it comes to."""

from __future__ import annotations

import json
from dataclasses import replace
from math import comb, exp, log

import numpy as np
import pytest

from tests.samples.federated_sites import TINY_PLAN, TINY_TRAINING, draw_site
from tumorlens.errors import TrainingError
from tumorlens.scale.federation.plan import Privacy
from tumorlens.scale.federation.privacy import (
    LEDGER,
    Budget,
    epsilon_of,
    noise_for,
    private_steps,
)
from tumorlens.scale.federation.site import Site, first_model, shared_arrays
from tumorlens.training.fit import compile_model


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    manifest = draw_site(tmp_path_factory.mktemp("site"), "north")
    site = Site("north", manifest, manifest.parent / "home", say=lambda _: None)
    return site.samples("train", TINY_TRAINING)


def moved(samples, clip, noise, rate=1.0, seed=0):
    """How far one private step of plain gradient descent moves the weights."""
    import keras

    model = first_model(TINY_TRAINING, "frozen")
    compile_model(model, TINY_TRAINING)
    model.optimizer = keras.optimizers.SGD(1.0)
    before = shared_arrays(model, "frozen")
    privacy = Privacy(8.0, clip=clip)
    budget = Budget(None, privacy, rate, noise, 10)
    rng = np.random.default_rng(seed)
    private_steps(model, samples, TINY_TRAINING, budget, 0, 1, rng)
    after = shared_arrays(model, "frozen")
    return np.concatenate([(after[k] - before[k]).ravel() for k in before])


def test_no_patient_moves_the_weights_by_more_than_the_bound(samples):
    step = moved(samples, clip=1e-3, noise=0.0)
    # Eight patients, each by 1e-3 at most, over eight.
    assert 0 < np.linalg.norm(step) <= 1e-3 * (1 + 1e-4)
    one = moved(samples[:1], clip=1e-3, noise=0.0)
    assert np.linalg.norm(one) == pytest.approx(1e-3, rel=1e-3)


def test_noise_is_of_the_bounds_size_whoever_is_drawn(samples):
    step = moved(samples, clip=2.0, noise=3.0, rate=1e-12)
    expected = 3.0 * 2.0 / (1e-12 * len(samples))
    assert np.std(step) == pytest.approx(expected, rel=0.02)
    assert not np.allclose(step, moved(samples, 2.0, 3.0, 1e-12, seed=1))


def test_frozen_batch_norm_does_not_move(samples):
    before = first_model(TINY_TRAINING, "frozen")
    assert not any("moving" in name for name in shared_arrays(before, "frozen"))


def renyi(noise, rate, order):
    """Renyi divergence of one step: Mironov et al. 2019, arXiv:1908.10530, eq. 30."""
    terms = [
        comb(order, k)
        * (1 - rate) ** (order - k)
        * rate**k
        * exp((k * k - k) / (2 * noise**2))
        for k in range(order + 1)
    ]
    return log(sum(terms)) / (order - 1)


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "published"),
    [
        # Abadi et al. 2016, CCS, section 3.2.
        (4.0, 0.01, 10_000, 1.26),
        # TensorFlow Privacy's tutorial: 60,000 pictures, batches of 250, 15 epochs.
        (1.3, 250 / 60_000, 15 * 240, 1.18),
    ],
)
def test_epsilon_is_what_others_have_published(noise, rate, steps, published):
    pytest.importorskip("dp_accounting", reason="the extra 'federated' is missing")
    delta, orders = 1e-5, range(2, 40)
    spent = {order: steps * renyi(noise, rate, order) for order in orders}
    usual = min(rdp + log(1 / delta) / (order - 1) for order, rdp in spent.items())
    assert usual == pytest.approx(published, abs=0.01)
    # The accountant's conversion is sharper: Canonne et al. 2020, proposition 12.
    sharper = min(
        rdp + log((order - 1) / order) - (log(delta) + log(order)) / (order - 1)
        for order, rdp in spent.items()
    )
    assert epsilon_of(noise, rate, steps, delta) == pytest.approx(sharper, rel=0.01)


def test_the_noise_keeps_the_promise():
    pytest.importorskip("dp_accounting", reason="the extra 'federated' is missing")
    privacy = Privacy(3.0, delta=1e-5)
    noise = noise_for(privacy, 0.1, 200)
    assert 2.95 < epsilon_of(noise, 0.1, 200, 1e-5) <= 3.0
    assert epsilon_of(0.9 * noise, 0.1, 200, 1e-5) > 3.0


def test_what_was_sent_stays_spent(tmp_path):
    pytest.importorskip("dp_accounting", reason="the extra 'federated' is missing")
    privacy = Privacy(8.0, patients_per_step=4)
    budget = Budget.open(tmp_path, privacy, patients=40, total=10)
    assert budget.rate == 0.1
    first = budget.spend(4)
    # A round that is run again, after the server forgot it, is paid for again.
    again = Budget.open(tmp_path, privacy, patients=40, total=10)
    second = again.spend(4)
    assert first < second < 8.0
    with pytest.raises(TrainingError, match="8 of 10 steps were sent"):
        again.spend(4)
    assert json.loads((tmp_path / LEDGER).read_text())["steps"] == 8
    with pytest.raises(TrainingError, match="other patients"):
        Budget.open(tmp_path, privacy, patients=41, total=10)


def test_a_private_site_says_what_it_spent_and_no_loss(tmp_path):
    pytest.importorskip("dp_accounting", reason="the extra 'federated' is missing")
    manifest = draw_site(tmp_path, "north")
    site = Site("north", manifest, tmp_path / "home", say=lambda _: None)
    plan = replace(
        TINY_PLAN, batch_norm="frozen", privacy=Privacy(8.0, patients_per_step=4)
    )
    start = shared_arrays(first_model(TINY_TRAINING, "frozen"), "frozen")
    update = site.train(plan, 1, start)
    assert update.loss is None
    assert 0 < update.epsilon < 8.0
    later = site.train(plan, 2, update.arrays)
    assert later.epsilon == pytest.approx(8.0, abs=0.1)
    with pytest.raises(TrainingError, match="budget is spent"):
        site.train(plan, 2, update.arrays)
