"""The node's queue: series that make a study, results until they are committed.

What was sent stays until the archive has committed it, and what peers ask for until
they are answered. A study whose series are judged together stands in the queue as one
more series, whose parts these are.

Tested in `tests/pacs/node/test_node_queue.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tumorlens.errors import BusyError
from tumorlens.jobs.database import OVER, Artifact, Job, JobState, portions
from tumorlens.pacs.node.commitment import CommitmentReport, CommitmentRequest
from tumorlens.pacs.queue import (
    ANSWER,
    COMMIT,
    FACTS,
    IMAGE,
    JUDGE,
    KIND,
    LACKING,
    PARTIAL,
    POLICIES,
    RESULT,
    SEND,
    SENT,
    STUDY,
    STUDY_PREFIX,
    SeriesJob,
    SeriesQueue,
    StudyJob,
    is_in,
)

COMMITMENT = "commitment"
"""Kind of what a peer asks the node to commit."""

MOST_UNANSWERED = 1000
"""Requests of peers that wait for an answer."""

MOST_REFUSALS = 10
"""Times that the archive refuses to commit results, which are sent anew each time."""

_ASKED, _REFUSALS = "asked", "refusals"
"""Keys of a series' document: the transactions by which the archive was asked to commit
its results, with the files by their UIDs; and how often it refused."""

_MOST_TRANSACTIONS = 50

IMAGE_CLASSES = (MRImageStorage, EnhancedMRImageStorage)
"""SOP classes of images that the node takes."""

_IS_JUDGED = "judged"
"""Key of a series' document: whether it led to anything that a study may count."""

NOT_WHOLE = (
    "{count} of the study's series are not known to be whole, and were left out."
)
NOT_KEPT = "The images of {count} of the study's series are not kept any more."
GIVEN_UP = "{count} of the study's series could not be judged."
_LOOK_AGAIN_SECONDS = 30.0
"""Between two looks at a study of which a series is still to be judged."""


@dataclass(frozen=True)
class PeerRequest:
    """What a peer asks the node to commit.

    Parameters
    ----------
    id
        Its name in the queue.
    title
        AE title of the peer.
    request
        The request.
    files
        File of each of its instances that the queue holds, by UID.
    """

    id: str
    title: str
    request: CommitmentRequest
    files: Mapping[str, Path]


class NodeQueue(SeriesQueue):
    """Series of a node, its sent results and its peers' requests; as `SeriesQueue`.

    Parameters
    ----------
    folder, keep_seconds, clock
        The same as of `SeriesQueue`.
    commits
        Whether the archive is asked to commit what it was sent.
    study_seconds
        Seconds for which no series of a study may be judged anew before they are judged
        together; None where they are not.
    """

    def __init__(
        self,
        folder: Path,
        keep_seconds: float = 0.0,
        clock: Callable[[], float] = time.time,
        *,
        commits: bool = False,
        study_seconds: float | None = None,
    ) -> None:
        super().__init__(folder, keep_seconds, clock)
        self._commits = commits
        self._study_seconds = study_seconds
        try:
            if not commits:
                self._end_all(COMMIT)
            if study_seconds is None:
                self._end_all(STUDY)
        except BaseException:
            self.close()
            raise

    # --- Series that make a study ---

    def next_study(self) -> StudyJob | None:
        """Find a study all of whose series have been judged, and that is quiet.

        Its results are kept by `put_results`, sent and committed as those of a series.
        """
        row = self.jobs.claim(STUDY, f"{self._worker} {STUDY}")
        if row is None or row.key is None:
            return None
        if self._is_awaited(row):
            with self._database.transaction() as session:
                own = self.jobs.locked(session, Job.id == row.id)
                if own is not None and own.lease == row.lease:
                    self.jobs.move(own, STUDY)
                    own.due = own.rank = self._clock() + _LOOK_AGAIN_SECONDS
            return None
        return self._study_job(row, self.jobs.children(row.id))

    def _is_awaited(self, study: Job) -> bool:
        """Tell whether a series of a study is still to be judged."""
        with self._database.reading() as session:
            series = session.scalars(
                select(Job).where(
                    Job.kind == KIND, Job.stage == JUDGE, Job.state.not_in(OVER)
                )
            ).all()
        uid = (study.key or "").removeprefix(STUDY_PREFIX)
        return any(
            row.parent == study.id
            # Until it is judged, only its images say of which study it is.
            or (row.parent is None and _study_uid(self._files_of(row)) == uid)
            for row in series
        )

    def _files_of(self, row: Job) -> list[Path]:
        images = self._artifacts.of(row.id, IMAGE)
        return [self._artifacts.path(item.digest) for item in images if item.digest]

    def _study_job(self, row: Job, parts: Sequence[Job]) -> StudyJob:
        parts_to_judge: list[SeriesJob] = []
        left_out: dict[str, int] = {}
        for part in parts:
            files = self._files_of(part)
            if part.stage == JUDGE and part.state is JobState.FAILED:
                reason = GIVEN_UP
            elif not part.document.get(_IS_JUDGED):
                continue
            elif part.document.get(PARTIAL):
                reason = NOT_WHOLE
            elif not files or len(files) < len(self._artifacts.of(part.id, IMAGE)):
                reason = NOT_KEPT
            else:
                parts_to_judge.append(SeriesJob(part.key or "", tuple(files)))
                continue
            left_out[reason] = left_out.get(reason, 0) + 1
        return StudyJob(
            series=row.key or "",
            files=tuple(path for part in parts_to_judge for path in part.files),
            earlier=self._earlier(row),
            lease=row.lease,
            parts=tuple(parts_to_judge),
            left_out=tuple(text.format(count=n) for text, n in left_out.items()),
        )

    def _judged(
        self, session: Session, row: Job, job: SeriesJob, *, has_results: bool
    ) -> None:
        if self._study_seconds is None or isinstance(job, StudyJob):
            return
        # In shadow mode there are findings, and no results.
        is_judged = has_results or bool(row.document.get(FACTS, {}).get("findings"))
        row.document = {**row.document, _IS_JUDGED: is_judged}
        self._join(session, row, _study_uid(job.files))

    def postpone(self, series: str) -> float:
        """Try again later; a study goes on without a series that is given up."""
        wait = super().postpone(series)
        if math.isinf(wait) and self._study_seconds is not None:
            with self._database.transaction() as session:
                row = self._row(session, series)
                if row is not None and row.stage == JUDGE:
                    self._join(session, row, _study_uid(self._files_of(row)))
        return wait

    def _join(self, session: Session, row: Job, study: str) -> None:
        """Let a study wait to be judged with all its series, of which one is new."""
        if not study or self._study_seconds is None:
            return
        key = f"{STUDY_PREFIX}{study}"
        whole = self._row(session, key)
        if whole is None:
            whole = self.jobs.add(KIND, STUDY, key=key)
            session.flush()
        else:
            self.jobs.move(whole, STUDY)
        row.parent = whole.id
        whole.arrived = self._clock()
        whole.due = whole.rank = whole.arrived + self._study_seconds

    # --- What the archive is asked to commit ---

    def next_to_commit(self) -> SeriesJob | None:
        """Find a series whose sent results are due to be committed."""
        return self._next(COMMIT, SENT, 0.0)

    def asked(
        self, job: SeriesJob, transaction: str, files: Mapping[str, Path]
    ) -> float:
        """Note that the archive is about to be asked; to be called before it is.

        Parameters
        ----------
        job
            Job of `next_to_commit`.
        transaction
            UID of the request.
        files
            The job's files by the UIDs of their instances.

        Returns
        -------
        float
            Seconds after which to ask again, should no report come; infinite where it
            was asked too often, and the series is given up.
        """
        with self._database.transaction() as session:
            row = self._row(session, job.series)
            if row is None or row.lease is None or row.lease != job.lease:
                return 0.0
            earlier = row.document.get(_ASKED, {}).get("transactions", [])
            row.document = {
                **row.document,
                _ASKED: {
                    "transactions": [*earlier, transaction][-_MOST_TRANSACTIONS:],
                    "files": {uid: path.name for uid, path in files.items()},
                },
            }
            wait = self.jobs.postpone(row)
        self._given_up += math.isinf(wait)
        return wait

    def committed(self, report: CommitmentReport) -> bool:
        """Note what the archive says of the results that it was sent.

        What it has not is sent anew, later each time. A report on results that were
        replaced meanwhile changes nothing.

        Parameters
        ----------
        report
            Report on a transaction of `asked`.

        Returns
        -------
        bool
            False where nobody asked for it, or asks no more.
        """
        with self._database.transaction() as session:
            waiting = session.scalars(
                select(Job)
                .where(Job.kind == KIND, Job.stage == COMMIT, Job.state.not_in(OVER))
                .with_for_update()
            ).all()
            for row in waiting:
                asked = row.document.get(_ASKED, {})
                if report.transaction in asked.get("transactions", []):
                    self._settle(session, row, asked["files"], report)
                    return True
        return False

    def _settle(
        self,
        session: Session,
        row: Job,
        files: Mapping[str, str],
        report: CommitmentReport,
    ) -> None:
        sent = self._artifacts.of(row.id, SENT)
        held = {files[uid] for uid in report.committed if uid in files}
        missed = {files[uid] for uid in report.failed if uid in files}
        self._artifacts.detach([item for item in sent if item.digest in held])
        again = [item for item in sent if item.digest in missed]
        if again:
            _rename(session, again, RESULT)
            refusals = row.document.get(_REFUSALS, 0) + 1
            row.document = {**row.document, _REFUSALS: refusals}
            if refusals >= MOST_REFUSALS:
                self.jobs.end(row, JobState.FAILED)
                self._given_up += 1
                return
            self.jobs.move(row, SEND)
            row.due += POLICIES[COMMIT].wait(refusals)
            row.rank = row.due
        elif all(item.digest in held for item in sent):
            self.jobs.end(row, JobState.DONE)

    def _drop_results(self, row: Job) -> None:
        super()._drop_results(row)
        # The key object selection rejects them, whether the archive has them or not.
        self._artifacts.detach(self._artifacts.of(row.id, SENT))
        row.document = {
            key: value
            for key, value in row.document.items()
            if key not in (_ASKED, _REFUSALS)
        }

    def _let_go(self, session: Session, results: Sequence[Artifact]) -> None:
        if self._commits:
            _rename(session, results, SENT)
        else:
            super()._let_go(session, results)

    def _all_sent(self, row: Job) -> None:
        if self._commits and self._artifacts.of(row.id, SENT):
            self.jobs.move(row, COMMIT)
        else:
            self._artifacts.detach(self._artifacts.of(row.id, SENT))
            super()._all_sent(row)

    def _end_all(self, stage: str) -> None:
        """End what an earlier start left in a stage in which nobody works now."""
        with self._database.transaction() as session:
            rows = session.scalars(
                select(Job).where(
                    Job.kind == KIND, Job.stage == stage, Job.state.not_in(OVER)
                )
            ).all()
            for row in rows:
                self._artifacts.detach(self._artifacts.of(row.id, SENT))
                self.jobs.end(row, JobState.DONE)

    # --- What peers ask the node to commit ---

    def ask(self, title: str, request: CommitmentRequest) -> None:
        """Keep what a peer asks for; the same request again is kept once.

        What it asks for it has sent: images of a series beside those that have come
        are missing, and it is judged as a part of one, or anew.

        Parameters
        ----------
        title
            AE title of the peer.
        request
            What it asks for.

        Raises
        ------
        BusyError
            Too many wait for an answer.
        """
        key = f"{title} {request.transaction}"
        with self._database.transaction() as session:
            if self.jobs.named(COMMITMENT, key) is not None:
                return
            if sum(self.jobs.count(COMMITMENT).values()) >= MOST_UNANSWERED:
                raise BusyError(
                    f"{MOST_UNANSWERED} requests for commitment wait for an answer."
                )
            document = {
                "title": title,
                "transaction": request.transaction,
                "instances": dict(request.instances),
            }
            self.jobs.add(COMMITMENT, ANSWER, key=key, document=document)
            self._note_lacking(session, request)

    def _note_lacking(self, session: Session, request: CommitmentRequest) -> None:
        wanted = [
            uid for uid, kind in request.instances.items() if kind in IMAGE_CLASSES
        ]
        known: dict[str, str] = {}
        for some in portions(wanted):
            rows = session.execute(
                select(Artifact.name, Artifact.job).where(
                    Artifact.role == IMAGE, Artifact.name.in_(some)
                )
            )
            known.update((name, job) for name, job in rows)
        jobs = set(known.values())
        if len(jobs) != 1:
            # Nobody says of which of several series the others are.
            return
        row = self.jobs.locked(session, Job.id == jobs.pop())
        if row is None:
            return
        lacking = sorted(uid for uid in wanted if uid not in known)
        # Who asks for the same again tells nothing new.
        is_news = bool(lacking) and lacking != row.document.get(LACKING)
        row.document = {**row.document, LACKING: lacking}
        if is_news and not is_in(row, JUDGE):
            self._judge_again(row)

    def next_to_answer(self) -> PeerRequest | None:
        """Find a request whose peer is due to be answered."""
        row = self.jobs.claim(ANSWER, f"{self._worker} {ANSWER}")
        if row is None:
            return None
        facts: dict[str, Any] = row.document
        request = CommitmentRequest(facts["transaction"], facts["instances"])
        return PeerRequest(
            row.id, facts["title"], request, self._held(request.instances)
        )

    def answered(self, request: PeerRequest, *, arrived: bool) -> float:
        """Note that an answer was sent.

        Parameters
        ----------
        request
            Request of `next_to_answer`.
        arrived
            Whether the peer took it.

        Returns
        -------
        float
            0 where it did; else the seconds after which to try again, infinite where
            the request is given up.
        """
        with self._database.transaction() as session:
            row = self.jobs.locked(session, Job.id == request.id)
            wait = 0.0
            if row is not None and not arrived:
                wait = self.jobs.postpone(row)
        if arrived or math.isinf(wait):
            self.jobs.remove([request.id])
        return wait

    def _held(self, instances: Collection[str]) -> dict[str, Path]:
        """Find the files of images that are on the disk."""
        paths: dict[str, Path] = {}
        with self._database.reading() as session:
            for some in portions(list(instances)):
                rows = session.execute(
                    select(Artifact.name, Artifact.digest).where(
                        Artifact.role == IMAGE,
                        Artifact.digest.is_not(None),
                        Artifact.name.in_(some),
                    )
                )
                for name, digest in rows:
                    paths[name] = self._artifacts.path(str(digest))
        return paths


def _study_uid(files: Sequence[Path]) -> str:
    """Read which study images are of; empty where none says."""
    for path in files:
        try:
            header = dcmread(
                path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"]
            )
            return str(header.get("StudyInstanceUID") or "")
        except Exception:
            # Whatever a hostile file does to the parser.
            continue
    return ""


def _rename(session: Session, artifacts: Sequence[Artifact], role: str) -> None:
    numbers = [item.number for item in artifacts]
    session.execute(
        update(Artifact).where(Artifact.number.in_(numbers)).values(role=role)
    )
