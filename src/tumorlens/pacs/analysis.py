"""DICOM files of a series in, DICOM files of the findings out."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from tumorlens.errors import InputError, OutputError
from tumorlens.imaging.dicom.grouping import gather_series
from tumorlens.imaging.study import Series, stacks_of
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.study.classifier import StudyClassifier
from tumorlens.inference.study.results import StudyPrediction
from tumorlens.jobs.monitored_rates import RateMonitor
from tumorlens.operations.drift import observe_series
from tumorlens.operations.tracing import span
from tumorlens.pacs.queue import SeriesJob, StudyJob
from tumorlens.pacs.worker import Analysis
from tumorlens.report.dicom.finding import SentResult
from tumorlens.report.dicom.results import Judged, results_of, to_bytes
from tumorlens.report.dicom.sr import build_ko
from tumorlens.report.fhir import fhir_bundle
from tumorlens.report.study.document import study_notes, study_to_json

logger = logging.getLogger(__name__)


def analysis_with(
    classifier: SeriesClassifier,
    operating_point: str | None,
    fhir: Path | None = None,
    drift: RateMonitor | None = None,
    keep: Keep | None = None,
) -> Analysis:
    """Make the analysis that a node's worker runs.

    Parameters
    ----------
    classifier
        Classifier of `load_series_classifier`.
    operating_point
        None for the bundle's own.
    fhir
        Folder for FHIR reports, which `write_fhir` writes; None for none.
    drift
        Counts what is judged; None for nobody.
    keep
        Called with each series that was judged.

    Returns
    -------
    Callable
        Gives for each series a structured report; a secondary capture of its
        most suspicious slice; where a lesion is outlined, a segmentation; and where
        results were sent before, a key object selection that rejects these.
        Raises `InputError` where nothing in the files is MRI of a head.

    Raises
    ------
    SettingError
        Where the operating point is not in the bundle.
    """
    point = classifier.bundle.point(operating_point)

    def analyse(job: SeriesJob) -> list[bytes]:
        judged = judge_files(
            classifier, job.files, point, job.earlier, job.missing, job.doubts
        )
        watch(drift, job, judged, classifier.bundle)
        if keep is not None:
            keep(job, judged)
        if fhir is not None:
            try:
                write_fhir(judged, fhir)
            except InputError as error:
                # What goes to the archive is worth sending without it.
                logger.warning("A FHIR report was not written: %s.", error.code)
        return _in_place_of(job.earlier, judged)

    return analyse


def study_analysis(
    classifier: StudyClassifier,
    operating_point: str | None,
    folder: Path,
    keep: Callable[[StudyJob, Judged], object] | None = None,
) -> Callable[[StudyJob], Sequence[bytes]]:
    """Make the analysis that judges the series of a study together.

    Parameters
    ----------
    classifier
        A model of slices.
    operating_point
        None for the bundle's own.
    folder
        Folder that is there, for a JSON and a PDF of each study, in place of its
        earlier ones. The names of the files say nothing about the patient.
    keep
        Called with each study that was judged.

    Returns
    -------
    Callable
        Gives for a study what `tumorlens study --dicom` writes, and where results of it
        were sent before, a key object selection that rejects these; nothing for a
        study of one series. Raises `InputError` where the series do not go together,
        and `OutputError` where a file cannot be written.

    Raises
    ------
    SettingError
        Where the operating point is not in the bundle.
    """
    point = classifier.bundle.point(operating_point)

    def analyse(job: StudyJob) -> list[bytes]:
        series, notes = _read_parts(job.parts)
        if len(series) < 2:
            return []
        # The files have our names: only the headers say whose they are.
        prediction = classifier.predict(series, point, trust_names=False)
        notes = (*notes, *job.left_out)
        _write_study(prediction, classifier.bundle, notes, folder, job.series)
        judged = results_of(
            prediction.grid_series,
            prediction.combined,
            classifier.bundle.name,
            job.earlier,
            (*study_notes(prediction), *notes),
        )
        if keep is not None:
            keep(job, judged)
        return _in_place_of(job.earlier, [judged])

    return analyse


def _in_place_of(
    earlier: Sequence[SentResult], judged: Sequence[Judged]
) -> list[bytes]:
    """List the results, and what rejects those that were sent before."""
    results = [data for item in judged for data in item.results]
    if earlier:
        first = judged[0]
        results.append(to_bytes(build_ko(first.headers, earlier, first.finding)))
    return results


def _read_parts(parts: Sequence[SeriesJob]) -> tuple[list[Series], tuple[str, ...]]:
    """Read the stacks of a study, and say what of them was left out."""
    series: list[Series] = []
    notes: list[str] = []
    for number, part in enumerate(parts, start=1):
        named = (
            (f"series {number}, image {place}", path.read_bytes())
            for place, path in enumerate(part.files, start=1)
        )
        study = stacks_of(gather_series(named)[0])
        series += [item for item in study.series if len(item.slices) > 1]
        notes += [f"Series {number}: {note}" for note in study.notes]
    return series, tuple(notes)


def _write_study(
    prediction: StudyPrediction,
    bundle: Bundle,
    notes: Sequence[str],
    folder: Path,
    name: str,
) -> None:
    # Takes long to import, and only this needs it.
    from tumorlens.report.study.pdf import render_study_pdf

    document = json.dumps(study_to_json(prediction, notes), indent=2) + "\n"
    made = datetime.now().astimezone()
    stem = _file_stem(name)
    _replace(folder / f"{stem}.json", document.encode())
    _replace(folder / f"{stem}.pdf", render_study_pdf(prediction, bundle, made, notes))


def _file_stem(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _replace(path: Path, data: bytes) -> None:
    """Write a file, so that nobody ever finds a half of it."""
    passing = path.with_suffix(".part")
    try:
        passing.write_bytes(data)
        passing.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path.parent} takes no file: {reason}.") from error


Keep = Callable[[SeriesJob, Sequence[Judged]], object]
"""Told of each series that was judged, before its results are kept."""


def judge_files(
    classifier: SeriesClassifier,
    files: Sequence[Path],
    operating_point: str | None,
    earlier: Sequence[SentResult] = (),
    missing: int = 0,
    doubts: Sequence[str] = (),
) -> list[Judged]:
    """Judge the DICOM files of one series; more than one where it has to be split.

    Parameters
    ----------
    classifier, operating_point
        The same as for `SeriesClassifier.predict`.
    files
        At least one file.
    earlier
        Results of the series that the new ones replace.
    missing
        Number of images of the series beside the files; the reasons say so, as they
        say what of the files was left out or split.
    doubts
        Full sentences: why the files are not known to be the whole series. With these,
        or with images missing, the report is PARTIAL, and never says that there is no
        tumour.

    Raises
    ------
    InputError
        Where nothing in the files is MRI of a head.
    """
    # The sender's names are not known here, and not wanted.
    named = ((f"image {place}", path.read_bytes()) for place, path in enumerate(files))
    with span("decode", images=len(files)):
        study = stacks_of(gather_series(named)[0])
    unseen = tuple(doubts)
    if missing:
        unseen = (*unseen, _said_missing(missing, missing + len(files)))
    return [
        _judged(classifier, series, operating_point, earlier, study.notes, unseen)
        for series in study.series
    ]


def watch(
    drift: RateMonitor | None, job: SeriesJob, judged: Sequence[Judged], bundle: Bundle
) -> None:
    """Count a series for drift, once and as a whole.

    Parameters
    ----------
    drift
        Counts it; None for nobody.
    job, judged
        The series, and what came of it.
    bundle
        The model's facts.
    """
    # What is judged anew, or is a part, would say the same again.
    if drift is None or job.earlier or job.doubts or job.missing:
        return
    for item in judged:
        drift.observe(observe_series(item.prediction, item.sequence, bundle))


def write_fhir(judged: Sequence[Judged], folder: Path) -> list[Path]:
    """Write each finding as a FHIR transaction, in place of the series' earlier one.

    Parameters
    ----------
    judged
        Findings of `judge_files`, of one series.
    folder
        Folder that is there. A file's name says nothing about the patient.

    Raises
    ------
    OutputError
        A file cannot be written.
    InputError
        The headers break FHIR's rules.
    """
    made = []
    for place, item in enumerate(judged):
        text = fhir_bundle(item.headers, item.finding, part=place)
        stem = _file_stem(str(item.headers[0].SeriesInstanceUID))
        path = folder / f"{stem}-{place}.json"
        _replace(path, text.encode())
        made.append(path)
    return made


def _said_missing(missing: int, total: int) -> str:
    return (
        f"{missing} of {total} images of the series could not be fetched, or were "
        "not sent again; it was judged without them."
    )


def _judged(
    classifier: SeriesClassifier,
    series: Series,
    operating_point: str | None,
    earlier: Sequence[SentResult],
    notes: tuple[str, ...],
    unseen: tuple[str, ...],
) -> Judged:
    with span("network", slices=len(series.slices)):
        prediction = classifier.predict(series, operating_point)
    return results_of(
        series, prediction, classifier.bundle.name, earlier, notes, unseen
    )
