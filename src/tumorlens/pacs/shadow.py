"""Shadow mode: everything is judged, nothing is sent, and findings wait for labels.

What is kept of a series is its finding, and what a comparison has to know of it: the
study's UID and accession number, the scanner, and the patient under a pseudonym. It
lies in the queue's database as long as the series is known there.
"""

from __future__ import annotations

import csv
import hmac
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from tumorlens.errors import DatasetError, InputError, MissingFileError, OutputError
from tumorlens.imaging.formats import display_name
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.study.classifier import StudyClassifier
from tumorlens.jobs.monitored_rates import RateMonitor
from tumorlens.pacs.analysis import (
    Keep,
    judge_files,
    study_analysis,
    watch,
)
from tumorlens.pacs.queue import (
    STUDY_PREFIX,
    SeriesJob,
    SeriesQueue,
    StudyJob,
    study_names,
)
from tumorlens.pacs.worker import Analysis
from tumorlens.report.dicom.results import Judged
from tumorlens.report.feedback import own_classes_of
from tumorlens.report.series import series_to_json
from tumorlens.taxonomy import (
    CLASSES,
    Answer,
    Decided,
    Finding,
    Lesion,
    OwnClass,
    TumorClass,
    Verdict,
    own_classes,
    parse_class,
)

OK = "ok"
"""Status of a series that was read; else it is the code of the error."""

ANY_TUMOR = "tumor"
"""Label of a tumour whose kind is not known."""

LABELS = (*CLASSES, *Lesion, ANY_TUMOR)
"""What a label may be."""

NO_SCANNER, NO_SEQUENCE = "not stated", "not stated"

_KEY_FILE = "pseudonyms.key"
_LONGEST = 64
_MOST_ROWS = 1_000_000
_WAYS = ("accession_number", "study_instance_uid")
"""Columns that name a study."""
_TAGS = (
    *("StudyInstanceUID", "AccessionNumber", "PatientID", "IssuerOfPatientID"),
    *("Manufacturer", "ManufacturerModelName", "MagneticFieldStrength"),
)
_KEPT = (
    *("plane", "sequence", "sequence_caveat", "slices", "without_brain", "refused"),
    *("not_judged", "probabilities", "p_other", "p_vascular", "raw"),
    *("operating_point", "reasons", "run", "key_slices", "slice_p_tumor", "lesion"),
    *("size_measured", "model_version"),
)
"""Keys of a series' document that are kept beside both answers."""

_ORDER = (Answer.TUMOR, Answer.UNCERTAIN, Answer.LESION, Answer.NO_TUMOR)
"""Which answer of several series is their study's: the first that one of them has."""


def shadow_analysis(
    classifier: SeriesClassifier,
    operating_point: str | None,
    queue: SeriesQueue,
    drift: RateMonitor | None = None,
    keep: Keep | None = None,
) -> Analysis:
    """Make the analysis of a node that keeps its findings to itself.

    Parameters
    ----------
    classifier
        Classifier of `load_series_classifier`.
    operating_point
        None for the bundle's own.
    queue
        Queue that keeps the findings.
    drift
        Counts what is judged; None for nobody.
    keep
        Called with each series that was judged.

    Returns
    -------
    Callable
        Judges a series as `analysis_with` does, and gives no results. Raises
        `InputError` where nothing in the files is MRI of a head.

    Raises
    ------
    SettingError
        Where the operating point is not in the bundle.
    OutputError
        Where the key of the pseudonyms can be neither read nor written.
    """
    point = classifier.bundle.point(operating_point)
    key = pseudonym_key(queue.folder)

    def analyse(job: SeriesJob) -> list[bytes]:
        facts = header_facts(job.files, key)
        try:
            judged = judge_files(
                classifier, job.files, point, (), job.missing, job.doubts
            )
        except InputError as error:
            queue.note(job, {**facts, "status": error.code, "findings": []})
            raise
        watch(drift, job, judged, classifier.bundle)
        if keep is not None:
            keep(job, judged)
        findings = [_finding(item) for item in judged]
        queue.note(job, {**facts, "status": OK, "findings": findings})
        return []

    return analyse


def shadow_study_analysis(
    classifier: StudyClassifier,
    operating_point: str | None,
    folder: Path,
    queue: SeriesQueue,
) -> Callable[[StudyJob], Sequence[bytes]]:
    """Make what judges studies of a node that keeps its findings to itself.

    Parameters
    ----------
    classifier, operating_point, folder
        The same as for `study_analysis`, whose files stay in the folder.
    queue
        Queue that keeps the findings.

    Returns
    -------
    Callable
        Judges a study, and gives no results; raises what `study_analysis` says.
    """
    key = pseudonym_key(queue.folder)

    def keep(job: StudyJob, judged: Judged) -> None:
        facts = header_facts(job.files, key)
        queue.note(job, {**facts, "status": OK, "findings": [_finding(judged)]})

    judge = study_analysis(classifier, operating_point, folder, keep)

    def analyse(job: StudyJob) -> list[bytes]:
        # What was said of fewer series does not stand for more.
        queue.note(job, {})
        judge(job)
        return []

    return analyse


def _finding(judged: Judged) -> dict[str, Any]:
    """Say what is kept of a series: of a part no more than its report would say."""
    document = series_to_json(judged.prediction)
    said = judged.finding
    kept = {key: document[key] for key in _KEPT}
    if said.missing and said.p_tumor is None:
        kept["probabilities"] = kept["p_other"] = kept["p_vascular"] = None
        kept["slice_p_tumor"] = []
    return {
        "finding": said.finding.value,
        "kinds": [item.value for item in said.kinds],
        "headline": said.headline,
        "p_tumor": said.p_tumor,
        "partial": bool(said.missing),
        **kept,
        # A label that comes later may be of a user's own classes.
        **own_classes_of(tuple(judged.prediction.raw_probabilities or ())),
    }


def pseudonym_key(folder: Path) -> bytes:
    """Read the key by which patients are named in this queue; made once."""
    path = folder / _KEY_FILE
    try:
        with open(path, "xb", opener=_private) as file:
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        return path.read_bytes()
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}.") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def header_facts(files: Sequence[Path], key: bytes) -> dict[str, str]:
    """Read of the first header that can be read what a comparison has to know."""
    for path in files:
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            patient = "\\".join(
                _text(header, name) for name in ("PatientID", "IssuerOfPatientID")
            )
            study = _text(header, "StudyInstanceUID")
            # Who is not named is not taken for another who is not.
            named = patient if patient.strip("\\") else study
            return {
                "study": study,
                "accession": _text(header, "AccessionNumber"),
                "patient": hmac.digest(key, named.encode(), "sha256").hex()[:32],
                "scanner": _scanner(header),
            }
        except Exception:
            # Whatever a hostile file does to the parser.
            continue
    return {"study": "", "accession": "", "patient": "", "scanner": ""}


def _text(header: Dataset, keyword: str) -> str:
    value = str(header.get(keyword) or "").strip()
    return "".join(letter for letter in value if letter.isprintable())[:_LONGEST]


def _scanner(header: Dataset) -> str:
    names = [_text(header, name) for name in ("Manufacturer", "ManufacturerModelName")]
    try:
        tesla = float(header.get("MagneticFieldStrength") or 0.0)
    except (TypeError, ValueError):
        tesla = 0.0
    # Some state gauss.
    tesla = tesla / 10_000.0 if tesla > 100.0 else tesla
    if 0.0 < tesla < 100.0:
        names.append(f"{tesla:.2g} T")
    return " ".join(name for name in names if name)


# --- Labels that come later ---


def read_labels(path: Path, classes: Sequence[OwnClass] = ()) -> dict[str, Decided]:
    """Read a CSV file of labels, one a study.

    Parameters
    ----------
    path
        File in UTF-8 with a heading. It has a column ``label`` and one of
        ``accession_number`` and ``study_instance_uid``, or both, of which one may be
        empty in a row. Others are not looked at. A label is a class in any of the
        usual spellings, ``other`` (a tumour of another kind), ``vascular`` (a lesion
        that is no tumour), ``tumor`` (of a kind that is not known), or one of the
        classes.
    classes
        A user's own that the node's model knows (`judged_classes`); none for the four.

    Returns
    -------
    dict
        Labels by the names of `study_names`.

    Raises
    ------
    MissingFileError
        There is no such file.
    DatasetError
        It cannot be read, a row says something else, or two rows contradict one
        another. Numbers of rows are told, and no accession number.
    """
    name = display_name(path)
    labels: dict[str, Decided] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = {_heading(item): item for item in reader.fieldnames or ()}
            ways = [item for item in _WAYS if item in columns]
            if "label" not in columns or not ways:
                raise DatasetError(
                    f"{name} has no columns of labels.",
                    "Give it a heading with label, and accession_number or "
                    "study_instance_uid.",
                )
            for number, row in enumerate(reader, start=2):
                if number > _MOST_ROWS:
                    raise DatasetError(f"{name} has more than {_MOST_ROWS} rows.")
                label = _label(row[columns["label"]] or "", classes)
                values = {way: (row[columns[way]] or "").strip() for way in ways}
                names = study_names(
                    values.get("study_instance_uid", ""),
                    values.get("accession_number", ""),
                )
                if label is None:
                    raise DatasetError(
                        f"Row {number} of {name} has a label that is not known.",
                        f"Use one of: {', '.join((*classes, *LABELS))}. Leave out what "
                        "is not known yet.",
                    )
                if not names:
                    raise DatasetError(
                        f"Row {number} of {name} names no study.",
                        "Give its accession number or its StudyInstanceUID.",
                    )
                for item in names:
                    if labels.setdefault(item, label) != label:
                        raise DatasetError(
                            f"Row {number} of {name} contradicts an earlier row of the "
                            "same study.",
                            "Give one label a study.",
                        )
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no file {name}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{name} cannot be read: {type(error).__name__}.",
            "Give a CSV file in UTF-8.",
        ) from error
    return labels


def _heading(text: str) -> str:
    """Name a column, whether it is written as in Python or as in DICOM."""
    word = text.strip().lower().replace("_", "").replace(" ", "")
    known = {item.replace("_", ""): item for item in (*_WAYS, "label")}
    return known.get(word, word)


def _label(text: str, classes: Sequence[OwnClass] = ()) -> Decided | None:
    word = text.strip().lower()
    for name in classes:
        if name.lower() == word:
            return name
    if word in ("tumor", "tumour"):
        return Verdict.TUMOR
    if word in tuple(Lesion):
        return Lesion(word)
    return parse_class(text)


# --- What was said, beside what turned out ---


@dataclass(frozen=True)
class ShadowCase:
    """A series or a study of shadow mode, with its label where one came.

    Parameters
    ----------
    patient
        Pseudonym of the patient.
    study, accession
        How the archive names the study; for people in the house.
    week
        ISO week in which its last image came, such as ``2026-W48``.
    answer, kinds
        What was said; `Answer.NOT_BRAIN_MRI` where nothing was judged.
    label
        What turned out; None where no label has come.
    sequence, scanner
        Sequence and scanner that the headers state; a study has no sequence.
    is_part
        Whether it was judged as a part.
    reason
        Why it was not judged; empty where it was.
    model_version
        Version of the model; empty where none judged it.
    """

    patient: str
    study: str
    accession: str
    week: str
    answer: Answer
    kinds: tuple[Finding, ...]
    label: Decided | None
    sequence: str
    scanner: str
    is_part: bool = False
    reason: str = ""
    model_version: str = ""


@dataclass(frozen=True)
class ShadowCases:
    """All that a node in shadow mode has kept.

    Parameters
    ----------
    series, studies
        Cases of each. A study has the answer of its series together, where they were
        judged so; else that there is a tumour where one of them says so, or that it is
        uncertain where one is, and so on.
    states
        Number of series by state in the queue, those that are not judged yet too.
    labels, unmatched
        Number of labels, and of those that belong to no study that was judged.
    """

    series: tuple[ShadowCase, ...]
    studies: tuple[ShadowCase, ...]
    states: Mapping[str, int]
    labels: int
    unmatched: int


def judged_classes(queue: SeriesQueue) -> tuple[OwnClass, ...]:
    """List the own classes that a node's series were judged in; none for the four.

    Parameters
    ----------
    queue
        Queue of the node; it may be running.
    """
    is_tumor: dict[str, bool] = {}
    for _, facts in queue.noted():
        for finding in facts.get("findings", ()):
            is_tumor |= finding.get("classes", {})
    return own_classes(is_tumor)


def shadow_cases(queue: SeriesQueue) -> ShadowCases:
    """Set what a node has kept beside the labels that came.

    Parameters
    ----------
    queue
        Queue of the node; it may be running.
    """
    classes = judged_classes(queue)
    labels = {name: _label(text, classes) for name, text in queue.labels().items()}
    used: set[str] = set()
    series: list[ShadowCase] = []
    together: dict[str, ShadowCase] = {}
    states: dict[str, int] = defaultdict(int)
    for entry, facts in queue.noted():
        is_study = entry.series.startswith(STUDY_PREFIX)
        states[entry.state] += not is_study
        if not facts or entry.state not in ("done", "sending"):
            continue
        names = study_names(facts["study"], facts["accession"])
        known = [name for name in names if name in labels]
        used.update(known)
        common = {
            "patient": facts["patient"],
            "study": facts["study"],
            "accession": facts["accession"],
            "week": _week(entry.arrived),
            "label": labels[known[0]] if known else None,
            "scanner": facts["scanner"] or NO_SCANNER,
        }
        if is_study:
            together[facts["study"]] = _case(facts["findings"][0], common)
            continue
        if not facts["findings"]:
            series.append(
                ShadowCase(
                    **common,
                    answer=Answer.NOT_BRAIN_MRI,
                    kinds=(),
                    sequence=NO_SEQUENCE,
                    is_part=entry.is_partial,
                    reason=facts["status"],
                )
            )
        series += [_case(item, common) for item in facts["findings"]]
    by_study: dict[str, list[ShadowCase]] = defaultdict(list)
    for place, case in enumerate(series):
        # A header that could not be read names no study.
        by_study[case.study or f"{place}"].append(case)
    studies = tuple(
        _study(cases, together.get(name)) for name, cases in by_study.items()
    )
    return ShadowCases(
        tuple(series), studies, dict(states), len(labels), len(labels.keys() - used)
    )


def _case(finding: Mapping[str, Any], common: Mapping[str, Any]) -> ShadowCase:
    answer = Answer(finding["finding"])
    refused = answer is Answer.NOT_BRAIN_MRI
    own = {str(item): item for item in own_classes(finding.get("classes", {}))}
    kinds = tuple(
        own.get(item) or (Lesion(item) if item in tuple(Lesion) else TumorClass(item))
        for item in finding["kinds"]
    )
    return ShadowCase(
        **common,
        answer=answer,
        kinds=kinds,
        sequence=finding["sequence"] or NO_SEQUENCE,
        is_part=finding["partial"],
        reason=(finding["not_judged"] or "unlike brain MRI") if refused else "",
        model_version=finding["model_version"],
    )


def _study(series: Sequence[ShadowCase], together: ShadowCase | None) -> ShadowCase:
    """Sum up the series of one study, the newest first."""
    if together is not None:
        return replace(
            together,
            sequence="",
            week=series[0].week,
            is_part=any(case.is_part for case in series),
        )
    answer = next(
        (item for item in _ORDER if any(case.answer is item for case in series)),
        Answer.NOT_BRAIN_MRI,
    )
    # Series that say the same answer rule out kinds one after another.
    shown = [set(case.kinds) for case in series if case.answer is answer]
    order = dict.fromkeys(kind for case in series for kind in case.kinds)
    left = set.intersection(*shown) if shown else set()
    kinds = tuple(kind for kind in order if kind in (left or set().union(*shown)))
    first = series[0]
    refused = answer is Answer.NOT_BRAIN_MRI
    return ShadowCase(
        patient=first.patient,
        study=first.study,
        accession=first.accession,
        week=first.week,
        answer=answer,
        kinds=kinds,
        label=first.label,
        sequence="",
        scanner=first.scanner,
        is_part=any(case.is_part for case in series),
        reason=first.reason if refused else "",
        model_version=first.model_version,
    )


def _week(seconds: float) -> str:
    year, week, _ = datetime.fromtimestamp(seconds, UTC).isocalendar()
    return f"{year}-W{week:02d}"
