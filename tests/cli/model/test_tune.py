"""`tumorlens tune`: trials of tiny networks, a kill, and what comes of them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.cli.model.test_train import invoke, written_with
from tumorlens.data.manifest import read_manifest, write_manifest
from tumorlens.training.config import TrainingConfig

optuna = pytest.importorskip("optuna", reason="the extra 'tune' is not installed")

from tumorlens.experiments.tuning import (  # noqa: E402
    SPACE,
    Search,
    SearchConfig,
    TrialResult,
    parse_range,
)

SMALL = (
    *("--network", "seed-cnn", "--epochs", "2", "--steps-per-epoch", "2"),
    *("--batch-size", "4", "--size", "32", "--early-size", "32"),
)


def tune(drawn_set, out, *more):
    return invoke("tune", "--data", drawn_set, "--out", out, *SMALL, *more)


@pytest.fixture(scope="module")
def found(drawn_set, tmp_path_factory):
    out = tmp_path_factory.mktemp("tune") / "out"
    result = tune(drawn_set, out, "--trials", 2)
    assert result.exit_code == 0, result.output
    return out, result.output


def figures_of(out):
    return json.loads((out / "report" / "metrics.json").read_text())


def test_trials_are_compared_on_validation_patients(found, drawn_set):
    out, said = found
    figures = figures_of(out)
    assert "2 runs, each of 4 steps" in said
    assert "trial 1  epoch 2/2" in said
    assert "Next: tumorlens train" in said
    assert set(figures["space"]) == set(SPACE)
    assert figures["patients"] == {"train": 8, "validation": 4}
    assert [trial["number"] for trial in figures["trials"]] == [0, 1]
    assert {trial["end"] for trial in figures["trials"]} == {"complete"}
    scores = [trial["accuracy"] for trial in figures["trials"]]
    assert figures["best"] == scores.index(max(scores))
    page = (out / "report" / "report.html").read_text()
    assert "Accuracy by learning rate" in page
    assert "4 validation patients" in page
    # What a trial leaves behind are its choices and its log.
    kept = {path.name for path in (out / "trials" / "0000").iterdir()}
    assert {"config.json", "log.jsonl", "curves.png"} <= kept
    assert not kept & {"best.weights.h5", "checkpoint.npz"}


def test_the_best_choices_train(found, drawn_set, tmp_path):
    out, _ = found
    figures = figures_of(out)
    best = TrainingConfig.read(out / "best.json")
    chosen = figures["trials"][figures["best"]]["choices"]
    assert chosen == {name: getattr(best, name) for name in chosen}
    again = ("train", "--data", drawn_set, "--out", tmp_path / "run")
    result = invoke(*again, "--config", out / "best.json", "--epochs", 1)
    assert result.exit_code == 0, result.output
    trained = TrainingConfig.read(tmp_path / "run" / "config.json")
    assert trained == replace(best, epochs=1)


def test_more_trials_go_on_where_the_search_was(found, drawn_set):
    out, _ = found
    before = figures_of(out)
    result = tune(drawn_set, out, "--trials", 3)
    assert result.exit_code == 0, result.output
    assert "holds 2 of 3 trials: going on" in result.output
    after = figures_of(out)
    assert after["trials"][:2] == before["trials"]
    assert len(after["trials"]) == 3
    choices = [trial["choices"] for trial in after["trials"]]
    assert choices[2] not in choices[:2]
    result = tune(drawn_set, out, "--trials", 3)
    assert result.exit_code == 0, result.output
    assert "epoch" not in result.output
    assert figures_of(out) == after


def test_another_search_in_the_folder_is_refused(found, drawn_set):
    out, _ = found
    result = tune(drawn_set, out, "--vary", "ema=0.9,0.99")
    assert result.exit_code == 2
    assert "a search with other ranges" in result.output
    result = tune(drawn_set, out, "--seed", 4)
    assert result.exit_code == 2
    assert "a search with other choices" in result.output
    with Search(config_of(drawn_set, out)):
        result = tune(drawn_set, out)
    assert result.exit_code == 2
    assert "Another search works in" in result.output


def config_of(drawn_set, out):
    """What `tune` makes of `SMALL`."""
    records = read_manifest(drawn_set)
    training = TrainingConfig(
        *("seed-cnn", 2, 2, 4), size=32, early_size=32
    ).for_classes_of(records)
    return SearchConfig(drawn_set, out, training, SPACE)


def test_a_killed_search_goes_on_with_its_trial(drawn_set, tmp_path):
    out = tmp_path / "out"
    choices = [*SMALL, "--trials", "1", "--patience", "12"]
    choices[choices.index("--epochs") + 1] = "12"
    call = ["tune", "--data", str(drawn_set), "--out", str(out), *choices]
    process = subprocess.Popen(
        [sys.executable, "-m", "tumorlens", *call],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = out / "trials" / "0000" / "log.jsonl"
    deadline = time.monotonic() + 240
    while not log.exists() or log.read_text().count("\n") < 3:
        assert process.poll() is None, "the search ended early"
        assert time.monotonic() < deadline, "no epoch was done in time"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = [json.loads(line) for line in log.read_text().splitlines()]
    result = invoke(*call)
    assert result.exit_code == 0, result.output
    (trial,) = figures_of(out)["trials"]
    assert len(trial["epochs"]) == 12
    # The first epochs are those of the killed process, and were not done again.
    assert "epoch 1/12" not in result.output
    assert [row["loss"] for row in trial["epochs"][: len(before) - 1]] == [
        row["loss"] for row in before[:-1]
    ]
    assert [path.name for path in (out / "trials").iterdir()] == ["0000"]


class DrawnTrials:
    """Ends trials as told, without any training: epochs with a given accuracy."""

    count = 1

    def __init__(self, accuracies):
        self.accuracies = accuracies
        self.stopped_at = {}

    def run(self, tasks, on_epoch):
        for task in tasks:
            task.folder.mkdir(parents=True)
            end = "complete"
            for epoch in range(1, task.config.epochs + 1):
                accuracy = self.accuracies[task.number]
                if accuracy is None:
                    end = "failed"
                    break
                row = {"epoch": epoch, "accuracy": accuracy, "loss": 1.0}
                with (task.folder / "log.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")
                if on_epoch(task.number, row):
                    self.stopped_at[task.number] = epoch
                    end = "pruned"
                    break
            yield TrialResult(task.number, end, 1.0)


def test_what_lags_behind_is_stopped_and_what_diverged_is_no_trial_to_rank(
    drawn_set, tmp_path
):
    training = replace(config_of(drawn_set, tmp_path).training, epochs=5)
    config = replace(config_of(drawn_set, tmp_path / "out"), training=training)
    workers = DrawnTrials([0.5, 0.6, 0.7, 0.8, 0.7, 0.2, None, 0.9])
    said = []
    with Search(config, said.append) as search:
        result = search.run(8, workers)
    ends = [trial["end"] for trial in result["trials"]]
    assert ends == [*["complete"] * 5, "pruned", "failed", "complete"]
    assert workers.stopped_at == {5: 2}
    assert result["best"] == 7
    assert result["trials"][6]["accuracy"] is None
    assert "Trial 6 failed: the loss was no longer a number" in " ".join(said)


def test_a_search_whose_every_trial_diverges_says_so(drawn_set, tmp_path):
    result = tune(
        drawn_set, tmp_path, "--trials", 2, "--vary", "learning_rate=1e30,2e30"
    )
    assert result.exit_code == 2
    assert "No trial of 2 came to its end" in result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=1e-4:1e-2:log", ("learning_rate", 1e-4, 1e-2, True)),
        ("final-rate=0:0.5", ("final_rate", 0.0, 0.5, False)),
        ("batch_size=8:32", ("batch_size", 8, 32, False)),
    ],
)
def test_a_range_is_read(text, expected):
    name, found = parse_range(text)
    assert (name, found.low, found.high, found.log) == expected


def test_choices_and_edges_are_read():
    name, found = parse_range("sampling=class,natural")
    assert (name, found.choices) == ("sampling", ("class", "natural"))
    assert parse_range("size=64:224")[1].step == 32


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rate", "names no choice"),
        ("epochs=1:3", "names no choice"),
        ("ema=0.5:2", "ema is 2.0"),
        ("size=x", "is no range of size"),
        ("sampling=a:b", "is no range of sampling"),
        ("sampling=odd", "sampling is 'odd'"),
        ("learning_rate=0:1:log", "is no range of learning_rate"),
    ],
)
def test_a_range_that_cannot_be_is_named(drawn_set, tmp_path, text, said):
    result = tune(drawn_set, tmp_path / "out", "--vary", text)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_what_is_given_is_not_searched(drawn_set, tmp_path):
    more = ("--learning-rate", 1e-3, "--vary", "learning_rate=1e-4:1e-2")
    result = tune(drawn_set, tmp_path / "out", *more)
    assert result.exit_code == 2
    assert "searches what --learning-rate fixes" in result.output


def test_a_manifest_without_validation_says_what_to_run(drawn_set, tmp_path):
    bare = written_with(drawn_set, "all-train.csv", split="train")
    result = tune(bare, tmp_path / "out")
    assert result.exit_code == 2
    assert "no row in the split 'validation'" in result.output


def test_trials_at_the_same_time_end_as_one_after_the_other(drawn_set, tmp_path):
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    vary = ("--vary", "learning_rate=1e-3,1e-3")
    one = tune(drawn_set, tmp_path / "one", "--trials", 1, *vary)
    assert one.exit_code == 0, one.output
    two = tune(drawn_set, tmp_path / "two", "--trials", 2, *vary, "--jobs", 2)
    assert two.exit_code == 0, two.output
    (alone,) = figures_of(tmp_path / "one")["trials"]
    together = figures_of(tmp_path / "two")["trials"]
    assert [trial["end"] for trial in together] == ["complete", "complete"]
    for trial in together:
        assert trial["epochs"][-1]["loss"] == pytest.approx(
            alone["epochs"][-1]["loss"], rel=1e-3
        )


def test_an_error_of_a_worker_is_told_as_it_is(drawn_set, tmp_path):
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    rows = [replace(row, split="train") for row in read_manifest(drawn_set)]
    path = drawn_set.parent / "nobody-aside.csv"
    write_manifest(rows, path)
    result = tune(path, tmp_path / "out", "--jobs", 1)
    assert result.exit_code == 2
    assert "no row in the split 'validation'" in result.output


def test_a_missing_extra_is_named(drawn_set, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "tumorlens.experiments.tuning")
    result = tune(drawn_set, tmp_path / "out")
    assert result.exit_code == 2
    assert "needs the extra 'tune'" in result.output
