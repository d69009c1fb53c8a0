"""Scans are read and judged one after the other, in the background."""

from __future__ import annotations

import logging
import queue
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tumorlens.errors import BusyError, MissingFileError, OutputError, TumorLensError
from tumorlens.imaging.study import Series, Study
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.series.results import SeriesPrediction
from tumorlens.report.series.document import series_to_json
from tumorlens.report.series.evidence_nifti import write_evidence
from tumorlens.report.series.pdf import SeriesEntry, render_series_pdf, series_entry
from tumorlens.settings import SETTINGS
from tumorlens.web.uploads.series_facts import first_facts, rank_of
from tumorlens.web.uploads.series_files import read_upload
from tumorlens.web.uploads.series_record import Scan, State
from tumorlens.web.uploads.series_volume import pack_evidence, pack_series
from tumorlens.web.uploads.store import Store

MAX_WAITING = 8
"""Scans that wait at a time: their files lie on the disk meanwhile."""

_LOG = logging.getLogger(__name__)
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Progress:
    """How far the scan is that is judged now.

    Parameters
    ----------
    done, total
        Slices of all its series.
    """

    done: int
    total: int


class _Ended(Exception):  # noqa: N818
    """The scan was stopped or removed, or the server stops."""


class ScanJobs:
    """One thread that judges scans; safe to use from others.

    Parameters
    ----------
    classifier
        Loaded and verified.
    store
        Where scans lie; it stops this before it closes.
    """

    def __init__(self, classifier: SeriesClassifier, store: Store) -> None:
        self._classifier = classifier
        self._store = store
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._lock = threading.Lock()
        self._stopped: set[str] = set()
        self._closed = threading.Event()
        self._progress: tuple[str, Progress] | None = None
        self._thread: threading.Thread | None = None
        store.before_close(self.close)

    def check_room(self) -> None:
        """Refuse another scan while too many wait.

        Raises
        ------
        BusyError
            Where `MAX_WAITING` are waiting.
        """
        if self._queue.qsize() >= MAX_WAITING:
            raise BusyError(f"{MAX_WAITING} scans are waiting already.")

    def submit(self, scan_id: str) -> None:
        """Have a scan judged whose files lie in its upload folder."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        self._queue.put(scan_id)

    def stop(self, scan: Scan) -> None:
        """Stop judging a scan; what was found so far stays."""
        with self._lock:
            now = self._store.scans.find(scan.id)
            if now is None or now.state.is_over:
                return
            self._stopped.add(scan.id)
            self._store.scans.drop_upload(scan.id)
            self._store.scans.save(replace(now, state=State.STOPPED))

    def progress(self, scan_id: str) -> Progress | None:
        """Tell how far a scan is; None where it is not being judged."""
        now = self._progress
        return now[1] if now is not None and now[0] == scan_id else None

    def close(self) -> None:
        """Stop at the next slice, and wait for that."""
        self._closed.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(_PATIENCE_SECONDS)

    def _work(self) -> None:
        while (scan_id := self._queue.get()) is not None and not self._closed.is_set():
            try:
                self._run(scan_id)
            except _Ended:
                pass
            except (TumorLensError, sqlite3.Error, OSError):
                # Not even that it failed can be kept: a scan that is gone is
                # better than one that seems to be judged for ever.
                _LOG.exception("A scan's state could not be kept.")
                with suppress(sqlite3.Error):
                    self._store.scans.remove(scan_id)
            finally:
                self._progress = None
                self._stopped.discard(scan_id)

    def _run(self, scan_id: str) -> None:
        scan = self._store.scans.find(scan_id)
        if scan is None or scan.state is not State.WAITING:
            return
        try:
            scan = self._keep(replace(scan, state=State.READING))
            folder = self._store.scans.upload_folder(scan_id)
            study = read_upload(folder, scan.document["label"])
            self._store.scans.drop_upload(scan_id)
            if study.is_pictures:
                scan = self._judge_pictures(scan, study)
            else:
                scan = self._judge(scan, study)
            self._keep(replace(scan, state=State.DONE))
        except TumorLensError as error:
            self._fail(scan, error.code, error.message, error.hint)
        except _Ended:
            raise
        except Exception:
            # Files that vanish under a scan that was stopped are no fault.
            self._check(scan_id)
            _LOG.exception("A scan could not be judged.")
            self._fail(
                scan,
                "internal_error",
                "The scan could not be judged: TumorLens made a mistake.",
                "Try it in another format; the server's log says more.",
            )

    def _fail(self, scan: Scan, code: str, message: str, mend: str) -> None:
        error = {"code": code, "message": message, "mend": mend}
        self._store.scans.drop_upload(scan.id)
        now = self._store.scans.find(scan.id) or scan
        # The pictures that were judged before stay with it.
        analyses = now.document["analyses"]
        document = {**scan.document, "analyses": analyses, "error": error}
        self._keep(replace(scan, state=State.FAILED, document=document))

    def _keep(self, scan: Scan, **files: bytes) -> Scan:
        with self._lock:
            self._check(scan.id)
            if not self._store.scans.save(scan, **files):
                raise _Ended
        if files:
            self._store.make_room(scan.id)
        return scan

    def _check(self, scan_id: str) -> None:
        if scan_id in self._stopped or self._closed.is_set():
            raise _Ended
        if not self._store.scans.exists(scan_id):
            raise _Ended

    def _judge(self, scan: Scan, study: Study) -> Scan:
        waiting = list(enumerate(study.series))
        notes = list(study.notes)
        del study
        facts: list[dict[str, Any]] = []
        for index, series in waiting:
            packed = pack_series(series)
            facts.append(first_facts(index, series, packed.geometry))
            document = {**scan.document, "notes": notes, "series": facts}
            scan = replace(scan, state=State.JUDGING, document=document)
            files = {
                f"voxels-{index}": packed.voxels,
                f"thumbnail-{index}": packed.thumbnail,
            }
            scan = self._keep(scan, **files)
        total = sum(len(series.slices) for _, series in waiting)
        done = 0
        waiting.sort(key=lambda item: rank_of(item[1]))
        entries: dict[int, SeriesEntry] = {}
        while waiting:
            # Each series is let go once it is judged: it may be large.
            index, series = waiting.pop(0)
            scan, finding = self._judge_series(
                scan, index, series, self._reporter(scan.id, done, total)
            )
            entries[index] = series_entry(finding, series)
            done += len(series.slices)
        return self._report(scan, [entries[index] for index in sorted(entries)])

    def _report(self, scan: Scan, entries: list[SeriesEntry]) -> Scan:
        bundle = self._classifier.bundle
        report = render_series_pdf(entries, bundle, scan.date, scan.document["notes"])
        document = {**scan.document, "has_report": True}
        return self._keep(replace(scan, document=document), report=report)

    def _judge_series(
        self, scan: Scan, index: int, series: Series, report: Callable[[int, int], None]
    ) -> tuple[Scan, SeriesPrediction]:
        report(0, len(series.slices))
        point = scan.document["operating_point"]
        finding = self._classifier.predict(series, point, report)
        files = {}
        if finding.evidence is not None:
            files[f"evidence-{index}"] = pack_evidence(finding.evidence)
            if finding.affine_ras is not None:
                files[f"nifti-{index}"] = _nifti(finding)
        judged = {
            **scan.series[index],
            "state": State.DONE,
            "finding": series_to_json(finding, scan.document["notes"]),
            "has_evidence": finding.evidence is not None,
            "has_nifti": f"nifti-{index}" in files,
        }
        listed = [judged if item["index"] == index else item for item in scan.series]
        document = {**scan.document, "series": listed}
        return self._keep(replace(scan, document=document), **files), finding

    def _judge_pictures(self, scan: Scan, study: Study) -> Scan:
        """Judge single pictures, which lie in no scan, each by itself."""
        point = scan.document["operating_point"]
        classifier = self._classifier.slice_classifier()
        slices = study.slices
        report = self._reporter(scan.id, 0, len(slices))
        found = classifier.predict_slices(slices, point, study.notes)
        for number, prediction in enumerate(found, 1):
            report(number, len(slices))
            made = self._store.add(prediction, scan.owner).id
            listed = [*scan.document["analyses"], made]
            document = {**scan.document, "analyses": listed}
            try:
                if number > 1 and self._store.overflows:
                    raise OutputError(
                        f"The store has no room for more than {number - 1} of these "
                        f"{len(slices)} pictures.",
                        "Send fewer at a time; whoever runs the server can set "
                        f"{SETTINGS['store_mb'].option}.",
                    )
                scan = self._keep(replace(scan, document=document))
            except (_Ended, OutputError):
                # It is in no list, and would outlive its scan.
                with suppress(MissingFileError):
                    self._store.delete(made, scan.owner)
                raise
        return scan

    def _reporter(
        self, scan_id: str, before: int, total: int
    ) -> Callable[[int, int], None]:
        def report(done: int, _: int) -> None:
            self._check(scan_id)
            self._progress = (scan_id, Progress(before + done, total))

        return report


def _nifti(finding: SeriesPrediction) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tumorlens-") as folder:
        path = Path(folder, "evidence.nii.gz")
        write_evidence(finding, path)
        return path.read_bytes()
