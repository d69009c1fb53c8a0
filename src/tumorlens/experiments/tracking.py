"""A training run in MLflow: its choices, its epochs, its bundle.

MLflow comes with the extra ``mlflow`` and is imported when a run asks for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tumorlens.errors import MissingExtraError, SettingError

EXPERIMENT = "tumorlens"
_RUN_FILE = "mlflow.json"
_LONGEST_VALUE = 500


class MlflowRun:
    """One run in an MLflow store, as a context: it ends as the block ends.

    Once training is under way, a store that cannot be reached costs the run nothing: it
    is told once, and training goes on.

    Parameters
    ----------
    uri
        MLflow's tracking URI: the address of a server, ``sqlite:///FILE`` or a folder.
    folder
        Folder of the training run, whose name the run gets; a run that is resumed goes
        on under the id that is kept there.
    choices
        Every choice of the training, as plain JSON values.
    resume
        Whether the training goes on where it was stopped.
    say
        Receives a line where the store fails.

    Raises
    ------
    MissingExtraError
        MLflow is not installed.
    SettingError
        There is no such store, or it cannot be reached.
    """

    def __init__(
        self,
        uri: str,
        folder: Path,
        choices: Mapping[str, Any],
        *,
        resume: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        # It would tell its makers of each run.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # Else it asks a server that is not there for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise MissingExtraError("MLflow", "mlflow") from error
        self._fault = MlflowException
        self._say = say
        self._is_lost = False
        path = folder / _RUN_FILE
        try:
            self._client = MlflowClient(tracking_uri=uri)
            if resume and path.is_file():
                self.run_id: str = json.loads(path.read_text("utf-8"))["run_id"]
                self._client.update_run(self.run_id, status="RUNNING")
                return
            known_experiment = self._client.get_experiment_by_name(EXPERIMENT)
            experiment = (
                self._client.create_experiment(EXPERIMENT)
                if known_experiment is None
                else known_experiment.experiment_id
            )
            run = self._client.create_run(experiment, run_name=folder.name)
            self.run_id = run.info.run_id
            for name, value in choices.items():
                text = value if isinstance(value, str) else json.dumps(value)
                self._client.log_param(self.run_id, name, text[:_LONGEST_VALUE])
        except MlflowException as error:
            raise SettingError(
                f"The MLflow store {uri} cannot be used: {_first_line(error)}",
                "Give the address of a server, sqlite:///FILE or a folder.",
            ) from error
        path.write_text(json.dumps({"run_id": self.run_id}) + "\n", encoding="utf-8")

    def __enter__(self) -> Self:
        """Return the run itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say how the run ended."""
        status = "FINISHED"
        if kind is not None:
            status = "FAILED" if issubclass(kind, Exception) else "KILLED"
        self._send(lambda: self._client.set_terminated(self.run_id, status))

    def epoch_done(self, row: Mapping[str, Any]) -> None:
        """Keep the figures of an epoch, by its step.

        Parameters
        ----------
        row
            The row of the epoch in the run's log.
        """
        for name, value in row.items():
            if isinstance(value, float):
                self._log_metric(name, value, row["step"])

    def _log_metric(self, name: str, value: float, step: int) -> None:
        self._send(lambda: self._client.log_metric(self.run_id, name, value, step=step))

    def add_bundle(self, folder: Path) -> None:
        """Keep the files of a bundle, under ``bundle``."""
        self._send(
            lambda: self._client.log_artifacts(self.run_id, str(folder), "bundle")
        )

    def _send(self, step: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            step()
        except (self._fault, OSError) as error:
            self._is_lost = True
            self._say(f"MLflow gets no more of this run: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
