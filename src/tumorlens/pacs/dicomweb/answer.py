"""What a DICOMweb server answers: values, a file, or an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any

import requests
from pydicom.datadict import tag_for_keyword

from tumorlens.errors import (
    ArchiveAccessError,
    ArchiveDownError,
    ArchiveError,
    TumorLensError,
)
from tumorlens.pacs.dicomweb.access import PASSWORD, TOKEN, TOKEN_FILE, USER

_BUSY = {408, 425, 429, 502, 503, 504}


@contextmanager
def asking(host: str) -> Iterator[None]:
    """Turn what a request raises into an error of ours.

    Parameters
    ----------
    host
        For messages: name and port of the server.

    Raises
    ------
    ArchiveDownError
        It cannot be reached, stops in the middle, or says that it is busy.
    ArchiveAccessError
        It wants other credentials, or its certificate is not trusted.
    ArchiveError
        It refuses, has no such thing, or answers with something else than DICOM.
    """
    try:
        yield
    except TumorLensError:
        raise
    except requests.exceptions.SSLError as error:
        raise ArchiveAccessError(
            f"The certificate of {host} is not trusted.",
            "Name the file of certificates to trust with --ca-bundle.",
        ) from error
    except requests.HTTPError as error:
        # The client raises this for an answer that it has.
        status = 0 if error.response is None else error.response.status_code
        raise _refusal(status, host) from error
    except requests.exceptions.Timeout as error:
        raise ArchiveDownError(f"{host} does not answer in time.") from error
    except (
        requests.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        raise ArchiveDownError(f"{host} cannot be reached.") from error
    # What the client raises on answers in another form is not documented.
    except Exception as error:
        raise not_dicom(host) from error


def not_dicom(host: str) -> ArchiveError:
    """Say that an answer is none."""
    return ArchiveError(
        f"{host} answers with something else than DICOM.",
        "Check that --url leads to its DICOMweb service, not to its web page.",
    )


def _refusal(status: int, host: str) -> ArchiveError:
    if status in (401, 403):
        return ArchiveAccessError(
            f"{host} does not let in with these credentials (status {status}).",
            f"Set {USER} and {PASSWORD}, or {TOKEN} or {TOKEN_FILE}.",
        )
    if status in _BUSY:
        return ArchiveDownError(f"{host} is busy or down (status {status}).")
    if status in (404, 410):
        return ArchiveError(
            f"{host} has not what was asked for (status {status}).",
            "Check --url, and that the study is still there.",
        )
    return ArchiveError(f"{host} refuses (status {status}).", "Look into its log.")


def values(item: Any, keyword: str) -> list[Any]:  # noqa: ANN401 - any JSON
    """Read an attribute of a data set in DICOM JSON (PS3.18, annex F.2).

    Parameters
    ----------
    item
        As the server sent it.
    keyword
        For example ``SeriesInstanceUID``.

    Returns
    -------
    list
        Its values; empty where there is none, or the item is no data set.
    """
    if not isinstance(item, dict):
        return []
    element = item.get(f"{tag_for_keyword(keyword):08X}")
    found = element.get("Value") if isinstance(element, dict) else None
    return found if isinstance(found, list) else []


def text(item: Any, keyword: str) -> str:  # noqa: ANN401 - any JSON
    """Read an attribute's first value as text; empty where there is none."""
    found = values(item, keyword)
    return str(found[0]).strip() if found and found[0] is not None else ""


def number(item: Any, keyword: str) -> int | None:  # noqa: ANN401 - any JSON
    """Read an attribute's first value as a whole number; None where it is none."""
    try:
        return int(text(item, keyword))
    except ValueError:
        return None


def only_file(kind: str, body: bytes) -> bytes | None:
    """Take the one file out of the answer to a request for one instance.

    dicomweb-client would parse it on the way, without the guards that
    `tumorlens.imaging` holds against hostile files.

    Parameters
    ----------
    kind
        The answer's content type.
    body
        The answer.

    Returns
    -------
    bytes or None
        None where there is no DICOM file.
    """
    header = Message()
    header["Content-Type"] = kind
    if header.get_content_type() == "multipart/related":
        mark = b"--" + str(header.get_param("boundary", "")).encode()
        start = body.find(b"\r\n\r\n")
        end = body.find(b"\r\n" + mark, start + 4)
        if len(mark) == 2 or not body.lstrip().startswith(mark) or -1 in (start, end):
            return None
        body = body[start + 4 : end]
    return body if body[128:132] == b"DICM" else None
