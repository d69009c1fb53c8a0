"""Downloads that go on where they stopped, and are checked before they count."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from tumorlens.errors import DatasetError, OutputError

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes so far, and all of them if known."""

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait before each new try; bytes that arrive start it over."""

_T = TypeVar("_T")
_CHUNK = 1 << 18
_TIMEOUT_S = 30.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Remote:
    """A file elsewhere.

    Parameters
    ----------
    url
        Its address.
    name
        Name of the file on this machine.
    size
        Size in bytes; None where not known beforehand.
    md5
        MD5 in hex; None where the owner states none.
    headers
        Headers to send, such as a token, to the address's own host alone.
    """

    url: str
    name: str
    size: int | None = None
    md5: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class _BrokenOffError(Exception):
    """The connection broke; another try may go on.

    Parameters
    ----------
    reason
        Reason, for people.
    arrived
        Whether any bytes came before.
    """

    def __init__(self, reason: str, arrived: bool = False) -> None:
        super().__init__(reason)
        self.arrived = arrived


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but hands no token to another host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            request.remove_header("Authorization")
        return request


def fetch_json(url: str, pauses_s: Sequence[float] = PAUSES_S) -> Any:  # noqa: ANN401
    """Ask an address for JSON.

    Parameters
    ----------
    url
        The address.
    pauses_s
        Pauses between attempts, the same as `PAUSES_S`.

    Raises
    ------
    DatasetError
        If there is no answer, or another than JSON.
    """

    def ask() -> Any:  # noqa: ANN401 - whatever JSON holds
        with _open(Remote(url, url), {}) as response:
            return json.load(response)

    try:
        return _persist(url, ask, pauses_s)
    except (ValueError, http.client.HTTPException) as error:
        raise DatasetError(
            f"{url} answered with something else than JSON.", "Try again later."
        ) from error


def download(
    remote: Remote,
    folder: Path,
    *,
    progress: Progress = lambda name, done, total: None,
    pauses_s: Sequence[float] = PAUSES_S,
) -> Path:
    """Bring a file here, unless it is here already.

    What has arrived lies in ``NAME.part`` and is kept when the download stops
    for any reason; the next call goes on from there. The file takes its name
    only when size and checksum are right.

    Parameters
    ----------
    remote
        File to fetch.
    folder
        Folder to write to; made if need be.
    progress
        Callback; see `Progress`.
    pauses_s
        Pauses between attempts, the same as `PAUSES_S`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DatasetError
        If the file cannot be had, or is not what its owner says it is.
    OutputError
        If the folder cannot be written.
    """
    # A name from elsewhere is not to lead out of the folder.
    name = PurePosixPath(remote.name.replace("\\", "/")).name
    target, part = folder / name, folder / f"{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file() and not _flaw(target, remote):
            progress(name, target.stat().st_size, remote.size)
            return target
        for _ in range(2):
            _persist(remote.url, lambda: _go_on(remote, part, progress), pauses_s)
            flaw = _flaw(part, remote)
            if not flaw:
                return part.replace(target)
            # Two versions may have been joined: once more, from the start.
            part.unlink()
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}."
        ) from error
    raise DatasetError(
        f"{remote.url} is not the file that its owner describes: {flaw}.",
        "Try again later; if it stays so, the file was changed or is intercepted.",
    )


def _go_on(remote: Remote, part: Path, progress: Progress) -> None:
    """Fetch what is missing of the file, in one connection."""
    done = part.stat().st_size if part.is_file() else 0
    if remote.size is not None and done >= remote.size:
        return
    try:
        response = _open(remote, {"Range": f"bytes={done}-"} if done else {})
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:
            # Nothing is left to send, or the file was longer than it is now.
            if _total(error.headers, 0) == done:
                return
            part.unlink()
            raise _BrokenOffError("the file has changed") from error
        raise
    with response:
        start = done = done if response.status == 206 else 0
        total = _total(response.headers, done)
        with part.open("ab" if done else "wb") as file:
            while block := _read(response, arrived=done > start):
                file.write(block)
                done += len(block)
                progress(part.stem, done, total)
    if total is not None and done < total:
        raise _BrokenOffError(
            f"the connection ended after {done:,} of {total:,} bytes", done > start
        )


def _read(response: http.client.HTTPResponse, *, arrived: bool) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise _BrokenOffError(reason, arrived) from error


def _open(remote: Remote, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    request = urllib.request.Request(
        remote.url,
        headers={
            "User-Agent": "tumorlens",
            "Accept-Encoding": "identity",
            **remote.headers,
            **headers,
        },
    )
    opener = urllib.request.build_opener(_SafeRedirects)
    response: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT_S)
    return response


def _total(headers: Message, done: int) -> int | None:
    """Read the whole file's size off an answer that starts at `done`."""
    stated = headers.get("Content-Range", "").rpartition("/")[2]
    if stated.isdecimal():
        return int(stated)
    length = headers.get("Content-Length", "")
    return done + int(length) if length.isdecimal() else None


def _persist(url: str, attempt: Callable[[], _T], pauses_s: Sequence[float]) -> _T:
    """Try again, with growing pauses, what may pass."""
    pauses = iter(pauses_s)
    while True:
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            if error.code not in _PASSING:
                raise _refused(url, error.code) from error
            reason = f"it answered {error.code}"
        except urllib.error.URLError as error:
            reason = str(error.reason)
        except _BrokenOffError as error:
            reason = str(error)
            if error.arrived:
                pauses = iter(pauses_s)
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        pause = next(pauses, None)
        if pause is None:
            raise DatasetError(
                f"{url} cannot be fetched: {reason}.",
                "Check the connection and run the command again: "
                "it goes on where it stopped.",
            )
        time.sleep(pause)


def _refused(url: str, status: int) -> DatasetError:
    mends = {
        401: "It wants a token, or refuses the one it was given.",
        403: "It wants a token, or its terms have to be accepted on its page first.",
        404: "The set may have moved: look for it on its page.",
    }
    return DatasetError(
        f"{url} refuses the download (status {status}).",
        mends.get(status, "Look at the address in a browser."),
    )


def _flaw(path: Path, remote: Remote) -> str:
    """Say what is wrong with a file that should be complete; nothing if right."""
    size = path.stat().st_size
    if remote.size is not None and size != remote.size:
        return f"{size:,} bytes instead of {remote.size:,}"
    if remote.md5:
        with path.open("rb") as file:
            # MD5 is what the archives publish; it guards against accidents.
            digest = hashlib.file_digest(
                file, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
        if digest != remote.md5.lower():
            return f"MD5 {digest} instead of {remote.md5}"
    return ""
