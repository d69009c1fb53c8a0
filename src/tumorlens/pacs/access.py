"""How a DICOMweb server is entered: credentials, certificates, limits."""

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

from tumorlens.errors import SettingError, TooLargeError
from tumorlens.imaging.limits import MAX_FILE_BYTES

USER, PASSWORD = "TUMORLENS_DICOMWEB_USER", "TUMORLENS_DICOMWEB_PASSWORD"
TOKEN = "TUMORLENS_DICOMWEB_TOKEN"
"""The environment's names; on a command line every user of the machine reads them."""


class _Bearer(AuthBase):
    """A header alone would give way to what ~/.netrc says of the host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def check_url(url: str) -> str:
    """Check the address of a DICOMweb service.

    Returns
    -------
    str
        Without a slash at its end.

    Raises
    ------
    SettingError
        It is none, or holds credentials.
    """
    form = "Give it like https://pacs.example.org/dicom-web."
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise SettingError("--url is no address of a server.", form) from None
    if parts.username is not None or parts.password is not None:
        raise SettingError(
            "--url holds credentials, which other users of this machine can read.",
            f"Set {USER} and {PASSWORD}, or {TOKEN}.",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise SettingError(f"--url is {url[:80]!r}, no address of a server.", form)
    if parts.query or parts.fragment:
        raise SettingError("--url has a part behind ? or #.", form)
    return url.strip().rstrip("/")


def credentials(environment: Mapping[str, str]) -> AuthBase | None:
    """Read who asks: a bearer token, or a user and password; None for nobody.

    Raises
    ------
    SettingError
        Both are set, only half of one, or one cannot stand in a header.
    """
    user, password, token = (environment.get(x, "") for x in (USER, PASSWORD, TOKEN))
    for name, value in ((USER, user), (PASSWORD, password), (TOKEN, token)):
        if not value.isprintable():
            raise SettingError(f"{name} holds a line break or control character.")
    if token and (user or password):
        raise SettingError(
            f"{TOKEN} and {USER} or {PASSWORD} are set.", "Set one or the other."
        )
    if token:
        if not token.isascii() or " " in token:
            raise SettingError(f"{TOKEN} is no bearer token.")
        return _Bearer(token)
    if bool(user) != bool(password):
        missing = PASSWORD if user else USER
        raise SettingError(f"{missing} is not set.", "Set both or none.")
    # As bytes, for else those that Latin-1 lacks could not be sent.
    return HTTPBasicAuth(user.encode(), password.encode()) if user else None


def open_session(
    environment: Mapping[str, str] = os.environ, ca_bundle: Path | None = None
) -> requests.Session:
    """Open a session that checks certificates and reads no answer without end.

    Parameters
    ----------
    environment
        With the credentials.
    ca_bundle
        Certificates to trust, in PEM, instead of those that everybody trusts.

    Raises
    ------
    SettingError
        As of `credentials`; or the bundle is not there.
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
