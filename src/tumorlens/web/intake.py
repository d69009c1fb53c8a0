"""The way of an upload in: pictures are judged at once, the files of a study later.

Tested in `tests/web/views/api/` and `tests/web/uploads/test_hostile_uploads.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from tumorlens.errors import InputError, OutputError, TooLargeError
from tumorlens.imaging.formats import display_name
from tumorlens.imaging.limits import MAX_ENTRIES
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series, Study
from tumorlens.inference.slice.explanation import Failure
from tumorlens.settings import SETTINGS
from tumorlens.web.app_state import app_state
from tumorlens.web.uploads.upload import Upload

logger = logging.getLogger(__name__)

_NAME_LENGTH = 200
_SPARE_FIELDS = 100


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
    """
    limit = app_state().settings.files_per_upload
    if len(files) > limit:
        raise TooLargeError(
            f"The upload has {len(files)} files; at most {limit} are read.",
            "Send fewer at a time; whoever runs the server can set "
            f"{SETTINGS['files_per_upload'].option}.",
        )
    point = app_state().choose_operating_point(operating_point)
    for file in files:
        name = (file.filename or "pasted picture")[-_NAME_LENGTH:]
        with app_state().turns:
            yield from _judge_picture(file.read(), name, owner, point, origin)


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
    """
    app_state().jobs.check_room()
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
            "No scan was sent.",
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
) -> Upload:
    """Keep the files of a study, to be judged in the background.

    Parameters
    ----------
    files
        The files that `receive_study` took.
    owner, operating_point, origin
        The same as for `judge_pictures`.

    Raises
    ------
    SettingError
        Where the model has no such operating point (400).
    BusyError
        Where it does not fit beside the uploads that wait or are being judged (503).
    OutputError
        Where the disk is full or the folder is gone (500).
    """
    point = app_state().choose_operating_point(operating_point)
    upload = app_state().store.add_scan(
        _label(files), owner, point, _numbered_files(files), origin
    )
    app_state().jobs.start()
    return upload


def _judge_picture(
    data: bytes,
    name: str,
    owner: str,
    operating_point: str,
    origin: Mapping[str, Any] | None,
) -> Iterator[Upload | Failure]:
    try:
        classifier = app_state().classifier.slice_classifier()
        study = read_study(data, name)
        for slice_ in study.slices:
            # One at a time, so that a file of a thousand needs no more memory.
            single = Study((Series((slice_,)),), study.notes)
            for prediction in classifier.predict_study(single, operating_point):
                yield app_state().store.add(prediction, owner, origin)
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

    Hidden files and DICOM's table of contents are left out.
    """
    numbered: dict[str, BinaryIO] = {}
    for number, file in enumerate(files, 1):
        base = (file.filename or "").replace("\\", "/").rsplit("/", 1)[-1]
        if len(files) > 1 and (base.startswith(".") or base == "DICOMDIR"):
            continue
        numbered[f"{number:05d}"] = file.stream  # type: ignore[assignment]
    return numbered
