"""A federation in one process, of Flower's own parts: rounds, faults, and going on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("flwr", reason="the extra 'federated' is not installed")

import keras
from flwr.app import Context, RecordDict, UserConfig

from tests.samples.federated_sites import (
    TINY_PLAN,
    TINY_TRAINING,
    draw_site,
    told_sites,
)
from tests.samples.heads import draw_person
from tumorlens.data.manifest import read_manifest
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.scale.federation.apps import LocalGrid, simulate
from tumorlens.scale.federation.plan import HISTORY, WEIGHTS, Privacy
from tumorlens.scale.federation.server import CHECKPOINT, FederationServer
from tumorlens.scale.federation.site import Site, first_model

NAMES = ("east", "north", "west")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites")
    return {name: draw_site(folder, name) for name in NAMES}


def begun(folder, plan):
    """Write a plan into an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    plan.write(folder)
    return folder


def server(folder, sites, grid=None):
    context = Context(1, 0, UserConfig(), RecordDict(), UserConfig())
    return FederationServer(grid or LocalGrid(sites), context, folder)


def history(folder):
    return json.loads((folder / HISTORY).read_text())


def final_weights(folder):
    with np.load(folder / CHECKPOINT) as stored:
        return {n: stored[n] for n in stored.files if n.startswith("now/")}


class FaultyGrid(LocalGrid):
    """Sites of which some fail in some rounds."""

    def __init__(self, sites, absent=(), spoil=None, spoiled=(), dies_in=0):
        super().__init__(sites)
        self.absent, self.spoil, self.spoiled = set(absent), spoil, set(spoiled)
        self.dies_in, self.round = dies_in, 0

    def get_nodes(self):
        return [node for node in super().get_nodes() if node.name not in self.absent]

    def get_node_ids(self):
        return [node.node_id for node in self.get_nodes()]

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        if messages and messages[0].metadata.message_type == "train":
            self.round += 1
            if self.round == self.dies_in:
                raise KeyboardInterrupt
        replies = super().send_and_receive(messages, timeout=timeout)
        names = {node.node_id: node.name for node in super().get_nodes()}
        for reply in replies:
            name = names[reply.metadata.src_node_id]
            trained = reply.metadata.message_type == "train" and not reply.has_error()
            if self.spoil and trained and name in self.spoiled:
                self.spoil(reply)
        return replies


def test_three_sites_train_one_model(manifests, tmp_path):
    out = begun(tmp_path / "out", TINY_PLAN)
    sites = told_sites(tmp_path, manifests)
    simulate(sites, out)
    log = history(out)
    assert [item["number"] for item in log["rounds"]] == [1, 2]
    for item in log["rounds"]:
        assert sorted(item["sites"]) == list(NAMES)
        assert item["problems"] == {}
        assert item["validation"]["slices"] == 12
        assert item["bytes"] > 0
    assert (out / WEIGHTS).exists()
    metrics = json.loads((out / "report" / "metrics.json").read_text())
    assert metrics["slices"] == 12
    assert sorted(metrics["subgroups"]["federated_site"]) == list(NAMES)
    # What a site has in the end is the server's network.
    final = Path(sites["north"]["folder"]) / "final.weights.h5"
    assert final.exists()


def test_the_mean_of_one_round_is_the_mean_of_the_sites(manifests, tmp_path):
    one_round = replace(TINY_PLAN, training=replace(TINY_TRAINING, epochs=1))
    out = begun(tmp_path / "out", one_round)
    start = server(out, told_sites(tmp_path, manifests)).arrays
    simulate(told_sites(tmp_path, manifests), out)
    updates = [
        Site(name, path, tmp_path / "again" / name).train(one_round, 1, start).arrays
        for name, path in manifests.items()
    ]
    for name, values in final_weights(out).items():
        mean = np.mean([item[name.removeprefix("now/")] for item in updates], axis=0)
        np.testing.assert_allclose(values, mean, atol=1e-6)


def test_a_killed_server_goes_on_and_ends_in_the_same_place(manifests, tmp_path):
    plan = replace(TINY_PLAN, strategy="fedadam", server_rate=0.001)
    straight = begun(tmp_path / "straight", plan)
    simulate(told_sites(tmp_path / "a", manifests), straight)
    killed = begun(tmp_path / "killed", plan)
    sites = told_sites(tmp_path / "b", manifests)
    with pytest.raises(KeyboardInterrupt):
        server(killed, sites, FaultyGrid(sites, dies_in=2)).run()
    assert len(history(killed)["rounds"]) == 1
    simulate(sites, killed)
    for name, values in final_weights(straight).items():
        np.testing.assert_allclose(values, final_weights(killed)[name], atol=1e-6)


def test_a_site_that_drops_out_or_comes_late_is_survived(manifests, tmp_path):
    sites = told_sites(tmp_path, manifests)
    grid = FaultyGrid(sites, absent=["west"])
    run = server(begun(tmp_path / "out", TINY_PLAN), sites, grid)

    def west_comes_north_goes(line):
        if line.startswith("round   1"):
            grid.absent = {"north"}

    run._say = west_comes_north_goes
    run.run()
    first, second = history(tmp_path / "out")["rounds"]
    assert sorted(first["sites"]) == ["east", "north"]
    assert sorted(second["sites"]) == ["east", "west"]


def spoil_with(value):
    def spoil(reply):
        arrays = reply.content["arrays"]
        for name in list(arrays):
            from flwr.app import Array

            arrays[name] = Array(np.full(arrays[name].numpy().shape, value, np.float32))

    return spoil


@pytest.mark.parametrize(
    ("value", "why"), [(np.nan, "no numbers"), (1e6, "scaled down")]
)
def test_poisoned_weights_are_survived_and_the_site_is_named(
    value, why, manifests, tmp_path
):
    sites = told_sites(tmp_path, manifests)
    grid = FaultyGrid(sites, spoil=spoil_with(value), spoiled=["west"])
    run = server(begun(tmp_path / "out", TINY_PLAN), sites, grid)
    start = run.arrays
    run.run()
    for item in history(tmp_path / "out")["rounds"]:
        assert list(item["problems"]) == ["west"]
        assert why in item["problems"]["west"]
    moved = max(
        float(np.abs(values - start[name.removeprefix("now/")]).max())
        for name, values in final_weights(tmp_path / "out").items()
    )
    assert moved < 10.0


def test_a_trimmed_mean_ignores_the_extremes(manifests, tmp_path):
    sites = told_sites(tmp_path, manifests)
    one_round = replace(
        TINY_PLAN,
        training=replace(TINY_TRAINING, epochs=1),
        aggregation="trimmed-mean",
        norm_bound=1e9,
    )
    grid = FaultyGrid(sites, spoil=spoil_with(50.0), spoiled=["west"])
    run = server(begun(tmp_path / "out", one_round), sites, grid)
    start = run.arrays
    run.run()
    # Of three sites one is trimmed at each end: the middle one is left.
    for name, values in final_weights(tmp_path / "out").items():
        if name.endswith("kernel"):
            assert np.abs(values - start[name.removeprefix("now/")]).max() < 1.0


def test_too_few_sites_end_the_run_and_say_why(manifests, tmp_path):
    plan = replace(TINY_PLAN, min_sites=3)
    sites = told_sites(tmp_path, manifests)
    grid = FaultyGrid(sites, spoil=spoil_with(np.nan), spoiled=["west"])
    run = server(begun(tmp_path / "out", plan), sites, grid)
    with pytest.raises(TrainingError, match=r"Fewer than 3 .* west left out"):
        run.run()


def test_secure_aggregation_gives_the_mean_and_survives_a_drop_out(manifests, tmp_path):
    plan = replace(
        TINY_PLAN,
        training=replace(TINY_TRAINING, epochs=1),
        secure=True,
        min_sites=3,
        norm_bound=5.0,
    )
    out = begun(tmp_path / "out", plan)
    sites = told_sites(tmp_path, manifests)
    start = server(out, sites).arrays
    simulate(sites, out)
    updates = [
        Site(name, path, tmp_path / "again" / name).train(plan, 1, start).arrays
        for name, path in manifests.items()
    ]
    for name, values in final_weights(out).items():
        mean = np.mean([item[name.removeprefix("now/")] for item in updates], axis=0)
        # Quantised to 2 * 5 / 2**22.
        np.testing.assert_allclose(values, mean, atol=2e-5)
    assert history(out)["rounds"][0]["sites"] == {name: {} for name in NAMES}


class MaskedDropOut(FaultyGrid):
    """One site fails after it has shared its keys, and never sends its vector."""

    def __init__(self, sites):
        super().__init__(sites)
        self.sent = []

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        if messages and messages[0].metadata.message_type == "train":
            stage = messages[0].content["secaggplus_configs"]["stage"]
            if stage == "collect_masked_vectors":
                messages = [m for m in messages if m.metadata.dst_node_id != 1]
        return LocalGrid.send_and_receive(self, messages, timeout=timeout)


def test_a_site_lost_in_the_secure_protocol_is_left_out_of_the_sum(manifests, tmp_path):
    four = {**manifests, "zest": manifests["west"]}
    plan = replace(
        TINY_PLAN,
        training=replace(TINY_TRAINING, epochs=1),
        secure=True,
        min_sites=3,
        norm_bound=5.0,
    )
    sites = told_sites(tmp_path, four)
    run = server(begun(tmp_path / "out", plan), sites, MaskedDropOut(sites))
    start = run.arrays
    run.run()
    (only,) = history(tmp_path / "out")["rounds"]
    assert sorted(only["sites"]) == ["north", "west", "zest"]
    assert only["problems"] == {"east": "dropped out; its weights are in no sum"}
    updates = [
        Site(name, four[name], tmp_path / "again" / name).train(plan, 1, start).arrays
        for name in only["sites"]
    ]
    name = "conv1/kernel"
    mean = np.mean([item[name] for item in updates], axis=0)
    np.testing.assert_allclose(
        final_weights(tmp_path / "out")[f"now/{name}"], mean, atol=2e-5
    )


def sites_with_copies(folder):
    """Draw two sites with a key, of which the second has two pictures of the first."""
    manifests = {name: draw_site(folder, name) for name in ("east", "north")}
    for manifest, people in zip(manifests.values(), (0, 100), strict=True):
        for number, row in enumerate(read_manifest(manifest)):
            cv2.imwrite(str(row.path), draw_person(people + number, 256))
    first = read_manifest(manifests["east"])
    second = read_manifest(manifests["north"])
    for row in (0, 1):
        shutil.copy(first[row].path, second[row].path)
    key = folder / "key"
    key.write_text("s3cret" * 8)
    return {
        name: {**told, "audit-key": str(key)}
        for name, told in told_sites(folder, manifests).items()
    }


def test_copies_are_left_to_one_site_before_training(tmp_path):
    plan = replace(TINY_PLAN, audit=True, training=replace(TINY_TRAINING, epochs=1))
    sites = sites_with_copies(tmp_path)
    out = begun(tmp_path / "out", plan)
    simulate(sites, out)
    log = history(out)
    assert log["copies"] == [
        {"sites": "east, north", "identical": 2, "near": 2, "patients": 0}
    ]
    (only,) = log["rounds"]
    assert only["sites"]["east"]["slices"] == 8
    assert only["sites"]["north"]["slices"] == 6
    del sites["north"]["audit-key"]
    with pytest.raises(DatasetError, match="north cannot be compared"):
        simulate(sites, begun(tmp_path / "again", plan))


class DeafGrid(LocalGrid):
    """Messages of one kind reach no site."""

    def __init__(self, sites, unheard):
        super().__init__(sites)
        self.unheard = unheard

    def send_and_receive(self, messages, *, timeout=None):
        heard = [m for m in messages if m.metadata.message_type != self.unheard]
        return super().send_and_receive(heard, timeout=timeout)


@pytest.mark.parametrize(
    ("unheard", "why"),
    [
        ("query.audit", "east cannot be compared .* sent nothing in time"),
        ("query.leave_out", "north does not leave its copies out: it sent nothing"),
    ],
)
def test_nothing_is_trained_before_copies_are_left_out(unheard, why, tmp_path):
    sites = sites_with_copies(tmp_path)
    out = begun(tmp_path / "out", replace(TINY_PLAN, audit=True))
    with pytest.raises(DatasetError, match=why):
        server(out, sites, DeafGrid(sites, unheard)).run()
    assert not (out / CHECKPOINT).exists()


def test_first_weights_that_no_site_could_start_from_are_refused(manifests, tmp_path):
    model = first_model(TINY_TRAINING, "shared")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(layer.moving_mean + 1.0)
    weights = tmp_path / "first.weights.h5"
    model.save_weights(weights)
    sites, one_round = told_sites(tmp_path, manifests), replace(TINY_TRAINING, epochs=1)
    shared = begun(tmp_path / "shared", replace(TINY_PLAN, training=one_round))
    simulate(sites, shared, weights)
    assert len(history(shared)["rounds"]) == 1
    frozen = begun(tmp_path / "frozen", replace(TINY_PLAN, batch_norm="frozen"))
    with pytest.raises(TrainingError, match="layers that are never sent"):
        simulate(sites, frozen, weights)


def test_private_sites_say_what_they_spent(manifests, tmp_path):
    plan = replace(
        TINY_PLAN, batch_norm="frozen", privacy=Privacy(8.0, patients_per_step=4)
    )
    out = begun(tmp_path / "out", plan)
    simulate(told_sites(tmp_path, manifests), out)
    first, second = history(out)["rounds"]
    for name in NAMES:
        spent = [item["sites"][name]["epsilon"] for item in (first, second)]
        assert 0 < spent[0] < spent[1] <= 8.01
        assert "loss" not in first["sites"][name]
