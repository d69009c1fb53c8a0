"""The HTTP server: waitress, with limits by route, slow peers cut off, an orderly end.

waitress reads whole requests in one thread, so that a slow peer costs no worker, and
hands each to one of many. What it refuses itself goes to the app, too, with a status
and without its body: so all errors look alike, and each has its line in the log.

Tested in `tests/web/test_overload.py` and `tests/cli/services/test_serve.py`.
"""

from __future__ import annotations

import copy
import errno
import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import waitress
from flask import Flask
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import WSGITask
from waitress.utilities import Error

from tumorlens.errors import SettingError
from tumorlens.inference.slice.session import available_cores
from tumorlens.jobs.database import FULL_DISK
from tumorlens.settings import Settings
from tumorlens.web.errors import REFUSED
from tumorlens.web.tls import TlsFront

DRAIN_SECONDS = 16.0
"""Seconds that requests under way get when the server is told to stop."""

_SPARE_THREADS = 16
"""Threads for pages and files, beside those that wait for the network."""
_HEALTH_THREADS = 4
"""Threads that nothing but health checks and metrics may use."""
_HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_INSTANT_PATH = "/healthz"
"""Answered by the thread that reads requests. It waits for nothing, and another thread
would first have to wait for those that decode or draw."""
_PICTURE_PATHS = frozenset({"/api/v1/predictions", "/analyses"})
_SCAN_PATHS = frozenset({"/api/v1/scans", "/scans"})
_OTHER_BYTES = 64 * 2**10
_HEADER_BYTES = 32 * 2**10
_LEAST_BYTES_PER_SECOND = 8 * 2**10
"""A body has to come at least this fast, on average."""
_LINGER_SECONDS = 5.0
_END_SECONDS = 1.0
_FULL_SHARE = 0.9
_RECENT_SECONDS = 2.0
_SWITCH_SECONDS = 0.0005
"""Seconds for which a thread may hold the interpreter while others wait. A health check
waits some ten times, each time for as many threads as decode or draw: a tenth of the
usual 5 ms is what it takes that it is answered beside them."""


class _DiskFullError(Error):  # type: ignore[misc]
    code = 507
    reason = "Insufficient Storage"


class _NoThreadError(Error):  # type: ignore[misc]
    code = 503
    reason = "Service Unavailable"


class HttpServer:
    """Serves an app until it is told to stop; then it finishes what is under way.

    Parameters
    ----------
    app
        The app that `create_app` made.
    settings
        Host, port and limits.
    dropped
        Told the cause whenever a connection is cut off.
    tls
        Shakes hands with peers; None for none. `close` closes it.

    Raises
    ------
    SettingError
        Where the port is taken or forbidden, or the host is none of this machine's.
    """

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        dropped: Callable[[str], None] = lambda cause: None,
        tls: TlsFront | None = None,
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._dropped = dropped
        self._guard, self._ending = threading.Lock(), threading.Lock()
        self._is_drained = self._is_closed = False
        self._active = 0
        # All that may wait for the network, with room for others beside them.
        usual = settings.queue_length + available_cores() + _SPARE_THREADS
        self._most_active = usual
        # That a request waits a moment for its turn is no news.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        try:
            self._server = waitress.create_server(
                app,
                host=settings.host,
                port=settings.port,
                threads=usual + _HEALTH_THREADS,
                ident="",
                url_scheme="http" if tls is None else "https",
                # A backstop: each route has its own, lower limit.
                max_request_body_size=2
                * max(settings.upload_mb, settings.scan_mb)
                * 2**20,
                max_request_header_size=_HEADER_BYTES,
                connection_limit=settings.connections + _SPARE_THREADS,
                cleanup_interval=1,
                # select() ends at 1,024 open files.
                asyncore_use_poll=True,
                # The app has to see that a proxy is in front.
                clear_untrusted_proxy_headers=False,
                log_socket_errors=False,
            )
        except OSError as error:
            raise _cannot_listen(error, settings) from error
        for listener in self._listeners():
            listener.channel_class = partial(_Channel, self)
            listener.maintenance = partial(self._cut_off, listener)
            listener.add_task = partial(_add_task, listener.add_task)
            if tls is not None:
                listener.handle_accept = partial(self._accept, listener, tls)

    @property
    def port(self) -> int:
        """The port that was taken."""
        # A name such as "localhost" can stand for two addresses, each with a socket.
        listens = getattr(self._server, "effective_listen", None)
        return int(listens[0][1] if listens else self._server.effective_port)

    def run(self) -> None:
        """Serve until `drain` is through."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            self._server.run()
        finally:
            sys.setswitchinterval(before)

    def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Serve what is under way, and let `run` return; from another thread.

        Parameters
        ----------
        seconds
            Seconds after which it returns in any case.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(map(_is_busy, self._channels())):
            time.sleep(0.05)
        with self._ending:
            if self._is_closed:
                return
            self._is_drained = True
            for listener in self._listeners():
                # The loop comes to it at once, and not within a second.
                listener.next_channel_cleanup = 0
                listener.pull_trigger()

    def close(self) -> bool:
        """Let the port go; tell whether nothing is under way any more."""
        dispatcher = getattr(self._server, "task_dispatcher", None)
        if dispatcher is not None:
            dispatcher.shutdown(timeout=_END_SECONDS)
        if self._tls is not None:
            self._tls.close()
        with self._ending:
            # Nobody wakes a loop whose files are another's by now.
            self._is_closed = True
            for channel in self._channels():
                channel.close()
            self._server.close()
        return dispatcher is None or not dispatcher.threads

    def limit_of(self, command: str, path: str) -> int:
        """Return the most bytes that a request's body may have."""
        if command == "POST" and path in _PICTURE_PATHS:
            return self._settings.upload_mb * 2**20
        if command == "POST" and path in _SCAN_PATHS:
            return self._settings.scan_mb * 2**20
        return _OTHER_BYTES

    def begin(self, path: str) -> bool:
        """Count a request that begins; tell whether there is a thread for it."""
        with self._guard:
            self._active += 1
            return path in _HEALTH_PATHS or self._active <= self._most_active

    def end(self) -> None:
        """Count a request that is over."""
        with self._guard:
            self._active -= 1

    def _listeners(self) -> list[Any]:
        server = self._server
        watched = getattr(server, "map", None) or getattr(server, "_map", {})
        return [item for item in list(watched.values()) if hasattr(item, "maintenance")]

    def _accept(self, listener: Any, tls: TlsFront) -> None:  # noqa: ANN401
        """Let TLS be spoken on a new connection before waitress gets it."""
        try:
            accepted = listener.accept()
            if accepted is None:
                return
            connection, address = accepted
            listener.set_socket_options(connection)
        except OSError:
            # The peer has gone already.
            return

        def begin(inner: socket.socket) -> None:
            # Waitress's loop alone may change what it watches.
            listener.trigger.pull_trigger(
                lambda: listener.channel_class(
                    listener, inner, address, listener.adj, map=listener._map
                )
            )

        tls.take(connection, begin)

    def _channels(self) -> Iterator[_Channel]:
        for listener in self._listeners():
            yield from list(listener.active_channels.values())

    def _cut_off(self, listener: Any, now: float) -> None:  # noqa: ANN401
        """Close connections that are silent, slow, or too many; once a second.

        Raises
        ------
        SystemExit
            The server is drained: it ends waitress's loop.
        """
        if self._is_drained:
            raise SystemExit(0)
        channels = [
            item for item in listener.active_channels.values() if not item.will_close
        ]
        patience = float(self._settings.peer_seconds)
        for channel in channels:
            cause = channel.fault(now, patience)
            if cause is not None:
                channel.cut_off()
                self._dropped(cause)
        allowed = int(_FULL_SHARE * self._settings.connections)
        idle = [item for item in channels if not (item.requests or item.will_close)]
        idle.sort(key=lambda item: item.waiting_since)
        for channel in idle[: max(0, len(channels) - allowed)]:
            channel.cut_off()
            self._dropped("too many")


def _add_task(to_pool: Callable[[_Channel], None], channel: _Channel) -> None:
    """Let a thread serve a channel's request, or the channel itself at once."""
    if not channel.takes_at_once():
        to_pool(channel)


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """Reads a request, and refuses a body by what its route may take."""

    adj: Any

    def __init__(self, adjustments: Any, server: HttpServer) -> None:  # noqa: ANN401
        super().__init__(adjustments)
        self._server = server

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        self.adj = copy.copy(self.adj)
        # waitress refuses what reaches the limit.
        self.adj.max_request_body_size = (
            self._server.limit_of(self.command, self.path) + 1
        )

    def received(self, data: bytes) -> int:
        consumed = int(super().received(data))
        if self.error is not None:
            # Nobody is asked to send what is refused.
            self.expect_continue = False
        return consumed


class _RefusalTask(WSGITask):  # type: ignore[misc]
    """Lets the app answer a request that the server refuses, without its body."""

    def execute(self) -> None:
        self.channel.is_refused = True
        self.set_close_on_finish()
        super().execute()

    def get_environment(self) -> dict[str, Any]:
        request = self.request
        if not hasattr(request, "fragment"):
            # It could not be read so far.
            request.command, request.request_uri, request.path = "GET", "/", "/"
            request.query, request.fragment, request.url_scheme = "", "", "http"
            request.headers["ACCEPT"] = "application/problem+json"
        environ: dict[str, Any] = dict(super().get_environment())
        environ.pop("CONTENT_TYPE", None)
        environ["CONTENT_LENGTH"] = "0"
        environ["wsgi.input"] = io.BytesIO()
        environ[REFUSED] = request.error.code
        return environ


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that knows how long its peer takes.

    Attributes
    ----------
    waiting_since
        Since when the request at hand is coming, or the next is waited for.
    is_refused
        Whether its peer may still be sending what was refused.
    """

    error_task_class = _RefusalTask
    request: Any

    def __init__(
        self,
        http_server: HttpServer,
        *arguments: Any,  # noqa: ANN401
        **more: Any,  # noqa: ANN401
    ) -> None:
        self._http = http_server
        self.waiting_since = time.time()
        self.is_refused = False
        self._linger_until: float | None = None
        self._is_receiving = self._is_instant = False
        super().__init__(*arguments, **more)

    def parser_class(self, adjustments: Any) -> _Parser:  # noqa: ANN401
        self.waiting_since = time.time()
        return _Parser(adjustments, self._http)

    def received(self, data: bytes) -> bool:
        if self._linger_until is not None:
            return False
        self._is_receiving = True
        try:
            return bool(super().received(data))
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
        finally:
            self._is_receiving = False
            if self._is_instant:
                # Only now, since waitress locks the requests while it receives.
                self._is_instant = False
                self.service()
        with self.requests_lock:
            # The body does not fit onto the disk.
            refused, self.request = self.request, None
            refused.error = _DiskFullError("")
            self.requests.append(refused)
            if len(self.requests) == 1:
                self.server.add_task(self)
        return True

    def takes_at_once(self) -> bool:
        """Tell whether the request at hand is answered when all of it is received."""
        request = self.requests[0]
        self._is_instant = (
            self._is_receiving
            and request.error is None
            and getattr(request, "path", "") == _INSTANT_PATH
        )
        return self._is_instant

    def service(self) -> None:
        request = self.requests[0]
        has_thread = self._http.begin(getattr(request, "path", ""))
        if not has_thread and request.error is None:
            request.error = _NoThreadError("")
        try:
            super().service()
        finally:
            self.waiting_since = time.time()
            self._http.end()

    def readable(self) -> bool:
        return self._linger_until is not None or bool(super().readable())

    def handle_close(self) -> None:
        lingers = self.is_refused and self.connected and not self.total_outbufs_len
        if lingers and self._linger_until is None:
            # To close while bytes still come would take the answer away from the peer.
            self._linger_until = time.time() + _LINGER_SECONDS
            self.will_close = False
            try:
                self.socket.shutdown(1)
            except OSError:
                super().handle_close()
            return
        super().handle_close()

    def fault(self, now: float, patience: float) -> str | None:
        """Say why the connection is not waited for any more; None where it is."""
        silent = now - self.last_activity > patience
        if self._linger_until is not None:
            return "refused" if now > self._linger_until else None
        if self.total_outbufs_len:
            return "reads slowly" if silent else None
        if self.requests:
            return None
        request = self.request
        if silent:
            return "silent"
        if request is None:
            return None
        allowed = patience
        if request.headers_finished:
            allowed += request.body_bytes_received / _LEAST_BYTES_PER_SECOND
        return "sends slowly" if now - self.waiting_since > allowed else None

    def cut_off(self) -> None:
        """Close the connection when waitress's loop comes to it.

        Closed at once, its number could be another's before the loop has seen that.
        """
        self.is_refused = False
        self.will_close = True


def _is_busy(channel: _Channel) -> bool:
    if channel._linger_until is not None or not channel.connected:
        return False
    if channel.requests or channel.total_outbufs_len:
        return True
    # Somebody is sending a request at this moment.
    recent = time.time() - channel.last_activity < _RECENT_SECONDS
    return channel.request is not None and recent


def _cannot_listen(error: OSError, settings: Settings) -> SettingError:
    place = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return SettingError(
            f"Port {settings.port} on {settings.host} is in use.",
            "Stop the program that uses it, or choose another with --port.",
        )
    if error.errno == errno.EACCES:
        return SettingError(
            f"You may not listen on {place}.", "Choose a port from 1024 with --port."
        )
    reason = error.strerror or str(error)
    return SettingError(
        f"{place} cannot be listened on: {reason}.",
        "Give --host an address of this machine, such as 127.0.0.1.",
    )
