"""Connections to the node: what a peer may cost before it has said who it is.

pynetdicom reads whatever length a PDU claims, and waits for a silent peer as long as
for any other. Here each connection checks the length first and has a time for each PDU,
and those that have not asked for an association hold up nobody.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from socketserver import BaseServer
from typing import TYPE_CHECKING, Any

from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from tumorlens.settings import NodeLimits

logger = logging.getLogger(__name__)

_HEADER_BYTES = 6
"""Type, a reserved byte, and the length of what follows (DICOM PS3.8, 9.3.1)."""

_ABORT_SECONDS = 2.0

if TYPE_CHECKING:
    _Socket = socket.socket
else:
    _Socket = object


class PduTooLongError(OSError):
    """A PDU claims more bytes than it may have."""


class _PduGuard(_Socket):
    """Reads PDUs from a connection, none of which is too long or too slow."""

    longest_bytes = 2**20
    longest_seconds = 30.0
    _header = b""
    _left = 0
    _began = 0.0

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Read as `socket.recv`, up to the end of a PDU's header or of the PDU."""
        if not self._header:
            self._began = time.monotonic()
        seconds = self._began + self.longest_seconds - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("A PDU takes too long.")
        in_header = len(self._header) < _HEADER_BYTES
        most = _HEADER_BYTES - len(self._header) if in_header else self._left
        self.settimeout(seconds)
        data = super().recv(min(buflen, most), flags)
        if in_header:
            self._header += data
            self._left = int.from_bytes(self._header[2:], "big")
            if len(self._header) < _HEADER_BYTES:
                return data
            if self._left > self.longest_bytes:
                logger.warning("Cut off a peer whose PDU claims %d bytes.", self._left)
                raise PduTooLongError("A PDU is too long.")
        else:
            self._left -= len(data)
        if self._left == 0:
            self._header = b""
        return data


class _PlainSocket(_PduGuard, socket.socket):
    """A guarded connection without encryption."""


class _TlsSocket(_PduGuard, ssl.SSLSocket):
    """A guarded connection with encryption."""


class _Handler(RequestHandler):
    """Stays with a connection until its association is over."""

    server: NodeServer

    def handle(self) -> None:
        association = self._create_association()
        server = self.server
        server.enter(association, self.request)
        try:
            if isinstance(self.request, ssl.SSLSocket):
                self.request.settimeout(server.limits.association_seconds)
                self.request.do_handshake()
            association.start()
            association.join()
        except OSError as error:
            # Its text may be the peer's own.
            logger.warning("A connection failed: %s.", type(error).__name__)
        finally:
            server.leave(association)
            server.shutdown_request(self.request)


class NodeServer(ThreadedAssociationServer):
    """Listens for peers.

    pynetdicom makes it, by `AE.make_server`, with its own arguments. `prepare` has to
    be called before it serves.

    Attributes
    ----------
    limits
        Limits of connections.
    """

    daemon_threads = True
    request_queue_size = 64

    def prepare(
        self,
        limits: NodeLimits,
        addresses: Collection[str],
        over: Callable[[Association], None],
    ) -> None:
        """Say what is allowed.

        Parameters
        ----------
        limits
            Limits of connections.
        addresses
            Addresses of peers; others are cut off at once.
        over
            Called with each association once it is over, however it ended.
        """
        self.limits = limits
        self.RequestHandlerClass = _Handler
        self._addresses = frozenset(addresses)
        self._over = over
        self._guard = threading.Lock()
        # The oldest first; None until its thread has made the association.
        self._connections: dict[socket.socket, Association | None] = {}
        self._established: set[Association] = set()

    @property
    def established(self) -> int:
        """Number of associations."""
        with self._guard:
            return len(self._established)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection, without waiting for a word of the peer."""
        assert self.socket is not None
        connection, address = self.socket.accept()
        if self.ssl_context is None:
            guarded: socket.socket = _PlainSocket(
                connection.family, connection.type, fileno=connection.detach()
            )
        else:
            self.ssl_context.sslsocket_class = _TlsSocket
            guarded = self.ssl_context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        assert isinstance(guarded, _PduGuard)
        guarded.longest_bytes = 1024 * self.limits.pdu_kb
        guarded.longest_seconds = float(self.limits.peer_seconds)
        guarded.settimeout(self.limits.peer_seconds)
        return guarded, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401
        """Turn strangers away before anything is read."""
        if str(client_address[0]) in self._addresses:
            return True
        logger.warning("Refused a connection from %s.", client_address[0])
        return False

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Note a connection; where too many are silent, the oldest has to go.

        They are noted before they have threads, which may start in another order.
        """
        with self._guard:
            self._connections[request] = None
            silent = [
                connection
                for connection, association in self._connections.items()
                if association not in self._established
            ]
            oldest = silent[: max(0, len(silent) - self.limits.connections)]
            for connection in oldest:
                del self._connections[connection]
        for connection in oldest:
            logger.warning("A silent connection was cut off for a new one.")
            _cut(connection)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        """Forget a connection and close it."""
        with self._guard:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def enter(self, association: Association, connection: socket.socket) -> None:
        """Note which association a connection has."""
        with self._guard:
            if connection in self._connections:
                self._connections[connection] = association

    def establish(self, association: Association) -> bool:
        """Note that a peer asked for an association; tell whether there is room."""
        with self._guard:
            if len(self._established) >= self.limits.associations:
                return False
            self._established.add(association)
        return True

    def leave(self, association: Association) -> None:
        """Note that an association is over."""
        with self._guard:
            self._established.discard(association)
        self._over(association)

    def drain(self, seconds: float) -> None:
        """Wait for open associations to end; abort those that do not."""
        self._wait_for_established(seconds)
        with self._guard:
            established = list(self._established)
        for association in established:
            association.abort(block=False)
        self._wait_for_established(_ABORT_SECONDS)
        with self._guard:
            connections = list(self._connections)
        for connection in connections:
            _cut(connection)
        self._wait_for_established(_ABORT_SECONDS)

    def shutdown(self) -> None:
        """Take no more connections."""
        # pynetdicom's own wants the server in the list of those that it started.
        BaseServer.shutdown(self)
        self.server_close()

    def _wait_for_established(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.established and time.monotonic() < end:
            time.sleep(0.05)


def _cut(connection: socket.socket) -> None:
    # It may be gone by itself.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
