"""A run in MLflow: choices, epochs and bundle in a real local store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.model.test_train import SMALL, invoke
from tumorlens.errors import MissingExtraError, SettingError
from tumorlens.experiments.run import EXPERIMENT, MlflowRun
from tumorlens.inference.bundle.bundle import load_bundle

# What MLflow itself uses of other libraries is its own affair.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("mlflow", reason="MLflow is not installed (extra 'mlflow')")
    # A local store puts files beside the process.
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/runs.db"


def runs_of(uri: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_without_mlflow_a_run_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match="'mlflow'"):
        MlflowRun("sqlite:///x.db", tmp_path, {})
    mlflow = ("--mlflow", "sqlite:///x.db")
    result = invoke("train", "--data", "x", "--out", tmp_path, "--folds", 2, *mlflow)
    assert result.exit_code == 2
    assert "--mlflow goes without" in result.output


def test_a_run_is_kept_with_choices_epochs_and_bundle(
    drawn_set: Path, store: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    out = tmp_path / "run"
    words = ("train", "--data", drawn_set, "--out", out, "--mlflow", store)
    # Of an option that is given twice the last counts.
    result = invoke(*words, *SMALL, "--epochs", 2)
    assert result.exit_code == 0, result.output
    (run,) = runs_of(store)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params["network"] == "seed-cnn"
    assert run.data.params["epochs"] == "2"
    client = MlflowClient(tracking_uri=store)
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [item.step for item in losses] == [2, 4]
    assert "accuracy" in run.data.metrics
    fetched = client.download_artifacts(run.info.run_id, "bundle", str(tmp_path))
    assert load_bundle(Path(fetched)).name == "seed-cnn"


def test_a_run_that_is_resumed_goes_on_and_one_that_fails_says_so(
    store: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with (
        pytest.raises(ValueError, match="broken"),
        MlflowRun(store, folder, {"seed": 3}) as first,
    ):
        first.epoch_done({"step": 5, "loss": 0.5, "epoch": 1})
        raise ValueError("broken")
    (run,) = runs_of(store)
    assert run.info.status == "FAILED"
    with MlflowRun(store, folder, {"seed": 3}, resume=True) as second:
        second.epoch_done({"step": 10, "loss": 0.25})
    (run,) = runs_of(store)
    assert (run.info.run_id, run.info.status) == (first.run_id, "FINISHED")
    assert run.data.metrics == {"loss": 0.25}


def test_a_store_that_is_lost_costs_the_run_nothing(store: str, tmp_path: Path) -> None:
    said: list[str] = []
    with MlflowRun(store, tmp_path, {}, say=said.append) as run:
        run.run_id = "another"
        run.epoch_done({"step": 1, "loss": 0.5, "accuracy": 0.5})
    assert len(said) == 1
    assert "MLflow gets no more of this run" in said[0]


def test_a_store_that_is_none_is_refused(store: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be used"):
        MlflowRun("nothing://x", tmp_path, {})
