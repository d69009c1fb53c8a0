"""A run's own arithmetic; what it does with files is in `tests/cli/scale`."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow", reason="the extra 'archive' is not installed")

from tumorlens.scale.archive.batch import Estimate


def test_an_estimate_shares_the_work_among_workers() -> None:
    estimate = Estimate(7200, rate=10.0, workers=4, measured=30, row_bytes=300.0)
    assert estimate.seconds == 180.0
    assert estimate.worker_hours == 0.2
    assert estimate.result_bytes == 2_160_000


def test_where_nothing_was_measured_there_is_no_time() -> None:
    estimate = Estimate(100, rate=0.0, workers=2, measured=0, row_bytes=0.0)
    assert estimate.seconds == 0.0
    assert estimate.result_bytes == 0
