"""Retention: results are removed by age, or as the room is used up.

What is kept until a stated time, such as a result that a reader has marked, goes by
that time, and is the last of its owner's to make room.

Nothing that waits or is worked on is ever removed, nor are its parts. Who needs room
gives his own oldest results first, and then only those who keep more than he does:
nobody's results go because somebody sent much.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, aliased

from tumorlens.jobs.artifacts import ArtifactStore
from tumorlens.jobs.database import Database
from tumorlens.jobs.queue import JobQueue
from tumorlens.jobs.tables import OVER, Artifact, Job

_MOST_AT_ONCE = 500
_Whole = aliased(Job)


@dataclass(frozen=True)
class Retention:
    """Removes jobs with their files; safe to use from threads.

    Parameters
    ----------
    database, queue, artifacts
        Parts of one store.
    limit_bytes
        Limit of all files that jobs have, each counted for each job.
    """

    database: Database
    queue: JobQueue
    artifacts: ArtifactStore
    limit_bytes: int

    def expire(self, before: float, now: float) -> int:
        """Remove what was over before a time; return how many jobs that were.

        Parameters
        ----------
        before
            Seconds since 1970, as are all times.
        now
            What is kept until a later time stays.
        """
        removed = 0
        while True:
            with self.database.transaction() as session:
                # The time of a part begins when the whole is over.
                end = func.coalesce(_Whole.finished, Job.finished)
                is_over = or_(_kept_until().is_(None), _kept_until() <= now)
                old = session.scalars(
                    _removable().where(end <= before, is_over).limit(_MOST_AT_ONCE)
                ).all()
                removed += self.queue.remove([job.id for job in old])
            if not old:
                return removed

    def used_bytes(self) -> int:
        """Add up the files of all jobs."""
        with self.database.reading() as session:
            total = session.scalar(select(func.coalesce(func.sum(Artifact.size), 0)))
        return int(total or 0)

    def waiting_fits(self) -> bool:
        """Tell whether what is not over fits; one job alone always does."""
        sizes = (
            select(func.sum(Artifact.size))
            .join(Job, Job.id == Artifact.job)
            .where(Job.state.not_in(OVER))
            .group_by(Job.id)
        )
        with self.database.reading() as session:
            sizes_of_owner = [int(size) for size in session.scalars(sizes) if size]
        return len(sizes_of_owner) <= 1 or sum(sizes_of_owner) <= self.limit_bytes

    def make_room(self, newest: Job) -> bool:
        """Remove results until all fits, but never those of who keeps less.

        Parameters
        ----------
        newest
            Job whose files came last; it stays.

        Returns
        -------
        bool
            Whether all fits now.
        """
        with self.database.transaction() as session:
            excess = self.used_bytes() - self.limit_bytes
            while excess > 0:
                job = self._oldest(session, newest.owner, newest)
                if job is None:
                    job = self._oldest_of_the_greediest(session, newest)
                if job is None:
                    return False
                self.queue.remove([job.id])
                session.flush()
                excess = self.used_bytes() - self.limit_bytes
        return True

    def _oldest(self, session: Session, owner: str, newest: Job) -> Job | None:
        # The newest may be a part of a job, or have parts.
        spared_ids = (
            [newest.id] if newest.parent is None else [newest.id, newest.parent]
        )
        return session.scalars(
            _removable()
            .where(
                Job.owner == owner,
                Job.id.not_in(spared_ids),
                or_(Job.parent.is_(None), Job.parent != newest.id),
            )
            .order_by(_kept_until().is_not(None), Job.finished, Job.number)
            .limit(1)
        ).one_or_none()

    def _oldest_of_the_greediest(self, session: Session, newest: Job) -> Job | None:
        usage = (
            select(Job.owner, func.sum(Artifact.size).label("bytes"))
            .join(Artifact, Artifact.job == Job.id)
            .group_by(Job.owner)
            .order_by(func.sum(Artifact.size).desc(), Job.owner)
        )
        sizes_by_owner = session.execute(usage).all()
        own_size = next(
            (size for owner, size in sizes_by_owner if owner == newest.owner), 0
        )
        for owner, size in sizes_by_owner:
            if owner != newest.owner and size > own_size:
                job = self._oldest(session, owner, newest)
                if job is not None:
                    return job
        return None


def _removable() -> Select[Job]:
    """Select jobs that are over, and are no part of one that is not."""
    return (
        select(Job)
        .outerjoin(_Whole, _Whole.id == Job.parent)
        .where(Job.state.in_(OVER), or_(_Whole.id.is_(None), _Whole.state.in_(OVER)))
    )


def _kept_until() -> ColumnElement[float | None]:
    """Time until which a job of `_removable` is kept: a part as long as the whole."""
    return func.coalesce(_Whole.kept_until, Job.kept_until)
