"""The listening half of the node: C-ECHO and C-STORE from those who may.

First stands what a peer may cost before it has said who it is. pynetdicom reads
whatever length a PDU claims, and waits for a silent peer as long as for any other. Here
each connection checks the length first and has a time for each PDU, and those that have
not asked for an association hold up nobody.

Tested in `tests/pacs/node/test_receiver.py` and `tests/pacs/node/test_connections.py`.
"""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from ipaddress import ip_address
from socketserver import BaseServer
from typing import TYPE_CHECKING, Any

from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from tumorlens.errors import BusyError, InputError, OutputError, SettingError
from tumorlens.imaging.limits import MAX_FILE_BYTES
from tumorlens.operations.audit import (
    AuditAction,
    AuditEvent,
    AuditOutcome,
    AuditTrail,
    note_event,
)
from tumorlens.operations.tracing import add_span
from tumorlens.pacs.node.commitment import ASK, read_report, read_request
from tumorlens.pacs.node.node_queue import IMAGE_CLASSES, NodeQueue
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.queue import Arrival, SeriesQueue
from tumorlens.settings import NodeLimits

if TYPE_CHECKING:
    _Socket = socket.socket
else:
    _Socket = object


logger = logging.getLogger(__name__)

_HEADER_BYTES = 6
"""Type, a reserved byte, and the length of what follows (DICOM PS3.8, 9.3.1)."""

_ABORT_SECONDS = 2.0


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


_STORED, _OUT_OF_RESOURCES, _CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
_NOT_ALLOWED = 0x0124
_DONE, _FAILED, _NO_SUCH_INSTANCE, _WRONG_VALUE = 0x0000, 0x0110, 0x0112, 0x0115
_NO_SUCH_ACTION, _TOO_MANY = 0x0123, 0x0213
"""Statuses of C-STORE (DICOM PS3.4, annex B.2.3), of any service, and of N-ACTION and
N-EVENT-REPORT (PS3.7, annex C)."""
_LONGEST_MESSAGE_BYTES = MAX_FILE_BYTES + 2**24
"""Room for what the network adds to an image; `_store` turns away politely what is
only a little too large."""
_UNLIMITED = 1_000_000
"""Associations for pynetdicom, which counts silent connections too; `NodeServer` does
not."""
_WARNINGS = {
    Arrival.LATE: "An image came late to a judged series: it will be judged anew.",
    Arrival.AGAIN: "An image came again of a series that was given up: it is tried "
    "anew, with the images that come now.",
    Arrival.TOO_LATE: "An image came too late to a judged series, whose images are "
    "not kept any more: it is not judged. Judge the whole series with the command "
    "scan or dicomweb.",
}
TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5",
)
"""Transfer syntaxes that `tumorlens.imaging` decodes (DICOM PS3.5, annex A), but for
deflated data sets: who sends over a network can do without, and they may inflate
without end."""


@dataclass
class _Arrivals:
    """What an association has brought.

    Parameters
    ----------
    title, address
        Title and address of the sender.
    name
        Its name for the queue.
    began
        When it was accepted, in seconds since 1970.
    images
        Number of images that were accepted.
    message_bytes
        Bytes so far of the message at hand.
    series
        UIDs of its images' series.
    refused
        Those of which an image could not be kept: its sender's word that all was sent
        is not enough for them.
    """

    title: str
    address: str
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    began: float = field(default_factory=time.time)
    images: int = 0
    message_bytes: int = 0
    series: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)


class Receiver:
    """Takes images from allowed peers into the queue.

    Parameters
    ----------
    queue
        Queue for the images.
    title, host, port
        Title and address of the node; port 0 takes a free one.
    allowed
        Peers that may send: title and host both have to fit.
    limits
        Limits of connections and associations.
    tls
        Context of `peers.server_tls`; None for no encryption.
    commit_for
        Those of the peers that may ask the node to commit what it holds.
    archive
        Peer that reports what it has committed; it may send no images, unless it is
        among the others. None where nobody does. Either needs a `NodeQueue`.
    audit
        Trail of who sent what; None for none.

    Raises
    ------
    SettingError
        Where a peer's host is not known, or the port is taken.
    """

    def __init__(
        self,
        queue: SeriesQueue,
        title: str,
        host: str,
        port: int,
        allowed: Sequence[Peer],
        limits: NodeLimits | None = None,
        tls: ssl.SSLContext | None = None,
        commit_for: Sequence[Peer] = (),
        archive: Peer | None = None,
        audit: AuditTrail | None = None,
    ) -> None:
        self._queue = queue
        self._audit = audit
        self._limits = limits = limits or NodeLimits()
        self._senders = _known(allowed)
        self._commit_for = {peer.title for peer in commit_for}
        self._archive = _known([] if archive is None else [archive])
        self._allowed = self._senders | self._archive
        entity = AE(ae_title=title)
        entity.require_called_aet = True
        entity.maximum_associations = _UNLIMITED
        entity.network_timeout = entity.dimse_timeout = limits.peer_seconds
        entity.acse_timeout = limits.association_seconds
        entity.add_supported_context(Verification)
        for kind in IMAGE_CLASSES:
            entity.add_supported_context(kind, list(TRANSFER_SYNTAXES))
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._check_caller),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_DATA_RECV, self._check_size),
            (evt.EVT_DIMSE_RECV, self._reset_size),
        ]
        if isinstance(queue, NodeQueue) and (commit_for or archive):
            self._commitments = queue
            # As the requestor says: it asks as user, and reports as provider.
            entity.add_supported_context(
                StorageCommitmentPushModel, scu_role=True, scp_role=True
            )
            handlers += [
                (evt.EVT_N_ACTION, self._commit),
                (evt.EVT_N_EVENT_REPORT, self._committed),
            ]
        self._arrivals: dict[Association, _Arrivals] = {}
        self._stored = 0
        try:
            server = entity.make_server(
                (host, port),
                ssl_context=tls,
                evt_handlers=handlers,
                server_class=NodeServer,
            )
        except OSError as error:
            raise SettingError(
                f"The node cannot listen on {host}:{port}: {error.strerror}.",
                "Choose another --port or --host.",
            ) from error
        assert isinstance(server, NodeServer)
        server.prepare(
            limits, {address for _, address in self._allowed}, self._association_over
        )
        self._server = server
        threading.Thread(target=server.serve_forever, daemon=True).start()
        if _is_loopback(str(server.server_address[0])):
            _warn_of_remote_peers(host, allowed)

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        """Number of associations that are open."""
        return self._server.established

    @property
    def stored(self) -> int:
        """Number of images that were accepted."""
        return self._stored

    def close(self) -> None:
        """Stop listening, let open associations end, and abort those that do not."""
        self._server.shutdown()
        self._server.drain(self._limits.stop_seconds)

    def _check_caller(self, event: evt.Event) -> None:
        """Turn away who may not send, before anything is read."""
        caller = _caller(event)
        if caller not in self._allowed:
            logger.warning("Refused an association from %s.", caller[1])
            # The title is what anybody may type: it is not kept.
            note_event(
                self._audit,
                (AuditEvent.AUTHENTICATION, AuditAction.EXECUTE),
                AuditOutcome.MINOR_FAILURE,
                origin=caller[1],
                detail="association refused",
            )
            # "Rejected permanent, service user, calling AE title not recognized"
            # (DICOM PS3.8, 9.3.4).
            event.assoc.acse.send_reject(0x01, 0x01, 0x03)
            event.assoc.kill()
            return
        if not self._server.establish(event.assoc):
            logger.warning("Refused an association: there are too many.")
            # "Rejected transient, service provider, local limit exceeded".
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            event.assoc.kill()
            return
        self._arrivals[event.assoc] = _Arrivals(*caller)

    def _association_over(self, association: Association) -> None:
        arrivals = self._arrivals.pop(association, None)
        if arrivals is None or not arrivals.series:
            return
        normally = association.is_released
        add_span(
            "node.receive", arrivals.began, images=arrivals.images, normal=normally
        )
        note_event(
            self._audit,
            (AuditEvent.IMPORT, AuditAction.CREATE),
            AuditOutcome.of(normally and not arrivals.refused),
            user=arrivals.title,
            origin=arrivals.address,
            objects=sorted(arrivals.series),
            detail=f"{arrivals.images} images",
        )
        if not normally:
            logger.warning("An association that brought images came to no normal end.")
        try:
            whole = arrivals.series - arrivals.refused
            self._queue.end_association(arrivals.name, whole, normally=normally)
            self._queue.end_association(arrivals.name, arrivals.refused, normally=False)
        except OutputError as error:
            # It stays open in the queue: its series wait, and are judged as parts.
            logger.error("The end of an association was not noted: %s", error)

    def _check_size(self, event: evt.Event) -> None:
        """Cut off who sends more than any image has, before it fills the memory."""
        arrivals = self._arrivals.get(event.assoc)
        if arrivals is None:
            return
        arrivals.message_bytes += len(event.data)
        total = sum(item.message_bytes for item in list(self._arrivals.values()))
        connection = event.assoc.dul.socket
        if connection is not None and (
            arrivals.message_bytes > _LONGEST_MESSAGE_BYTES
            or total > self._limits.receiving_mb * 2**20
        ):
            logger.warning("An image was turned away: it is too large.")
            connection.close()

    def _reset_size(self, event: evt.Event) -> None:
        """Count from 0 again with the next message."""
        arrivals = self._arrivals.get(event.assoc)
        if arrivals is not None:
            arrivals.message_bytes = 0

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        """Keep what a peer asks the node to commit; the answer comes by itself."""
        caller = _caller(event)
        if caller not in self._senders or caller[0] not in self._commit_for:
            logger.warning("Refused a request for storage commitment.")
            return _NOT_ALLOWED, None
        if event.action_type != ASK:
            return _NO_SUCH_ACTION, None
        instance = getattr(event.request, "RequestedSOPInstanceUID", None)
        if instance != StorageCommitmentPushModelInstance:
            return _NO_SUCH_INSTANCE, None
        try:
            self._commitments.ask(caller[0], read_request(event.action_information))
        except InputError:
            logger.warning("Refused a request for storage commitment: it is none.")
            return _WRONG_VALUE, None
        except (BusyError, OutputError) as error:
            logger.error("A request for storage commitment was turned away: %s", error)
            return _TOO_MANY, None
        return _DONE, None

    def _committed(self, event: evt.Event) -> tuple[int, None]:
        """Note what the archive has committed."""
        if _caller(event) not in self._archive:
            return _NOT_ALLOWED, None
        try:
            report = read_report(event.event_information)
            is_known = self._commitments.committed(report)
        except InputError:
            logger.warning("A report of storage commitment cannot be understood.")
            return _WRONG_VALUE, None
        except OutputError as error:
            logger.error("A report of storage commitment was not noted: %s", error)
            return _FAILED, None
        counts = len(report.committed), len(report.failed)
        if is_known:
            logger.info("Committed: %d results, and not: %d.", *counts)
        # One that is not known any more is of results that were replaced.
        return _DONE, None

    def _store(self, event: evt.Event) -> int:
        if _caller(event) not in self._senders:
            return _NOT_ALLOWED
        data = event.encoded_dataset()
        try:
            series = _series_uid(data)
        except Exception:
            # Whatever a hostile file does to the parser, the sender is told so.
            series = ""
        if not series:
            logger.warning("Refused an image that does not say which series it is of.")
            return _CANNOT_UNDERSTAND
        arrivals = self._arrivals[event.assoc]
        arrivals.series.add(series)
        if len(data) > MAX_FILE_BYTES:
            arrivals.refused.add(series)
            return _OUT_OF_RESOURCES
        try:
            arrival = self._queue.add(
                str(event.file_meta.MediaStorageSOPInstanceUID),
                series,
                data,
                arrivals.name,
            )
        except OutputError as error:
            logger.error("An image was turned away: %s", error)
            arrivals.refused.add(series)
            return _OUT_OF_RESOURCES
        self._stored += 1
        arrivals.images += 1
        if arrival in _WARNINGS:
            logger.warning(_WARNINGS[arrival])
        return _STORED


def _caller(event: evt.Event) -> tuple[str, str]:
    """Give title and address of who asked for an association."""
    caller = event.assoc.requestor
    asked = caller.primitive
    title = "" if asked is None else str(asked.calling_ae_title).strip()
    return title, str(caller.address)


def _known(peers: Sequence[Peer]) -> set[tuple[str, str]]:
    return {(peer.title, address) for peer in peers for address in _addresses(peer)}


def _series_uid(data: bytes) -> str:
    """Read which series an image is of, and nothing behind that."""
    dataset = dcmread(
        BytesIO(data), specific_tags=["SeriesInstanceUID"], stop_before_pixels=True
    )
    return str(dataset.get("SeriesInstanceUID", ""))


def _is_loopback(address: str) -> bool:
    """Tell whether an address is of this machine only."""
    return ip_address(address).is_loopback


def _warn_of_remote_peers(host: str, allowed: Sequence[Peer]) -> None:
    for peer in allowed:
        if not any(map(_is_loopback, _addresses(peer))):
            logger.warning(
                "%s at %s cannot send: the node listens on %s, which other machines do "
                "not reach. Give --host 0.0.0.0 or this machine's address.",
                peer.title,
                peer.host,
                host,
            )


def _addresses(peer: Peer) -> set[str]:
    try:
        addresses = socket.getaddrinfo(peer.host, None)
    except OSError as error:
        raise SettingError(
            f"The host {peer.host} of {peer.title} is not known.",
            "Give its address.",
        ) from error
    return {str(row[4][0]) for row in addresses}
