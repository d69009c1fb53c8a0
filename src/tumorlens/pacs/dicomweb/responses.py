"""Responses of a DICOMweb server: values, a file, or an error.

Tested in `tests/pacs/dicomweb/test_dicomweb.py`.
"""

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
def archive_errors(host: str) -> Iterator[None]:
    """Turn what a request raises into an error of ours.

    Parameters
    ----------
    host
        Name and port of the server, which messages state.

    Raises
    ------
    ArchiveDownError
        Where it cannot be reached, stops in the middle, or says that it is busy.
    ArchiveAccessError
        Where it wants other credentials, or its certificate is not trusted.
    ArchiveError
        Where it refuses, has no such thing, or answers with something else than DICOM.
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
        raise not_dicom_error(host) from error


def not_dicom_error(host: str) -> ArchiveError:
    """Make the error for an answer that is not DICOM."""
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


def json_values(item: Any, keyword: str) -> list[Any]:  # noqa: ANN401 - any JSON
    """Read an attribute of a data set in DICOM JSON (PS3.18, annex F.2).

    Parameters
    ----------
    item
        The data set as the server sent it.
    keyword
        The attribute's keyword, such as ``SeriesInstanceUID``.

    Returns
    -------
    list
        Its values; empty where there is none, or the item is no data set.
    """
    if not isinstance(item, dict):
        return []
    element = item.get(f"{tag_for_keyword(keyword):08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def json_text(item: Any, keyword: str) -> str:  # noqa: ANN401 - any JSON
    """Read an attribute's first value as text; empty where there is none."""
    values = json_values(item, keyword)
    return str(values[0]).strip() if values and values[0] is not None else ""


def json_number(item: Any, keyword: str) -> int | None:  # noqa: ANN401 - any JSON
    """Read an attribute's first value as a whole number; None where it is none."""
    try:
        return int(json_text(item, keyword))
    except ValueError:
        return None


def single_file(content_type: str, body: bytes) -> bytes | None:
    """Take the one file out of the answer to a request for one instance.

    dicomweb-client would parse it on the way, without the guards that
    `tumorlens.imaging` holds against hostile files.

    Parameters
    ----------
    content_type
        The content type of the answer.
    body
        The answer itself.

    Returns
    -------
    bytes or None
        None where there is no DICOM file.
    """
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() == "multipart/related":
        mark = b"--" + str(header.get_param("boundary", "")).encode()
        start = body.find(b"\r\n\r\n")
        end = body.find(b"\r\n" + mark, start + 4)
        if len(mark) == 2 or not body.lstrip().startswith(mark) or -1 in (start, end):
            return None
        body = body[start + 4 : end]
    return body if body[128:132] == b"DICM" else None
