"""What a DICOMweb server lists: studies and series, page by page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tumorlens.errors import TooLargeError
from tumorlens.imaging.limits import MAX_ENTRIES
from tumorlens.pacs.dicomweb.answer import asking, not_dicom, text, values
from tumorlens.report.dicom.headers import MANUFACTURER

_PAGE = 100
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


@dataclass(frozen=True)
class StudyEntry:
    """A study as the server lists it.

    Parameters
    ----------
    uid
        Its StudyInstanceUID.
    images
        How many instances it has; None where the server does not say.
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
        For example ``MR``.
    number
        SeriesNumber; None where there is none.
    images
        How many instances it has; None where the server does not say.
    """

    study: str
    uid: str
    modality: str
    number: int | None
    images: int | None


def listed_by(
    keyword: str, ask: Callable[..., list[Any]], host: str
) -> dict[str, dict[str, Any]]:
    """Search page by page, until nothing new comes.

    Parameters
    ----------
    keyword
        Of the UID that tells entries apart, such as ``SeriesInstanceUID``.
    ask
        Takes ``limit`` and ``offset``, and gives a page.
    host
        Name and port of the server, for messages.

    Returns
    -------
    dict
        Entries in DICOM JSON by their UID; without those that have no valid one.

    Raises
    ------
    TooLargeError
        There are more than `MAX_ENTRIES`.
    ArchiveError
        As of `asking`; or a page has no valid entry.
    """
    found: dict[str, dict[str, Any]] = {}
    read = 0
    while True:
        with asking(host):
            page = ask(limit=_PAGE, offset=read)
        if not isinstance(page, list):
            raise not_dicom(host)
        read += len(page)
        known = len(found)
        # What has no valid UID cannot be asked for.
        fresh = {uid: x for x in page if is_uid(uid := text(x, keyword))}
        if page and not fresh:
            raise not_dicom(host)
        for uid, item in fresh.items():
            found.setdefault(uid, item)
        # A server that knows no offset sends the same page again.
        if len(found) == known:
            return found
        if len(found) > MAX_ENTRIES:
            raise TooLargeError(
                f"{host} lists more than {MAX_ENTRIES} entries.",
                "Ask for fewer days.",
            )


def is_uid(value: str) -> bool:
    """Tell whether a text is a UID (DICOM PS3.5, 9.1)."""
    return len(value) <= 64 and _UID.fullmatch(value) is not None


def evidence(report: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Name the series that a report of ours speaks of (PS3.3, C.17.2.3)."""
    if text(report, "Manufacturer") != MANUFACTURER:
        return
    for study in values(report, "CurrentRequestedProcedureEvidenceSequence"):
        for series in values(study, "ReferencedSeriesSequence"):
            yield text(series, "SeriesInstanceUID")
