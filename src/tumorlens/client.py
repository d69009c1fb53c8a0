"""A client of the HTTP API, for programs that wait and for those that do not.

>>> from tumorlens.client import Client
>>> with Client("http://127.0.0.1:5000") as client:      # doctest: +SKIP
...     client.predict("slice.png")["predictions"][0]["decision"]
...     client.judge_series("series.zip")["state"]

`AsyncClient` has the same methods, to be awaited. What a server answers is given as it
is: the documents that the OpenAPI description of the server names.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from tumorlens.errors import InputError, MissingFileError, TumorLensError

try:
    import httpx
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        "tumorlens.client needs httpx. Run: pip install 'tumorlens[client]'"
    ) from error

Document = dict[str, Any]
"""What the server answers, as JSON."""

Sent = str | os.PathLike[str] | bytes
"""A file's path, or what is in it."""

_T = TypeVar("_T")
_Steps = Generator[httpx.Request | float, httpx.Response, _T]
"""Requests to be sent, and seconds to be waited, before there is a result."""

_API = "api/v1/"
_BUSY = frozenset({429, 503})
_LONGEST_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_OVER = frozenset({"done", "failed", "stopped"})


class ServerError(TumorLensError):
    """A server that cannot be reached, or refuses what it was asked.

    Parameters
    ----------
    status
        HTTP status; 0 where there was no answer.
    code
        Code of the error, as the server's API lists them; ``unreachable`` where there
        was no answer.
    message, hint
        What is wrong, and what to do about it.
    """

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code


class _Requests:
    """Writes requests, and reads answers; sends and waits for nothing itself."""

    def __init__(self, build: httpx.Client | httpx.AsyncClient, retries: int) -> None:
        self._build = build
        self._retries = retries

    def predict(
        self, files: Sequence[Sent], operating_point: str | None
    ) -> _Steps[Document]:
        answer = yield from self._send("predictions", files, operating_point, {422})
        document = _json(answer)
        if answer.status_code == 200 or "failures" in document:
            return document
        raise _refusal(answer)

    def send_series(
        self, files: Sequence[Sent], operating_point: str | None, callback: str | None
    ) -> _Steps[Document]:
        more = {} if callback is None else {"callback": callback}
        answer = yield from self._send("scans", files, operating_point, set(), more)
        return _json(answer)

    def wait(self, status: Document, seconds: float | None) -> _Steps[Document]:
        began = time.monotonic()
        while status["state"] not in _OVER:
            if seconds is not None and time.monotonic() - began > seconds:
                raise ServerError(
                    0, "too_slow", f"The series was not judged within {seconds:.0f} s."
                )
            yield _LOOK_SECONDS
            status = yield from self.get(status["links"]["self"])
        return status

    def judge_series(
        self,
        files: Sequence[Sent],
        operating_point: str | None,
        seconds: float | None,
    ) -> _Steps[Document]:
        status = yield from self.send_series(files, operating_point, None)
        return (yield from self.wait(status, seconds))

    def get(self, address: str) -> _Steps[Document]:
        return _json((yield from self._answer("GET", address)))

    def download(self, address: str) -> _Steps[bytes]:
        return (yield from self._answer("GET", address)).content

    def remove(self, address: str) -> _Steps[None]:
        yield from self._answer("DELETE", address)

    def mark(
        self, address: str, correct: bool, finding: str | None
    ) -> _Steps[Document]:
        body: Document = {"correct": correct}
        if finding is not None:
            body["finding"] = finding
        answer = yield from self._answer("PUT", address + "/feedback", json=body)
        return _json(answer)

    def pin(self, address: str, pinned: bool) -> _Steps[None]:
        yield from self._answer("PUT" if pinned else "DELETE", address + "/pin")

    def _send(
        self,
        place: str,
        files: Sequence[Sent],
        operating_point: str | None,
        taken: set[int],
        more: dict[str, str] | None = None,
    ) -> _Steps[httpx.Response]:
        """Send files, under a key by which the server knows them if they come again."""
        if not files:
            raise InputError("No file was given.", "Give one or several.")
        data = dict(more or {})
        if operating_point is not None:
            data["operating_point"] = operating_point
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        with ExitStack() as stack:
            parts = [("file", _part(item, stack)) for item in files]
            return (
                yield from self._answer(
                    "POST", place, taken, files=parts, data=data, headers=headers
                )
            )

    def _answer(
        self,
        method: str,
        address: str,
        taken: set[int] | None = None,
        **content: Any,  # noqa: ANN401
    ) -> _Steps[httpx.Response]:
        """Send a request, and again while the server is busy or away."""
        server = self._build.base_url
        # A server behind a prefix names it in its links.
        url = server.join(address if address.startswith("/") else _API + address)
        for left in range(self._retries, -1, -1):
            for _, (_, file) in content.get("files", []):
                if not isinstance(file, bytes):
                    file.seek(0)
            wait = 2.0 ** (self._retries - left) / 2
            try:
                answer = yield self._build.build_request(method, url, **content)
            except httpx.TransportError as error:
                if not left:
                    raise ServerError(
                        0,
                        "unreachable",
                        f"The server does not answer: {type(error).__name__}.",
                        "Check its address, and whether it runs.",
                    ) from error
            else:
                if answer.status_code not in _BUSY or not left:
                    break
                wait = _retry_after(answer, wait)
            yield min(wait, _LONGEST_WAIT_SECONDS)
        if answer.is_success or answer.status_code in (taken or ()):
            return answer
        raise _refusal(answer)


class Client:
    """A client that waits for each answer.

    Requests that find the server busy (429, 503) or away are sent again, after the time
    that the server names. Files carry an ``Idempotency-Key``, so that nothing is judged
    twice because an answer was lost.

    Parameters
    ----------
    address
        Where the server is, as ``https://tumorlens.example.org``; with its prefix where
        it has one.
    token
        A token of ``tumorlens tokens add``; None where there is no log-in.
    retries
        How often a request is sent again.
    seconds
        Longest wait for one answer.
    verify
        False takes any certificate; a path names the authorities to believe.
    transport
        Another way to the server, as httpx has them.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        retries: int = 5,
        seconds: float = 120.0,
        verify: bool | str = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=address,
            headers=_headers(token),
            timeout=seconds,
            verify=verify,
            transport=transport,
        )
        self._requests = _Requests(self._http, retries)

    def __enter__(self) -> Self:
        """Give this client, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(self, *files: Sent, operating_point: str | None = None) -> Document:
        """Have pictures judged.

        Parameters
        ----------
        files
            Paths, or contents, of pictures, DICOM files or small volumes.
        operating_point
            ``screening`` or ``balanced``; None for the server's own.

        Returns
        -------
        dict
            ``predictions``, one for each slice, and ``failures``, one for each file
            that could not be judged.

        Raises
        ------
        MissingFileError, InputError
            A path leads nowhere, or no file was given.
        ServerError
            The server cannot be reached, or refuses.
        """
        return self._run(self._requests.predict(files, operating_point))

    def send_series(
        self,
        *files: Sent,
        operating_point: str | None = None,
        callback: str | None = None,
    ) -> Document:
        """Send a series or a study to be judged, and wait for nothing.

        Parameters
        ----------
        files
            Paths, or contents: a zip, a volume, or the files of a DICOM series.
        operating_point
            The same as for `predict`.
        callback
            Address that the server tells when it is done.

        Returns
        -------
        dict
            Status, with its own address in ``links``.

        Raises
        ------
        MissingFileError, InputError, ServerError
            The same as for `predict`.
        """
        return self._run(self._requests.send_series(files, operating_point, callback))

    def wait(self, status: Document, seconds: float | None = None) -> Document:
        """Wait until a series is judged.

        Parameters
        ----------
        status
            What `send_series` gave.
        seconds
            Longest wait; None for as long as it takes.

        Returns
        -------
        dict
            Its last status; ``state`` is ``done``, ``failed`` or ``stopped``.

        Raises
        ------
        ServerError
            The server cannot be reached, does not know the series, or took longer.
        """
        return self._run(self._requests.wait(status, seconds))

    def judge_series(
        self,
        *files: Sent,
        operating_point: str | None = None,
        seconds: float | None = None,
    ) -> Document:
        """Send a series or a study, and wait until it is judged.

        Parameters and errors are those of `send_series` and `wait`.
        """
        return self._run(self._requests.judge_series(files, operating_point, seconds))

    def get(self, address: str) -> Document:
        """Give what is at an address, such as one of a document's ``links``.

        Parameters
        ----------
        address
            A path on the server, or one below ``/api/v1/``.

        Raises
        ------
        ServerError
            The same as for `predict`.
        """
        return self._run(self._requests.get(address))

    def download(self, address: str) -> bytes:
        """Give a file, such as the report or the evidence that ``links`` names.

        Parameters
        ----------
        address
            The same as for `get`.

        Raises
        ------
        ServerError
            The same as for `predict`.
        """
        return self._run(self._requests.download(address))

    def remove(self, address: str) -> None:
        """Remove a result.

        Parameters
        ----------
        address
            Its ``links["self"]``.

        Raises
        ------
        ServerError
            The same as for `predict`.
        """
        self._run(self._requests.remove(address))

    def mark(
        self, address: str, *, correct: bool, finding: str | None = None
    ) -> Document:
        """Say whether a result is right, and what the picture shows.

        Parameters
        ----------
        address
            ``links["self"]`` of a prediction, or ``links["finding"]`` of a series.
        correct
            Whether the result is right.
        finding
            What the picture shows, where it is known.

        Returns
        -------
        dict
            The mark.

        Raises
        ------
        ServerError
            The same as for `predict`.
        """
        return self._run(self._requests.mark(address, correct, finding))

    def pin(self, address: str, *, pinned: bool = True) -> None:
        """Keep a result until it is unpinned, or unpin it.

        Parameters
        ----------
        address
            ``links["self"]`` of a prediction or a scan.
        pinned
            False lets it go by its age again.

        Raises
        ------
        ServerError
            The same as for `predict`.
        """
        self._run(self._requests.pin(address, pinned))

    def results(self, kind: str = "predictions") -> Iterator[Document]:
        """List one's own results, the newest first.

        Parameters
        ----------
        kind
            ``predictions`` or ``scans``.

        Raises
        ------
        ServerError
            The same as for `predict`; without a log-in nothing is listed.
        """
        address: str | None = kind
        while address is not None:
            page = self.get(address)
            yield from page[kind]
            address = page["next"]

    def _run(self, steps: _Steps[_T]) -> _T:
        try:
            step = next(steps)
            while True:
                if not isinstance(step, httpx.Request):
                    time.sleep(step)
                    step = next(steps)
                    continue
                try:
                    answer = self._http.send(step)
                except httpx.TransportError as error:
                    step = steps.throw(error)
                    continue
                step = steps.send(answer)
        except StopIteration as result:
            return result.value  # type: ignore[no-any-return]


class AsyncClient:
    """The same as `Client`, for programs that do other things meanwhile.

    Parameters
    ----------
    address, token, retries, seconds, verify, transport
        The same as for `Client`.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        retries: int = 5,
        seconds: float = 120.0,
        verify: bool | str = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=address,
            headers=_headers(token),
            timeout=seconds,
            verify=verify,
            transport=transport,
        )
        self._requests = _Requests(self._http, retries)

    async def __aenter__(self) -> Self:
        """Give this client, which is closed at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def predict(
        self, *files: Sent, operating_point: str | None = None
    ) -> Document:
        """Have pictures judged, as `Client.predict` does."""
        return await self._run(self._requests.predict(files, operating_point))

    async def send_series(
        self,
        *files: Sent,
        operating_point: str | None = None,
        callback: str | None = None,
    ) -> Document:
        """Send a series to be judged, as `Client.send_series` does."""
        steps = self._requests.send_series(files, operating_point, callback)
        return await self._run(steps)

    async def wait(self, status: Document, seconds: float | None = None) -> Document:
        """Wait until a series is judged, as `Client.wait` does."""
        return await self._run(self._requests.wait(status, seconds))

    async def judge_series(
        self,
        *files: Sent,
        operating_point: str | None = None,
        seconds: float | None = None,
    ) -> Document:
        """Send a series and wait until it is judged, as `Client.judge_series` does."""
        steps = self._requests.judge_series(files, operating_point, seconds)
        return await self._run(steps)

    async def get(self, address: str) -> Document:
        """Give what is at an address, as `Client.get` does."""
        return await self._run(self._requests.get(address))

    async def download(self, address: str) -> bytes:
        """Give a file, as `Client.download` does."""
        return await self._run(self._requests.download(address))

    async def remove(self, address: str) -> None:
        """Remove a result, as `Client.remove` does."""
        await self._run(self._requests.remove(address))

    async def mark(
        self, address: str, *, correct: bool, finding: str | None = None
    ) -> Document:
        """Say whether a result is right, as `Client.mark` does."""
        return await self._run(self._requests.mark(address, correct, finding))

    async def pin(self, address: str, *, pinned: bool = True) -> None:
        """Keep a result until it is unpinned, or unpin it, as `Client.pin` does."""
        await self._run(self._requests.pin(address, pinned))

    async def results(self, kind: str = "predictions") -> AsyncIterator[Document]:
        """List one's own results, as `Client.results` does."""
        address: str | None = kind
        while address is not None:
            page = await self.get(address)
            for item in page[kind]:
                yield item
            address = page["next"]

    async def _run(self, steps: _Steps[_T]) -> _T:
        try:
            step = next(steps)
            while True:
                if not isinstance(step, httpx.Request):
                    await asyncio.sleep(step)
                    step = next(steps)
                    continue
                try:
                    answer = await self._http.send(step)
                except httpx.TransportError as error:
                    step = steps.throw(error)
                    continue
                step = steps.send(answer)
        except StopIteration as result:
            return result.value  # type: ignore[no-any-return]


def _headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _part(sent: Sent, stack: ExitStack) -> tuple[str, IO[bytes] | bytes]:
    """Open a file for a form; what has no path goes without a name of its own."""
    if isinstance(sent, bytes):
        return "file", sent
    path = Path(sent)
    try:
        return path.name, stack.enter_context(path.open("rb"))
    except OSError as error:
        raise MissingFileError(f"{path} cannot be read: {error.strerror}.") from error


def _json(answer: httpx.Response) -> Document:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ServerError(
            answer.status_code,
            "no_json",
            "The server does not answer as TumorLens does.",
            "Check its address.",
        )
    return document


def _refusal(answer: httpx.Response) -> ServerError:
    error = _json(answer).get("error")
    told = error if isinstance(error, dict) else {}
    return ServerError(
        answer.status_code,
        str(told.get("code", "error")),
        str(told.get("message", f"The server answered {answer.status_code}.")),
        str(told.get("mend", "")),
    )


def _retry_after(answer: httpx.Response, seconds: float) -> float:
    """Give the wait that an answer names; where it names none, so many seconds."""
    told = answer.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else seconds
