"""A PACS that speaks DICOMweb: search (QIDO), retrieve (WADO), store (STOW).

First stands what access to it needs (credentials, certificates, limits), then how its
responses are read: values, a file, or an error.

Tested in `tests/pacs/dicomweb/test_dicomweb.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.util import Retry

from tumorlens.errors import (
    ArchiveAccessError,
    ArchiveDownError,
    ArchiveError,
    SettingError,
    TooLargeError,
    TumorLensError,
)
from tumorlens.imaging.limits import MAX_ENTRIES, MAX_FILE_BYTES, MAX_UNPACKED_BYTES
from tumorlens.report.dicom.headers import MANUFACTURER, SR_SERIES

USER, PASSWORD = "TUMORLENS_DICOMWEB_USER", "TUMORLENS_DICOMWEB_PASSWORD"
TOKEN, TOKEN_FILE = "TUMORLENS_DICOMWEB_TOKEN", "TUMORLENS_DICOMWEB_TOKEN_FILE"
"""The environment's names; on a command line every user of the machine reads them."""

_LONGEST_TOKEN = 65_536
_UNAUTHORIZED = 401


class _Bearer(AuthBase):
    """A header alone would give way to what ~/.netrc says of the host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _BearerFile(AuthBase):
    """Reads the token for each request: others renew it while we run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header()
        request.register_hook("response", self._ask_again)
        return request

    def _header(self) -> str:
        try:
            with self._path.open("rb") as file:
                token = file.read(_LONGEST_TOKEN).decode("ascii").strip()
        except OSError as error:
            reason = error.strerror or "it is no file"
            raise ArchiveAccessError(
                f"The token in {self._path} cannot be read: {reason}.",
                f"Check {TOKEN_FILE}.",
            ) from error
        except UnicodeDecodeError:
            token = ""
        if not token or not token.isprintable() or " " in token:
            raise ArchiveAccessError(
                f"{self._path} holds no bearer token.", f"Check {TOKEN_FILE}."
            )
        return f"Bearer {token}"

    def _ask_again(
        self,
        answer: requests.Response,
        **options: Any,  # noqa: ANN401 - requests' own
    ) -> requests.Response:
        """Send the request once more where the token was renewed meanwhile."""
        sent = answer.request.headers.get("Authorization")
        # A request that was led to another host carries none, and gets none.
        if answer.status_code != _UNAUTHORIZED or sent is None:
            return answer
        header = self._header()
        if header == sent:
            return answer
        answer.close()
        request = answer.request.copy()
        request.headers["Authorization"] = header
        again: requests.Response = answer.connection.send(request, **options)
        again.history.append(answer)
        again.request = request
        return again


def check_url(url: str, option: str = "--url") -> str:
    """Check the address of a DICOMweb service.

    Parameters
    ----------
    url, option
        The address, and the option that gave it.

    Returns
    -------
    str
        The address without a slash at its end.

    Raises
    ------
    SettingError
        Where it is none, or holds credentials.
    """
    form = "Give it like https://pacs.example.org/dicom-web."
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise SettingError(f"{option} is no address of a server.", form) from None
    if parts.username is not None or parts.password is not None:
        raise SettingError(
            f"{option} holds credentials, which other users of this machine can read.",
            f"Set {USER} and {PASSWORD}, or {TOKEN} or {TOKEN_FILE}.",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise SettingError(f"{option} is {url[:80]!r}, no address of a server.", form)
    if parts.query or parts.fragment:
        raise SettingError(f"{option} has a part behind ? or #.", form)
    return url.strip().rstrip("/")


def credentials(environment: Mapping[str, str]) -> AuthBase | None:
    """Read who asks: a bearer token, or a user and password; None for nobody.

    Raises
    ------
    SettingError
        Where more than one is set, only half of one, or one cannot stand in a header.
    ArchiveAccessError
        Where the file of the token holds none. It is read anew for each request.
    """
    names = (USER, PASSWORD, TOKEN, TOKEN_FILE)
    user, password, token, token_file = (environment.get(x, "") for x in names)
    for name, value in zip(names, (user, password, token, token_file), strict=True):
        if not value.isprintable():
            raise SettingError(f"{name} holds a line break or control character.")
    ways = {f"{USER} or {PASSWORD}": user + password, TOKEN: token}
    ways[TOKEN_FILE] = token_file
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise SettingError(f"{' and '.join(given)} are set.", "Set one of them.")
    if token_file:
        return _BearerFile(Path(token_file).expanduser())
    if token:
        if not token.isascii() or " " in token:
            raise SettingError(f"{TOKEN} is no bearer token.")
        return _Bearer(token)
    if bool(user) != bool(password):
        missing = PASSWORD if user else USER
        raise SettingError(f"{missing} is not set.", "Set both or none.")
    # As bytes, for else those that Latin-1 lacks could not be sent.
    return HTTPBasicAuth(user.encode(), password.encode()) if user else None


def worklist_credentials(
    url: str, ups: str, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Choose the variables of who asks a worklist of procedure steps.

    Parameters
    ----------
    url, ups
        Addresses of the archive and of the worklist.
    environment
        The environment.

    Returns
    -------
    dict
        Variables as `credentials` reads them: those that begin with ``TUMORLENS_UPS_``
        where there are any; else the archive's, where both are one server. No other
        server is sent these.
    """
    names = (USER, PASSWORD, TOKEN, TOKEN_FILE)
    own = {name: environment.get(name.replace("DICOMWEB", "UPS"), "") for name in names}
    if any(own.values()):
        return own
    one, other = (urlsplit(address.strip())[:2] for address in (url, ups))
    return {name: environment.get(name, "") for name in names} if one == other else {}


def open_session(
    environment: Mapping[str, str] = os.environ, ca_bundle: Path | None = None
) -> requests.Session:
    """Open a session that checks certificates and reads no answer without end.

    Parameters
    ----------
    environment
        The environment, which holds the credentials.
    ca_bundle
        Certificates to trust, in PEM, instead of those that everybody trusts.

    Raises
    ------
    SettingError, ArchiveAccessError
        The same as for `credentials`, or where the bundle is missing.
    """
    if ca_bundle is not None and not ca_bundle.is_file():
        raise SettingError(f"There is no file {ca_bundle} of certificates.")
    session = requests.Session()
    session.auth = credentials(environment)
    session.hooks["response"].append(_cap)
    # What is asked for, and not sent to be stored, may be asked again: servers
    # close connections that were idle.
    retries = Retry(total=None, connect=0, redirect=None, status=0, read=1, other=0)
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Transport(ca_bundle, retries))
    return session


class _Transport(HTTPAdapter):
    """Trusts one bundle, whatever REQUESTS_CA_BUNDLE says."""

    def __init__(self, ca_bundle: Path | None, retries: Retry) -> None:
        self._ca_bundle = ca_bundle
        super().__init__(max_retries=retries)

    def send(
        self,
        request: requests.PreparedRequest,
        *args: Any,  # noqa: ANN401 - requests' own
        **options: Any,  # noqa: ANN401
    ) -> requests.Response:
        if self._ca_bundle is not None:
            options["verify"] = str(self._ca_bundle)
        return super().send(request, *args, **options)


def _cap(answer: requests.Response, **_: object) -> requests.Response:
    """Stop reading an answer, unpacked, where no file of ours can be so long."""
    read = answer.iter_content

    def capped(*args: Any, **options: Any) -> Iterator[Any]:  # noqa: ANN401
        size = 0
        for chunk in read(*args, **options):
            size += len(chunk)
            if size > MAX_FILE_BYTES:
                answer.close()
                raise TooLargeError(
                    "An answer of the server has more than "
                    f"{MAX_FILE_BYTES // 2**20} MB.",
                    "A slice needs far less.",
                )
            yield chunk

    answer.iter_content = capped  # type: ignore[method-assign]
    return answer


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
