"""Access to a DICOMweb server: credentials, certificates, limits.

Tested in `tests/pacs/dicomweb/test_dicomweb.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.util import Retry

from tumorlens.errors import ArchiveAccessError, SettingError, TooLargeError
from tumorlens.imaging.limits import MAX_FILE_BYTES

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
