"""A search for the choices of a run, several trials at a time on a Ray cluster.

Each worker reads the pictures once and trains trials one after the other. After each
epoch it asks the process that holds the study, which alone writes to it, whether the
trial is to stop.

Tested in `tests/cli/model/test_tune.py`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tumorlens.scale.cluster import Cluster

if TYPE_CHECKING:
    import asyncio

    from tumorlens.experiments.tuning import (
        EpochReport,
        SearchConfig,
        TrialResult,
        TrialTask,
    )

_SECONDS_OF_A_LOOK = 1.0


class _Questions:
    """Where workers ask whether their trials are to stop, and wait for the answer."""

    def __init__(self) -> None:
        import asyncio

        self._asked: asyncio.Queue[tuple[int, Mapping[str, Any]]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[bool]] = {}

    async def ask(self, number: int, row: Mapping[str, Any]) -> bool:
        """Ask after an epoch; a worker that was started anew asks again."""
        import asyncio

        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        await self._asked.put((number, row))
        return await future

    async def next(self) -> tuple[int, Mapping[str, Any]] | None:
        """Return a question; None after a while without one."""
        import asyncio

        try:
            return await asyncio.wait_for(self._asked.get(), _SECONDS_OF_A_LOOK)
        except TimeoutError:
            return None

    async def answer(self, number: int, is_to_stop: bool) -> None:
        """Answer a question."""
        future = self._answers.pop(number, None)
        if future is not None and not future.done():
            future.set_result(is_to_stop)


class _Worker:
    """Trains trials in a process of its own.

    Parameters
    ----------
    config
        Settings of the search.
    threads
        Threads of a training.
    questions
        The actor of `_Questions`.
    """

    def __init__(self, config: SearchConfig, threads: int, questions: Any) -> None:  # noqa: ANN401 - an actor's handle
        # Read when TensorFlow is first imported.
        os.environ |= {
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "TF_NUM_INTRAOP_THREADS": str(threads),
            "TF_NUM_INTEROP_THREADS": "1",
        }
        from tumorlens.experiments.tuning import Trainer

        self._trainer = Trainer(config)
        self._questions = questions

    def expected(self, trials: int, jobs: int) -> str:
        """See `Trainer`."""
        return self._trainer.expected(trials, jobs)

    def train(self, task: TrialTask) -> TrialResult:
        """See `Trainer`."""
        import ray

        def ask(number: int, row: Mapping[str, Any]) -> bool:
            return bool(ray.get(self._questions.ask.remote(number, dict(row))))

        return self._trainer.train(task, ask)


class RayTrials(Cluster):
    """Workers of a search on a Ray cluster.

    Each must see the manifest, its pictures and the folder of the search at the same
    paths, and have the same version of TumorLens.

    Parameters
    ----------
    address, count, threads
        The same as in `Cluster`.
    config
        Settings of the search.

    Raises
    ------
    MissingExtraError, SettingError
        As `Cluster` raises them.
    """

    def __init__(
        self, address: str, count: int | None, threads: int, config: SearchConfig
    ) -> None:
        super().__init__(address, count, threads)
        self._questions = self.ray.remote(num_cpus=0)(_Questions).remote()
        self._actors = self.actors(_Worker, config, threads, self._questions)

    def expected(self, trials: int) -> str:
        """See `tumorlens.experiments.tuning.Trials`."""
        actor = self._actors[0]
        (sentence,) = self.answers([actor.expected.remote(trials, self.count)])
        return str(sentence)

    def run(
        self, tasks: Iterable[TrialTask], on_epoch: EpochReport
    ) -> Iterator[TrialResult]:
        """See `tumorlens.experiments.tuning.Trials`."""
        tasks = iter(tasks)
        free = deque(self._actors)
        running: dict[Any, Any] = {}
        question = self._questions.next.remote()
        while True:
            while free and (task := next(tasks, None)) is not None:
                actor = free.popleft()
                running[actor.train.remote(task)] = actor
            if not running:
                return
            (ready,), _ = self.ray.wait([question, *running], num_returns=1)
            (found,) = self.answers([ready])
            if ready == question:
                question = self._questions.next.remote()
                if found is not None:
                    self._questions.answer.remote(found[0], on_epoch(*found))
                continue
            free.append(running.pop(ready))
            yield found
