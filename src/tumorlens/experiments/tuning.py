"""A search for the choices of a run, by what validation patients say of many runs.

Optuna proposes each trial from those that are done (tree-structured Parzen estimator,
Bergstra et al. 2011) and stops the ones that lag behind (median rule, Golovin et al.
2017). Its study lies beside the trials: a search that was killed goes on, a trial that
was under way from its checkpoint. Patients kept for testing are not looked at.

Tested in `tests/cli/model/test_tune.py`.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import keras
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import URL

from tumorlens.data.manifest import manifest_digest, read_manifest
from tumorlens.errors import DivergedError, OutputError, SettingError, TrainingError
from tumorlens.experiments.evaluation import write_report
from tumorlens.experiments.lineage import Parent
from tumorlens.experiments.packaging import TrainingData
from tumorlens.experiments.run import load_data
from tumorlens.report.page import render_evaluation
from tumorlens.report.page_parts import Chart, Line, Section, Table
from tumorlens.report.words import counted
from tumorlens.training.config import TrainingConfig
from tumorlens.training.fit import BEST_WEIGHTS, CHECKPOINT, build_first, fit
from tumorlens.training.networks.registry import network_of
from tumorlens.training.plan import duration, expected_cost

BEST_FILE = "best.json"
REPORT_FOLDER = "report"
SCHEMA = "tumorlens-tuning/1"
_TRIALS_FOLDER = "trials"
_STUDY_FILE = "study.sqlite"
_LOCK_FILE = "lock.sqlite"
_FACTS_FILE = "search.json"
_CONFIG_FILE = "config.json"
_LOG_FILE = "log.jsonl"
_SCORE = "accuracy"

Space = Mapping[str, BaseDistribution]

SPACE: Space = {
    "learning_rate": FloatDistribution(1e-4, 3e-3, log=True),
    "weight_decay": FloatDistribution(1e-4, 1e-1, log=True),
    "warmup": FloatDistribution(0.02, 0.2),
    "final_rate": FloatDistribution(0.01, 0.5, log=True),
    "ema": CategoricalDistribution((0.98, 0.99, 0.997, 0.999)),
    "label_smoothing": FloatDistribution(0.0, 0.15),
}
"""What is searched where nobody says: how a network is optimised, and nothing that
keeps it from reading the scanner or makes it point at the lesion, of which accuracy on
validation patients tells nothing."""

_FIXED = (
    *("network", "epochs", "patience", "seed"),
    *("open_licences", "classes", "draw_factors"),
)
"""Fields that all trials share: they say what is compared, and for how long."""
_MULTIPLE = {"size": 32, "early_size": 32}

_FACTS = {
    "schema": "results of another version",
    "manifest_sha256": "another manifest",
    "include_flagged": "another choice of flagged rows",
    "weights_sha256": "another start",
    "config": "other choices",
    "space": "other ranges",
}
"""What a search cannot change under way, in words."""

_BEFORE_PRUNING = 5
"""Trials that run to their end before others are stopped for lagging behind."""
_SHARE_BEFORE_PRUNING = 0.2
"""Share of a trial's epochs before it may be stopped: rates are still climbing."""
_CURVES = 5


def parse_range(text: str) -> tuple[str, BaseDistribution]:
    """Read what one choice may be: ``NAME=LOW:HIGH``, ``...:log`` or ``NAME=A,B,C``.

    Parameters
    ----------
    text
        A field of `TrainingConfig` and its values.

    Raises
    ------
    SettingError
        It is no such field, or cannot have such values.
    """
    name, separator, values = text.partition("=")
    name = name.strip().replace("-", "_")
    known = {field.name: field.default for field in fields(TrainingConfig)}
    known = {key: value for key, value in known.items() if key not in _FIXED}
    if not separator or name not in known:
        raise SettingError(
            f"'{text}' names no choice that can be searched.",
            f"Write NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C with one of: "
            f"{', '.join(known)}.",
        )
    kind = type(known[name])
    try:
        found = _distribution(name, kind, values)
        ends: Sequence[Any] = (
            found.choices
            if isinstance(found, CategoricalDistribution)
            else (found.low, found.high)  # type: ignore[attr-defined]
        )
    except ValueError as error:
        raise SettingError(
            f"'{values}' is no range of {name}: {error}.",
            "Write LOW:HIGH, LOW:HIGH:log or A,B,C.",
        ) from error
    for value in ends:
        chosen: dict[str, Any] = {name: value}
        replace(TrainingConfig(), **chosen)
    return name, found


def _distribution(name: str, kind: type, values: str) -> BaseDistribution:
    low, separator, rest = values.partition(":")
    if not separator:
        return CategoricalDistribution([kind(item.strip()) for item in low.split(",")])
    high, _, scale = rest.partition(":")
    if kind is str or scale not in ("", "log"):
        raise ValueError("it has no such scale")
    if kind is int:
        step = _MULTIPLE.get(name, 1)
        return IntDistribution(int(low), int(high), log=bool(scale), step=step)
    return FloatDistribution(float(low), float(high), log=bool(scale))


@dataclass(frozen=True)
class SearchConfig:
    """Settings of a search.

    Parameters
    ----------
    manifest
        CSV or tree of class folders, with a split for each picture.
    folder
        Folder of the search; created where missing.
    training
        Choices of every trial, but those that are searched.
    space
        What is searched, by the name of its field in `TrainingConfig`.
    weights
        Keras weights that every trial starts from; None for the network's own start.
    include_flagged
        True to use rows that the manifest flags, too.
    """

    manifest: Path
    folder: Path
    training: TrainingConfig
    space: Space
    weights: Path | None = None
    include_flagged: bool = False


@dataclass(frozen=True)
class TrialTask:
    """One training, complete in itself.

    Parameters
    ----------
    number
        Number of the trial, from 0.
    config
        Its choices.
    folder
        Folder of its run. A run that was stopped there goes on.
    """

    number: int
    config: TrainingConfig
    folder: Path


TrialEnd = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial.

    Parameters
    ----------
    number
        Number of the trial.
    end
        ``complete``; ``pruned``: stopped, since it lagged behind; ``failed``: its loss
        was no number.
    seconds
        Time that this process took for it.
    """

    number: int
    end: TrialEnd
    seconds: float


EpochReport = Callable[[int, Mapping[str, Any]], bool]
"""Takes a trial's number and an epoch's row; tells whether the trial is to stop."""


class Trials(Protocol):
    """Trains trials one by one, or several at a time."""

    count: int

    def expected(self, trials: int) -> str:
        """Say what so many trials take."""

    def run(
        self, tasks: Iterable[TrialTask], on_epoch: EpochReport
    ) -> Iterator[TrialResult]:
        """Train trials; results come in any order."""


class _PrunedError(Exception):
    """Ends a trial from inside its loop."""


class Trainer:
    """Trains trials in this process, one after the other, on pictures read once.

    Parameters
    ----------
    config
        Settings of the search.
    say
        Receives lines of progress.
    """

    count = 1

    def __init__(
        self, config: SearchConfig, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._config = config
        self._say = say

    @cached_property
    def _data(self) -> TrainingData:
        config = self._config
        records = read_manifest(config.manifest, may_be_own=True)
        usable = (config.training, config.include_flagged)
        return load_data(records, *usable, self._say)

    def expected(self, trials: int, jobs: int = 1) -> str:
        """Say what so many trials take, so many at a time, if none is stopped.

        Raises
        ------
        DatasetError, TrainingError
            The manifest or its pictures cannot be used.
        """
        config = self._config.training
        model = build_first(config, self._config.weights)
        sets = (self._data.training, self._data.validation)
        cost = expected_cost(model, config, *sets).of_runs(trials, jobs)
        keras.utils.clear_session()
        return cost.sentence(config, trials)

    def run(
        self, tasks: Iterable[TrialTask], on_epoch: EpochReport
    ) -> Iterator[TrialResult]:
        """See `Trials`."""
        for task in tasks:
            yield self.train(task, on_epoch)

    def train(self, task: TrialTask, on_epoch: EpochReport) -> TrialResult:
        """Train one trial; its folder keeps its log, and no weights.

        Parameters
        ----------
        task
            The trial.
        on_epoch
            Called after each epoch.

        Raises
        ------
        TrainingError
            No trial can be trained on these pictures.
        """
        task.folder.mkdir(parents=True, exist_ok=True)
        begun = (task.folder / CHECKPOINT).exists()
        task.config.write(task.folder / _CONFIG_FILE)
        end: TrialEnd = "complete"

        def epoch_done(row: Mapping[str, Any]) -> None:
            is_last = row["step"] >= task.config.total_steps
            if on_epoch(task.number, row) and not is_last:
                raise _PrunedError

        started = time.monotonic()
        try:
            fit(
                *(task.config, self._data.training, self._data.validation),
                task.folder,
                resume=begun,
                initial_weights=self._config.weights,
                say=lambda _: None,
                on_epoch=epoch_done,
            )
        except _PrunedError:
            end = "pruned"
        except DivergedError:
            end = "failed"
        finally:
            keras.utils.clear_session()
        for name in (CHECKPOINT, BEST_WEIGHTS):
            (task.folder / name).unlink(missing_ok=True)
        return TrialResult(task.number, end, time.monotonic() - started)


class Search:
    """The study of one folder, open in one process at a time; a context manager.

    Parameters
    ----------
    config
        Settings of the search.
    say
        Receives lines of progress.

    Raises
    ------
    OutputError
        The folder cannot be used, or another search works in it.
    SettingError
        The network cannot be trained with what is searched.
    TrainingError
        It holds a search with other settings.
    """

    def __init__(
        self, config: SearchConfig, say: Callable[[str], None] = print
    ) -> None:
        judges = network_of(config.training).judges
        if judges == "volumes" and not _MULTIPLE.keys().isdisjoint(config.space):
            raise SettingError(
                f"{config.training.network} reads its volumes once, for one size.",
                "Leave size and early_size out of --vary.",
            )
        self._config = config
        self._say = say
        self._open: dict[int, Trial] = {}
        folder = config.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error}.") from error
        self._lock = _locked(folder)
        try:
            self._facts = self._checked_facts()
            self._study = self._opened()
            self._take_up()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Unlock the folder."""
        self._lock.close()

    def _checked_facts(self) -> dict[str, Any]:
        """Note what is asked for, or make sure that it is what was asked before."""
        config = self._config
        records = read_manifest(config.manifest, may_be_own=True)
        people = {
            split: len({row.group for row in records if row.split == split})
            for split in ("train", "validation")
        }
        facts = {
            "schema": SCHEMA,
            "manifest_sha256": manifest_digest(records),
            "include_flagged": config.include_flagged,
            "weights_sha256": None
            if config.weights is None
            else Parent.of(config.weights).sha256,
            "config": config.training.to_json(),
            "space": {
                name: json.loads(distribution_to_json(item))
                for name, item in config.space.items()
            },
        }
        path = config.folder / _FACTS_FILE
        if not path.exists():
            path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            differing = [name for name in facts if stored.get(name) != facts[name]]
        except (ValueError, AttributeError) as error:
            raise TrainingError(
                f"{path} is damaged.", "Start the search again in an empty folder."
            ) from error
        if differing:
            raise TrainingError(
                f"{config.folder} holds a search with {_FACTS[differing[0]]}.",
                "Give the same options, or another folder.",
            )
        return {**facts, "patients": people}

    def _opened(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        place = self._config.folder / _STUDY_FILE
        url = URL.create("sqlite", database=str(place)).render_as_string()
        training = self._config.training
        study = optuna.create_study(
            storage=optuna.storages.RDBStorage(url),
            study_name="tumorlens",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_BEFORE_PRUNING,
                n_warmup_steps=1 + math.ceil(_SHARE_BEFORE_PRUNING * training.epochs),
            ),
            load_if_exists=True,
        )
        # The seed counts on: else a search that goes on would propose the same again.
        seed = training.seed + len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        return study

    def _take_up(self) -> None:
        """Put the trials first that a kill left under way; their folders go on."""
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.enqueue_trial(
                trial.params, user_attrs={"folder": self._name(trial)}
            )

    def _name(self, trial: Trial | FrozenTrial) -> str:
        name: str = trial.user_attrs.get("folder", f"{trial.number:04d}")
        return name

    @property
    def is_begun(self) -> bool:
        """Whether the folder has trials of an earlier call."""
        return bool(self._study.get_trials(deepcopy=False))

    def left(self, trials: int) -> int:
        """Count the trials that are missing of so many."""
        return max(0, trials - len(self._ended()))

    def run(self, trials: int, workers: Trials) -> dict[str, Any]:
        """Train trials until there are so many, and report all of them.

        Parameters
        ----------
        trials
            Number of trials, those of earlier calls among them.
        workers
            Train them.

        Returns
        -------
        dict
            The figures, as in ``report/metrics.json`` (schema `SCHEMA`).

        Raises
        ------
        TrainingError
            No trial can be trained on these pictures, or the loss of all was no
            number.
        """
        for result in workers.run(self._tasks(trials), self._epoch_done):
            self._finish(result)
        return self._report()

    def _tasks(self, trials: int) -> Iterator[TrialTask]:
        while len(self._ended()) + len(self._open) < trials:
            trial = self._study.ask(dict(self._config.space))
            trial.set_user_attr("folder", self._name(trial))
            self._open[trial.number] = trial
            folder = self._config.folder / _TRIALS_FOLDER / self._name(trial)
            for row in _log(folder):
                trial.report(row[_SCORE], row["epoch"])
            yield TrialTask(trial.number, self._chosen(trial), folder)

    def _chosen(self, trial: Trial | FrozenTrial) -> TrainingConfig:
        return replace(self._config.training, **trial.params)

    def _epoch_done(self, number: int, row: Mapping[str, Any]) -> bool:
        trial = self._open[number]
        known = self._study.get_trials(deepcopy=False)[number].intermediate_values
        if row["epoch"] not in known:
            trial.report(row[_SCORE], row["epoch"])
        self._say(
            f"trial {number}  epoch {row['epoch']}/{self._config.training.epochs}  "
            f"loss {row['loss']:.4f}  validation accuracy {row[_SCORE]:.4f}"
        )
        return trial.should_prune()

    def _finish(self, result: TrialResult) -> None:
        trial = self._open.pop(result.number)
        trial.set_user_attr("end", result.end)
        trial.set_user_attr("seconds", result.seconds)
        folder = self._config.folder / _TRIALS_FOLDER / self._name(trial)
        scores = [row[_SCORE] for row in _log(folder)]
        if result.end == "complete":
            self._study.tell(trial, max(scores))
            said = f"accuracy {max(scores):.4f}"
        elif result.end == "pruned":
            self._study.tell(trial, state=TrialState.PRUNED)
            said = f"stopped after epoch {len(scores)}, since others were better there"
        else:
            self._study.tell(trial, state=TrialState.FAIL)
            said = "failed: the loss was no longer a number"
        chosen = ", ".join(
            f"{key} {_short(item)}" for key, item in trial.params.items()
        )
        self._say(f"Trial {result.number} {said} ({chosen}).")
        best = self._best()
        if best is not None:
            self._chosen(best).write(self._config.folder / BEST_FILE)

    def _ended(self) -> list[FrozenTrial]:
        """List the trials that came to an end, other than by a kill."""
        trials = self._study.get_trials(deepcopy=False)
        return [
            trial
            for trial in trials
            if trial.state.is_finished() and "end" in trial.user_attrs
        ]

    def _best(self) -> FrozenTrial | None:
        complete = [
            trial for trial in self._ended() if trial.state is TrialState.COMPLETE
        ]
        # Of equals the first: `max` keeps it.
        return max(complete, key=lambda trial: trial.value or 0.0, default=None)

    def _report(self) -> dict[str, Any]:
        ended, best = self._ended(), self._best()
        if best is None:
            raise TrainingError(
                f"No trial of {len(ended)} came to its end with a loss that is a "
                "number.",
                "Search lower learning rates with --vary learning_rate=LOW:HIGH:log.",
            )
        trials = []
        for trial in ended:
            rows = list(_log(self._config.folder / _TRIALS_FOLDER / self._name(trial)))
            trials.append(
                {
                    "number": trial.number,
                    "end": trial.user_attrs["end"],
                    "accuracy": max((row[_SCORE] for row in rows), default=None),
                    "seconds": trial.user_attrs["seconds"],
                    "choices": dict(trial.params),
                    "epochs": [
                        {key: row[key] for key in ("epoch", _SCORE, "loss")}
                        for row in rows
                    ],
                }
            )
        result = {**self._facts, "best": best.number, "trials": trials}
        page = render_evaluation(
            "Search for the choices of a run",
            f"{self._config.training.network}, {counted(len(trials), 'trial')}",
            search_sections(result),
        )
        write_report(result, page, self._config.folder / REPORT_FOLDER)
        return result


def _locked(folder: Path) -> sqlite3.Connection:
    """Lock a folder until this process ends, however it ends."""
    lock = sqlite3.connect(folder / _LOCK_FILE, timeout=0)
    lock.isolation_level = None
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        raise OutputError(
            f"Another search works in {folder}.",
            "Wait until it ends, or give another folder.",
        ) from error
    return lock


def _log(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the epochs that a trial has done; a line that a kill cut short is none."""
    path = folder / _LOG_FILE
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            return
        yield row


def search_sections(result: Mapping[str, Any]) -> list[Section]:
    """Show what a search found.

    Parameters
    ----------
    result
        Figures, as `Search.run` returns them.
    """
    trials = result["trials"]
    ends = [trial["end"] for trial in trials]
    best = next(trial for trial in trials if trial["number"] == result["best"])
    time_taken = sum(trial["seconds"] for trial in trials)
    people = result["patients"]
    paragraphs = (
        f"{counted(len(trials), 'trial')}: {ends.count('complete')} to the end, "
        f"{ends.count('pruned')} stopped because others were better at the same epoch, "
        f"{ends.count('failed')} whose loss was no longer a number; "
        f"{duration(time_taken)} of training together. The best is trial "
        f"{best['number']} with an accuracy of {best['accuracy']:.4f}.",
        "The accuracy is the mean over findings of the mean over patients, at the best "
        f"epoch of a trial, on {counted(people['validation'], 'validation patient')}; "
        f"{counted(people['train'], 'patient')} trained. The best of many trials is "
        "best by chance too, so this figure flatters it: what it is worth, patients "
        "say who were kept for testing, and differences that a few patients make are "
        "none.",
    )
    return [
        Section(
            "trials",
            "Trials",
            paragraphs,
            (trial_table(result),),
            [
                _course(trials),
                _curves(trials, result["best"]),
                *(_slice(trials, name) for name in result["space"]),
            ],
        )
    ]


def trial_table(result: Mapping[str, Any], most: int | None = None) -> Table:
    """List trials with their choices, the best first.

    Parameters
    ----------
    result
        Figures, as `Search.run` returns them.
    most
        How many; None for all.
    """
    names = list(result["space"])
    ranked = sorted(
        result["trials"],
        key=lambda trial: (
            ("complete", "pruned", "failed").index(trial["end"]),
            -(trial["accuracy"] or 0.0),
        ),
    )
    rows = [
        (
            str(trial["number"]),
            "–" if trial["accuracy"] is None else f"{trial['accuracy']:.4f}",
            trial["end"],
            str(len(trial["epochs"])),
            f"{trial['seconds'] / 60:.1f}",
            *(_short(trial["choices"][name]) for name in names),
        )
        for trial in ranked[:most]
    ]
    heads = ("Trial", "Accuracy", "End", "Epochs", "Minutes")
    return Table("", (*heads, *names), rows)


def _short(value: Any) -> str:  # noqa: ANN401 - whatever a choice is
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _course(trials: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw the accuracy of each trial in their order, and the best so far."""
    lines = []
    for end, name in (("complete", "to the end"), ("pruned", "stopped")):
        own = [trial for trial in trials if trial["end"] == end and trial["epochs"]]
        if own:
            numbers = [trial["number"] for trial in own]
            values = [trial["accuracy"] for trial in own]
            lines.append(Line(name, numbers, values, "points"))
    complete = [trial for trial in trials if trial["end"] == "complete"]
    best = list(accumulate((trial["accuracy"] for trial in complete), max))
    lines.append(Line("best so far", [trial["number"] for trial in complete], best))
    return Chart("Accuracy of the trials", "Trial", "Accuracy", lines)


def _curves(trials: Sequence[Mapping[str, Any]], best: int) -> Chart:
    complete = [trial for trial in trials if trial["end"] == "complete"]
    ranked = sorted(
        complete, key=lambda trial: (trial["number"] != best, -trial["accuracy"])
    )
    lines = [
        Line(
            f"trial {trial['number']}",
            [row["epoch"] for row in trial["epochs"]],
            [row["accuracy"] for row in trial["epochs"]],
        )
        for trial in ranked[:_CURVES]
    ]
    title = "Accuracy by epoch, the best trials"
    return Chart(title, "Epoch", "Accuracy", lines)


def _slice(trials: Sequence[Mapping[str, Any]], name: str) -> Chart:
    """Draw the accuracy against one choice, of trials that came to their end."""
    complete = [trial for trial in trials if trial["end"] == "complete"]
    values = [trial["choices"][name] for trial in complete]
    label = name.replace("_", " ")
    if any(isinstance(value, str) for value in values):
        known = sorted(set(values))
        label += f" ({', '.join(f'{n}: {text}' for n, text in enumerate(known))})"
        values = [known.index(value) for value in values]
    elif min(values) > 0 and max(values) >= 10 * min(values):
        label += ", power of ten"
        values = [math.log10(value) for value in values]
    scores = [trial["accuracy"] for trial in complete]
    line = Line("trials to the end", values, scores, "points")
    return Chart(f"Accuracy by {name.replace('_', ' ')}", label, "Accuracy", [line])
