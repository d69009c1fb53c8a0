"""Traces of requests and jobs, for whoever collects them by OpenTelemetry.

Nothing is traced, and no package of OpenTelemetry imported, unless its standard
environment variables name a collector: ``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` or ``OTEL_TRACES_EXPORTER=otlp``. Spans say what
was done and how long it took, with numbers and words of TumorLens's own: no file name,
nothing of a header, no text of an error.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import tumorlens
from tumorlens.errors import install_command

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Tracer

Value: TypeAlias = str | int | float | bool

SpanName: TypeAlias = Literal[
    "request",
    "job",
    "decode",
    "network",
    "store",
    "node.receive",
    "node.judge",
    "node.send",
]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_PATIENCE_SECONDS = 3.0
"""Seconds that a collector gets for the last spans when the process ends."""

_NANOSECONDS = 1_000_000_000
_tracer: Tracer | None = None
logger = logging.getLogger(__name__)


class Noted(Protocol):
    """Takes facts of what is being done."""

    def note(self, **facts: Value) -> None:
        """Note facts: numbers, or words of TumorLens's own."""
        ...


class _Nothing:
    """Takes the facts of what is not traced."""

    def note(self, **facts: Value) -> None:
        """Forget them."""


_NOTHING: AbstractContextManager[Noted] = nullcontext(_Nothing())


def is_asked(environment: Mapping[str, str]) -> bool:
    """Tell whether the standard variables ask for traces.

    Parameters
    ----------
    environment
        Variables of a process.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter:
        return exporter == "otlp"
    return any(environment.get(name, "").strip() for name in _ENDPOINTS)


@contextmanager
def traced(service: str) -> Iterator[None]:
    """Trace what is done meanwhile, where the environment asks for it.

    Parameters
    ----------
    service
        Name of the service, unless the environment gives it one.
    """
    global _tracer
    if not is_asked(os.environ):
        yield
        return
    protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), _PROTOCOL)
    if protocol != _PROTOCOL:
        logger.warning("Nothing is traced: traces go by %s alone.", _PROTOCOL)
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("Nothing is traced: that needs %s.", install_command("otel"))
        yield
        return
    facts = {"service.version": tumorlens.__version__}
    stated = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in stated:
        facts["service.name"] = service
    provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
    exporter = _noting(OTLPSpanExporter())
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("tumorlens", tumorlens.__version__)
    try:
        yield
    finally:
        _tracer = None
        # A collector that is away must not hold up the end of the process.
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(_PATIENCE_SECONDS)


def span(
    name: SpanName, parent: str | None = None, **facts: Value
) -> AbstractContextManager[Noted]:
    """Trace what is done in a block, as a part of what is being traced.

    Parameters
    ----------
    name
        What is done.
    parent
        What `trace_parent` gave where it was asked for, in another process too; None
        for what is being traced in this thread.
    facts
        Numbers, or words of TumorLens's own.

    Returns
    -------
    context manager
        Of what takes more facts. An error that passes is noted by its kind alone.
    """
    tracer = _tracer
    return _NOTHING if tracer is None else _span(tracer, name, parent, facts)


def add_span(name: SpanName, began: float, **facts: Value) -> None:
    """Trace what has been done until now.

    Parameters
    ----------
    name, facts
        The same as for `span`.
    began
        Seconds since 1970.
    """
    if _tracer is not None:
        done = _tracer.start_span(
            name, attributes=_attributes(facts), start_time=int(began * _NANOSECONDS)
        )
        done.end()


def trace_parent() -> str | None:
    """Name what is being traced in this thread; None where nothing is.

    Returns
    -------
    str or None
        The header ``traceparent`` of W3C Trace Context.
    """
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    facts = get_current_span().get_span_context()
    if not facts.is_valid:
        return None
    return f"00-{facts.trace_id:032x}-{facts.span_id:016x}-{facts.trace_flags:02x}"


@contextmanager
def _span(
    tracer: Tracer, name: SpanName, parent: str | None, facts: Mapping[str, Value]
) -> Iterator[Noted]:
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import (
        TraceContextTextMapPropagator,
    )

    context = None
    if parent is not None:
        # Never a sender's tracestate, which may say anything.
        context = TraceContextTextMapPropagator().extract({"traceparent": parent})
    kinds = {"request": SpanKind.SERVER, "job": SpanKind.CONSUMER}
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=kinds.get(name, SpanKind.INTERNAL),
        attributes=_attributes(facts),
        # Messages and traces of errors may quote a header.
        record_exception=False,
        set_status_on_exception=False,
    ) as current:

        class Current(Noted):
            def note(self, **facts: Value) -> None:
                current.set_attributes(_attributes(facts))

        try:
            yield Current()
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR))
            current.set_attribute("error.type", type(error).__name__)
            raise


def _attributes(facts: Mapping[str, Value]) -> dict[str, Value]:
    """Name facts as OpenTelemetry does; what it has no name for is ours."""
    return {_NAMES.get(key, f"tumorlens.{key}"): facts[key] for key in facts}


_NAMES = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
}


def _noting(exporter: SpanExporter) -> SpanExporter:
    """Let the log say once when the collector takes nothing, and when it does again."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Noting(SpanExporter):
        is_failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = exporter.export(spans)
            failed = result is not SpanExportResult.SUCCESS
            if failed and not self.is_failing:
                logger.warning("The collector of traces does not take them.")
            elif self.is_failing and not failed:
                logger.info("The collector of traces takes them again.")
            self.is_failing = failed
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Noting()
