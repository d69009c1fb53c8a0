"""The way of an upload in: pictures are judged at once, the files of a study later.

Tested in `tests/web/views/api/` and `tests/web/uploads/test_hostile_uploads.py`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from tumorlens.errors import (
    DiskFullError,
    InputError,
    MissingFileError,
    OutputError,
    TooLargeError,
    TooSlowError,
)
from tumorlens.imaging.bids import PlainNames, sidecar_names
from tumorlens.imaging.formats import display_name, is_raster
from tumorlens.imaging.limits import MAX_ENTRIES
from tumorlens.imaging.read import holds_many_pages, read_study
from tumorlens.imaging.study import MRSequence, Study
from tumorlens.inference.slice.prediction import Failure, Prediction, sequence_of_name
from tumorlens.operations.drift import UploadSample, observe_slice
from tumorlens.operations.logs import log_name
from tumorlens.operations.tracing import span, trace_parent
from tumorlens.settings import SETTINGS
from tumorlens.web.app_state import app_state
from tumorlens.web.audit import note_made
from tumorlens.web.idempotency import HEADER
from tumorlens.web.inference_queue import Place
from tumorlens.web.request_log import JOB
from tumorlens.web.security import client_of
from tumorlens.web.uploads.feedback import PAGES_OF
from tumorlens.web.uploads.store import AnswerKey
from tumorlens.web.uploads.upload import TRACE, Kind, Upload

logger = logging.getLogger(__name__)

_NAME_LENGTH = 200
_SPARE_FIELDS = 100

PIXEL_ASPECT = "pixel_aspect"
"""Key of a picture's document for the height of a pixel over its width, where that is
not 1 and no spacing tells it: a part of the picture is judged the same way."""
_PAGES_PER_TURN = 4


def judge_pictures(
    files: Sequence[FileStorage],
    owner: str,
    operating_point: str | None,
    origin: Mapping[str, Any] | None = None,
) -> Iterator[Upload | Failure]:
    """Judge uploaded pictures and keep the results, one after the other.

    Parameters
    ----------
    files
        The files as they came with the request.
    owner
        The session that the results belong to, or `ANYONE`.
    operating_point
        The operating point that the request asks for; None for the app's own.
    origin
        The same as for `Store.add`.

    Yields
    ------
    Upload or Failure
        One upload for each slice of a file in order, or one failure for the file.

    Raises
    ------
    SettingError
        Where the model has no such operating point (400).
    TooLargeError
        Where there are more files than the settings allow (413).
    QuotaError, BusyError
        Where the client has as many uploads under way as it may have (429), or the
        queue is full (503).
    DiskFullError
        Where the disk has no room for results (507).
    """
    state = app_state()
    limit = state.settings.files_per_upload
    if len(files) > limit:
        raise TooLargeError(
            f"The upload has {len(files)} files; at most {limit} are read.",
            "Send fewer at a time; whoever runs the server can set "
            f"{SETTINGS['files_per_upload'].option}.",
        )
    point = state.choose_operating_point(operating_point)
    _check_disk()
    pages, sample = _Pages(state.settings.pages_per_upload), UploadSample()
    with state.queue.admit(client_of(owner)) as place:
        for file in files:
            name = (file.filename or "pasted picture")[-_NAME_LENGTH:]
            results = _judge_picture(
                file.read(), name, owner, point, place, pages, sample, origin
            )
            for result in results:
                _count(result)
                if isinstance(result, Upload):
                    note_made(result.id)
                yield result
        state.metrics.stage_seconds.labels("picture", "wait").observe(
            place.waited_seconds
        )
    # The page's own examples say nothing of what people send.
    if sample.prediction is not None and origin is None:
        state.drift.observe(observe_slice(sample.prediction, state.bundle))


def judge_slice(
    study: Study, owner: str, operating_point: str, origin: Mapping[str, Any]
) -> Upload:
    """Judge a study of one slice that was read before, and keep the result.

    Parameters
    ----------
    study
        One slice.
    owner, operating_point, origin
        The same as for `judge_pictures`.

    Raises
    ------
    QuotaError, BusyError
        The same as for `judge_pictures`.
    TooSlowError
        Where the network was not free in time (503).
    OutputError
        Where the result cannot be kept.
    """
    _check_disk()
    classifier = app_state().classifier.slice_classifier()
    with app_state().queue.admit(client_of(owner)) as place, place.turn():
        (prediction,) = classifier.predict_study(study, operating_point)
    kept = app_state().store.add(prediction, owner, origin)
    _count(kept)
    note_made(kept.id)
    return kept


def receive_study() -> list[FileStorage]:
    """Take the files of the request that is served, within the limits of a study.

    Raises
    ------
    TooLargeError
        Where the request has more megabytes or files than are read (413).
    InputError
        Where it has no file (422).
    BusyError
        Where too many uploads wait (503).
    DiskFullError
        Where the disk has no room (507).
    """
    if HEADER not in request.headers:
        # What was accepted before is not refused when it is sent again.
        _check_room()
    limit = app_state().settings.scan_mb
    request.max_content_length = limit * 2**20
    request.max_form_parts = MAX_ENTRIES + _SPARE_FIELDS
    try:
        sent = request.files.getlist("file")
    except RequestEntityTooLarge as error:
        raise TooLargeError(
            f"The upload is larger than {limit} MB or has more than "
            f"{MAX_ENTRIES:,} files.",
            "Send one series at a time, packed as zip; whoever runs the server can "
            f"set {SETTINGS['scan_mb'].option}.",
        ) from error
    # A form that was sent with no file chosen holds one file without a name.
    files = [file for file in sent if file.filename]
    if not files:
        raise InputError(
            "No series was sent.",
            "Give a zip, the DICOM files of a series, or a NIfTI or NRRD file, in "
            "one or more fields named 'file' of multipart/form-data.",
        )
    if len(files) > MAX_ENTRIES:
        raise TooLargeError(
            f"The upload has {len(files):,} files; at most {MAX_ENTRIES:,} are read.",
            "Give one study at a time.",
        )
    return files


def queue_study(
    files: Sequence[FileStorage],
    owner: str,
    operating_point: str | None,
    origin: Mapping[str, Any] | None = None,
    key: AnswerKey | None = None,
) -> Upload:
    """Keep the files of a study, to be judged in the background.

    Parameters
    ----------
    files
        The files that `receive_study` took.
    owner, operating_point, origin
        The same as for `judge_pictures`.
    key
        Key under which the upload is found again; None for no such.

    Raises
    ------
    SettingError
        Where the model has no such operating point (400).
    QuotaError
        Where as many of the owner's uploads wait as may wait (429).
    BusyError
        Where it does not fit beside the uploads that wait or are being judged (503).
    OutputError
        Where the folder is gone (500), or as `DiskFullError` the disk is full (507).
    """
    point = app_state().choose_operating_point(operating_point)
    _check_room()
    app_state().jobs.check_quota(owner)
    trace = trace_parent()
    if trace is not None:
        origin = {**(origin or {}), TRACE: trace}
    with span("store", kind="series"):
        upload = app_state().store.add_scan(
            _label(files), owner, point, _numbered_files(files), origin, key
        )
    note_made(upload.id)
    request.environ[JOB] = log_name(upload.id)
    app_state().jobs.start()
    return upload


class _Pages:
    """Counts the pages of an upload."""

    def __init__(self, limit: int) -> None:
        self._left = self._limit = limit

    def take(self, pages: int, name: str) -> None:
        """Count the pages of a file.

        Raises
        ------
        TooLargeError
            Where the upload has more than it may have.
        """
        if pages > self._left:
            raise TooLargeError(
                f"{name} has {pages:,} pages or slices; one upload may have "
                f"{self._limit:,} of them.",
                "Send fewer at a time, or a whole series as a scan; whoever runs the "
                f"server can set {SETTINGS['pages_per_upload'].option}.",
            )
        self._left -= pages

    def give_back(self, pages: int) -> None:
        """Take back what was counted of a file that has to be read yet."""
        self._left += pages


def _judge_picture(
    data: bytes,
    name: str,
    owner: str,
    operating_point: str,
    place: Place,
    pages: _Pages,
    sample: UploadSample,
    origin: Mapping[str, Any] | None,
) -> Iterator[Upload | Failure]:
    judged, total = 0, 0
    try:
        state = app_state()
        classifier = state.classifier.slice_classifier()

        computed_from = state.jobs.computations.name_picture(
            owner, operating_point, name, data
        )
        named = origin
        if is_raster(data):
            # It may have had another name before.
            named = {**(origin or {}), "file": display_name(name)}
        copies = _copies(computed_from, owner, pages, name, named)
        if copies:
            yield from copies
            return

        def judge(study: Study, start: int) -> list[Prediction]:
            some = study.slices[start : start + _PAGES_PER_TURN]
            with state.metrics.time_stage("picture", "judge"):
                predictions = classifier.predict_slices(
                    some, operating_point, study.notes
                )
                return list(predictions)

        def read() -> Study:
            nonlocal total
            with state.metrics.time_stage("picture", "read"):
                study = read_study(data, name)
            total = len(study.slices)
            pages.take(total, display_name(name))
            return study

        if holds_many_pages(data):
            with place.reading_turn():
                study = read()
            with place.turn():
                predictions = judge(study, 0)
        else:
            # A picture has all in one turn.
            with place.turn():
                study = read()
                predictions = judge(study, 0)
        pages_origin = dict(origin or {})
        # A few at a time, so that others have their turn between, and a file of a
        # thousand needs no more memory.
        for start in range(0, total, _PAGES_PER_TURN):
            if start:
                with place.turn():
                    predictions = judge(study, start)
            for slice_, prediction in zip(
                study.slices[start:], predictions, strict=False
            ):
                own = dict(pages_origin)
                if slice_.pixel_aspect != 1.0 and slice_.spacing_mm is None:
                    own[PIXEL_ASPECT] = slice_.pixel_aspect
                with state.metrics.time_stage("picture", "keep"):
                    kept = state.store.add(prediction, owner, own, computed_from, total)
                # So that pages of one patient can be told from those of several.
                pages_origin.setdefault(PAGES_OF, kept.id)
                sample.offer(prediction)
                yield kept
                judged += 1
    except TooSlowError as error:
        error.message = (
            f"{display_name(name)}: {judged} of {total or '?'} pages were judged. "
            f"{error.message}"
        )
        yield Failure.of(display_name(name), error)
    except (InputError, OutputError) as error:
        yield Failure.of(display_name(name), error)
    except Exception:
        # One file's fault must not cost the others their results.
        logger.exception("A picture could not be analysed.")
        shown = display_name(name)
        yield Failure(
            shown,
            "internal_error",
            f"{shown} could not be analysed: TumorLens made a mistake.",
            "Try the picture saved as PNG; the server's log says more.",
        )


def _copies(
    computed_from: str,
    owner: str,
    pages: _Pages,
    name: str,
    origin: Mapping[str, Any] | None,
) -> list[Upload]:
    """Copy what was computed of the same file before; nothing where it was not."""
    state = app_state()
    judged = state.store.computed(computed_from, Kind.PICTURE)
    if not judged:
        return []
    pages.take(len(judged), display_name(name))
    try:
        with state.metrics.time_stage("picture", "keep"):
            copies = state.store.copy_pictures(judged, owner, origin)
    except MissingFileError:
        pages.give_back(len(judged))
        return []
    state.metrics.reused.labels("picture").inc(len(copies))
    return copies


def _count(result: Upload | Failure) -> None:
    metrics = app_state().metrics
    if isinstance(result, Failure):
        metrics.refusals.labels(result.code).inc()
        return
    document = result.document
    metrics.domain_scores.observe(document["domain_score"])
    metrics.count_decision(
        document["decision"], app_state().bundle.name, document["sequence"]
    )


def _check_room() -> None:
    app_state().jobs.check_room()
    _check_disk()


def _check_disk() -> None:
    if not app_state().store.has_room():
        raise DiskFullError("The server's disk has no room for results.")


def _label(files: Sequence[FileStorage]) -> str:
    """Name an upload for people.

    Names of the files of a folder are the sender's and may hold the patient's:
    only the name of a single file, which the user chose, is kept.
    """
    if len(files) == 1:
        return display_name((files[0].filename or "scan")[-_NAME_LENGTH:])
    return f"{len(files)} files"


def _numbered_files(files: Sequence[FileStorage]) -> dict[str, BinaryIO]:
    """Give the files of a request names of our own.

    A number, and of a volume the known words of its name, which tell a mask from a
    scan; its sidecar has its number. Hidden files and DICOM's table of contents are
    left out.
    """
    numbered: dict[str, BinaryIO] = {}
    plain_names = PlainNames()
    sent_names = [(file.filename or "").replace("\\", "/") for file in files]
    counts = Counter(sent_names)
    sidecars = {
        sidecar: number
        for number, name in enumerate(sent_names, 1)
        for sidecar in sidecar_names(name)
        if counts[name] == counts[sidecar] == 1
    }
    for number, (file, name) in enumerate(zip(files, sent_names, strict=True), 1):
        base = name.rsplit("/", 1)[-1]
        if len(files) > 1 and (base.startswith(".") or base == "DICOMDIR"):
            continue
        sequence = sequence_of_name(base)
        plain = plain_names.of(base, "" if sequence is None else _WORDS[sequence])
        stored = f"{number:05d}" + (f"_{plain}" if plain else "")
        if name in sidecars:
            stored = f"{sidecars[name]:05d}.json"
        numbered[stored] = file.stream  # type: ignore[assignment]
    return numbered


_WORDS = {
    MRSequence.T1: "T1",
    MRSequence.T1_CONTRAST: "T1C",
    MRSequence.T2: "T2",
    MRSequence.FLAIR: "FLAIR",
    MRSequence.DIFFUSION: "DWI",
    MRSequence.OTHER: "",
}
