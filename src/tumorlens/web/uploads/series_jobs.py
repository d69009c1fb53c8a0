"""Uploaded studies are read and judged one after the other, in the background.

Tested in `tests/web/views/api/test_series.py`.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tumorlens.errors import (
    BusyError,
    InputError,
    MissingFileError,
    OutputError,
    QuotaError,
    TooLargeError,
    TumorLensError,
)
from tumorlens.imaging.bids import MAX_SIDECAR_BYTES
from tumorlens.imaging.limits import check_file_size
from tumorlens.imaging.read import read_collection, read_study
from tumorlens.imaging.study import (
    MRSequence,
    Series,
    Study,
    patient_numbers,
    stacks_of,
)
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.study.classifier import StudyClassifier
from tumorlens.jobs.database import Job, JobState
from tumorlens.jobs.monitored_rates import RateMonitor
from tumorlens.jobs.queue import JobLostError, Progress, Worker
from tumorlens.operations.drift import observe_series, reference_rates
from tumorlens.operations.logs import log_name
from tumorlens.operations.metrics import Metrics
from tumorlens.operations.tracing import span
from tumorlens.report.series import series_to_json, write_evidence
from tumorlens.report.study.document import study_failure_to_json, study_to_json
from tumorlens.report.study.pdf import SeriesEntry, render_series_pdf, series_entry
from tumorlens.settings import SETTINGS, Settings
from tumorlens.web.uploads.reuse import Computations
from tumorlens.web.uploads.series_volume import pack_evidence, pack_series
from tumorlens.web.uploads.store import STAGE, Store, StoreFullError
from tumorlens.web.uploads.upload import TRACE, Kind, State
from tumorlens.web.uploads.webhooks import SECRET, WEBHOOK, Webhooks

MAX_WAITING = 16
"""Studies that wait at a time: their files lie on the disk meanwhile."""

GIANT_SLICES = 2000
"""A study of so many slices need not be waited for: others are judged beside it."""

logger = logging.getLogger(__name__)
_PATIENCE_SECONDS = 6.0
_FIRST_SEQUENCES = (MRSequence.T1_CONTRAST, MRSequence.T1)


class _StoppingError(Exception):
    """The server stops."""


class SeriesJobs:
    """Threads that judge studies; safe to use from others.

    Attributes
    ----------
    webhooks
        Tells others that a study is judged.
    drift
        Counts what is judged against what the bundle states.
    computations
        Names what the classifier computes.

    One works through all studies. Another works only while that one is at a giant.

    Parameters
    ----------
    classifier
        A verified classifier.
    store
        Store of the uploads; it stops this before it closes.
    settings
        The limits.
    metrics
        Counts decisions.

    Raises
    ------
    SettingError
        The same as for `Webhooks`.
    """

    def __init__(
        self,
        classifier: SeriesClassifier,
        store: Store,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._classifier = classifier
        self._store = store
        self._settings = settings
        self._metrics = metrics
        bundle = classifier.bundle
        self.drift = RateMonitor(
            store.database, bundle.version, reference_rates(bundle)
        )
        self.computations = Computations(classifier)
        self._name = secrets.token_hex(8)
        self.webhooks = Webhooks(
            store.queue, settings.webhook_hosts, os.environ.get(SECRET)
        )
        steps = [self._next, self._next_beside_a_giant]
        if settings.webhook_hosts is not None:
            steps.append(lambda: self.webhooks.deliver_next(f"{self._name} webhooks"))
        self._worker = Worker(store.queue, steps)
        self._lock = threading.Lock()
        self._is_started = False
        store.before_close(self.close)
        if self.waiting() or store.queue.count(WEBHOOK):
            # Accepted before the server was started again.
            self.start()

    def check_room(self) -> None:
        """Refuse another study while too many wait.

        Raises
        ------
        BusyError
            Where `MAX_WAITING` are waiting, or the server stops.
        """
        if self._worker.is_stopping:
            raise BusyError("The server is stopping.", retry_seconds=10)
        if self.waiting() >= MAX_WAITING:
            raise BusyError(f"{MAX_WAITING} uploads of series are waiting already.")

    def check_quota(self, owner: str) -> None:
        """Refuse another study of an owner while too many of his wait.

        Raises
        ------
        QuotaError
            Where as many are waiting as may wait.
        """
        limit = self._settings.client_scans
        if self._store.queue.count_owned(owner, Kind.SCAN, STAGE) >= limit:
            raise QuotaError(
                f"{limit} uploads of this sender are waiting already.",
                "Wait until they are judged; whoever runs the server can set "
                f"{SETTINGS['client_scans'].option}.",
            )

    def start(self) -> None:
        """Judge what waits, and whatever comes until `close`.

        Nothing, where that is left to others.
        """
        if self._settings.no_worker:
            return
        with self._lock:
            if not self._is_started:
                self._is_started = True
                self._worker.start()

    def stop(self) -> None:
        """Stop at the next slice, without waiting for that; the study waits again."""
        self._worker.close(0.0)

    def close(self) -> None:
        """Stop, and wait for that."""
        self._worker.close(_PATIENCE_SECONDS)

    @property
    def is_quiet(self) -> bool:
        """True where no thread is at work any more."""
        return not self._worker.is_alive

    def waiting(self) -> int:
        """Count the studies that wait.

        Raises
        ------
        OutputError
            The database cannot be read.
        """
        counts = self._store.queue.count(Kind.SCAN)
        return counts.get((STAGE, JobState.WAITING), 0)

    def oldest_seconds(self) -> float:
        """Tell for how long the oldest study waits; 0 for none.

        Raises
        ------
        OutputError
            The database cannot be read.
        """
        return self._store.queue.oldest_seconds(Kind.SCAN, STAGE)

    def _next(self) -> bool:
        job = self._store.queue.claim(STAGE, f"{self._name} all")
        if job is not None:
            self._run(job)
        return job is not None

    def _next_beside_a_giant(self) -> bool:
        queue = self._store.queue
        if not queue.is_busy(STAGE, GIANT_SLICES):
            return False
        # It may be a giant, too, which nobody knows before it is read.
        job = queue.claim(STAGE, f"{self._name} small", most_cost=GIANT_SLICES - 1)
        if job is not None:
            self._run(job, GIANT_SLICES)
        return job is not None

    def _run(self, job: Job, too_large: int | None = None) -> None:
        """Judge a study; put it back where it has so many slices or more."""
        began = time.monotonic()
        if not job.attempts:
            waited = max(0.0, time.time() - job.created)
            self._metrics.stage_seconds.labels("series", "wait").observe(waited)
        name = log_name(job.id)
        with span("job", parent=job.document.get(TRACE), job=name) as traced:
            outcome = self._finish(job, too_large)
            traced.note(outcome=outcome.value, attempt=job.attempts + 1)
        fields = {
            "job": name,
            "outcome": outcome,
            "duration": round(time.monotonic() - began, 4),
        }
        logger.info("series", extra={"fields": fields})

    def _finish(self, job: Job, too_large: int | None) -> State:
        """Judge a study as far as that goes, and say what has become of it."""
        try:
            job = self._store.save(job, step=State.READING)
            computed_from = self.computations.name(
                job.owner,
                job.document["operating_point"],
                [("", job.document["label"]), *self._store.sent_digests(job)],
            )
            if self._copy(job, computed_from):
                return State.DONE
            with self._metrics.time_stage("series", "read"):
                study = _read(self._store.sent_files(job), job.document["label"])
            slices = sum(len(series.slices) for series in study.series)
            limit = self._settings.slices_per_scan
            if slices > limit:
                raise TooLargeError(
                    f"The upload has {slices:,} slices; at most {limit:,} are judged.",
                    "Send one series at a time; whoever runs the server can set "
                    f"{SETTINGS['slices_per_scan'].option}.",
                )
            job = self._store.queue.weigh(job, slices)
            if too_large is not None and slices >= too_large:
                self._store.queue.release(job)
                return State.WAITING
            with self._metrics.time_stage("series", "judge"):
                if study.is_pictures:
                    job = self._judge_pictures(job, study)
                else:
                    job = self._judge(job, stacks_of(study))
            self._store.finish(job, JobState.DONE, computed_from=computed_from)
            return State.DONE
        except JobLostError:
            # It was stopped or removed.
            return State.STOPPED
        except _StoppingError:
            self._store.queue.release(job)
            return State.WAITING
        except StoreFullError as error:
            return self._fail(job, error)
        except OutputError as error:
            wait = self._store.queue.retry(job, _described(error))
            logger.error("A scan is tried again in %.0f s: %s", wait, error)
            if not math.isinf(wait):
                return State.WAITING
            self._store.tell(job, JobState.FAILED)
            return State.FAILED
        except TumorLensError as error:
            return self._fail(job, error)
        except Exception:
            # Files that vanish under a study that was stopped are no fault.
            if self._is_lost(job):
                return State.STOPPED
            logger.exception("A scan could not be judged.")
            mistake = TumorLensError(
                "The series could not be judged: TumorLens made a mistake.",
                "Try it in another format; the server's log says more.",
            )
            mistake.code = "internal_error"
            return self._fail(job, mistake)

    def _copy(self, job: Job, computed_from: str) -> bool:
        """Take over what was computed of the same files before, if it is still kept."""
        judged = self._store.computed(computed_from, Kind.SCAN)
        if not judged:
            return False
        try:
            job = self._store.copy_scan(job, judged[0])
        except MissingFileError:
            return False
        self._store.finish(job, JobState.DONE, computed_from=computed_from)
        self._metrics.reused.labels("series").inc()
        name = self._classifier.bundle.name
        for facts in job.document["series"]:
            decision = facts["finding"]["decision"]
            self._metrics.count_decision(decision, name, facts["sequence"])
        return True

    def _fail(self, job: Job, error: TumorLensError) -> State:
        # The findings so far stay with it.
        self._store.finish(job, JobState.FAILED, _described(error))
        return State.FAILED

    def _is_lost(self, job: Job) -> bool:
        try:
            self._store.queue.check(job)
        except JobLostError:
            return True
        return False

    def _check(self, job: Job) -> None:
        if self._worker.is_stopping:
            raise _StoppingError
        self._store.queue.check(job)

    def _keep(
        self,
        job: Job,
        changes: dict[str, Any],
        files: dict[str, bytes],
        step: State | None = None,
    ) -> Job:
        self._check(job)
        document = {**job.document, **changes}
        with span("store", kind="series"):
            return self._store.save(job, step=step, document=document, files=files)

    def _judge(self, job: Job, study: Study) -> Job:
        waiting = list(enumerate(study.series))
        notes = list(study.notes)
        patients = patient_numbers([series.patient for _, series in waiting])
        del study
        facts: list[dict[str, Any]] = []
        for index, series in waiting:
            packed = pack_series(series)
            facts.append(_facts_before(index, series, packed.geometry, patients[index]))
            files = {
                f"voxels-{index}": packed.voxels,
                f"thumbnail-{index}": packed.thumbnail,
            }
            changes = {"notes": notes, "series": facts, "has_report": False}
            job = self._keep(job, changes, files, State.JUDGING)
        total = sum(len(series.slices) for _, series in waiting)
        done = 0
        waiting.sort(key=lambda item: _rank(item[1]))
        entries: dict[int, SeriesEntry] = {}
        together: dict[int, tuple[Series, SeriesPrediction]] = {}
        keeps = len(waiting) > 1 and total < GIANT_SLICES
        while waiting:
            # Each series of a giant is let go once it is judged.
            index, series = waiting.pop(0)
            job, finding = self._judge_series(
                job, index, series, self._reporter(job, done, total)
            )
            entries[index] = series_entry(finding, series)
            if keeps and finding.seen is not None:
                together[index] = series, finding
            done += len(series.slices)
        if len(together) == len(entries) > 1:
            job = self._judge_study(
                job, [together[index] for index in sorted(together)]
            )
        return self._report(job, [entries[index] for index in sorted(entries)])

    def _judge_study(
        self, job: Job, judged: Sequence[tuple[Series, SeriesPrediction]]
    ) -> Job:
        """Judge all series of an upload together, if they are of one study."""
        classifier = StudyClassifier(self._classifier.slice_classifier())
        files = {}
        try:
            prediction = classifier.predict(
                [series for series, _ in judged],
                job.document["operating_point"],
                lambda *_: self._check(job),
                seen=dict(enumerate(finding for _, finding in judged)),
            )
        except InputError as error:
            document = study_failure_to_json(error)
        else:
            document = study_to_json(prediction, job.document["notes"])
            combined = prediction.combined
            if combined.evidence is not None and combined.affine_ras is not None:
                files["nifti-study"] = _nifti(combined)
        return self._keep(job, {"study": document}, files)

    def _report(self, job: Job, entries: list[SeriesEntry]) -> Job:
        bundle = self._classifier.bundle
        date = datetime.fromtimestamp(job.created, UTC)
        report = render_series_pdf(entries, bundle, date, job.document["notes"])
        return self._keep(job, {"has_report": True}, {"report": report})

    def _judge_series(
        self, job: Job, index: int, series: Series, report: Callable[[int, int], None]
    ) -> tuple[Job, SeriesPrediction]:
        report(0, len(series.slices))
        point = job.document["operating_point"]
        finding = self._classifier.predict(series, point, report)
        files = {}
        if finding.evidence is not None:
            files[f"evidence-{index}"] = pack_evidence(finding.evidence)
            if finding.affine_ras is not None:
                files[f"nifti-{index}"] = _nifti(finding)
        series_facts = job.document["series"]
        judged = {
            **series_facts[index],
            "state": State.DONE,
            "finding": series_to_json(finding, job.document["notes"]),
            "has_evidence": finding.evidence is not None,
            "has_nifti": f"nifti-{index}" in files,
        }
        self._metrics.count_decision(
            finding.decision, self._classifier.bundle.name, series.sequence
        )
        bundle = self._classifier.bundle
        self.drift.observe(observe_series(finding, series.sequence, bundle))
        listed = [judged if item["index"] == index else item for item in series_facts]
        return self._keep(job, {"series": listed}, files), finding

    def _judge_pictures(self, job: Job, study: Study) -> Job:
        """Judge single pictures, which belong to no series, each by itself."""
        point = job.document["operating_point"]
        slices = study.slices
        # Those that were judged before a restart are there.
        done = len(job.document["analyses"])
        report = self._reporter(job, done, len(slices))
        left = slices[done:]
        if not left:
            return job
        classifier = self._classifier.slice_classifier()
        predictions = classifier.predict_slices(left, point, study.notes)
        for number, prediction in enumerate(predictions, 1):
            report(number, len(left))
            job = self._store.add_part(prediction, job, len(slices))
            self._metrics.count_decision(
                prediction.decision.label,
                self._classifier.bundle.name,
                prediction.sequence.sequence,
            )
        return job

    def _reporter(
        self, job: Job, before: int, total: int
    ) -> Callable[[int, int], None]:
        def report(done: int, _: int) -> None:
            self._check(job)
            self._store.queue.report(job, Progress(before + done, total))

        return report


def _described(error: TumorLensError) -> dict[str, str]:
    return {"code": error.code, "message": error.message, "mend": error.hint}


def _nifti(finding: SeriesPrediction) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tumorlens-") as folder:
        path = Path(folder, "evidence.nii.gz")
        write_evidence(finding, path)
        return path.read_bytes()


def _read(files: Mapping[str, Path], label: str) -> Study:
    """Read what was sent: a single file of any format, or several as one study."""
    if len(files) == 1:
        return read_study(next(iter(files.values())), label)
    sidecars: dict[str, bytes] = {}
    contents = _contents(files, label, sidecars)
    return read_collection(contents, label, sidecars=sidecars)


def _contents(
    files: Mapping[str, Path], label: str, sidecars: dict[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """Give name and content of each file; `sidecars` gets those of volumes."""
    for stored, path in files.items():
        if stored.endswith(".json"):
            continue
        number, _, plain = stored.partition("_")
        name = f"{label}#{int(number)}" + (f"/{plain}" if plain else "")
        check_file_size(path.stat().st_size, name)
        sidecar = files.get(f"{number}.json")
        if sidecar is not None and sidecar.stat().st_size <= MAX_SIDECAR_BYTES:
            sidecars[name] = sidecar.read_bytes()
        yield name, path.read_bytes()


def _rank(series: Series) -> int:
    """Rank a series: what the model was trained on comes first."""
    if series.sequence in _FIRST_SEQUENCES:
        return _FIRST_SEQUENCES.index(series.sequence)
    return len(_FIRST_SEQUENCES)


def _facts_before(
    index: int, series: Series, geometry: dict[str, Any], patient: int | None
) -> dict[str, Any]:
    """Gather what is known of a series that waits to be judged."""
    first = series.slices[0]
    return {
        "index": index,
        "state": State.WAITING,
        "plane": None if first.plane is None else first.plane.value,
        "sequence": None if series.sequence is None else series.sequence.value,
        "slices": len(series.slices),
        "rank": _rank(series),
        "patient": patient,
        "geometry": geometry,
        "finding": None,
        "has_evidence": False,
        "has_nifti": False,
    }
