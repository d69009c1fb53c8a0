"""The durable queue: what was accepted, how far it is, and what it led to.

Each step is one transaction. A worker takes a job by a lease: what it does counts only
while it holds that, so that nothing is done twice, and a job whose worker died is
taken by the next, so that nothing is lost.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from tumorlens.errors import InputError, TumorLensError
from tumorlens.jobs.artifacts import ArtifactStore
from tumorlens.jobs.database import Artifact, Database, Job, JobState

LEASE_SECONDS = 60.0
"""Seconds that a worker may be silent before its job is given to another."""

CLOCK_SECONDS = 60.0
"""Seconds ahead of the clock beyond which a time was written before somebody put the
clock back: no job waits for it to get there again."""

_INTERRUPTED = {
    "code": "interrupted",
    "message": "The server was stopped again and again while it worked on this.",
    "mend": "Send it again; whoever runs the server finds more in its log.",
}
_TOO_SLOW = {
    "code": "too_slow",
    "message": "It took longer than one job may take.",
    "mend": "Send less at a time.",
}


class JobLostError(TumorLensError):
    """A job is not its worker's any more: stopped, removed, or another's."""

    code = "job_lost"


class JobTimeoutError(TumorLensError):
    """A job has taken longer than it may."""

    code = "too_slow"


@dataclass(frozen=True)
class RetryPolicy:
    """Number of tries of a job in a stage, and the waits between them.

    Parameters
    ----------
    attempts
        Failures after which it is given up.
    first_seconds, longest_seconds
        The first wait, which doubles each time, and the longest.
    """

    attempts: int
    first_seconds: float = 5.0
    longest_seconds: float = 3600.0

    def wait(self, failures: int) -> float:
        """Tell how many seconds to wait after so many failures, 1 or more."""
        doubled = self.first_seconds * 2.0 ** min(failures - 1, 60)
        return min(doubled, self.longest_seconds)


@dataclass(frozen=True)
class Progress:
    """Progress of a job.

    Parameters
    ----------
    done, total
        Steps, such as slices; a total of 0 where it is not known.
    """

    done: int
    total: int


@dataclass
class _Held:
    """A lease of this process."""

    number: int
    deadline: float
    progress: Progress | None = None


class JobQueue:
    """Jobs on their way through; safe to use from threads.

    The jobs that it hands out are copies of rows: to change them changes nothing.

    Parameters
    ----------
    database
        Database of the rows.
    artifacts
        Store of the files of jobs.
    policies
        Retry policies, by stage.
    alone
        Whether no other process works on these jobs: then those that are running now
        were left by one that died.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        policies: Mapping[str, RetryPolicy],
        *,
        alone: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._policies = policies
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._guard = threading.Lock()
        self._news = threading.Condition()
        self._came = 0
        if alone:
            self._recover()

    def add(
        self,
        kind: str,
        stage: str,
        *,
        owner: str = "",
        key: str | None = None,
        parent: str | None = None,
        document: dict[str, Any] | None = None,
        state: JobState = JobState.WAITING,
        cost: int = 0,
        handicap_seconds: float = 0.0,
        time_limit: float | None = None,
        computed_from: str | None = None,
    ) -> Job:
        """Accept a job.

        Parameters
        ----------
        kind, stage, owner, key, parent, document, cost, time_limit, computed_from
            The same as in `Job`.
        state
            Another than waiting for what is done already.
        handicap_seconds
            Jobs that come so much later are still worked on before it.
        """
        now = self._clock()
        job = Job(
            id=secrets.token_urlsafe(16),
            kind=kind,
            key=key,
            owner=owner,
            parent=parent,
            state=state,
            stage=stage,
            step="",
            created=now,
            arrived=now,
            updated=now,
            finished=now if state.is_over else None,
            due=now,
            rank=now + handicap_seconds,
            cost=cost,
            attempts=0,
            time_limit=time_limit,
            steps_done=0,
            steps_total=0,
            document=document or {},
            computed_from=computed_from,
        )
        with self._database.transaction() as session:
            session.add(job)
            self._database.after_commit(self.announce)
        return job

    def get(self, job_id: str) -> Job | None:
        """Find a job by its id."""
        return self._first(Job.id == job_id)

    def named(self, kind: str, key: str) -> Job | None:
        """Find a job by what its sender calls it."""
        return self._first(Job.kind == kind, Job.key == key)

    def owned(self, owner: str, kind: str) -> list[Job]:
        """List an owner's jobs of a kind, the newest first."""
        with self._database.reading() as session:
            return list(
                session.scalars(
                    select(Job)
                    .where(Job.owner == owner, Job.kind == kind)
                    .order_by(Job.created.desc(), Job.number.desc())
                )
            )

    def computed(self, kind: str, computed_from: str, length: int) -> list[Job]:
        """List the newest jobs of a kind that were computed from the same, and done."""
        with self._database.reading() as session:
            return list(
                session.scalars(
                    select(Job)
                    .where(
                        Job.computed_from == computed_from,
                        Job.kind == kind,
                        Job.state == JobState.DONE,
                    )
                    .order_by(Job.number.desc())
                    .limit(length)
                )
            )

    def page(
        self,
        owner: str,
        kind: str,
        *,
        after: str | None,
        length: int,
        pinned: bool = False,
    ) -> list[Job] | None:
        """List some of an owner's jobs of a kind, the newest first.

        Parameters
        ----------
        owner, kind
            The same as in `Job`.
        after
            Id of the job that the page before ended with; None for the first page.
        length
            Most jobs.
        pinned
            Only those that are pinned.

        Returns
        -------
        list of Job or None
            None where `after` is none of the owner's.
        """
        wanted = [Job.owner == owner, Job.kind == kind]
        if pinned:
            wanted.append(Job.pinned.is_not(None))
        with self._database.reading() as session:
            if after is not None:
                last = session.scalars(
                    # It may have been unpinned since.
                    select(Job.number).where(*wanted[:2], Job.id == after)
                ).one_or_none()
                if last is None:
                    return None
                wanted.append(Job.number < last)
            return list(
                session.scalars(
                    select(Job).where(*wanted).order_by(Job.number.desc()).limit(length)
                )
            )

    def children(self, job_id: str) -> list[Job]:
        """List the jobs that are a part of one, first come first."""
        with self._database.reading() as session:
            return list(
                session.scalars(
                    select(Job).where(Job.parent == job_id).order_by(Job.number)
                )
            )

    def count(self, kind: str) -> dict[tuple[str, JobState], int]:
        """Count the jobs of a kind by stage and state."""
        with self._database.reading() as session:
            rows = session.execute(
                select(Job.stage, Job.state, func.count())
                .where(Job.kind == kind)
                .group_by(Job.stage, Job.state)
            ).all()
        return {(stage, state): number for stage, state, number in rows}

    def oldest_seconds(self, kind: str, stage: str) -> float:
        """Tell for how long the oldest job of a kind waits in a stage; 0 for none."""
        with self._database.reading() as session:
            since = session.scalar(
                select(func.min(Job.created)).where(
                    Job.kind == kind,
                    Job.stage == stage,
                    Job.state == JobState.WAITING,
                )
            )
        return 0.0 if since is None else max(0.0, self._clock() - since)

    def count_owned(self, owner: str, kind: str, stage: str) -> int:
        """Count an owner's jobs of a kind that wait in a stage."""
        with self._database.reading() as session:
            number = session.scalar(
                select(func.count()).where(
                    Job.owner == owner,
                    Job.kind == kind,
                    Job.stage == stage,
                    Job.state == JobState.WAITING,
                )
            )
        return int(number or 0)

    def claim(
        self,
        stage: str,
        worker: str,
        *,
        quiet_seconds: float = 0.0,
        most_cost: int | None = None,
    ) -> Job | None:
        """Take the next job of a stage, if one is due.

        Parameters
        ----------
        stage
            Stage of this worker.
        worker
            Names it, and nobody else. What it took before and did not end it has
            given up, and may get again.
        quiet_seconds
            So long nothing of a job must have come.
        most_cost
            Dearer jobs are left to others.

        Returns
        -------
        Job or None
            Job with its lease; lost unless `beat` is called within `LEASE_SECONDS`.
        """
        now = self._clock()
        put_back = Job.updated > now + CLOCK_SECONDS
        settled = and_(Job.due <= now, Job.arrived <= now - quiet_seconds)
        waits = and_(Job.state == JobState.WAITING, or_(settled, put_back))
        abandoned = and_(
            Job.state == JobState.RUNNING,
            or_(Job.lease_until < now, Job.worker == worker),
        )
        wanted = [Job.stage == stage, or_(waits, abandoned)]
        if most_cost is not None:
            wanted.append(Job.cost <= most_cost)
        with self._database.transaction() as session:
            while True:
                job = session.scalars(
                    select(Job)
                    .where(*wanted)
                    .order_by(Job.rank, Job.number)
                    .limit(1)
                    .with_for_update(skip_locked=True)
                ).one_or_none()
                if job is None:
                    return None
                if job.state is JobState.WAITING:
                    break
                if job.worker == worker:
                    self._free(job)
                    job.state = JobState.WAITING
                else:
                    self._lost(job)
                session.flush()
            job.state = JobState.RUNNING
            job.worker = worker
            job.lease = secrets.token_hex(16)
            job.lease_until = now + LEASE_SECONDS
            job.updated = now
            job.steps_done = job.steps_total = 0
        deadline = float("inf") if job.time_limit is None else job.time_limit
        with self._guard:
            self._held[job.lease] = _Held(job.number, time.monotonic() + deadline)
        return job

    def is_busy(self, stage: str, least_cost: int) -> bool:
        """Tell whether somebody works in a stage on a job that costs so much."""
        with self._database.reading() as session:
            number = session.execute(
                select(Job.number)
                .where(
                    Job.stage == stage,
                    Job.state == JobState.RUNNING,
                    Job.cost >= least_cost,
                )
                .limit(1)
            )
            return number.first() is not None

    def weigh(self, job: Job, cost: int) -> Job:
        """Note what a job costs; as `save`."""
        with self._database.transaction() as session:
            row = self._own(session, job)
            row.cost = cost
            self._database.after_commit(self.announce)
        return row

    def check(self, job: Job) -> None:
        """Make sure that a worker may go on with a job.

        Raises
        ------
        JobLostError
            It was stopped, removed or given to another.
        JobTimeoutError
            It has taken too long.
        """
        with self._database.reading() as session:
            lease = session.execute(
                select(Job.lease).where(Job.id == job.id)
            ).scalar_one_or_none()
        with self._guard:
            held = self._held.get(job.lease or "")
        if lease is None or lease != job.lease or held is None:
            raise JobLostError("The job is not this worker's any more.")
        if time.monotonic() > held.deadline:
            raise JobTimeoutError(_TOO_SLOW["message"], _TOO_SLOW["mend"])

    def save(
        self,
        job: Job,
        *,
        step: str | None = None,
        document: dict[str, Any] | None = None,
    ) -> Job:
        """Keep how far a job is; only for its worker.

        Raises
        ------
        JobLostError
            It is not the worker's any more: nothing is written.
        """
        with self._database.transaction() as session:
            row = self._own(session, job)
            if step is not None:
                row.step = step
            if document is not None:
                row.document = document
        return row

    def report(self, job: Job, progress: Progress) -> None:
        """Tell how far a job is; kept in the memory until `beat` writes it."""
        with self._guard:
            held = self._held.get(job.lease or "")
            if held is not None:
                held.progress = progress

    def progress(self, job: Job) -> Progress | None:
        """Tell how far a job is that is worked on; None for another."""
        if job.state is not JobState.RUNNING:
            return None
        with self._guard:
            held = self._held.get(job.lease or "")
        if held is not None:
            return held.progress
        return Progress(job.steps_done, job.steps_total) if job.steps_total else None

    def finish(
        self,
        job: Job,
        state: JobState = JobState.DONE,
        *,
        document: dict[str, Any] | None = None,
        error: dict[str, str] | None = None,
    ) -> Job:
        """End a job; only for its worker.

        Raises
        ------
        JobLostError
            It is not the worker's any more: nothing is written.
        """
        with self._database.transaction() as session:
            row = self._own(session, job)
            if document is not None:
                row.document = document
            row.error = error
            self._end(row, state)
        return row

    def retry(self, job: Job, error: dict[str, str] | None = None) -> float:
        """Let a job wait after a failure, twice as long each time; for its worker.

        Parameters
        ----------
        job
            Job of `claim`.
        error
            Why, should it be the last failure.

        Returns
        -------
        float
            Seconds to wait; infinite where it is given up.

        Raises
        ------
        JobLostError
            It is not the worker's any more: nothing is written.
        """
        with self._database.transaction() as session:
            row = self._own(session, job)
            return self.postpone(row, error)

    def postpone(self, row: Job, error: dict[str, str] | None = None) -> float:
        """Count a failure of a row of this transaction; as `retry`, for anyone."""
        now = self._clock()
        policy = self._policies[row.stage]
        row.attempts += 1
        self._free(row)
        row.updated = now
        if row.attempts >= policy.attempts:
            row.error = error
            self._end(row, JobState.FAILED)
            return float("inf")
        wait = policy.wait(row.attempts)
        row.state, row.due, row.rank = JobState.WAITING, now + wait, now + wait
        return wait

    def release(self, job: Job) -> None:
        """Put a job back as it was, as the worker has to stop; no failure."""
        with self._database.transaction() as session:
            row = self._own(session, job)
            self._free(row)
            row.state, row.step = JobState.WAITING, ""
            row.updated = self._clock()
            self._database.after_commit(self.announce)

    def move(self, row: Job, stage: str, *, rank: float | None = None) -> None:
        """Let a row of this transaction wait in a stage, as if it were new there."""
        now = self._clock()
        self._free(row)
        row.state, row.stage, row.step = JobState.WAITING, stage, ""
        row.finished, row.error, row.attempts = None, None, 0
        row.due = row.updated = now
        row.rank = now if rank is None else rank
        self._database.after_commit(self.announce)

    def end(self, row: Job, state: JobState) -> None:
        """End a row of this transaction, whoever works on it."""
        self._end(row, state)

    def stop(self, job_id: str) -> bool:
        """Stop a job, also while it is worked on; tell whether it was not over."""
        with self._database.transaction() as session:
            row = self.locked(session, Job.id == job_id)
            if row is None or row.state.is_over:
                return False
            self._end(row, JobState.STOPPED)
        return True

    def note(
        self, job_id: str, document: dict[str, Any], kept_until: float | None
    ) -> bool:
        """Write on a job that is over, and say how long it is kept.

        Parameters
        ----------
        job_id
            Id of the job. What it is a part of is kept as long as any of its parts.
        document, kept_until
            The same as in `Job`.

        Returns
        -------
        bool
            Whether it was there, and over.
        """
        with self._database.transaction() as session:
            row = self.locked(session, Job.id == job_id)
            if row is None or not row.state.is_over:
                return False
            row.document, row.kept_until = document, kept_until
            session.flush()
            if row.parent is not None:
                whole = self.locked(session, Job.id == row.parent)
                longest = select(func.max(Job.kept_until)).where(
                    Job.parent == row.parent
                )
                if whole is not None:
                    whole.kept_until = session.scalar(longest)
        return True

    def pin(self, job_id: str, most: int) -> bool:
        """Keep a job that is over, and its parts, until `unpin`.

        Parameters
        ----------
        job_id
            Id of a job that is no part of another.
        most
            Jobs that its owner may have pinned.

        Returns
        -------
        bool
            Whether the owner may have so many.
        """
        with self._database.transaction() as session:
            row = self.locked(session, Job.id == job_id)
            if row is None or row.pinned is not None:
                return True
            mine = select(func.count()).where(
                Job.owner == row.owner, Job.pinned.is_not(None), Job.parent.is_(None)
            )
            if (session.scalar(mine) or 0) >= most:
                return False
            self._set_pinned(session, job_id, self._clock())
        return True

    def unpin(self, job_id: str) -> None:
        """Let a job and its parts go by their age again."""
        with self._database.transaction() as session:
            self._set_pinned(session, job_id, None)

    def end_pins(self, before: float, spared: str) -> None:
        """Unpin what was pinned before a time, but for owners of some names.

        Parameters
        ----------
        before
            Seconds since 1970.
        spared
            Beginning of the names of owners whose pins have no end.
        """
        with self._database.transaction(durable=False) as session:
            session.execute(
                update(Job)
                .where(Job.pinned < before, ~Job.owner.startswith(spared))
                .values(pinned=None)
            )

    def _set_pinned(self, session: Session, job_id: str, at: float | None) -> None:
        session.execute(
            update(Job)
            .where(or_(Job.id == job_id, Job.parent == job_id))
            .values(pinned=at)
        )

    def kept(self, kinds: Collection[str]) -> list[Job]:
        """List the jobs of some kinds that are kept until a stated time."""
        with self._database.reading() as session:
            return list(
                session.scalars(
                    select(Job)
                    .where(Job.kind.in_(kinds), Job.kept_until.is_not(None))
                    .order_by(Job.number)
                )
            )

    def remove(self, job_ids: Collection[str]) -> int:
        """Remove jobs, their parts, and all their files; return how many jobs."""
        with self._database.transaction() as session:
            return self._remove(session, list(job_ids))

    def locked(self, session: Session, *condition: ColumnElement[bool]) -> Job | None:
        """Find a row to change it in this transaction."""
        return session.scalars(
            select(Job).where(*condition).limit(1).with_for_update()
        ).one_or_none()

    def beat(self) -> None:
        """Renew all leases of this process, and write the progress.

        A job that has taken too long is failed, so that nobody waits for it, though
        its worker may still be at it.
        """
        with self._guard:
            held = dict(self._held)
        if not held:
            return
        now = self._clock()
        with self._database.transaction(durable=False) as session:
            for lease, item in held.items():
                row = self.locked(session, Job.number == item.number)
                if row is None or row.lease != lease:
                    self._forget(lease)
                elif time.monotonic() > item.deadline + LEASE_SECONDS:
                    row.error = _TOO_SLOW
                    self._end(row, JobState.FAILED)
                else:
                    row.lease_until = now + LEASE_SECONDS
                    if item.progress is not None:
                        row.steps_done = item.progress.done
                        row.steps_total = item.progress.total

    def announce(self) -> None:
        """Wake those who wait for jobs."""
        with self._news:
            self._came += 1
            self._news.notify_all()

    @property
    def came(self) -> int:
        """Number of arrivals in this process, for `wait`."""
        return self._came

    def wait(self, came: int, seconds: float) -> None:
        """Wait until something comes, unless it has since `came` was read."""
        with self._news:
            self._news.wait_for(lambda: self._came != came, seconds)

    def _first(self, *condition: ColumnElement[bool]) -> Job | None:
        with self._database.reading() as session:
            return session.scalars(select(Job).where(*condition)).one_or_none()

    def _own(self, session: Session, job: Job) -> Job:
        row = self.locked(session, Job.id == job.id)
        if row is None or job.lease is None or row.lease != job.lease:
            raise JobLostError("The job is not this worker's any more.")
        return row

    def _end(self, row: Job, state: JobState) -> None:
        self._free(row)
        row.state, row.step = state, ""
        row.finished = row.updated = self._clock()

    def _free(self, row: Job) -> None:
        if row.lease is not None:
            self._forget(row.lease)
        row.worker = row.lease = row.lease_until = None

    def _forget(self, lease: str) -> None:
        with self._guard:
            self._held.pop(lease, None)

    def _lost(self, row: Job) -> None:
        """Count the loss of a worker as a failure."""
        self.postpone(row, _INTERRUPTED)
        if row.attempts == 1 and not row.state.is_over:
            # Most often the machine was only started again.
            row.due, row.rank = self._clock(), row.created

    def _recover(self) -> None:
        with self._database.transaction() as session:
            for row in session.scalars(
                select(Job).where(Job.state == JobState.RUNNING)
            ).all():
                self._lost(row)

    def _remove(self, session: Session, job_ids: list[str]) -> int:
        if not job_ids:
            return 0
        parts = list(session.scalars(select(Job.id).where(Job.parent.in_(job_ids))))
        removed = self._remove(session, parts)
        leases = session.scalars(select(Job.lease).where(Job.id.in_(job_ids)))
        for lease in leases:
            if lease is not None:
                self._forget(lease)
        self._artifacts.detach(
            session.scalars(select(Artifact).where(Artifact.job.in_(job_ids))).all()
        )
        gone = session.scalars(
            delete(Job).where(Job.id.in_(job_ids)).returning(Job.number)
        )
        return removed + len(gone.all())


logger = logging.getLogger(__name__)
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0
_BEAT_SECONDS = min(1.0, LEASE_SECONDS / 4)


class Worker:
    """Threads that each repeat a step: to take a job, and to do it.

    A step that found something to do is repeated at once, another after a pause or
    when something comes, and one that fails after longer and longer pauses.

    Parameters
    ----------
    queue
        Queue whose leases are renewed meanwhile.
    steps
        One thread each; they tell whether there was something to do.
    """

    def __init__(self, queue: JobQueue, steps: Sequence[Callable[[], bool]]) -> None:
        self._queue = queue
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_on, args=(step,), daemon=True)
            for step in steps
        ]
        self._heart = threading.Thread(target=self._beat_on, daemon=True)

    @property
    def is_stopping(self) -> bool:
        """True where steps have to end soon."""
        return self._stopped.is_set()

    @property
    def is_alive(self) -> bool:
        """True where a step is still being done."""
        return any(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin."""
        for thread in (self._heart, *self._threads):
            thread.start()

    def close(self, patience_seconds: float | None = None) -> None:
        """Finish the steps at hand, and stop.

        Parameters
        ----------
        patience_seconds
            Seconds to wait for them; None for as long as they take.
        """
        self._stopped.set()
        self._queue.announce()
        end = None if patience_seconds is None else time.monotonic() + patience_seconds
        for thread in (*self._threads, self._heart):
            if thread.ident is not None:
                left = None if end is None else max(0.0, end - time.monotonic())
                thread.join(left)

    def _keep_on(self, step: Callable[[], bool]) -> None:
        failures = 0
        while not self._stopped.is_set():
            came = self._queue.came
            try:
                worked = step()
                failures = 0
            except Exception as error:
                # A full disk or a locked database today; it is tried again.
                logger.error("A step failed: %s", described(error))
                worked = False
                failures += 1
            if failures:
                pause = _PAUSE_SECONDS * 2.0 ** min(failures, 20)
                self._stopped.wait(min(pause, _LONGEST_PAUSE_SECONDS))
            elif not worked and not self._stopped.is_set():
                self._queue.wait(came, _PAUSE_SECONDS)

    def _beat_on(self) -> None:
        failed = False
        while not self._stopped.wait(_BEAT_SECONDS):
            try:
                self._queue.beat()
                failed = False
            except Exception as error:
                if not failed:
                    logger.error("Leases were not renewed: %s", described(error))
                failed = True


def described(error: Exception) -> str:
    """Say what happened; texts of others may quote what a header says of a patient."""
    ours = isinstance(error, TumorLensError) and not isinstance(error, InputError)
    return str(error) if ours else f"{type(error).__name__}."
