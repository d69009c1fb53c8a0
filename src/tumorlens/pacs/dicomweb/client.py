"""A PACS that speaks DICOMweb: search (QIDO), retrieve (WADO), store (STOW).

Tested in `tests/pacs/dicomweb/test_dicomweb.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom import Dataset, dcmread

from tumorlens.errors import (
    ArchiveAccessError,
    ArchiveDownError,
    ArchiveError,
    SettingError,
    TooLargeError,
)
from tumorlens.imaging.limits import MAX_ENTRIES, MAX_FILE_BYTES, MAX_UNPACKED_BYTES
from tumorlens.pacs.dicomweb.access import check_url
from tumorlens.pacs.dicomweb.responses import (
    archive_errors,
    json_number,
    json_text,
    json_values,
    not_dicom_error,
    single_file,
)
from tumorlens.report.dicom.headers import MANUFACTURER, SR_SERIES

TIMEOUT_SECONDS = (10.0, 120.0)
"""Seconds to wait for a connection, and between two pieces of an answer."""

_PAGE = 100
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_ANY_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@dataclass(frozen=True)
class StudyEntry:
    """A study as the server lists it.

    Parameters
    ----------
    uid
        Its StudyInstanceUID.
    images
        Number of its instances; None where the server does not state it.
    """

    uid: str
    images: int | None


@dataclass(frozen=True)
class SeriesEntry:
    """A series as the server lists it.

    Parameters
    ----------
    study, uid
        StudyInstanceUID and SeriesInstanceUID.
    modality
        The modality, such as ``MR``.
    number
        SeriesNumber; None where there is none.
    images
        Number of its instances; None where the server does not state it.
    """

    study: str
    uid: str
    modality: str
    number: int | None
    images: int | None


class Archive:
    """A DICOMweb service.

    Parameters
    ----------
    url
        The address of the service, to which ``/studies`` is added.
    session
        A session of `open_session`.

    Raises
    ------
    SettingError
        Where the address is none.

    Notes
    -----
    Every method raises `ArchiveDownError` where the server cannot be reached,
    `ArchiveAccessError` where it does not let in, `ArchiveError` where it
    refuses or answers with something else.
    """

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = check_url(url)
        self._host = urlsplit(self._url).netloc
        session.headers["Accept"] = "application/dicom+json"
        self._session = session
        with archive_errors(self._host):
            # In one piece: not every server takes what is sent in chunks.
            self._client = DICOMwebClient(
                self._url,
                session,
                chunk_size=2 * MAX_FILE_BYTES,
                timeout=TIMEOUT_SECONDS,
            )
        # It leaves out the port, by which proxies tell servers apart.
        self._client.host = self._host
        # Whoever asks knows better when to ask again.
        self._client.set_http_retry_params(retry=False)

    def close(self) -> None:
        """Close the connections to the server."""
        self._session.close()

    def studies(self, since: date) -> list[StudyEntry]:
        """List the studies with magnetic resonance of that day and later."""
        filters = {"ModalitiesInStudy": "MR", "StudyDate": f"{since:%Y%m%d}-"}
        studies = search(
            self._host,
            "StudyInstanceUID",
            lambda **page: self._client.search_for_studies(
                search_filters=filters, **page
            ),
        )
        return [
            StudyEntry(uid, json_number(item, "NumberOfStudyRelatedInstances"))
            for uid, item in studies.items()
        ]

    def series(self, study: str) -> list[SeriesEntry]:
        """List the series of a study, by their number; none of an unknown study.

        Raises
        ------
        SettingError
            Where the study's UID is none.
        """
        if not is_uid(study):
            raise SettingError(
                f"{study[:80]!r} is no study's UID.", "It has digits and dots."
            )
        series = search(
            self._host,
            "SeriesInstanceUID",
            lambda **page: self._client.search_for_series(study, **page),
        )
        listed = [
            SeriesEntry(
                study,
                uid,
                json_text(item, "Modality"),
                json_number(item, "SeriesNumber"),
                json_number(item, "NumberOfSeriesRelatedInstances"),
            )
            for uid, item in series.items()
        ]
        return sorted(listed, key=lambda item: (item.number or 0, item.uid))

    def judged(self, listed: Sequence[SeriesEntry]) -> set[str]:
        """Find which series have a report of ours already.

        Parameters
        ----------
        listed
            All series of a study.

        Returns
        -------
        set of str
            The UIDs of the series that our reports name as their evidence.
        """
        judged: set[str] = set()
        for entry in listed:
            if entry.modality != "SR" or entry.number != SR_SERIES:
                continue
            with archive_errors(self._host):
                reports = self._client.retrieve_series_metadata(entry.study, entry.uid)
            judged.update(uid for report in reports for uid in _evidence(report))
        return judged

    def images(self, entry: SeriesEntry) -> Iterator[bytes | None]:
        """Retrieve a series, file by file, as they are stored.

        Parameters
        ----------
        entry
            The series.

        Yields
        ------
        bytes or None
            None in place of a file that the server cannot give.

        Raises
        ------
        TooLargeError
            Where the series passes `MAX_ENTRIES` or `MAX_UNPACKED_BYTES`.
        ArchiveError
            Where the server gives none of the files: the last one's error.
        """
        listed = search(
            self._host,
            "SOPInstanceUID",
            lambda **page: self._client.search_for_instances(
                entry.study, entry.uid, **page
            ),
        )
        total, failed = 0, None
        for uid in listed:
            try:
                data = self._image(entry, uid)
            except (ArchiveDownError, ArchiveAccessError):
                raise
            except (ArchiveError, TooLargeError) as error:
                failed = error
                yield None
                continue
            total += len(data)
            if total > MAX_UNPACKED_BYTES:
                raise TooLargeError(
                    f"The series has more than {MAX_UNPACKED_BYTES // 2**20} MB.",
                    "No series of MR needs that.",
                )
            yield data
        if total == 0:
            raise failed or ArchiveError("The server lists no image of the series.")

    def store(self, files: Sequence[Path], sent: Callable[[Path], None]) -> None:
        """Store files on the server.

        Parameters
        ----------
        files
            DICOM files of ours.
        sent
            Called with each file that arrived.

        Raises
        ------
        ArchiveError
            Where the server did not take all.
        """
        pairs = [(path, dcmread(path)) for path in files]
        # The report comes last: by it a series is known to be done.
        pairs.sort(key=lambda pair: pair[1].Modality == "SR")
        with archive_errors(self._host):
            answer = self._client.store_instances([item for _, item in pairs])
            named = {
                str(item.get("ReferencedSOPInstanceUID"))
                for item in answer.get("ReferencedSOPSequence") or ()
            }
        missing = 0
        for path, item in pairs:
            # Some servers say nothing; then they are asked.
            if item.SOPInstanceUID in named or (not answer and self._holds(item)):
                sent(path)
            else:
                missing += 1
        if missing:
            raise ArchiveError(
                f"{self._host} did not store {missing} of {len(files)} results.",
                "Look into its log.",
            )

    def _holds(self, item: Dataset) -> bool:
        with archive_errors(self._host):
            instances = self._client.search_for_instances(
                item.StudyInstanceUID,
                item.SeriesInstanceUID,
                search_filters={"SOPInstanceUID": item.SOPInstanceUID},
            )
        uids = {json_text(instance, "SOPInstanceUID") for instance in instances}
        return item.SOPInstanceUID in uids

    def _image(self, entry: SeriesEntry, uid: str) -> bytes:
        path = f"/studies/{entry.study}/series/{entry.uid}/instances/{uid}"
        with archive_errors(self._host):
            answer = self._session.get(
                self._url + path,
                headers={"Accept": _ANY_DICOM},
                timeout=TIMEOUT_SECONDS,
            )
            answer.raise_for_status()
        data = single_file(answer.headers.get("Content-Type", ""), answer.content)
        if data is None:
            raise not_dicom_error(self._host)
        return data


def search(
    host: str, keyword: str, ask: Callable[..., Any]
) -> dict[str, dict[str, Any]]:
    """Search page by page, until nothing new comes.

    Parameters
    ----------
    host
        Name and port of the server, which messages state.
    keyword
        The keyword of the UID that tells entries apart, such as
        ``SeriesInstanceUID``.
    ask
        Takes ``limit`` and ``offset``, and gives a page.

    Returns
    -------
    dict
        Entries in DICOM JSON by their UID; without those that have no valid one.

    Raises
    ------
    TooLargeError
        Where there are more than `MAX_ENTRIES`.
    ArchiveError
        Where `archive_errors` says so, or a page has no valid entry.
    """
    entries: dict[str, dict[str, Any]] = {}
    read = 0
    while True:
        with archive_errors(host):
            page = ask(limit=_PAGE, offset=read)
        if not isinstance(page, list):
            raise not_dicom_error(host)
        read += len(page)
        before = len(entries)
        # What has no valid UID cannot be asked for.
        valid = {uid: x for x in page if is_uid(uid := json_text(x, keyword))}
        if page and not valid:
            raise not_dicom_error(host)
        entries |= {uid: x for uid, x in valid.items() if uid not in entries}
        # A server that knows no offset sends the same page again.
        if len(entries) == before:
            return entries
        if len(entries) > MAX_ENTRIES:
            raise TooLargeError(
                f"{host} lists more than {MAX_ENTRIES} entries.",
                "Ask for fewer days.",
            )


def is_uid(value: str) -> bool:
    """Tell whether a text is a UID (DICOM PS3.5, 9.1)."""
    return len(value) <= 64 and _UID.fullmatch(value) is not None


def _evidence(report: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Name the series that a report of ours speaks of (PS3.3, C.17.2.3)."""
    if json_text(report, "Manufacturer") != MANUFACTURER:
        return
    for study in json_values(report, "CurrentRequestedProcedureEvidenceSequence"):
        for series in json_values(study, "ReferencedSeriesSequence"):
            yield json_text(series, "SeriesInstanceUID")
