"""A port that says whether the node is well, and how much it has done.

It answers three questions over HTTP and nothing else: ``/healthz``, ``/readyz``, and
``/metrics`` in Prometheus' text format. Nothing that it says is about a patient.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tumorlens.errors import OutputError, SettingError
from tumorlens.jobs.artifacts import LEAST_FREE_BYTES
from tumorlens.jobs.monitored_rates import DRIFT_GAUGES, RateMonitor
from tumorlens.operations.metrics import CONTENT_TYPE, GaugeCollector
from tumorlens.pacs.node.receiver import Receiver
from tumorlens.pacs.queue import SeriesQueue

_PEER_SECONDS = 5.0
_STATES = ("receiving", "sending", "done", "failed")
_UNFINISHED = ("receiving", "waiting", "sending", "committing")


class HealthPort:
    """Answers whoever watches the node.

    Parameters
    ----------
    host, port
        Address; port 0 takes a free one.
    receiver, queue
        Parts of the node that it tells of.
    drift
        Counts what is judged; None where nobody does.

    Raises
    ------
    SettingError
        The port is taken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        receiver: Receiver,
        queue: SeriesQueue,
        drift: RateMonitor | None = None,
    ) -> None:
        self._queue = queue
        self._stopping = False
        registry = CollectorRegistry()
        registry.register(_NodeMetrics(receiver, queue))
        if drift is not None:
            registry.register(GaugeCollector(DRIFT_GAUGES, drift.gauges, "rate"))
        answers: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {
            "/healthz": lambda: (HTTPStatus.OK, "text/plain", b"ok\n"),
            "/readyz": self._ready,
            "/metrics": lambda: (
                HTTPStatus.OK,
                CONTENT_TYPE,
                generate_latest(registry),
            ),
        }
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(answers))
        except OSError as error:
            raise SettingError(
                f"The health port cannot listen on {host}:{port}: {error.strerror}.",
                "Choose another --health.",
            ) from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.server_address[1])

    def stop_being_ready(self) -> None:
        """Say from now on that the node is not ready: it is being stopped."""
        self._stopping = True

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def _ready(self) -> tuple[HTTPStatus, str, bytes]:
        reason = self._unready()
        if reason:
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{reason}\n".encode()
        return HTTPStatus.OK, "text/plain", b"ready\n"

    def _unready(self) -> str:
        if self._stopping:
            return "The node is being stopped."
        try:
            self._queue.counts()
            free = shutil.disk_usage(self._queue.folder).free
        except (OutputError, OSError):
            return "The queue does not answer."
        return "The disk is full." if free < LEAST_FREE_BYTES else ""


class _NodeMetrics(Collector):
    """Reads the node's numbers when somebody asks."""

    def __init__(self, receiver: Receiver, queue: SeriesQueue) -> None:
        self._receiver, self._queue = receiver, queue

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        counts = self._queue.counts()
        series = GaugeMetricFamily(
            "tumorlens_node_series", "Series by state.", labels=["state"]
        )
        for state in dict.fromkeys((*_STATES, *counts)):
            series.add_metric([state], counts.get(state, 0))
        yield series
        waiting = sum(counts.get(state, 0) for state in _UNFINISHED)
        yield GaugeMetricFamily(
            "tumorlens_queue_depth", "Series that wait or are worked on.", waiting
        )
        oldest = self._queue.oldest()
        yield GaugeMetricFamily(
            "tumorlens_queue_oldest_seconds",
            "Seconds since the last image of the series that waits longest.",
            0.0 if oldest is None else max(0.0, time.time() - oldest),
        )
        yield CounterMetricFamily(
            "tumorlens_node_given_up", "Series given up.", self._queue.given_up
        )
        yield CounterMetricFamily(
            "tumorlens_node_partial", "Series judged as a part.", self._queue.partial
        )
        yield CounterMetricFamily(
            "tumorlens_node_images", "Images accepted.", self._receiver.stored
        )
        yield GaugeMetricFamily(
            "tumorlens_node_associations",
            "Associations that are open.",
            self._receiver.associations,
        )


def _handler(
    answers: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET and HEAD of the known paths."""

        timeout = _PEER_SECONDS
        server_version, sys_version = "TumorLens", ""

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            if answer is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            try:
                status, kind, body = answer()
            except OutputError:
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Keep probes out of the log."""

    return Handler
