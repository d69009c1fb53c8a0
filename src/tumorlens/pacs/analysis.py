"""DICOM files of a series in, DICOM files of the findings out."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError, OutputError
from tumorlens.imaging.dicom.grouping import gather_series
from tumorlens.imaging.study import MRSequence, Series, stacks_of
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.study.classifier import StudyClassifier
from tumorlens.inference.study.results import StudyPrediction
from tumorlens.jobs.monitored_rates import RateMonitor
from tumorlens.operations.drift import observe_series
from tumorlens.operations.tracing import span
from tumorlens.pacs.queue import SeriesJob, StudyJob
from tumorlens.pacs.worker import Analysis
from tumorlens.report.dicom.codes import uncoded_kinds
from tumorlens.report.dicom.finding import DicomFinding, SentResult
from tumorlens.report.dicom.sc import build_sc
from tumorlens.report.dicom.seg import build_seg
from tumorlens.report.dicom.sr import build_ko, build_sr
from tumorlens.report.fhir import fhir_bundle
from tumorlens.report.slice.overlay import heat_layer, lay_over, window_picture
from tumorlens.report.study.document import study_notes, study_to_json
from tumorlens.report.words import PART_MISSING, series_headline
from tumorlens.taxonomy import Answer, is_tumor

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

logger = logging.getLogger(__name__)

NONE_IN_A_PART = (
    "The images that came show no tumour, but the series is not whole: that says "
    "nothing of the rest."
)
"""Stands in the report of a part of a series, in place of the decision."""


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
        results.append(_to_bytes(build_ko(first.headers, earlier, first.finding)))
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


@dataclass(frozen=True)
class Judged:
    """One series and what goes back of it.

    Parameters
    ----------
    finding
        Finding of the series.
    results
        Whole DICOM files: SR; SC of the most suspicious slice, or of the middle
        one where none could be judged; SEG where a lesion is outlined.
    headers
        Headers of its slices.
    prediction
        The whole prediction, which knows nothing of images that were not there.
    sequence
        MR sequence that the headers name; None where they name none.
    """

    finding: DicomFinding
    results: tuple[bytes, ...]
    headers: Sequence[Dataset] = field(repr=False)
    prediction: SeriesPrediction = field(repr=False)
    sequence: MRSequence | None = None


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


def results_of(
    series: Series,
    prediction: SeriesPrediction,
    algorithm: str,
    earlier: Sequence[SentResult] = (),
    notes: Sequence[str] = (),
    unseen: tuple[str, ...] = (),
) -> Judged:
    """Write what is said of a series as DICOM.

    Parameters
    ----------
    series, prediction
        Series that was read from DICOM, and its prediction; of a study the series
        whose slices are the grid.
    algorithm
        Name of the model.
    earlier
        Results that the new ones replace.
    notes
        Full sentences that the report gives beside the prediction's own.
    unseen
        Full sentences on images that were not there: the report is PARTIAL.

    Raises
    ------
    InputError
        The series has no headers that can be referred to.
    """
    finding = dicom_finding(prediction, algorithm)
    if unseen:
        finding = _of_a_part(finding, unseen)
    finding = replace(finding, reasons=(*finding.reasons, *notes, *unseen))
    outline = None
    try:
        outline = _outline(series, prediction, finding)
    except InputError as error:
        # The report is worth having without it.
        reason = f"There is no segmentation. {error.message}"
        finding = replace(finding, reasons=(*finding.reasons, reason))
    results = [build_sr(series.headers, finding, earlier, series.frames)]
    picture = _picture(series, prediction, finding)
    results += [item for item in (picture, outline) if item is not None]
    files = tuple(map(_to_bytes, results))
    return Judged(finding, files, series.headers, prediction, series.sequence)


def _of_a_part(finding: DicomFinding, unseen: tuple[str, ...]) -> DicomFinding:
    """Say nothing of images that were not there."""
    finding = replace(finding, missing=unseen)
    if finding.finding not in (Answer.NO_TUMOR, Answer.LESION):
        return finding
    # A low probability would be read as the absence of a tumour, too.
    return replace(
        finding,
        finding=Answer.UNCERTAIN,
        kinds=(),
        headline=PART_MISSING,
        p_tumor=None,
        p_class=None,
        reasons=(*finding.reasons, NONE_IN_A_PART),
    )


def _picture(
    series: Series, prediction: SeriesPrediction, finding: DicomFinding
) -> Dataset:
    # Who looks at pictures only must not take a missing one for a clear series.
    key = prediction.key_slices[0] if prediction.key_slices else len(series.slices) // 2
    grey = window_picture(series.slices[key].pixels)
    drawn = np.repeat(grey[..., np.newaxis], 3, axis=2)
    # The slices of a DICOM series are all of one size, so that there is evidence.
    if prediction.key_slices and prediction.evidence is not None:
        drawn = lay_over(grey, heat_layer(prediction.evidence[key]))
    return build_sc(series.headers, key, drawn, finding, series.frames)


def _outline(
    series: Series, prediction: SeriesPrediction, finding: DicomFinding
) -> Dataset | None:
    mask = lesion_mask(prediction)
    if mask is None:
        return None
    return build_seg(series.headers, mask, finding, series.frames)


def dicom_finding(prediction: SeriesPrediction, algorithm: str) -> DicomFinding:
    """Say of a series what goes into DICOM.

    Parameters
    ----------
    prediction
        Prediction of `SeriesClassifier.predict`.
    algorithm
        Name of the model.

    Returns
    -------
    DicomFinding
        Finding, with size and centroid only where the model's error was measured,
        and without probabilities where the series was refused.
    """
    size, centroid = None, None
    caveat = prediction.sequence_caveat
    # In a report they look like a measurement: they stay out where nobody has
    # checked how far off they are, and the reasons cannot say so.
    if prediction.lesion is not None and prediction.size_measured:
        centroid = prediction.lesion.centroid
        if prediction.lesion.size_mm is not None:
            through, down, across = prediction.lesion.size_mm
            size = (across, down, through)
    reasons = (*prediction.reasons, *uncoded_kinds(prediction.kinds))
    return DicomFinding(
        finding=prediction.finding,
        kinds=prediction.kinds,
        headline=series_headline(prediction),
        p_tumor=prediction.p_tumor,
        p_class=_p_class(prediction),
        algorithm=algorithm,
        version=f"{prediction.model_version} {prediction.model_precision}",
        operating_point=prediction.operating_point,
        key_slices=prediction.key_slices,
        size_mm=size,
        centroid=centroid,
        reasons=reasons if caveat is None else (*reasons, caveat),
        not_judged=prediction.not_judged,
    )


def _p_class(prediction: SeriesPrediction) -> float | None:
    """Give the probability of the likeliest kind, or that there is no tumour."""
    values, p_tumor = prediction.probabilities, prediction.p_tumor
    if values is None or p_tumor is None:
        return None
    # Several classes of a user's own may be free of tumour.
    kinds = [share for name, share in values.items() if is_tumor(name)]
    return max(*kinds, 1.0 - p_tumor)


def lesion_mask(prediction: SeriesPrediction) -> NDArray[np.uint8] | None:
    """Lay the lesion over the whole series, shape (D, H, W), 1 inside."""
    lesion = prediction.lesion
    if lesion is None or lesion.mask is None or prediction.evidence is None:
        return None
    if prediction.affine_ras is None:
        return None
    z0, y0, x0, z1, y1, x1 = lesion.box
    mask = np.zeros(prediction.evidence.shape, np.uint8)
    mask[z0:z1, y0:y1, x0:x1] = lesion.mask
    return mask


def _to_bytes(dataset: Dataset) -> bytes:
    from pydicom import dcmwrite

    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()
