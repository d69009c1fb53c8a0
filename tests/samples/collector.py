"""A collector of traces that takes OTLP over HTTP, and keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.samples.dicom_studies import wait_for


class Collector:
    """What has come so far."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        self.endpoint = ""

    @property
    def variables(self) -> dict[str, str]:
        """Variables of a process that sends its traces here, each at once."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    @property
    def spans(self) -> list[Span]:
        found = []
        for body in self.bodies:
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found.extend(scope.spans)
        return found

    @property
    def resources(self) -> list[dict[str, str]]:
        return [
            facts_of(item.resource)
            for body in self.bodies
            for item in ExportTraceServiceRequest.FromString(body).resource_spans
        ]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def wait_for(self, name: str, count: int = 1) -> list[Span]:
        wait_for(lambda: len(self.named(name)) >= count)
        return self.named(name)

    def parent(self, span: Span) -> Span:
        (found,) = [x for x in self.spans if x.span_id == span.parent_span_id]
        return found


def facts_of(item: Any) -> dict[str, Any]:
    """Attributes of a span or a resource."""
    return {
        fact.key: getattr(fact.value, fact.value.WhichOneof("value"))
        for fact in item.attributes
    }


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen on this machine."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            if collector.status == 200:
                collector.bodies.append(body)
            self.send_response(collector.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *values: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
