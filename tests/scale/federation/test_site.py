"""A hospital's side: it trains as `train` would, and keeps what is to stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.samples.federated_sites import TINY_PLAN, TINY_TRAINING, draw_site
from tumorlens.data.manifest import read_manifest, write_manifest
from tumorlens.errors import DatasetError, SettingError, TrainingError
from tumorlens.scale.federation.plan import FederationPlan, Privacy
from tumorlens.scale.federation.site import (
    Site,
    first_model,
    frozen_digest,
    shared_arrays,
)
from tumorlens.taxonomy import CLASSES, TumorClass
from tumorlens.training.fit import fit

FIRST = {
    kind: shared_arrays(first_model(TINY_TRAINING, kind), kind)
    for kind in ("shared", "local", "frozen")
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return draw_site(tmp_path_factory.mktemp("site"), "north")


@pytest.fixture
def site(manifest, tmp_path):
    return Site("north", manifest, tmp_path / "site", say=lambda _: None)


def distance(arrays, start):
    return sum(float(((arrays[k] - start[k]) ** 2).sum()) for k in start)


def test_a_sites_first_round_is_the_first_epoch_of_training(site, tmp_path):
    one_epoch = replace(TINY_TRAINING, epochs=1)
    samples = site.samples("train", one_epoch)
    (tmp_path / "run").mkdir()
    fit(one_epoch, samples, [], tmp_path / "run", say=lambda _: None)
    with np.load(tmp_path / "run" / "checkpoint.npz") as stored:
        trained = [
            stored[f"model/{row}"]
            for row in range(sum(n.startswith("model/") for n in stored.files))
        ]
    update = site.train(replace(TINY_PLAN, training=one_epoch), 1, FIRST["shared"])
    ours = {(*item.shape, float(item.sum())) for item in update.arrays.values()}
    theirs = {(*item.shape, float(item.sum())) for item in trained}
    assert ours <= theirs
    assert len(ours) > 10
    assert (update.patients, update.slices) == (8, 8)


def test_a_round_is_the_same_whatever_ran_before(site):
    first = site.train(TINY_PLAN, 2, FIRST["shared"])
    site.train(TINY_PLAN, 1, first.arrays)
    again = site.train(TINY_PLAN, 2, FIRST["shared"])
    for name, values in first.arrays.items():
        np.testing.assert_array_equal(values, again.arrays[name])
    other = site.train(TINY_PLAN, 1, FIRST["shared"])
    assert distance(other.arrays, first.arrays) > 0


def test_a_site_without_a_class_teaches_nothing_of_it(manifest, tmp_path):
    rows = [row for row in read_manifest(manifest) if row.label != "pituitary"]
    poor = tmp_path / "poor.csv"
    write_manifest(rows, poor)
    absent = CLASSES.index(TumorClass.PITUITARY)
    moved = {}
    for restricted in (True, False):
        site = Site("poor", poor, tmp_path / str(restricted), say=lambda _: None)
        plan = replace(TINY_PLAN, restricted_softmax=restricted)
        after = site.train(plan, 1, FIRST["shared"]).arrays["logits/bias"]
        moved[restricted] = after - FIRST["shared"]["logits/bias"]
    assert moved[False][absent] < 0
    assert moved[True][absent] == 0
    assert (np.delete(moved[True], absent) != 0).all()


def test_fedprox_stays_nearer_to_where_it_started(site):
    free = site.train(TINY_PLAN, 1, FIRST["shared"])
    held = replace(TINY_PLAN, strategy="fedprox", proximal=1000.0)
    pulled = site.train(held, 1, FIRST["shared"])
    kernels = {k: v for k, v in FIRST["shared"].items() if k.endswith("kernel")}
    assert distance(pulled.arrays, kernels) < 0.9 * distance(free.arrays, kernels)


def test_local_batch_norm_never_leaves_and_is_there_in_the_next_round(site):
    plan = replace(TINY_PLAN, batch_norm="local")
    assert not any("moving" in name or "gamma" in name for name in FIRST["local"])
    assert any("moving" in name for name in FIRST["shared"])
    update = site.train(plan, 1, FIRST["local"])
    assert set(update.arrays) == set(FIRST["local"])
    with np.load(site.folder / "local.npz") as stored:
        kept = {name: stored[name] for name in stored.files}
    assert any("moving_mean" in name for name in kept)
    assert all(np.abs(v).max() > 0 for k, v in kept.items() if "moving_mean" in k)
    site.finish(plan, update.arrays)
    model = first_model(TINY_TRAINING, "local")
    model.load_weights(site.folder / "final.weights.h5")
    for layer in model.layers:
        if f"{layer.name}/moving_mean" in kept:
            np.testing.assert_array_equal(
                np.asarray(layer.moving_mean), kept[f"{layer.name}/moving_mean"]
            )


def test_another_sites_batch_norm_is_not_mixed_in(site, manifest, tmp_path):
    plan = replace(TINY_PLAN, batch_norm="local")
    other = Site("south", manifest, tmp_path / "south", say=lambda _: None)
    alone = other.train(plan, 1, FIRST["local"])
    site.train(plan, 2, alone.arrays)
    (other.folder / "local.npz").unlink()
    again = other.train(plan, 1, FIRST["local"])
    for name, values in alone.arrays.items():
        np.testing.assert_array_equal(values, again.arrays[name])


def test_counts_are_of_patients_that_teach_nothing(site):
    counts = site.train(TINY_PLAN, 1, FIRST["shared"]).counts
    assert (counts["all"]["slices"], counts["all"]["patients"]) == (4, 4)
    counts = site.finish(TINY_PLAN, FIRST["shared"])
    assert (counts["all"]["slices"], counts["all"]["patients"]) == (4, 4)


def test_other_lesions_teach_and_are_not_counted(manifest, tmp_path):
    rows = [
        replace(row, label=None, lesion="other") if number % 4 == 1 else row
        for number, row in enumerate(read_manifest(manifest))
    ]
    write_manifest(rows, tmp_path / "lesions.csv")
    network = replace(TINY_TRAINING, network="evidence-net-sequences")
    plan = replace(TINY_PLAN, training=network)
    site = Site("north", tmp_path / "lesions.csv", tmp_path, say=lambda _: None)
    assert len(site.samples("train", network)) == 8
    counts = site.finish(plan, {})
    assert (counts["all"]["slices"], counts["all"]["patients"]) == (3, 3)
    others = [row for row in rows if row.label is None]
    write_manifest(others, tmp_path / "others.csv")
    alone = Site("east", tmp_path / "others.csv", tmp_path, say=lambda _: None)
    assert alone.finish(plan, {}) is None
    with pytest.raises(DatasetError, match="no slice of the four classes"):
        alone.judged_samples("test", network)


def test_a_site_of_few_patients_trains_and_counts_nothing(site):
    update = site.train(replace(TINY_PLAN, min_cell=5), 1, FIRST["shared"])
    assert update.counts is None
    assert update.slices == 8


def test_rows_that_another_site_keeps_are_left_out(site):
    assert len(site.records("train")) == 8
    site.leave_out([0, 1, 99])
    assert len(site.records("train")) == 6
    assert len(site.audited()) == 16
    assert site.train(TINY_PLAN, 1, FIRST["shared"]).slices == 6


def test_a_server_with_other_frozen_weights_is_refused(site):
    digest = frozen_digest(first_model(TINY_TRAINING, "shared"))
    site.train(TINY_PLAN, 1, FIRST["shared"], digest)
    with pytest.raises(TrainingError, match="differ from the server's"):
        site.train(TINY_PLAN, 1, FIRST["shared"], "0" * 64)
    with pytest.raises(TrainingError, match="of another network"):
        site.train(TINY_PLAN, 1, {"conv9/kernel": np.zeros(3, np.float32)})


def test_a_site_keeps_its_own_limit(manifest, tmp_path):
    careful = Site("north", manifest, tmp_path, max_epsilon=3.0)
    with pytest.raises(TrainingError, match=r"up to an epsilon of 3; .* none"):
        careful.train(TINY_PLAN, 1, FIRST["shared"])
    plan = replace(TINY_PLAN, batch_norm="frozen", privacy=Privacy(8.0))
    with pytest.raises(TrainingError, match="the plan's is 8"):
        careful.train(plan, 1, FIRST["frozen"])


def test_a_plan_is_the_same_after_it_was_sent():
    plan = replace(TINY_PLAN, batch_norm="frozen", privacy=Privacy(3.0), norm_bound=2.5)
    assert FederationPlan.from_json(plan.to_json()) == plan
    with pytest.raises(SettingError, match="cannot be used"):
        FederationPlan.from_json('{"strategy": "fedavg"}')


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        ({"strategy": "fedsgd"}, "Choose one of: fedavg"),
        ({"secure": True}, "norm-bound"),
        ({"secure": True, "norm_bound": 1.0, "min_sites": 2}, "3 --min-sites"),
        ({"privacy": Privacy(8.0)}, "--batch-norm frozen"),
        ({"aggregation": "trimmed-mean", "strategy": "fedadam"}, "fedavg or fedprox"),
        ({"min_sites": 0}, "1 or more"),
        ({"norm_bound": -1.0}, "above 0"),
    ],
)
def test_what_does_not_go_together_is_refused(choices, why):
    with pytest.raises(SettingError) as refused:
        replace(TINY_PLAN, **choices)
    assert why in str(refused.value)


def test_transplants_do_not_go_with_privacy():
    mixed = replace(TINY_TRAINING, transplant_share=0.1)
    with pytest.raises(SettingError, match="one patient's tissue"):
        FederationPlan(training=mixed, batch_norm="frozen", privacy=Privacy(8.0))
