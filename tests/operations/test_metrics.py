"""Metrics as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tumorlens.operations.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_counts_have_the_promised_names() -> None:
    metrics = Metrics()
    metrics.requests.labels("200").inc()
    metrics.requests.labels("503").inc(2)
    metrics.request_seconds.observe(0.2)
    metrics.count_decision("glioma", "tiny", None)
    metrics.count_dropped("silent")
    found = samples(metrics)
    total = "tumorlens_http_requests_total"
    assert found[total, frozenset({("status", "200")})] == 1
    assert found[total, frozenset({("status", "503")})] == 2
    seconds = "tumorlens_http_request_duration_seconds"
    assert found[f"{seconds}_count", frozenset()] == 1
    labels = {("decision", "glioma"), ("model", "tiny"), ("sequence", "unknown")}
    assert found["tumorlens_decisions_total", frozenset(labels)] == 1


def test_what_is_watched_is_read_when_somebody_asks() -> None:
    metrics = Metrics()
    depth = [3.0]
    metrics.watch("tumorlens_queue_depth", "Uploads that wait.", lambda: depth[0])
    metrics.watch("tumorlens_jobs", "Jobs.", lambda: {"a": 1, "b": 2}, "state")
    depth[0] = 5.0
    found = samples(metrics)
    assert found["tumorlens_queue_depth", frozenset()] == 5
    assert found["tumorlens_jobs", frozenset({("state", "b")})] == 2


def test_numbers_that_go_together_are_read_once() -> None:
    metrics, reads = Metrics(), []

    def read() -> dict[str, dict[str, float]]:
        reads.append("read")
        return {"tumorlens_low": {"x": 1.0}, "tumorlens_high": {"x": 2.0, "y": 3.0}}

    gauges = {"tumorlens_low": "Low.", "tumorlens_high": "High."}
    metrics.watch_together(gauges, read, "rate")
    assert reads == []
    found = samples(metrics)
    assert reads == ["read"]
    assert found["tumorlens_low", frozenset({("rate", "x")})] == 1
    assert found["tumorlens_high", frozenset({("rate", "y")})] == 3


def test_two_servers_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.requests.labels("200").inc()
    assert b'status="200"' not in second.text()
