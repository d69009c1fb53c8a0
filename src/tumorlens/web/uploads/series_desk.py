"""The one way from an uploaded scan to its background job."""

from __future__ import annotations

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from tumorlens.errors import InputError, TooLargeError
from tumorlens.imaging.limits import MAX_ENTRIES
from tumorlens.settings import SETTINGS
from tumorlens.web.app_state import check_operating_point, desk
from tumorlens.web.uploads.series_files import check_count, label_of, sent_files
from tumorlens.web.uploads.upload import Upload

_SPARE_FIELDS = 100


def receive() -> list[FileStorage]:
    """Take the files of the request that is served, within a scan's limits.

    Raises
    ------
    TooLargeError
        Where the request has more megabytes or files than are read.
    InputError
        Where it has no file.
    BusyError
        Where too many scans wait.
    """
    desk().jobs.check_room()
    limit = desk().settings.scan_mb
    request.max_content_length = limit * 2**20
    request.max_form_parts = MAX_ENTRIES + _SPARE_FIELDS
    try:
        files = request.files.getlist("file")
    except RequestEntityTooLarge as error:
        raise TooLargeError(
            f"The upload is larger than {limit} MB or has more than "
            f"{MAX_ENTRIES:,} files.",
            "Send one series at a time, packed as zip; whoever runs the server can "
            f"set {SETTINGS['scan_mb'].option}.",
        ) from error
    # A form that was sent with no file chosen holds one file without a name.
    uploads = [item for item in files if item.filename]
    if not uploads:
        raise InputError(
            "No scan was sent.",
            "Give a zip, the DICOM files of a series, or a NIfTI or NRRD file, in "
            "one or more fields named 'file' of multipart/form-data.",
        )
    check_count(uploads)
    return uploads


def begin(
    uploads: list[FileStorage], owner: str, operating_point: str | None
) -> Upload:
    """Keep uploaded files and queue their scan.

    Parameters
    ----------
    uploads
        From `receive`.
    owner
        Whom the scan belongs to.
    operating_point
        None for the app's own.

    Raises
    ------
    SettingError
        Where the model has no such operating point.
    BusyError
        Where it does not fit beside the scans that wait or are being judged.
    OutputError
        Where the disk is full or the folder is gone.
    """
    point = operating_point or desk().operating_point
    check_operating_point(point, desk().bundle)
    scan = desk().store.add_scan(label_of(uploads), owner, point, sent_files(uploads))
    desk().jobs.start()
    return scan
