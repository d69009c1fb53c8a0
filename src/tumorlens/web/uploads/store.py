"""Uploads and their results, kept privately and for a stated time only.

A folder that only its owner may enter holds a store of `tumorlens.jobs`, and the key
that signs cookies. Each picture and each upload is a job there with its files; the
pictures that an upload consists of are parts of it.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from sqlalchemy import select

from tumorlens.errors import (
    BusyError,
    DiskFullError,
    IdempotencyError,
    MissingFileError,
    NotReadyError,
    OutputError,
    QuotaError,
)
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.jobs.accounts import AccountStore, TokenStore
from tumorlens.jobs.artifacts import Stage, StagedFile
from tumorlens.jobs.database import Artifact, Job, JobState
from tumorlens.jobs.queue import JobQueue, RetryPolicy
from tumorlens.jobs.store import DATABASE, FILES, LOCK, JobStore, Retention
from tumorlens.operations.audit import AUDIT_FILE, AuditTrail
from tumorlens.report.feedback import KEY as FEEDBACK
from tumorlens.report.feedback import Feedback
from tumorlens.report.slice.document import prediction_from_json, prediction_to_json
from tumorlens.report.slice.overlay import grey_map, window_picture
from tumorlens.settings import SETTINGS
from tumorlens.web.security import ADDRESS, ANYONE, PIN_DAYS, USER
from tumorlens.web.uploads import webhooks
from tumorlens.web.uploads.feedback import PAGES_OF
from tumorlens.web.uploads.reuse import copied_document
from tumorlens.web.uploads.store_0_1 import OLDER_INDEX, read_older, remove_older
from tumorlens.web.uploads.upload import (
    PICTURES,
    RESULT,
    SENT,
    Kind,
    State,
    Upload,
    missing,
)

STAGE = "scan"
"""Stage at which uploads wait to be judged."""

ATTEMPTS = RetryPolicy(5)
"""Tries of an upload that a full disk or a restart has kept from being judged."""

_ANSWER = "answer"
"""Kind of the jobs that keep what an `AnswerKey` stands for."""

UNDO_SECONDS = 10.0
"""Seconds in which a deletion of everything can be taken back."""

_DELETION = "deletion"
"""Kind and stage of a job that stands for a deletion until it is carried out. Nobody
works on it, and it is never over, so that it gives way to nothing."""

PINNED_PART = 0.5
"""Part of the store that all pinned results together may take."""

_KEY, _KEY_BYTES = "key", 32
_SWEEPS_SECONDS = 10.0
logger = logging.getLogger(__name__)


class StoreFullError(DiskFullError):
    """The store can keep no more results."""


@dataclass(frozen=True)
class AnswerKey:
    """Key under which a sender may ask for the same answer again.

    Parameters
    ----------
    digest
        Digest of owner, address and key.
    body
        Digest of what was sent with it.
    """

    digest: str
    body: str


@dataclass(frozen=True)
class Deletion:
    """What a session deleted and can still take back.

    Parameters
    ----------
    id
        Id of the job that stands for it.
    count
        Number of uploads.
    seconds_left
        Seconds until they are removed.
    """

    id: str
    count: int
    seconds_left: float


class Store:
    """Keeps uploads until their time is over; safe to use from threads.

    Parameters
    ----------
    folder
        Made if it is missing, and closed to everybody else; None for a
        temporary one that `close` removes. The store of an older release in it is
        taken over.
    retention_seconds
        Seconds that a result is kept, from when it was there.
    limit_bytes
        Limit of all files together; beyond it `Retention` removes results.
    clock
        Seconds since 1970.
    url
        URL of a database as for `JobStore`; None for one in the folder.
    scan_seconds
        Seconds that judging one upload of a series may take.
    feedback_seconds
        Seconds that a result is kept from when a reader marked it, if that is longer.

    Raises
    ------
    OutputError
        Where the folder cannot be made or written to, or another process uses it.
    """

    def __init__(
        self,
        folder: Path | None,
        retention_seconds: float,
        limit_bytes: int,
        clock: Callable[[], float] = time.time,
        url: str | None = None,
        scan_seconds: float = 4 * 3600.0,
        feedback_seconds: float = 0.0,
    ) -> None:
        self._scan_seconds = scan_seconds
        self._feedback_seconds = feedback_seconds
        self.retention_seconds = retention_seconds
        self._clock = clock
        self._stopped = threading.Event()
        self._sweeper: threading.Thread | None = None
        self._closers: list[Callable[[], None]] = []
        _check_folder(folder)
        policies = {STAGE: ATTEMPTS, webhooks.WEBHOOK: webhooks.ATTEMPTS}
        self._store = JobStore(folder, policies, url=url, clock=clock)
        self.folder = self._store.folder
        self.queue: JobQueue = self._store.queue
        self.database = self._store.database
        self.tokens = TokenStore(self.database, clock)
        self.accounts = AccountStore(self.database, clock)
        self.audit = AuditTrail(self.folder / AUDIT_FILE)
        self._artifacts = self._store.artifacts
        self._retention = Retention(
            self.database, self.queue, self._artifacts, limit_bytes
        )
        try:
            self.key = _signing_key(self.folder / _KEY)
            self._take_over()
            self.sweep()
        except BaseException as error:
            self._store.close()
            if isinstance(error, OSError):
                raise OutputError(
                    f"The store {self.folder} cannot be used: {error}.",
                    "Choose a folder of your own with --store.",
                ) from error
            raise

    def add(
        self,
        prediction: Prediction,
        owner: str,
        origin: Mapping[str, Any] | None = None,
        computed_from: str | None = None,
        pages: int = 1,
    ) -> Upload:
        """Keep a prediction with its pictures, in 8 bits.

        Parameters
        ----------
        prediction
            Prediction of one slice.
        owner
            The session it belongs to, or `ANYONE`.
        origin
            Where the picture comes from, unless somebody sent it: ``example`` (name
            of one of the page's examples) or ``framed`` (id of the analysis in whose
            picture the user drew a frame). It joins the document.
        computed_from
            Name of the computing by `Computations`; None where it has none.
        pages
            Slices of the file that it is of.

        Raises
        ------
        OutputError
            Where the folder is gone.
        DiskFullError
            Where the disk is full, or others' results leave no room.
        """
        try:
            with (
                self._artifacts.staging(durable=False) as stage,
                self.database.transaction(durable=False),
            ):
                job = self._add_picture(
                    prediction,
                    owner,
                    stage,
                    origin=origin,
                    computed_from=computed_from,
                    pages=pages,
                )
                self._make_room(job)
        except OutputError as error:
            raise type(error)(
                f"{prediction.source} was judged, but the result cannot be kept: "
                f"{error.message}",
                error.hint,
            ) from error
        return self._upload(job)

    def computed(self, computed_from: str, kind: Kind) -> list[Job]:
        """Find what was computed from the same before, and is still kept.

        Parameters
        ----------
        computed_from
            Name of the computing by `Computations`, which names the owner, too.
        kind
            Pictures or scans.

        Returns
        -------
        list of Job
            The newest: all pictures of a file in order, or one scan. Empty where there
            is none, or not all of it.
        """
        found = self.queue.computed(kind, computed_from, 1)
        if not found:
            return []
        total = found[0].cost
        if kind is Kind.PICTURE and total > 1:
            found = self.queue.computed(kind, computed_from, total)[::-1]
            first = found[0].id
            if len(found) < total or any(
                job.document.get(PAGES_OF) != first for job in found[1:]
            ):
                return []
        deleted = self._deleted(found[0].owner)
        is_kept = all(self._is_shown(job) and job.id not in deleted for job in found)
        return found if is_kept else []

    def copy_pictures(
        self, jobs: Sequence[Job], owner: str, origin: Mapping[str, Any] | None = None
    ) -> list[Upload]:
        """Make new results of pictures that were judged before.

        Parameters
        ----------
        jobs
            Jobs of `computed`.
        owner, origin
            The same as for `add`.

        Raises
        ------
        MissingFileError
            Where one was removed meanwhile: nothing is kept.
        OutputError
            The same as for `add`.
        """
        copies: list[Job] = []
        pages_origin = dict(origin or {})
        with self._artifacts.staging(durable=False) as stage:
            files = [self._stage_copies(job, stage) for job in jobs]
            with self.database.transaction(durable=False):
                for job, staged in zip(jobs, files, strict=True):
                    document = copied_document(job.document, pages_origin)
                    copy = self._insert_picture(
                        document, owner, None, job.computed_from, job.cost
                    )
                    self._artifacts.attach(copy.id, RESULT, staged)
                    copies.append(copy)
                    # The same as when they were judged.
                    pages_origin.setdefault(PAGES_OF, copy.id)
                self._make_room(copies[-1])
        return [self._upload(job) for job in copies]

    def copy_scan(self, upload: Job, judged: Job) -> Job:
        """Give an upload the results of one that was judged before.

        Parameters
        ----------
        upload
            The upload, held by who would judge it.
        judged
            Job of `computed`.

        Returns
        -------
        Job
            The upload as it is now.

        Raises
        ------
        MissingFileError
            Where that was removed meanwhile: nothing is kept.
        OutputError, JobLostError
            The same as for `save`.
        """
        with self._artifacts.staging() as stage:
            files = self._stage_copies(judged, stage)
            parts = [
                (part, self._stage_copies(part, stage))
                for part in self.queue.children(judged.id)
            ]
            with self.database.transaction():
                ids = []
                for part, staged in parts:
                    copy = self._insert_picture(
                        copied_document(part.document), upload.owner, upload.id
                    )
                    self._artifacts.attach(copy.id, RESULT, staged)
                    ids.append(copy.id)
                if self.queue.get(judged.id) is None:
                    raise missing(Kind.SCAN)
                document = {
                    **upload.document,
                    **copied_document(judged.document),
                    "analyses": ids,
                }
                upload = self.queue.save(upload, document=document)
                self._artifacts.attach(upload.id, RESULT, files)
                self._retention.make_room(upload)
        return upload

    def add_part(self, prediction: Prediction, upload: Job, total: int) -> Job:
        """Keep the prediction of one of an upload's pictures, and list it there.

        Parameters
        ----------
        prediction
            Prediction of one slice.
        upload
            The upload, held by who judges it.
        total
            Number of its pictures.

        Returns
        -------
        Job
            The upload as it is now.

        Raises
        ------
        OutputError
            Where the disk is full or the folder is gone.
        StoreFullError
            Where the pictures that are there already leave no room.
        JobLostError
            The upload was stopped or removed: nothing is kept.
        """
        listed = upload.document["analyses"]
        with (
            self._artifacts.staging() as stage,
            self.database.transaction(),
        ):
            picture = self._add_picture(prediction, upload.owner, stage, upload.id)
            document = {**upload.document, "analyses": [*listed, picture.id]}
            upload = self.queue.save(upload, document=document)
            if not self._retention.make_room(picture) and listed:
                raise StoreFullError(
                    f"The store has no room for more than {len(listed)} of these "
                    f"{total} pictures.",
                    "Send fewer at a time; whoever runs the server can set "
                    f"{SETTINGS['store_mb'].option}.",
                )
        return upload

    def add_scan(
        self,
        label: str,
        owner: str,
        operating_point: str,
        files: Mapping[str, BinaryIO],
        origin: Mapping[str, Any] | None = None,
        key: AnswerKey | None = None,
    ) -> Upload:
        """Accept an upload, to be judged later: from now on it survives a restart.

        Parameters
        ----------
        label
            Name for people.
        owner
            The same as for `add`.
        operating_point
            One that the model has.
        files
            Files as they were sent, by names of ours, in this order.
        origin
            The same as for `add`.
        key
            Key under which `answer` finds the upload; None for no such.

        Raises
        ------
        BusyError
            Where it does not fit beside the others that wait or are being judged, or
            beside the results of those who keep less.
        OutputError
            Where the folder is gone, or as `DiskFullError` the disk is full.
        """
        document = {
            "label": label,
            "operating_point": operating_point,
            "notes": [],
            "series": [],
            "analyses": [],
            "has_report": False,
            **(origin or {}),
        }
        try:
            with self._artifacts.staging() as stage:
                staged = {name: stage(file) for name, file in files.items()}
                with self.database.transaction() as session:
                    job = self.queue.add(
                        Kind.SCAN,
                        STAGE,
                        owner=owner,
                        document=document,
                        time_limit=self._scan_seconds,
                    )
                    session.flush()
                    self._artifacts.attach(job.id, SENT, staged)
                    if key is not None:
                        self.keep_answer(key, owner, {"scan": job.id})
                    # Should it not fit, what has given way comes back.
                    if not self._retention.waiting_fits() or not (
                        self._retention.make_room(job) or self._is_alone(job)
                    ):
                        raise BusyError(
                            "The store has no room for this upload beside those that "
                            "wait.",
                            "Try again in a few minutes; whoever runs the server can "
                            f"set {SETTINGS['store_mb'].option}.",
                        )
        except OutputError as error:
            raise _cannot_keep(error) from error
        return self._upload(job)

    def answer(self, key: AnswerKey) -> dict[str, Any] | None:
        """Return what `keep_answer` kept; None where the key is new.

        Raises
        ------
        IdempotencyError
            The key stands for another request.
        """
        job = self.queue.named(_ANSWER, key.digest)
        if job is None:
            return None
        if not self._is_shown(job):
            self.queue.remove([job.id])
            return None
        if job.document["body"] != key.body:
            raise IdempotencyError("This Idempotency-Key was sent with other files.")
        document: dict[str, Any] = job.document["answer"]
        return document

    def keep_answer(self, key: AnswerKey, owner: str, document: dict[str, Any]) -> None:
        """Keep what a key stands for, as long as results are kept.

        Parameters
        ----------
        key
            A new one.
        owner
            Owner of the results.
        document
            Plain JSON values.

        Raises
        ------
        OutputError
            The database does not take it.
        """
        self.queue.add(
            _ANSWER,
            STAGE,
            owner=owner,
            key=key.digest,
            document={"body": key.body, "answer": document},
            state=JobState.DONE,
        )

    def get(self, upload_id: str, owner: str, kind: Kind = Kind.PICTURE) -> Upload:
        """Find an upload.

        Raises
        ------
        MissingFileError
            Where there is none, it is another's, or its time is over.
        """
        job = self.queue.get(upload_id)
        if (
            job is None
            or job.kind != kind
            or not _may_see(owner, job.owner)
            or not self._is_shown(job)
            or self._deleted(owner) & {job.id, job.parent}
        ):
            raise missing(kind)
        return self._upload(job)

    def prediction(self, picture: Upload) -> Prediction:
        """Put a picture's prediction together with its pixels and maps again.

        Returns
        -------
        Prediction
            Prediction with pixels and maps in steps of 1/255.

        Raises
        ------
        MissingFileError
            Where they were removed meanwhile.
        """
        data = io.BytesIO(self.read(picture, PICTURES))
        pictures = np.load(data, allow_pickle=False)
        pixels, evidence, gradcam = pictures.astype(np.float32) / np.float32(255.0)
        return prediction_from_json(picture.document, pixels, evidence, gradcam)

    def read(self, upload: Upload, name: str) -> bytes:
        """Read a file that was made of an upload.

        Raises
        ------
        MissingFileError
            Where it is not there, or not any more.
        """
        try:
            return self._artifacts.read(upload.id, RESULT, name)
        except MissingFileError as error:
            raise missing(upload.kind) from error

    def owned(self, owner: str, kind: Kind = Kind.PICTURE) -> tuple[Upload, ...]:
        """Return a session's uploads, the newest first."""
        jobs, deleted = self.queue.owned(owner, kind), self._deleted(owner)
        return tuple(
            self._upload(job)
            for job in jobs
            if self._is_shown(job) and not deleted & {job.id, job.parent}
        )

    def copies(self, pictures: Sequence[Upload]) -> dict[str, str]:
        """Find pictures whose pixels and maps equal those of an older one.

        Parameters
        ----------
        pictures
            A session's, as `owned` gives them.

        Returns
        -------
        dict of str to str
            Id of the oldest by the ids of the others.
        """
        if not pictures:
            return {}
        wanted = (
            select(Artifact.job, Artifact.digest)
            .join(Job, Job.id == Artifact.job)
            .where(
                Job.owner == pictures[0].owner,
                Artifact.role == RESULT,
                Artifact.name == PICTURES,
            )
        )
        with self.database.reading() as session:
            rows = session.execute(wanted).all()
        digests: dict[str, str | None] = {row.job: row.digest for row in rows}
        oldest: dict[str | None, str] = {}
        return {
            item.id: first
            for item in reversed(pictures)
            if (first := oldest.setdefault(digests.get(item.id), item.id)) != item.id
        }

    def page(
        self,
        owner: str,
        kind: Kind,
        after: str | None,
        length: int,
        pinned: bool = False,
    ) -> tuple[list[Upload], str | None]:
        """List some of an owner's uploads, the newest first.

        Parameters
        ----------
        owner
            User who is logged in.
        kind
            Pictures or scans.
        after
            What the page before said; None for the first page.
        length
            Most uploads.
        pinned
            Only those that are pinned.

        Returns
        -------
        list of Upload
            Those whose time is not over.
        str or None
            What to say for the next page; None where there is none.

        Raises
        ------
        MissingFileError
            Where `after` is none, or not any more.
        """
        jobs = self.queue.page(
            owner, kind, after=after, length=length + 1, pinned=pinned
        )
        if jobs is None:
            raise missing(kind)
        deleted = self._deleted(owner)
        uploads = [
            self._upload(job)
            for job in jobs[:length]
            if self._is_shown(job) and not deleted & {job.id, job.parent}
        ]
        return uploads, jobs[length - 1].id if len(jobs) > length else None

    def delete(self, upload_id: str, owner: str, kind: Kind = Kind.PICTURE) -> None:
        """Remove an upload, all its files, and the analyses of its single pictures.

        Raises
        ------
        MissingFileError
            Where there is none, or it is another's.
        """
        self.queue.remove([self.get(upload_id, owner, kind).id])

    def mark(
        self, upload: Upload, feedback: Feedback | None, index: int | None = None
    ) -> None:
        """Keep what a reader says of a result, and the result itself for longer.

        Parameters
        ----------
        upload
            A picture, or the scan that has the series.
        feedback
            None takes back what was said before.
        index
            Number of the series in the scan, from 0.

        Raises
        ------
        MissingFileError
            Where it was removed meanwhile.
        NotReadyError
            Where the scan is still being judged.
        """
        said = None if feedback is None else feedback.to_json()
        with self.database.transaction() as session:
            job = self.queue.locked(session, Job.id == upload.id)
            if job is None:
                raise missing(upload.kind)
            if index is None:
                document = {**job.document, FEEDBACK: said}
                marks = [said]
            else:
                series = [dict(facts) for facts in job.document["series"]]
                series[index][FEEDBACK] = said
                document = {**job.document, "series": series}
                marks = [facts.get(FEEDBACK) for facts in series]
            usual_end = (job.finished or 0.0) + self.retention_seconds
            kept_until = max(self._clock() + self._feedback_seconds, usual_end)
            is_marked = any(mark is not None for mark in marks)
            if not self.queue.note(job.id, document, kept_until if is_marked else None):
                raise NotReadyError("The upload is still being judged.")

    def pin(self, upload: Upload, most: int) -> None:
        """Keep a result until `unpin`, whatever its age and however full the store.

        The pin of an owner who is not logged in ends after `PIN_DAYS`.

        Parameters
        ----------
        upload
            A picture or a scan. With a picture that is part of a scan all of that is
            pinned.
        most
            Results that its owner may have pinned.

        Raises
        ------
        MissingFileError
            Where it was removed meanwhile.
        NotReadyError
            Where it is still being judged.
        QuotaError
            Where the owner has pinned as many already.
        StoreFullError
            Where pinned results would take more than `PINNED_PART` of the store.
        """
        with self.database.transaction():
            job = self.queue.get(upload.id)
            if job is not None and job.parent is not None:
                job = self.queue.get(job.parent)
            if job is None:
                raise missing(upload.kind)
            if not job.state.is_over:
                raise NotReadyError("The upload is still being judged.")
            if not self.queue.pin(job.id, most):
                raise QuotaError(
                    f"{most} results of this owner are pinned already."
                    if most
                    else "Results cannot be pinned here.",
                    "Unpin another first; whoever runs the server can set "
                    f"{SETTINGS['pinned_results'].option}.",
                )
            room = PINNED_PART * self._retention.limit_bytes
            if self._retention.pinned_bytes() > room:
                raise StoreFullError(
                    f"Pinned results take {PINNED_PART:.0%} of the store already.",
                    "Unpin others first; whoever runs the server can set "
                    f"{SETTINGS['store_mb'].option}.",
                )

    def unpin(self, upload: Upload) -> None:
        """Let a result go by its age again; one that is past it is shown no more."""
        job = self.queue.get(upload.id)
        if job is not None:
            self.queue.unpin(job.parent or job.id)

    def delete_all(self, owner: str) -> int:
        """Hide all uploads of a session; `sweep` removes them after `UNDO_SECONDS`.

        Returns
        -------
        int
            Number of uploads, pictures that are part of one included.
        """
        ids = [upload.id for kind in Kind for upload in self.owned(owner, kind)]
        if not ids:
            return 0
        self.queue.remove([job.id for job in self.queue.owned(owner, _ANSWER)])
        self.queue.add(_DELETION, _DELETION, owner=owner, document={"jobs": ids})
        return len(ids)

    def deletion(self, owner: str) -> Deletion | None:
        """Find what a session deleted last, as long as it can be taken back."""
        for job in self.queue.owned(owner, _DELETION):
            left = job.created + UNDO_SECONDS - self._clock()
            if left > 0.0:
                return Deletion(job.id, len(job.document["jobs"]), left)
        return None

    def undo_deletion(self, owner: str) -> None:
        """Show again what a session deleted last.

        Raises
        ------
        MissingFileError
            Where there is nothing, or it is too late.
        """
        deletion = self.deletion(owner)
        if deletion is None:
            raise MissingFileError(
                "This cannot be undone any more: the results are gone.",
                "Analyse the pictures again.",
            )
        self.queue.remove([deletion.id])

    def sweep(self) -> int:
        """Remove all uploads that were deleted or whose time is over; count them."""
        now = self._clock()
        self.queue.end_pins(now - 86_400.0 * PIN_DAYS, USER)
        removed = self._carry_out_deletions()
        return removed + self._retention.expire(now - self.retention_seconds, now)

    def sent_files(self, upload: Job) -> dict[str, Path]:
        """Name the files of an upload as they were sent; only to be read."""
        sent = self._artifacts.of(upload.id, SENT)
        return {
            item.name: self._artifacts.path(item.digest) for item in sent if item.digest
        }

    def sent_digests(self, upload: Job) -> list[tuple[str, str]]:
        """Name the files of an upload as they were sent, with their SHA-256."""
        sent = self._artifacts.of(upload.id, SENT)
        return [(item.name, item.digest) for item in sent if item.digest]

    def save(
        self,
        upload: Job,
        *,
        step: State | None = None,
        document: dict[str, Any] | None = None,
        files: dict[str, bytes] | None = None,
    ) -> Job:
        """Keep how far an upload is, and files of it; only for who holds its job.

        Raises
        ------
        JobLostError
            The upload was stopped or removed: nothing is kept.
        OutputError
            Where the disk is full or the folder is gone.
        """
        try:
            with self._artifacts.staging() as stage:
                staged = {name: stage(data) for name, data in (files or {}).items()}
                with self.database.transaction():
                    upload = self.queue.save(upload, step=step, document=document)
                    self._artifacts.attach(upload.id, RESULT, staged)
                    if staged:
                        # It was accepted: it is judged however full the store.
                        self._retention.make_room(upload)
        except OutputError as error:
            raise _cannot_keep(error) from error
        return upload

    def finish(
        self,
        upload: Job,
        state: JobState,
        error: dict[str, str] | None = None,
        computed_from: str | None = None,
    ) -> None:
        """End an upload, and let its files go as they were sent; as `save`."""
        with self.database.transaction():
            row = self.queue.finish(upload, state, error=error)
            row.computed_from = computed_from
            self._artifacts.detach(self._artifacts.of(upload.id, SENT))
            self.tell(upload, state)

    def tell(self, upload: Job, state: JobState) -> None:
        """Have whoever wants it told that an upload is over."""
        message = webhooks.message_job(upload, state)
        if message is not None:
            self.queue.add(
                webhooks.WEBHOOK,
                webhooks.WEBHOOK,
                owner=upload.owner,
                document=message,
            )

    def stop(self, upload: Upload) -> None:
        """Stop an upload that waits or is being judged; the findings so far stay."""
        with self.database.transaction():
            if self.queue.stop(upload.id):
                self._artifacts.detach(self._artifacts.of(upload.id, SENT))

    def start_sweeper(self) -> None:
        """Sweep from time to time, in a thread, until `close`."""
        self._sweeper = threading.Thread(target=self._sweep_on, daemon=True)
        self._sweeper.start()

    def has_room(self) -> bool:
        """Tell whether the disk has room for what comes.

        Raises
        ------
        OutputError
            The folder is not there any more.
        """
        return self._artifacts.has_room()

    def before_close(self, closer: Callable[[], None]) -> None:
        """Have something stopped before the store closes: who still writes to it."""
        self._closers.append(closer)

    def close(self) -> None:
        """Stop all work on it, and remove the folder if it was temporary."""
        for closer in self._closers:
            closer()
        self._stopped.set()
        if self._sweeper is not None:
            self._sweeper.join()
        self._store.close()

    def _add_picture(
        self,
        prediction: Prediction,
        owner: str,
        stage: Stage,
        parent: str | None = None,
        origin: Mapping[str, Any] | None = None,
        computed_from: str | None = None,
        pages: int = 1,
    ) -> Job:
        explanation = prediction.explanation
        pictures = io.BytesIO()
        np.save(
            pictures,
            np.stack(
                [
                    window_picture(prediction.pixels),
                    grey_map(explanation.evidence),
                    grey_map(explanation.gradcam),
                ]
            ),
        )
        document = {**prediction_to_json(prediction), **(origin or {})}
        job = self._insert_picture(document, owner, parent, computed_from, pages)
        file = stage(pictures.getvalue())
        self._artifacts.attach(job.id, RESULT, {PICTURES: file})
        return job

    def _insert_picture(
        self,
        document: dict[str, Any],
        owner: str,
        parent: str | None,
        computed_from: str | None = None,
        pages: int = 1,
    ) -> Job:
        return self.queue.add(
            Kind.PICTURE,
            STAGE,
            owner=owner,
            parent=parent,
            document=document,
            state=JobState.DONE,
            cost=pages,
            computed_from=computed_from,
        )

    def _stage_copies(self, job: Job, stage: Stage) -> dict[str, StagedFile | None]:
        """Give the files that were made of a job to another, without writing them."""
        files = {
            item.name: self._artifacts.path(item.digest)
            for item in self._artifacts.of(job.id, RESULT)
            if item.digest is not None
        }
        is_removed = job.kind == Kind.PICTURE and not files
        if is_removed or not all(path.exists() for path in files.values()):
            raise missing(Kind(job.kind))
        return {name: stage(path) for name, path in files.items()}

    def _make_room(self, job: Job) -> None:
        """Let a picture stay, or raise `StoreFullError`."""
        if not self._retention.make_room(job) and not self._is_alone(job):
            raise StoreFullError(
                "the store is full of others' results.",
                "Try again in a few minutes; whoever runs the server can set "
                f"{SETTINGS['store_mb'].option}.",
            )

    def _upload(self, job: Job) -> Upload:
        state = State(job.step or State.READING)
        if job.state is not JobState.RUNNING:
            state = State(job.state.value)
        document = job.document
        if job.kind == Kind.SCAN:
            document = {**document, "error": job.error}
        return Upload(
            job.id,
            Kind(job.kind),
            job.owner,
            job.created,
            state,
            document,
            self.queue.progress(job),
            job.kept_until,
            job.pinned is not None,
        )

    def _is_shown(self, job: Job) -> bool:
        """Tell whether a result's time is not over, also before the next sweep."""
        if job.pinned is not None:
            return True
        if job.parent is not None:
            # The time of a part begins when the whole is over.
            job = self.queue.get(job.parent) or job
        now = self._clock()
        if job.kept_until is not None and job.kept_until > now:
            return True
        return job.finished is None or job.finished > now - self.retention_seconds

    def _deleted(self, owner: str) -> set[str | None]:
        """Ids of what a session deleted and could still take back."""
        deletions = self.queue.owned(owner, _DELETION)
        return {job_id for job in deletions for job_id in job.document["jobs"]}

    def _carry_out_deletions(self) -> int:
        over = self._clock() - UNDO_SECONDS
        with self.database.reading() as session:
            due = list(
                session.scalars(
                    select(Job).where(Job.kind == _DELETION, Job.created <= over)
                )
            )
        removed = 0
        for job in due:
            removed += self.queue.remove([*job.document["jobs"], job.id]) - 1
        return removed

    def _is_alone(self, job: Job) -> bool:
        """Tell whether nothing else is kept than a job's own files."""
        own_bytes = sum(item.size for item in self._artifacts.of(job.id))
        return self._retention.used_bytes() == own_bytes

    def _sweep_on(self) -> None:
        while not self._stopped.wait(min(_SWEEPS_SECONDS, self.retention_seconds / 4)):
            try:
                self.sweep()
            except OutputError:
                # A full disk or a busy index today; the next sweep tries again,
                # and until then nothing that is over is shown.
                continue

    def _take_over(self) -> None:
        """Move what an older release left in the folder into the store; once."""
        older = read_older(self.folder)
        if older is None:
            return
        with (
            self._artifacts.staging() as stage,
            self.database.transaction() as session,
        ):
            for upload in older:
                if self.queue.get(upload.id) is not None:
                    # It was, and the older files could not be removed.
                    continue
                state = JobState(upload.state)
                job = self.queue.add(
                    upload.kind,
                    STAGE,
                    owner=upload.owner,
                    parent=upload.parent,
                    document=upload.document,
                    state=state,
                    time_limit=self._scan_seconds,
                )
                job.id, job.created, job.error = upload.id, upload.made, upload.error
                job.finished = upload.made if state.is_over else None
                session.flush()
                for role, files in ((SENT, upload.sent), (RESULT, upload.results)):
                    staged = {name: stage(path) for name, path in files.items()}
                    self._artifacts.attach(job.id, role, staged)
        remove_older(self.folder)
        logger.info("Took over %d uploads of an older store.", len(older))


def _may_see(owner: str, of: str) -> bool:
    """Tell whether an owner may see what is another's."""
    is_anyone = owner == ANYONE or owner.startswith(ADDRESS)
    return owner == of or (is_anyone and (of == ANYONE or of.startswith(ADDRESS)))


def _check_folder(folder: Path | None) -> None:
    """Refuse a folder of other things: nobody's is closed to others by mistake."""
    ours = {DATABASE, FILES, LOCK, _KEY, AUDIT_FILE}
    try:
        names = {item.name for item in folder.iterdir()} if folder else set()
    except OSError:
        # Who makes it says what is wrong with it.
        return
    if not (names <= ours or names & {DATABASE, OLDER_INDEX}):
        raise OutputError(
            f"The store {folder} holds files that are not TumorLens's.",
            "Give --store a new or an empty folder.",
        )


def _signing_key(path: Path) -> bytes:
    """Read the key that signs cookies, and make it where it is missing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) == _KEY_BYTES:
            return key
        path.unlink()
        return _signing_key(path)
    with os.fdopen(descriptor, "wb") as file:
        key = secrets.token_bytes(_KEY_BYTES)
        file.write(key)
    return key


def _cannot_keep(error: OutputError) -> OutputError:
    return type(error)(f"The upload cannot be kept: {error.message}", error.hint)
