"""A fold's network is one run, or the mean of several; nothing runs twice."""

from dataclasses import replace

import numpy as np
import pytest

from tests.learn.heads import draw_people
from tumorlens.errors import TrainingError
from tumorlens.learn.config import TrainingConfig
from tumorlens.learn.dataset import load_samples
from tumorlens.learn.fit import BEST_WEIGHTS
from tumorlens.learn.fold_runs import OUTPUTS, FoldPlan, train_fold, train_folds
from tumorlens.learn.heldout import HeldOut
from tumorlens.learn.manifest import read_manifest, write_manifest
from tumorlens.learn.networks.registry import find_network

TINY = TrainingConfig(
    network="seed-cnn",
    epochs=1,
    steps_per_epoch=2,
    batch_size=4,
    size=64,
    early_size=32,
)
TWICE = FoldPlan(orders=2)


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    dealt = [
        replace(row, fold=number // 4 % 2)
        for number, row in enumerate(draw_people(folder, 16))
    ]
    write_manifest(dealt, folder / "folds.csv")
    return read_manifest(folder / "folds.csv")


@pytest.fixture(scope="module")
def samples(records):
    return load_samples(records)[0]


@pytest.fixture(scope="module")
def averaged(records, tmp_path_factory):
    """Two folds, each the mean of two orders."""
    places = {fold: tmp_path_factory.mktemp("folds") / f"fold{fold}" for fold in (0, 1)}
    train_folds(records, places, TINY, TWICE, quiet)
    return places


def weights_of(path):
    model = find_network("seed-cnn").build(None)
    model.load_weights(path)
    # Normalisation is counted, not trained; a seed's state is no weight.
    return {item.path: np.asarray(item) for item in model.trainable_variables}


def test_a_folds_network_is_the_mean_of_its_orders(averaged):
    for place in averaged.values():
        first, second = (
            weights_of(run / BEST_WEIGHTS) for run in TWICE.run_folders(place)
        )
        mean = weights_of(place / BEST_WEIGHTS)
        for name, item in mean.items():
            np.testing.assert_allclose(
                item, (first[name] + second[name]) / 2, atol=1e-6
            )
        assert any(np.abs(first[name] - second[name]).max() > 1e-5 for name in mean)


def test_what_the_mean_says_of_its_fold_is_kept_and_not_what_one_order_says(
    averaged, records
):
    said = HeldOut.load(averaged[0] / OUTPUTS, records)
    assert {row.fold for row in said.records} == {0}
    for run in TWICE.run_folders(averaged[0]):
        one = HeldOut.load(run / OUTPUTS, records)
        assert one.records == said.records
        assert np.abs(one.logits - said.logits).max() > 1e-4


def test_the_first_order_is_the_run_that_one_order_makes(averaged, samples, tmp_path):
    train_fold(samples, 0, TINY, tmp_path / "alone", say=quiet)
    alone = weights_of(tmp_path / "alone" / BEST_WEIGHTS)
    for name, item in weights_of(averaged[0] / "order0" / BEST_WEIGHTS).items():
        np.testing.assert_allclose(item, alone[name], atol=1e-6)


def test_runs_at_the_same_time_end_as_one_after_the_other(averaged, records, tmp_path):
    places = {fold: tmp_path / f"fold{fold}" for fold in (0, 1)}
    train_folds(records, places, TINY, replace(TWICE, jobs=2), quiet)
    for fold, place in places.items():
        expected = weights_of(averaged[fold] / BEST_WEIGHTS)
        for name, item in weights_of(place / BEST_WEIGHTS).items():
            np.testing.assert_allclose(item, expected[name], atol=1e-6)


def test_an_error_of_a_run_beside_others_is_told_whole(records, tmp_path):
    places = {fold: tmp_path / f"fold{fold}" for fold in (0, 1, 2)}
    with pytest.raises(TrainingError, match=r"fold 2.*data split --folds"):
        train_folds(records, places, TINY, FoldPlan(jobs=2), quiet)


def test_a_complete_fold_is_not_run_again(averaged, tmp_path):
    said = []
    train_fold([], 0, TINY, averaged[0], 2, said.append)
    assert said == ["Fold 0 is complete."]


def test_a_mean_that_was_stopped_before_it_was_judged_is_made_again(
    averaged, samples, records
):
    before = HeldOut.load(averaged[1] / OUTPUTS, records)
    (averaged[1] / OUTPUTS).unlink()
    (averaged[1] / BEST_WEIGHTS).unlink()
    train_fold(samples, 1, TINY, averaged[1], 2, quiet)
    again = HeldOut.load(averaged[1] / OUTPUTS, records)
    np.testing.assert_allclose(again.logits, before.logits, atol=1e-5)


def test_a_complete_fold_of_other_orders_is_refused_before_any_training(
    averaged, records
):
    with pytest.raises(TrainingError, match=r"with 2 orders, not 3.*--orders 2"):
        train_folds(records, averaged, TINY, FoldPlan(orders=3), quiet)
    with pytest.raises(TrainingError, match="with 2 orders, not 1"):
        train_folds(records, averaged, TINY, FoldPlan(), quiet)


def test_a_run_of_one_order_does_not_become_one_of_two(samples, tmp_path):
    train_fold(samples, 0, TINY, tmp_path, say=quiet)
    (tmp_path / OUTPUTS).unlink()
    with pytest.raises(TrainingError, match="one order"):
        train_fold(samples, 0, TINY, tmp_path, 2, quiet)


def test_runs_with_other_choices_are_not_gone_on_with(averaged, samples, tmp_path):
    other = replace(TINY, seed=7)
    with pytest.raises(TrainingError, match="other choices"):
        train_fold(samples, 0, other, averaged[0], 2, quiet)
    train_fold(samples, 0, TINY, tmp_path, say=quiet)
    (tmp_path / OUTPUTS).unlink()
    with pytest.raises(TrainingError, match="other choices"):
        train_fold(samples, 0, other, tmp_path, say=quiet)
