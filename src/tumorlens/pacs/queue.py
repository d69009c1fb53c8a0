"""The queue of series: what came, what is to be done, what to send.

Whatever was accepted survives a kill: a file is on the disk before its sender
is told so, and each step is one transaction. An image that comes late to a judged
series lets the whole of it be judged anew, as long as the others are kept; one that
comes to a series that was given up lets it be tried anew.

Each series is one job of `tumorlens.jobs`, named by its UID, and each image an artefact
named by its own. It is in the stage to judge until it is judged, then in that to send
until its results have arrived, and over then or when it is given up. Its document says
which associations bring images of it, before the first of them is kept: one that did
not end normally, or that died with the node, leaves the series unfinished.

The queue that TumorLens 0.1.0 left in a node's folder is read once, and kept on.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from tumorlens.errors import OutputError
from tumorlens.jobs import artifacts as artifact_store
from tumorlens.jobs.database import OVER, Artifact, Job, JobState
from tumorlens.jobs.queue import JobQueue, RetryPolicy
from tumorlens.jobs.store import DATABASE, JobStore, sqlite_url
from tumorlens.report.dicom.finding import SentResult

logger = logging.getLogger(__name__)

KIND, LABEL = "series", "label"
"""Kinds of jobs: a series; and, over from the first, a label that came of a study."""

JUDGE, SEND, FETCH = "judge", "send", "fetch"
COMMIT, STUDY, ANSWER = "commit", "study", "answer"
IMAGE, RESULT, SENT, REPORT = "image", "result", "sent", "report"
"""Artefacts of a series. A result that was sent has no file any more: its name is its
study, series, instance and SOP class, as a JSON list. Where the archive is asked to
commit results, each keeps its file beside that until it has."""

MOST_ATTEMPTS = {JUDGE: 10, SEND: 180, FETCH: 30, STUDY: 10, ANSWER: 180}
"""Before a series is given up: 40 minutes of judging, a week of sending, a day of
fetching."""
POLICIES = {
    **{stage: RetryPolicy(most) for stage, most in MOST_ATTEMPTS.items()},
    # A week; an archive takes its time to report.
    COMMIT: RetryPolicy(48, 60.0, 4 * 3600.0),
}
"""How each stage is tried again."""

REMEMBERED_SECONDS = 30 * 86_400.0
"""Seconds that the images of a judged series are known, and ignored when they come
again."""

_OLDER_STATES = {
    "receiving": (JUDGE, JobState.WAITING),
    "sending": (SEND, JobState.WAITING),
    "done": (SEND, JobState.DONE),
    "failed": (JUDGE, JobState.FAILED),
    "missed": (FETCH, JobState.WAITING),
}
_OPEN, _UNFINISHED, PARTIAL, _WAITS = "open", "unfinished", "partial", "waits"
FACTS, LACKING, ANSWERS, MARKS = "facts", "lacking", "answers", "marks"
"""Keys of a series' document: its open associations, and whether each brought something
new; whether one came to no normal end; whether the last results are of a part of the
series; whether it waits for more images; what the analysis wants to be kept of it; the
images that its sender counts, and that had not come when it said so; what was said of
each of its stacks, and a reader's marks of that, by their number from 1."""

_STATES = {
    JUDGE: "receiving",
    SEND: "sending",
    FETCH: "missed",
    COMMIT: "committing",
    STUDY: "waiting",
}
STUDY_PREFIX = "study:"
"""Before the UID of a study whose series are judged together: it stands in the queue as
another series, which has no images of its own."""
_IS_OVER = Job.state.in_(OVER)
_HAS_FILE = Artifact.digest.is_not(None)
_IS_JUDGED = or_(_IS_OVER, Job.stage.in_((SEND, COMMIT)))


class Arrival(Enum):
    """Outcome of offering an image to the queue."""

    NEW = auto()
    """Kept."""

    LATE = auto()
    """Kept; its series was judged without it, and will be judged anew."""

    AGAIN = auto()
    """Kept; its series was given up, and will be tried anew."""

    KNOWN = auto()
    """Not kept: it came before."""

    TOO_LATE = auto()
    """Not kept: its series was judged without it, and the other images are gone."""

    @property
    def kept(self) -> bool:
        """True where the queue has its file."""
        return self in (Arrival.NEW, Arrival.LATE, Arrival.AGAIN)


@dataclass(frozen=True)
class SeriesJob:
    """One series and its files.

    Parameters
    ----------
    series
        Its UID.
    files
        Files that were received, or that are to be sent.
    earlier
        Results of the series that have been sent.
    missing
        Number of images that it is known to have beside those.
    lease
        Lease under which it was taken from the queue.
    is_arriving
        Whether an association that brings images of it is still open.
    is_unfinished
        Whether the last association that brought images did not end normally.
    doubts
        Full sentences: why the files are not known to be the whole series.
    lacking
        Number of images that its sender counts beside those that have come.
    """

    series: str
    files: tuple[Path, ...]
    earlier: tuple[SentResult, ...] = ()
    missing: int = 0
    lease: str | None = None
    is_arriving: bool = False
    is_unfinished: bool = False
    doubts: tuple[str, ...] = ()
    lacking: int = 0


@dataclass(frozen=True)
class StudyJob(SeriesJob):
    """The series of one study that are judged together.

    Parameters
    ----------
    parts
        Each series that was judged, with its images.
    left_out
        Full sentences: which series of the study are not among them.
    """

    parts: tuple[SeriesJob, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesEntry:
    """One series as `SeriesQueue.entries` lists it.

    Parameters
    ----------
    series
        Its UID; of a study that is judged as a whole ``study:`` and its UID.
    state
        ``receiving``, ``waiting`` (for images that are missing; a study, for its
        series), ``judging``,
        ``sending``, ``committing`` (the archive has yet to say that it keeps the
        results), ``missed`` (to be fetched again), ``done``, ``failed`` (given up) or
        ``stopped``.
    images
        Number of images that it is known to have.
    arrived
        Time of the last image, in seconds since 1970.
    due
        Time before which it is not worked on, in seconds since 1970.
    attempts
        Number of failures.
    is_partial
        Whether its last results are of a part of it.
    answers
        What was said of each of its stacks; empty where nothing was.
    feedback
        A reader's marks of that, by the number of the stack from 1.
    """

    series: str
    state: str
    images: int
    arrived: float
    due: float
    attempts: int
    is_partial: bool
    answers: tuple[Mapping[str, Any], ...] = ()
    feedback: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """True where nothing more happens by itself."""
        return self.state in OVER


class SeriesQueue:
    """Series on their way through; safe to use from threads.

    Parameters
    ----------
    folder
        Made where missing, and closed to everybody else. The queue of an older
        release in it is taken over.
    keep_seconds
        Seconds that the images of a judged series stay on the disk after the last one
        came, so that the series can be judged anew where more come.
    clock
        Seconds since 1970.
    url
        URL of a database as for `JobStore`; None for one in the folder.
    beside
        Whether to look into a queue that is there, and that another process may use:
        it is neither made nor taken over.

    Raises
    ------
    OutputError
        The folder cannot be used, or another process uses it. Every method raises
        it where the disk or the database fails.
    """

    def __init__(
        self,
        folder: Path,
        keep_seconds: float = 0.0,
        clock: Callable[[], float] = time.time,
        url: str | None = None,
        *,
        beside: bool = False,
    ) -> None:
        self._clock = clock
        self._keep_seconds = keep_seconds
        self.folder = folder
        if beside:
            if not (folder / DATABASE).is_file():
                raise OutputError(
                    f"There is no queue in {folder}.",
                    "Give the --folder that the node was started with.",
                )
            # A store that is named by its database's URL takes no lock.
            url = sqlite_url(folder)
        self._store = JobStore(folder, POLICIES, url=url, clock=clock)
        self.database = self._database = self._store.database
        self._artifacts = self._store.artifacts
        self.jobs: JobQueue = self._store.queue
        self._worker = secrets.token_hex(8)
        self._given_up = self._partial = 0
        try:
            if not beside:
                self._take_over()
        except BaseException:
            self._store.close()
            raise

    def add(
        self, image: str, series: str, data: bytes, association: str | None = None
    ) -> Arrival:
        """Keep one received image, unless it is there already.

        Parameters
        ----------
        image, series
            Their UIDs; the file gets a name of ours.
        data
            The whole DICOM file.
        association
            Any name of the association that brings it. The series is not judged until
            `end_association` is called, or the node starts again.
        """
        with self._database.transaction() as session:
            row = self._row(session, series)
            arrival = _arrival_of(session, image, row)
            if row is not None and not arrival.kept:
                if arrival is Arrival.TOO_LATE:
                    # Known from now on, so that it is told once.
                    self._artifacts.attach(row.id, IMAGE, {image: None})
                self._open(row, association, brings_new=False)
        if not arrival.kept:
            return arrival
        self._make_room()
        with self._artifacts.staging() as stage:
            file = stage(data)
            with self._database.transaction() as session:
                # Another thread may have been faster.
                row = self._row(session, series)
                arrival = _arrival_of(session, image, row)
                if arrival.kept:
                    row = self._receive(session, series, row)
                    self._open(row, association, brings_new=True)
                    self._artifacts.attach(row.id, IMAGE, {image: file})
        return arrival

    def end_association(
        self, association: str, series: Iterable[str], *, normally: bool
    ) -> None:
        """Note that an association ended.

        One that ended normally is taken for its sender's word that all was sent, also
        of what another association had begun. A series of which a part was judged is
        judged anew then, as long as its images are kept.

        Parameters
        ----------
        association, series
            The same as for `add`, of all images that it brought.
        normally
            Whether its sender released it.
        """
        with self._database.transaction() as session:
            for uid in series:
                row = self._row(session, uid)
                if row is None:
                    continue
                ours, is_unfinished = self._arrival_facts(row)
                # One that is not known brought what could not be kept.
                brought_new = ours.pop(self._named(association), True)
                row.document = {
                    **row.document,
                    _OPEN: ours,
                    _UNFINISHED: not normally and (is_unfinished or brought_new),
                }
                was_partial = is_unfinished and row.document.get(PARTIAL)
                if normally and was_partial and not is_in(row, JUDGE):
                    self._judge_again(row)
                elif row.state is JobState.WAITING and row.stage == JUDGE:
                    row.due = self._clock()
                    self._database.after_commit(self.jobs.announce)

    def wait(self, job: SeriesJob, seconds: float, again_seconds: float) -> bool:
        """Put a series back that is not whole yet.

        Parameters
        ----------
        job
            Job of `next_complete`.
        seconds
            Seconds after its last image that it may wait for more.
        again_seconds
            Seconds after which to look again, should nothing come.

        Returns
        -------
        bool
            False where it has waited so long already, and nothing brings more: the job
            is still the caller's.
        """
        now = self._clock()
        with self._database.transaction() as session:
            row = self._row(session, job.series)
            if row is None or row.lease is None or row.lease != job.lease:
                return True
            left = row.arrived + seconds - now
            # Somebody may have put the clock back: no series waits longer for that.
            if not job.is_arriving and not 0 < left <= seconds:
                return False
            self.jobs.move(row, JUDGE)
            row.document = {**row.document, _WAITS: True}
            pause = again_seconds if left <= 0 else min(left, again_seconds)
            row.due = row.rank = now + pause
        return True

    def next_complete(self, quiet_seconds: float) -> SeriesJob | None:
        """Find a series to which nothing was added for a while; oldest first.

        What the caller found before and did not end he has given up.
        """
        return self._next(JUDGE, IMAGE, quiet_seconds)

    def next_to_send(self) -> SeriesJob | None:
        """Find a series whose results are due to be sent; as `next_complete`."""
        return self._next(SEND, RESULT, 0.0)

    def put_results(self, job: SeriesJob, results: Sequence[bytes]) -> bool:
        """Keep what is to be sent of a series, in place of what was not sent yet.

        A series without results (one that is none of ours to judge) is done.

        Parameters
        ----------
        job
            Job of `next_complete`, with the doubts that stand in the results.
        results
            Whole DICOM files.

        Returns
        -------
        bool
            False where more images of the series came in the meantime, or results of
            it arrived that these do not know of: nothing is kept, and it will be judged
            with them.
        """
        is_partial = bool(job.doubts or job.missing)
        with self._artifacts.staging() as stage:
            files = {str(place): stage(data) for place, data in enumerate(results)}
            with self._database.transaction() as session:
                row = self._row(session, job.series)
                whole = row is not None and row.lease == job.lease is not None
                if row is not None and whole:
                    row.document = {**row.document, PARTIAL: is_partial}
                    self._drop_results(row)
                    self._judged(session, row, job, has_results=bool(files))
                    self._artifacts.attach(row.id, RESULT, files)
                    if files:
                        # New results go before those that were refused before.
                        self.jobs.move(row, SEND, rank=0.0)
                    else:
                        self.jobs.end(row, JobState.DONE)
        self._partial += whole and is_partial
        if self._keep_seconds <= 0:
            self.clean()
        return whole

    def note(self, job: SeriesJob, facts: Mapping[str, Any]) -> bool:
        """Keep facts of a series that is being judged, in place of earlier ones.

        Parameters
        ----------
        job
            Job of `next_complete`.
        facts
            Plain JSON values, among them ``study`` and ``accession``.

        Returns
        -------
        bool
            False where the series is not the caller's any more: nothing is kept.
        """
        return self._note(job, FACTS, dict(facts))

    def note_answers(
        self, job: SeriesJob, answers: Sequence[Mapping[str, Any]]
    ) -> bool:
        """Keep what is said of the stacks of a series, as `note` keeps facts."""
        return self._note(job, ANSWERS, [dict(item) for item in answers])

    def _note(self, job: SeriesJob, key: str, value: object) -> bool:
        with self._database.transaction() as session:
            row = self._row(session, job.series)
            if row is None or row.lease is None or row.lease != job.lease:
                return False
            row.document = {**row.document, key: value}
        return True

    def answers(self, series: str) -> list[dict[str, Any]]:
        """Give what was said last of each stack of a series; nothing for none."""
        job = self.jobs.named(KIND, series)
        return [] if job is None else list(job.document.get(ANSWERS, ()))

    def mark(
        self, series: str, part: int, mark: Mapping[str, Any] | None, seconds: float
    ) -> bool:
        """Keep a reader's mark of a series, and its images for longer.

        Parameters
        ----------
        series
            Its UID.
        part
            Which of its stacks, from 1.
        mark
            Plain JSON values; None takes back what was said.
        seconds
            Time for which the images are kept from now on.

        Returns
        -------
        bool
            False where it is not known, has no such mark to take back, or none of its
            images is kept any more.
        """
        with self._database.transaction() as session:
            row = self._row(session, series)
            if row is None:
                return False
            marks = dict(row.document.get(MARKS, {}))
            if mark is None:
                if marks.pop(str(part), None) is None:
                    return False
            elif any(item.digest for item in self._artifacts.of(row.id, IMAGE)):
                marks[str(part)] = dict(mark)
                row.kept_until = self._clock() + seconds
            else:
                return False
            row.document = {**row.document, MARKS: marks}
            if not marks:
                row.kept_until = None
        return True

    def marked(
        self, now: float | None = None
    ) -> list[tuple[str, dict[str, dict[str, Any]], tuple[Path, ...]]]:
        """List the marked series whose images are kept.

        Parameters
        ----------
        now
            Seconds since 1970; by default the clock's.

        Returns
        -------
        list of tuple
            UID of the series, its marks by the number of the stack, and its images.
        """
        at = self._clock() if now is None else now
        marked = []
        for job in self.jobs.kept((KIND,)):
            images = self._artifacts.of(job.id, IMAGE)
            files = [self._artifacts.path(x.digest) for x in images if x.digest]
            if job.kept_until is not None and job.kept_until > at and files:
                marks = job.document[MARKS]
                marked.append((job.key or "", dict(marks), tuple(files)))
        return marked

    def noted(self) -> list[tuple[SeriesEntry, dict[str, Any]]]:
        """List the series with their facts of `note`, the newest first."""
        return [
            (_entry(row, images), row.document.get(FACTS, {}))
            for row, images in self._rows()
        ]

    def keep_labels(self, labels: Mapping[str, str]) -> None:
        """Keep labels of studies, each in place of an earlier one of the same study.

        Parameters
        ----------
        labels
            Labels by the names of `study_names`.
        """
        with self._database.transaction() as session:
            for name, label in labels.items():
                row = self.jobs.locked(session, Job.kind == LABEL, Job.key == name)
                if row is None:
                    row = self.jobs.add(LABEL, LABEL, key=name, state=JobState.DONE)
                row.document = {LABEL: label}

    def labels(self) -> dict[str, str]:
        """Give the labels of `keep_labels`."""
        with self._database.reading() as session:
            rows = session.scalars(select(Job).where(Job.kind == LABEL)).all()
        return {row.key or "": str(row.document[LABEL]) for row in rows}

    def sent(self, series: str, file: Path, result: SentResult | None = None) -> None:
        """Note that one result has arrived; with the last one the series is done.

        Parameters
        ----------
        series, file
            The same as in the job.
        result
            Names of the file's object, where newer results would replace it.
        """
        with self._database.transaction() as session:
            row = self._row(session, series)
            if row is None:
                return
            results = self._artifacts.of(row.id, RESULT)
            arrived = [item for item in results if item.digest == file.name]
            self._let_go(session, arrived)
            if result is not None:
                named = json.dumps(list(astuple(result)))
                self._artifacts.attach(row.id, REPORT, {named: None})
                at_work = row.stage in (JUDGE, STUDY)
                being_judged = at_work and row.state is JobState.RUNNING
                if being_judged or (not arrived and is_in(row, SEND)):
                    # The newer results do not know that they replace this one.
                    self._judge_again(row)
                    return
            # It may be receiving again.
            if len(arrived) == len(results) and is_in(row, SEND):
                self._all_sent(row)

    def postpone(self, series: str) -> float:
        """Try again later, twice as late each time.

        Returns
        -------
        float
            Seconds to wait; infinite where it was tried too often, and is given up.
        """
        with self._database.transaction() as session:
            row = self._row(session, series)
            if row is None:
                return float("inf")
            wait = self.jobs.postpone(row)
        if math.isinf(wait):
            self._given_up += 1
        return wait

    @property
    def given_up(self) -> int:
        """Number of series that were given up since the queue was opened."""
        return self._given_up

    @property
    def partial(self) -> int:
        """Number of series that were judged as a part since the queue was opened."""
        return self._partial

    def oldest(self) -> float | None:
        """Time of the last image of the series that waits longest; None without one."""
        with self._database.reading() as session:
            arrived: float | None = session.scalar(
                select(func.min(Job.arrived)).where(Job.kind == KIND, ~_IS_OVER)
            )
        return arrived

    def entries(self) -> list[SeriesEntry]:
        """List the series, those with the newest image first."""
        return [_entry(row, images) for row, images in self._rows()]

    def _rows(self) -> list[tuple[Job, int]]:
        """List the series with the number of their images, the newest first."""
        with self._database.reading() as session:
            counted = (
                select(Artifact.job, func.count().label("images"))
                .where(Artifact.role == IMAGE)
                .group_by(Artifact.job)
                .subquery()
            )
            rows = session.execute(
                select(Job, func.coalesce(counted.c.images, 0))
                .outerjoin(counted, counted.c.job == Job.id)
                .where(Job.kind == KIND)
                .order_by(Job.arrived.desc(), Job.number.desc())
            ).all()
        return [(row, images) for row, images in rows]

    def requeue(self, series: str) -> bool:
        """Let a series that was judged or given up be judged anew, at once.

        Returns
        -------
        bool
            False where it is not known, or none of its images is kept any more.
        """
        with self._database.transaction() as session:
            row = self._row(session, series)
            if row is None:
                return False
            return self._judge_again(row)

    def forget(self, series: str) -> bool:
        """Remove a series, its images and its results that were not sent.

        With the last series of a study its labels go, too.

        Returns
        -------
        bool
            False where it is not known.
        """
        job = self.jobs.named(KIND, series)
        if job is None:
            return False
        gone = [job.id]
        facts = job.document.get(FACTS, {})
        if facts and not any(
            other["study"] == facts["study"]
            for entry, other in self.noted()
            if other and entry.series != series
        ):
            named = study_names(facts["study"], facts["accession"])
            labels = [self.jobs.named(LABEL, name) for name in named]
            gone += [label.id for label in labels if label is not None]
        with self._database.transaction() as session:
            # Of a study that is judged together only that is forgotten.
            session.execute(update(Job).where(Job.parent == job.id).values(parent=None))
            return self.jobs.remove(gone) > 0

    def clean(self) -> None:
        """Remove the files that have been kept long enough.

        These are images of judged series, and all of series given up. After
        `REMEMBERED_SECONDS` it is forgotten which images there were; that there was
        such a series stays known.
        """
        now = self._clock()
        self._drop(now - self._keep_seconds)
        with self._database.transaction() as session:
            old = Job.arrived <= now - REMEMBERED_SECONDS
            for role in (IMAGE, REPORT):
                self._artifacts.detach(
                    _artifacts_of(session, role, _IS_OVER, old, ~_HAS_FILE)
                )

    def counts(self) -> dict[str, int]:
        """Count the series by state."""
        counts: dict[str, int] = {}
        for (stage, state), number in self.jobs.count(KIND).items():
            name = state.value if state.is_over else _STATES[stage]
            counts[name] = counts.get(name, 0) + number
        return counts

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def _next(self, stage: str, role: str, quiet_seconds: float) -> SeriesJob | None:
        row = self.jobs.claim(
            stage, f"{self._worker} {stage}", quiet_seconds=quiet_seconds
        )
        if row is None or row.key is None:
            return None
        images = self._artifacts.of(row.id, IMAGE)
        files = images if role == IMAGE else self._artifacts.of(row.id, role)
        ours, is_unfinished = self._arrival_facts(row)
        return SeriesJob(
            row.key,
            tuple(self._artifacts.path(item.digest) for item in files if item.digest),
            self._earlier(row),
            sum(item.digest is None for item in images),
            row.lease,
            bool(ours),
            is_unfinished,
            lacking=len(
                set(row.document.get(LACKING, ())) - {item.name for item in images}
            ),
        )

    def _earlier(self, row: Job) -> tuple[SentResult, ...]:
        reports = self._artifacts.of(row.id, REPORT)
        return tuple(SentResult(*json.loads(item.name)) for item in reports)

    def _arrival_facts(self, row: Job) -> tuple[dict[str, bool], bool]:
        """Give the open associations, and whether another came to no normal end."""
        opened: dict[str, bool] = row.document.get(_OPEN, {})
        ours = {key: new for key, new in opened.items() if key.startswith(self._worker)}
        # Those of another start died with it.
        lost = any(new for name, new in opened.items() if name not in ours)
        return ours, lost or bool(row.document.get(_UNFINISHED))

    def _judge_again(self, row: Job) -> bool:
        """Let a row be judged anew; tell whether any of its images is kept."""
        if (row.key or "").startswith(STUDY_PREFIX):
            self.jobs.move(row, STUDY)
            return True
        images = self._artifacts.of(row.id, IMAGE)
        if all(item.digest is None for item in images):
            return False
        self.jobs.move(row, JUDGE)
        return True

    def _judged(
        self, session: Session, row: Job, job: SeriesJob, *, has_results: bool
    ) -> None:
        """Do what follows from a judgement that counts; nothing here."""

    def _drop_results(self, row: Job) -> None:
        """Remove results of a row in whose place others come."""
        self._artifacts.detach(self._artifacts.of(row.id, RESULT))

    def _let_go(self, session: Session, results: Sequence[Artifact]) -> None:
        """Remove results that have arrived."""
        self._artifacts.detach(results)

    def _all_sent(self, row: Job) -> None:
        """End a row whose results have all arrived."""
        self.jobs.end(row, JobState.DONE)

    def _named(self, association: str) -> str:
        return f"{self._worker} {association}"

    def _open(self, row: Job, association: str | None, *, brings_new: bool) -> None:
        """Note that an association brings images of a series."""
        if association is None:
            return
        name = self._named(association)
        ours, is_unfinished = self._arrival_facts(row)
        if name in ours and (ours[name] or not brings_new):
            return
        # Of those that died with another start only the fact is kept.
        row.document = {
            **row.document,
            _OPEN: {**ours, name: brings_new},
            _UNFINISHED: is_unfinished,
        }

    def _row(self, session: Session, series: str) -> Job | None:
        return self.jobs.locked(session, Job.kind == KIND, Job.key == series)

    def _receive(self, session: Session, series: str, row: Job | None) -> Job:
        """Note that something of a series comes."""
        if row is None:
            row = self.jobs.add(KIND, JUDGE, key=series)
            session.flush()
        else:
            self.jobs.move(row, JUDGE)
            row.document = {**row.document, _WAITS: False}
        row.arrived = self._clock()
        return row

    def _take_over(self) -> None:
        """Move what an older release left in the folder into the store; once."""
        older = read_older(self.folder)
        if older is None:
            return
        with self._artifacts.staging() as stage, self._database.transaction():
            for series in older:
                if self.jobs.named(KIND, series.uid) is not None:
                    # It was, and the older files could not be removed.
                    continue
                at, now = _OLDER_STATES[series.state]
                row = self.jobs.add(KIND, at, key=series.uid, state=now)
                row.arrived, row.attempts = series.changed, series.attempts
                row.due = series.due
                row.rank = series.due if series.due or at == SEND else series.changed
                row.finished = series.changed if now.is_over else None
                for role, files in (
                    (IMAGE, series.images),
                    (RESULT, series.results),
                    (REPORT, {json.dumps(item): None for item in series.reports}),
                ):
                    self._artifacts.attach(
                        row.id,
                        role,
                        {
                            name: None if file is None else stage(file)
                            for name, file in files.items()
                        },
                    )
        # From here on the store has all of it, whenever this process ends.
        remove_older(self.folder)
        logger.info("Took over %d series of an older queue.", len(older))

    def _drop(self, until: float) -> None:
        with self._database.transaction() as session:
            old = Job.arrived <= until
            # What a reader has marked is kept for those who learn from it.
            free = or_(Job.kept_until.is_(None), Job.kept_until <= self._clock())
            images = _artifacts_of(session, IMAGE, _IS_JUDGED, old, _HAS_FILE, free)
            self._artifacts.detach(images, known=True)
            # Those given up have no results any more either.
            for role in (RESULT, SENT):
                self._artifacts.detach(_artifacts_of(session, role, _IS_OVER, old))

    def _make_room(self) -> None:
        if self._artifacts.has_room():
            return
        # What is only kept in case more comes has to give way.
        self._drop(self._clock())
        if not self._artifacts.has_room():
            raise OutputError(
                f"The disk of {self.folder} has less than "
                f"{artifact_store.LEAST_FREE_BYTES // 2**20} MB left.",
                "Make room on it.",
            )


def study_names(study: str, accession: str) -> list[str]:
    """Give the names by which a label may know a study, the surest first.

    Parameters
    ----------
    study, accession
        Its UID and its accession number; either may be empty.
    """
    values = (("study_instance_uid", study), ("accession_number", accession))
    return [f"{way}={value}" for way, value in values if value]


def _entry(row: Job, images: int) -> SeriesEntry:
    if row.state.is_over:
        state = row.state.value
    elif row.stage in (JUDGE, STUDY) and row.state is JobState.RUNNING:
        state = "judging"
    elif row.stage == JUDGE and row.document.get(_WAITS):
        state = "waiting"
    else:
        state = _STATES[row.stage]
    return SeriesEntry(
        series=row.key or "",
        state=state,
        images=images,
        arrived=row.arrived,
        due=row.due,
        attempts=row.attempts,
        is_partial=bool(row.document.get(PARTIAL)),
        answers=tuple(row.document.get(ANSWERS, ())),
        feedback=row.document.get(MARKS, {}),
    )


def is_in(row: Job, stage: str) -> bool:
    """Tell whether a row stands in a stage, and is not over."""
    return row.stage == stage and not row.state.is_over


def _arrival_of(session: Session, image: str, row: Job | None) -> Arrival:
    """Tell what an image would be to a series, which may be new."""
    earlier = session.scalars(
        select(Artifact)
        .join(Job, Job.id == Artifact.job)
        .where(Job.kind == KIND, Artifact.role == IMAGE, Artifact.name == image)
        .limit(1)
    ).one_or_none()
    if earlier is not None and (row is None or earlier.job != row.id):
        return Arrival.KNOWN
    if row is not None and row.state is JobState.FAILED:
        return Arrival.AGAIN
    if earlier is not None and earlier.digest is not None:
        return Arrival.KNOWN
    if row is None or is_in(row, JUDGE):
        return Arrival.NEW
    images, kept = session.execute(
        select(func.count(), func.count(Artifact.digest)).where(
            Artifact.job == row.id, Artifact.role == IMAGE
        )
    ).one()
    if not images:
        # What was known of a series long ago is forgotten.
        return Arrival.NEW
    if kept:
        return Arrival.LATE
    return Arrival.TOO_LATE if earlier is None else Arrival.KNOWN


def _artifacts_of(
    session: Session, role: str, *conditions: ColumnElement[bool]
) -> Sequence[Artifact]:
    """List the artefacts of all series that fulfil the conditions."""
    return session.scalars(
        select(Artifact)
        .join(Job, Job.id == Artifact.job)
        .where(Job.kind == KIND, Artifact.role == role, *conditions)
    ).all()


_DATABASE = "queue.sqlite"


@dataclass(frozen=True)
class OlderSeries:
    """One series as the older queue knew it.

    Parameters
    ----------
    uid, state, changed, attempts, due
        Values as they stood in its table.
    images
        File of each image by its UID; None where it was removed or never came.
    results
        File of each result that was to be sent, by its place.
    reports
        Study, series and instance of each report that was sent.
    """

    uid: str
    state: str
    changed: float
    attempts: int
    due: float
    images: dict[str, Path | None]
    results: dict[str, Path | None]
    reports: list[tuple[str, str, str]]


def read_older(folder: Path) -> list[OlderSeries] | None:
    """Read an older queue, oldest series first; None where there is none.

    Raises
    ------
    OutputError
        It cannot be read, or an older node still uses it.
    """
    path = folder / _DATABASE
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as database:
            # As the older node did: one of both is refused.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            rows = database.execute(
                "SELECT uid, state, changed, attempts, due FROM series "
                "ORDER BY changed, rowid"
            ).fetchall()
            return [_series(database, folder, *row) for row in rows]
    except sqlite3.Error as error:
        raise OutputError(
            f"The older queue in {folder} cannot be taken over: {error}.",
            "Stop the older TumorLens that uses it; one process at a time.",
        ) from error


def remove_older(folder: Path) -> None:
    """Remove an older queue and its files."""
    for file in folder.glob("*.dcm"):
        file.unlink()
    # The database last: without it nobody would look for the files again.
    for end in ("-wal", "-shm", ""):
        (folder / f"{_DATABASE}{end}").unlink(missing_ok=True)


def _series(
    database: sqlite3.Connection,
    folder: Path,
    uid: str,
    state: str,
    changed: float,
    attempts: int,
    due: float,
) -> OlderSeries:
    images = database.execute(
        "SELECT uid, file FROM images WHERE series = ? ORDER BY rowid", (uid,)
    )
    results = database.execute(
        "SELECT file FROM results WHERE series = ? ORDER BY rowid", (uid,)
    )
    reports = database.execute(
        "SELECT study, series, instance FROM reports WHERE of = ? ORDER BY rowid",
        (uid,),
    )
    return OlderSeries(
        uid,
        state,
        changed,
        attempts,
        due,
        {image: folder / file if file else None for image, file in images},
        {str(place): folder / file for place, (file,) in enumerate(results)},
        reports.fetchall(),
    )
