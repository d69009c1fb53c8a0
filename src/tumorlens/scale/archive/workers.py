"""Workers of a run: this process, or actors on a Ray cluster.

Either gives the same rows: a part is complete in itself, and its worker knows nothing
else. Results go to the process that started the run, which alone writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from tumorlens.errors import SettingError
from tumorlens.scale.archive.ledger import PartTask
from tumorlens.scale.archive.part_worker import PartResult, PartWorker
from tumorlens.scale.archive.sources import ArchiveFile, FileHeader
from tumorlens.scale.cluster import Cluster

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


class RayWorkers(Cluster):
    """Actors on a Ray cluster, each with a network session of its own.

    Each must see the sources and the bundle at the same paths, and have the same
    version of TumorLens.

    Parameters
    ----------
    address, count
        The same as in `Cluster`.
    threads
        Threads of one worker, 1 where None.
    model, operating_point, maps, dicom
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
        dicom: bool = False,
    ) -> None:
        super().__init__(address, count, threads or 1)
        chosen = (model, threads or 1, operating_point, maps, dicom)
        self._actors = self.actors(PartWorker, *chosen)

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
        for there in self.answers([actor.model.remote() for actor in self._actors]):
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
        return self.spread(
            self._actors,
            enumerate(tasks),
            lambda actor, task: actor.read_headers.remote(*task),
        )

    def judge(self, tasks: Iterable[PartTask]) -> Iterator[PartResult]:
        """See `Workers`."""
        for _, result in self.spread(
            self._actors,
            ((task.number, task) for task in tasks),
            lambda actor, task: actor.judge.remote(task),
        ):
            yield result
