"""TLS in front of the HTTP server, with a certificate of one's own.

waitress knows no TLS. Its connections are taken over as soon as they are accepted:
asyncio shakes hands, and passes on what comes to waitress through a pair of connected
sockets, which nobody else can reach. So all limits of the server hold as they are, and
it knows each peer's own address.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tumorlens.errors import SettingError
from tumorlens.settings import SETTINGS, Settings

logger = logging.getLogger(__name__)

_BYTES = 2**16
_HANDSHAKE_SECONDS = 10.0
_SHUTDOWN_SECONDS = 1.0
_QUIET_SECONDS = 0.2
"""Without a byte of a refused body for so long, its sender has heard the answer."""
_MOST_QUIETS = 50


class TlsFront:
    """Shakes hands with peers in a thread of its own.

    Parameters
    ----------
    certificate, key
        PEM files: the server's certificate with those between it and its authority,
        and its key without a password. Files that are renewed are read again.
    most
        Handshakes at a time; the oldest gives way.
    dropped
        Told the cause whenever a connection is cut off.

    Raises
    ------
    SettingError
        The files are not there, or do not belong together.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        most: int,
        dropped: Callable[[str], None] = lambda cause: None,
    ) -> None:
        self._files = (certificate, key)
        self._context, self._stamp = _context_of(*self._files), self._read_stamp()
        self._most, self._dropped = most, dropped
        self._relays: set[asyncio.Task[None]] = set()
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def take(
        self, connection: socket.socket, accept: Callable[[socket.socket], None]
    ) -> None:
        """Take over a connection; from any thread.

        Parameters
        ----------
        connection
            Connection that has sent nothing so far.
        accept
            Called, in another thread, with the socket of the same connection without
            TLS, once hands are shaken.
        """
        with suppress(RuntimeError):
            # The loop is closed: the server stops.
            self._loop.call_soon_threadsafe(self._begin, connection, accept)
            return
        connection.close()

    def close(self) -> None:
        """Pass on what is under way, and end all connections."""
        done = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        done.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _begin(
        self, connection: socket.socket, accept: Callable[[socket.socket], None]
    ) -> None:
        if len(self._handshakes) >= self._most:
            next(iter(self._handshakes)).cancel()
        task = self._loop.create_task(self._relay(connection, accept))
        self._handshakes[task] = None
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
        task.add_done_callback(lambda task: self._handshakes.pop(task, None))

    async def _relay(
        self, connection: socket.socket, accept: Callable[[socket.socket], None]
    ) -> None:
        connection.setblocking(False)
        reader = asyncio.StreamReader(_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._newest_context(),
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except (OSError, asyncio.CancelledError):
            # Whoever speaks another protocol, distrusts the certificate or is silent.
            connection.close()
            self._dropped("no TLS")
            return
        task = asyncio.current_task()
        assert task is not None
        self._handshakes.pop(task, None)
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        ours, theirs = socket.socketpair()
        inner_reader, inner_writer = await asyncio.open_connection(sock=ours)
        accept(theirs)
        inward = _Stream(reader, inner_writer)
        coming = self._loop.create_task(inward.run())
        try:
            await _Stream(inner_reader, writer).run()
            # To close while a refused body still comes would take the answer away.
            for _ in range(_MOST_QUIETS):
                before = inward.passed
                done, _others = await asyncio.wait({coming}, timeout=_QUIET_SECONDS)
                if done or inward.passed == before:
                    break
        finally:
            coming.cancel()
            for end in (writer, inner_writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _end(self) -> None:
        if self._relays:
            await asyncio.wait(self._relays, timeout=_QUIET_SECONDS)
        for task in list(self._relays):
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def _newest_context(self) -> ssl.SSLContext:
        stamp = self._read_stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = _context_of(*self._files)
            except SettingError as error:
                logger.warning("The certificate stays as it was: %s", error)
        return self._context

    def _read_stamp(self) -> tuple[int, ...]:
        with suppress(OSError):
            return tuple(file.stat().st_mtime_ns for file in self._files)
        return ()


class _Stream:
    """One direction of a connection.

    Attributes
    ----------
    passed
        Bytes that have come so far.
    """

    def __init__(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        self._source, self._target = source, target
        self.passed = 0

    async def run(self) -> None:
        """Write what comes until it ends; then let the other side see the end."""
        with suppress(OSError):
            while data := await self._source.read(_BYTES):
                self.passed += len(data)
                self._target.write(data)
                await self._target.drain()
            if self._target.can_write_eof():
                self._target.write_eof()


def tls_front(
    settings: Settings, dropped: Callable[[str], None] = lambda cause: None
) -> TlsFront | None:
    """Make what the settings ask for; None where they ask for no TLS.

    Raises
    ------
    SettingError
        One of both files is not given, or as for `TlsFront`.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        names = [SETTINGS[name].option for name in ("tls_certificate", "tls_key")]
        raise SettingError(
            f"Only one of {names[0]} and {names[1]} is given.", "Give both, or none."
        )
    return TlsFront(
        Path(certificate).expanduser(),
        Path(key).expanduser(),
        settings.connections,
        dropped,
    )


def _context_of(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a function it would ask for a password in the terminal.
        context.load_cert_chain(certificate, key, lambda: "")
    except OSError as error:
        # `ssl.SSLError` is one of them.
        reason = (error.strerror or str(error)).rstrip(".")
        raise SettingError(
            f"The certificate {certificate} and the key {key} cannot be used: "
            f"{reason}.",
            "Give the PEM files of a certificate and of its key without a password.",
        ) from error
    return context
