"""A PACS that speaks DICOMweb: search (QIDO), retrieve (WADO), store (STOW)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from tumorlens.imaging.limits import MAX_FILE_BYTES, MAX_UNPACKED_BYTES
from tumorlens.pacs.dicomweb.access import check_url
from tumorlens.pacs.dicomweb.answer import (
    asking,
    not_dicom,
    number,
    only_file,
    text,
)
from tumorlens.pacs.dicomweb.listing import (
    SeriesEntry,
    StudyEntry,
    evidence,
    is_uid,
    listed_by,
)
from tumorlens.report.dicom.headers import SR_SERIES

_TIMEOUT_SECONDS = (10.0, 120.0)
"""To connect, and between two pieces of an answer."""

_ANY_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class Archive:
    """A DICOMweb service.

    Parameters
    ----------
    url
        Of the service, to which ``/studies`` is added.
    session
        From `open_session`.

    Raises
    ------
    SettingError
        The address is none.

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
        with asking(self._host):
            # In one piece: not every server takes what is sent in chunks.
            self._client = DICOMwebClient(
                self._url,
                session,
                chunk_size=2 * MAX_FILE_BYTES,
                timeout=_TIMEOUT_SECONDS,
            )
        # It leaves out the port, by which proxies tell servers apart.
        self._client.host = self._host
        # Whoever asks knows better when to ask again.
        self._client.set_http_retry_params(retry=False)

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def studies(self, since: date) -> list[StudyEntry]:
        """List the studies with magnetic resonance of that day and later."""
        filters = {"ModalitiesInStudy": "MR", "StudyDate": f"{since:%Y%m%d}-"}
        found = self._search(
            "StudyInstanceUID",
            lambda **page: self._client.search_for_studies(
                search_filters=filters, **page
            ),
        )
        return [
            StudyEntry(uid, number(item, "NumberOfStudyRelatedInstances"))
            for uid, item in found.items()
        ]

    def series(self, study: str) -> list[SeriesEntry]:
        """List the series of a study, by their number; none of an unknown study.

        Raises
        ------
        SettingError
            The study's UID is none.
        """
        if not is_uid(study):
            raise SettingError(
                f"{study[:80]!r} is no study's UID.", "It has digits and dots."
            )
        found = self._search(
            "SeriesInstanceUID",
            lambda **page: self._client.search_for_series(study, **page),
        )
        listed = [
            SeriesEntry(
                study,
                uid,
                text(item, "Modality"),
                number(item, "SeriesNumber"),
                number(item, "NumberOfSeriesRelatedInstances"),
            )
            for uid, item in found.items()
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
        found: set[str] = set()
        for entry in listed:
            if entry.modality != "SR" or entry.number != SR_SERIES:
                continue
            with asking(self._host):
                reports = self._client.retrieve_series_metadata(entry.study, entry.uid)
            found.update(uid for report in reports for uid in evidence(report))
        return found

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
            The series passes `MAX_ENTRIES` or `MAX_UNPACKED_BYTES`.
        ArchiveError
            The server gives none of the files: the last one's error.
        """
        listed = self._search(
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
            Told of each that arrived.

        Raises
        ------
        ArchiveError
            The server did not take all.
        """
        pairs = [(path, dcmread(path)) for path in files]
        # The report comes last: by it a series is known to be done.
        pairs.sort(key=lambda pair: pair[1].Modality == "SR")
        with asking(self._host):
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
        with asking(self._host):
            found = self._client.search_for_instances(
                item.StudyInstanceUID,
                item.SeriesInstanceUID,
                search_filters={"SOPInstanceUID": item.SOPInstanceUID},
            )
        return any(text(x, "SOPInstanceUID") == item.SOPInstanceUID for x in found)

    def _search(
        self, keyword: str, ask: Callable[..., list[Any]]
    ) -> dict[str, dict[str, Any]]:
        return listed_by(keyword, ask, self._host)

    def _image(self, entry: SeriesEntry, uid: str) -> bytes:
        path = f"/studies/{entry.study}/series/{entry.uid}/instances/{uid}"
        with asking(self._host):
            answer = self._session.get(
                self._url + path,
                headers={"Accept": _ANY_DICOM},
                timeout=_TIMEOUT_SECONDS,
            )
            answer.raise_for_status()
        data = only_file(answer.headers.get("Content-Type", ""), answer.content)
        if data is None:
            raise not_dicom(self._host)
        return data
