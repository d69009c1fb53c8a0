"""A Ray cluster: joining it, actors on it, and tasks that are handed to them.

Tested in `tests/scale/archive/test_workers.py` and `tests/cli/model/test_tune.py`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from tumorlens.errors import MissingExtraError, SettingError, TumorLensError
from tumorlens.inference.slice.session import available_cores

LOCAL_CLUSTER = "local"
"""The address that starts a cluster on this machine, which ends with the run."""

_TRIES_OF_A_TASK = 3
_TASKS_OF_AN_ACTOR = 2
"""One that it works on, and one that waits there."""


class Cluster:
    """A Ray cluster and the actors of a run on it; a context manager.

    An actor that dies is started anew, and its task is given out again, up to
    `_TRIES_OF_A_TASK` times.

    Parameters
    ----------
    address
        ``ray://HOST:PORT``, the address of a running cluster, ``auto`` for the one
        on this machine, or `LOCAL_CLUSTER`.
    count
        Number of actors; None for as many as the cluster's processors allow.
    threads
        Threads of one actor, which are also the processors that it asks for.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    SettingError
        The cluster does not answer, or is too small.
    """

    def __init__(self, address: str, count: int | None, threads: int) -> None:
        # Ray would else report its use to its makers, and guess at accelerators.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("Work on a Ray cluster", "ray") from error
        self.ray = ray
        self._threads = threads
        self._connect(address, count)
        try:
            self.count = self._fitting(count)
        except BaseException:
            ray.shutdown()
            raise

    def _connect(self, address: str, count: int | None) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == LOCAL_CLUSTER:
            cores = available_cores()
            options |= {
                "address": "local",
                "num_cpus": max(cores, (count or 1) * self._threads),
                "include_dashboard": False,
                "object_store_memory": 200 * 2**20,
            }
        else:
            options["address"] = address
        try:
            self.ray.init(**options)
        # Ray's errors of connecting are of many classes.
        except Exception as error:
            raise SettingError(
                f"The Ray cluster at {address} does not answer: {error}.",
                "Check --address, that the versions of Ray and Python are the same "
                "there and here, and RAY_AUTH_MODE where the cluster asks for a token.",
            ) from error

    def _fitting(self, count: int | None) -> int:
        """Count the actors that the cluster has processors for."""
        threads = self._threads
        room = int(self.ray.cluster_resources().get("CPU", 0)) // threads
        if room < (count or 1):
            raise SettingError(
                f"The Ray cluster has room for {room} workers of {threads} "
                f"{'thread' if threads == 1 else 'threads'}, not {count or 1}.",
                "Give fewer workers, or fewer threads for each.",
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
        self.ray.shutdown()

    def actors(self, kind: type, *arguments: object) -> list[Any]:
        """Start the actors, each an object of a class in a process of its own.

        Parameters
        ----------
        kind, arguments
            The class, and what it is made with.
        """
        remote = self.ray.remote(
            num_cpus=self._threads,
            max_restarts=-1,
            max_task_retries=_TRIES_OF_A_TASK - 1,
        )(kind)
        return [remote.remote(*arguments) for _ in range(self.count)]

    def spread(
        self,
        actors: list[Any],
        tasks: Iterable[tuple[int, Any]],
        send: Callable[[Any, Any], Any],
    ) -> Iterator[tuple[int, Any]]:
        """Keep every actor busy; tasks are taken as there is room for them.

        Parameters
        ----------
        actors
            From `actors`.
        tasks
            Each with its place.
        send
            Hands a task to an actor, and returns the reference of its result.

        Yields
        ------
        tuple
            A task's place and its result, in any order.
        """
        running: dict[Any, tuple[int, Any]] = {}
        free = deque(actors * _TASKS_OF_AN_ACTOR)
        tasks = iter(tasks)
        while True:
            while free and (task := next(tasks, None)) is not None:
                actor = free.popleft()
                running[send(actor, task[1])] = (task[0], actor)
            if not running:
                return
            ready, _ = self.ray.wait(list(running), num_returns=1)
            place, actor = running.pop(ready[0])
            free.append(actor)
            yield place, self.answers(ready)[0]

    def answers(self, references: list[Any]) -> list[Any]:
        """Fetch results; an error of an actor is raised as it was there.

        Raises
        ------
        SettingError
            An actor died too often.
        """
        exceptions = self.ray.exceptions
        try:
            answers: list[Any] = self.ray.get(references)
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
