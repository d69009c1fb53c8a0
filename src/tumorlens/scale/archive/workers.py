"""Workers of a run: this process, or actors on a Ray cluster.

Either gives the same rows: a part is complete in itself, and its worker knows nothing
else. Results go to the process that started the run, which alone writes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from tumorlens.errors import MissingExtraError, SettingError, TumorLensError
from tumorlens.inference.slice.session import available_cores
from tumorlens.scale.archive.ledger import PartTask
from tumorlens.scale.archive.part_worker import PartResult, PartWorker
from tumorlens.scale.archive.sources import ArchiveFile, FileHeader

LOCAL_CLUSTER = "local"
"""The address that starts a cluster on this machine, which ends with the run."""

_TRIES_OF_A_TASK = 3
_TASKS_OF_A_WORKER = 2
"""One that it works on, and one that waits there."""

HeaderTask = tuple[Sequence[ArchiveFile], Sequence[bool]]


class Workers(Protocol):
    """Takes tasks one by one, and gives their results in any order."""

    count: int

    def read_headers(
        self, tasks: Iterable[HeaderTask]
    ) -> Iterator[tuple[int, list[FileHeader]]]:
        """Read the starts of files; yields the task's place with its headers."""

    def judge(self, tasks: Iterable[PartTask]) -> Iterator[PartResult]:
        """Judge parts."""


class LocalWorkers:
    """One worker in this process.

    Parameters
    ----------
    worker
        Its session has all the threads.
    """

    count = 1

    def __init__(self, worker: PartWorker) -> None:
        self._worker = worker

    def read_headers(
        self, tasks: Iterable[HeaderTask]
    ) -> Iterator[tuple[int, list[FileHeader]]]:
        """See `Workers`."""
        for place, task in enumerate(tasks):
            yield place, self._worker.read_headers(*task)

    def judge(self, tasks: Iterable[PartTask]) -> Iterator[PartResult]:
        """See `Workers`."""
        yield from map(self._worker.judge, tasks)


class RayWorkers:
    """Actors on a Ray cluster, each with a network session of its own.

    An actor that dies is started anew, and its task is given out again, up to
    `_TRIES_OF_A_TASK` times. Each worker must see the sources and the bundle at the
    same paths, and have the same version of TumorLens.

    Parameters
    ----------
    address
        ``ray://HOST:PORT``, the address of a running cluster, ``auto`` for the one
        on this machine, or `LOCAL_CLUSTER`.
    count
        Number of workers; None for as many as the cluster's processors allow.
    threads
        Threads of one worker, which are also the processors that it asks for.
    model, operating_point, maps
        Values that `PartWorker` takes.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    SettingError
        The cluster does not answer, is too small, or has another model.
    """

    def __init__(
        self,
        address: str,
        count: int | None,
        threads: int | None,
        model: str | None,
        operating_point: str | None,
        maps: bool,
    ) -> None:
        # Ray would else report its use to its makers, and guess at accelerators.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("Work on a Ray cluster", "ray") from error
        self._ray = ray
        threads = threads or 1
        self._connect(address, count, threads)
        try:
            self.count = self._fitting(count, threads)
            remote = ray.remote(
                num_cpus=threads,
                max_restarts=-1,
                max_task_retries=_TRIES_OF_A_TASK - 1,
            )(PartWorker)
            self._actors = [
                remote.remote(model, threads, operating_point, maps)
                for _ in range(self.count)
            ]
        except BaseException:
            ray.shutdown()
            raise

    def _connect(self, address: str, count: int | None, threads: int) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == LOCAL_CLUSTER:
            cores = available_cores()
            options |= {
                "address": "local",
                "num_cpus": max(cores, (count or 1) * threads),
                "include_dashboard": False,
                "object_store_memory": 200 * 2**20,
            }
        else:
            options["address"] = address
        try:
            self._ray.init(**options)
        # Ray's errors of connecting are of many classes.
        except Exception as error:
            raise SettingError(
                f"The Ray cluster at {address} does not answer: {error}.",
                "Check --address, that the versions of Ray and Python are the same "
                "there and here, and RAY_AUTH_MODE where the cluster asks for a token.",
            ) from error

    def _fitting(self, count: int | None, threads: int) -> int:
        """Count the workers that the cluster has processors for."""
        room = int(self._ray.cluster_resources().get("CPU", 0)) // threads
        if room < (count or 1):
            raise SettingError(
                f"The Ray cluster has room for {room} workers of {threads} "
                f"{'thread' if threads == 1 else 'threads'}, not {count or 1}.",
                "Give fewer --workers or --threads.",
            )
        return count or room

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the actors go, and leave the cluster."""
        self._ray.shutdown()

    def check_model(self, model: str) -> None:
        """Make sure that every worker has the same model as this process.

        Parameters
        ----------
        model
            Model that `PartWorker.model` names.

        Raises
        ------
        SettingError
            One has another.
        """
        for there in self._answers([actor.model.remote() for actor in self._actors]):
            if there != model:
                raise SettingError(
                    f"A worker has the model {there}, not {model}.",
                    "Install the same version of TumorLens on every machine, and "
                    "give --model a folder that all of them see.",
                )

    def read_headers(
        self, tasks: Iterable[HeaderTask]
    ) -> Iterator[tuple[int, list[FileHeader]]]:
        """See `Workers`."""
        return self._spread(
            enumerate(tasks), lambda actor, task: actor.read_headers.remote(*task[1])
        )

    def judge(self, tasks: Iterable[PartTask]) -> Iterator[PartResult]:
        """See `Workers`."""
        for _, result in self._spread(
            ((task.number, task) for task in tasks),
            lambda actor, task: actor.judge.remote(task[1]),
        ):
            yield result

    def _spread(
        self,
        tasks: Iterable[tuple[int, Any]],
        send: Callable[[Any, tuple[int, Any]], Any],
    ) -> Iterator[tuple[int, Any]]:
        """Keep every actor busy; tasks are taken as there is room for them."""
        running: dict[Any, tuple[int, Any]] = {}
        free = deque(self._actors * _TASKS_OF_A_WORKER)
        tasks = iter(tasks)
        while True:
            while free and (task := next(tasks, None)) is not None:
                actor = free.popleft()
                running[send(actor, task)] = (task[0], actor)
            if not running:
                return
            ready, _ = self._ray.wait(list(running), num_returns=1)
            place, actor = running.pop(ready[0])
            free.append(actor)
            yield place, self._answers(ready)[0]

    def _answers(self, references: list[Any]) -> list[Any]:
        """Fetch results; an error of a worker is raised as it was there."""
        exceptions = self._ray.exceptions
        try:
            answers: list[Any] = self._ray.get(references)
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, TumorLensError):
                raise cause from None
            raise
        except exceptions.RayActorError as error:
            raise SettingError(
                f"A worker died {_TRIES_OF_A_TASK} times at the same task, or could "
                "not start.",
                "Look for the reason in the cluster's logs, often too little memory; "
                "then run the same command again: it goes on.",
            ) from error
        return answers
