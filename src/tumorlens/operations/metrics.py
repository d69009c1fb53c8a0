"""Metrics in Prometheus' text format: counts and times, never a patient's data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tumorlens.operations.tracing import SpanName, span

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Gauge = Callable[[], float | Mapping[str, float]]
"""A number that is read when somebody asks: one, or one for each value of a label."""

# Prometheus itself knows since when it counts.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SPANS: dict[str, SpanName] = {"read": "decode", "judge": "network", "keep": "store"}
"""Spans of the stages that are timed."""

_SCORES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The metrics of one server, in a registry of their own.

    Attributes
    ----------
    requests
        Answers by status.
    request_seconds
        Time from a request to the end of its answer.
    stage_seconds
        Time that an upload spends at a stage, by kind of upload.
    decisions
        Decisions by label, model and MR sequence.
    refusals
        Uploads that were refused, by code of the error.
    domain_scores
        How like the brain MRI that the model knows pictures are, 0 to 1.
    feedback
        Results that readers marked, by whether they are right.
    reused
        Results that were copied from an earlier one of the same sender, by kind.
    dropped_connections
        Connections that were cut off, by cause.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "tumorlens_http_requests",
            "Answers by status.",
            ["status"],
            registry=self._registry,
        )
        self.request_seconds = Histogram(
            "tumorlens_http_request_duration_seconds",
            "Seconds from a request to the end of its answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.stage_seconds = Histogram(
            "tumorlens_stage_duration_seconds",
            "Seconds that an upload spends at a stage, by its kind.",
            ["kind", "stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.decisions = Counter(
            "tumorlens_decisions",
            "Decisions by label, model and MR sequence.",
            ["decision", "model", "sequence"],
            registry=self._registry,
        )
        self.refusals = Counter(
            "tumorlens_refusals",
            "Uploads and files that were refused, by code of the error.",
            ["code"],
            registry=self._registry,
        )
        self.domain_scores = Histogram(
            "tumorlens_domain_score",
            "How like the brain MRI that the model knows pictures are, 0 to 1.",
            buckets=_SCORES,
            registry=self._registry,
        )
        self.feedback = Counter(
            "tumorlens_feedback",
            "Results that readers marked, by whether they are right.",
            ["correct"],
            registry=self._registry,
        )
        self.reused = Counter(
            "tumorlens_reused",
            "Results copied from an earlier one of the same sender and file, by kind.",
            ["kind"],
            registry=self._registry,
        )
        self.dropped_connections = Counter(
            "tumorlens_dropped_connections",
            "Connections that were cut off.",
            ["cause"],
            registry=self._registry,
        )

    @contextmanager
    def time_stage(self, kind: str, stage: str) -> Iterator[None]:
        """Time and trace a stage of an upload, while the block runs.

        Parameters
        ----------
        kind
            ``picture`` or ``series``.
        stage
            ``read``, ``judge`` or ``keep``.
        """
        timer = self.stage_seconds.labels(kind, stage).time()
        with span(_SPANS[stage], kind=kind), timer:
            yield

    def count_decision(self, decision: str, model: str, sequence: str | None) -> None:
        """Count a decision on one slice or series.

        Parameters
        ----------
        decision
            Its label.
        model
            Name of the bundle.
        sequence
            MR sequence; None where it is not known.
        """
        self.decisions.labels(decision, model, sequence or "unknown").inc()

    def count_dropped(self, cause: str) -> None:
        """Count a connection that was cut off."""
        self.dropped_connections.labels(cause).inc()

    def watch(self, name: str, help_text: str, read: Gauge, label: str = "") -> None:
        """Add a number that is read when somebody asks.

        Parameters
        ----------
        name, help_text
            Name and meaning of the metric.
        read
            Gives the number; or several, by the values of `label`.
        label
            Name of the label.
        """
        self.watch_together({name: help_text}, lambda: {name: read()}, label)

    def watch_together(
        self,
        gauges: Mapping[str, str],
        read: Callable[[], Mapping[str, float | Mapping[str, float]]],
        label: str = "",
    ) -> None:
        """Add numbers that are read at once when somebody asks.

        Parameters
        ----------
        gauges
            Meaning of each metric, by its name.
        read
            Gives each metric's number by its name; or several, by the values of
            `label`.
        label
            Name of the label.
        """
        self._registry.register(GaugeCollector(gauges, read, label))

    def text(self) -> bytes:
        """Write all of them in Prometheus' text format."""
        return generate_latest(self._registry)


class GaugeCollector(Collector):
    """Reads numbers when somebody asks.

    Parameters
    ----------
    gauges, read, label
        The same as for `Metrics.watch_together`.
    """

    def __init__(
        self,
        gauges: Mapping[str, str],
        read: Callable[[], Mapping[str, float | Mapping[str, float]]],
        label: str,
    ) -> None:
        self._gauges, self._read, self._label = gauges, read, label

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Name them, without reading them."""
        return [GaugeMetricFamily(*facts) for facts in self._gauges.items()]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Read them."""
        values = self._read()
        labels = [self._label] if self._label else None
        for name, help_text in self._gauges.items():
            family = GaugeMetricFamily(name, help_text, labels=labels)
            value = values[name]
            by_label = value if isinstance(value, Mapping) else {"": value}
            for key, number in by_label.items():
                family.add_metric([key] if self._label else [], number)
            yield family
