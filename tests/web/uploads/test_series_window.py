"""The viewer's window starts as the file has it, where that shows the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.samples.series_findings_by_slices import drawn_scan
from tumorlens.imaging.study import Series
from tumorlens.web.uploads.series_volume import pack_series
from tumorlens.web.uploads.series_window import Window


def windowed(*windows: Window | None) -> Series:
    """A head of values 0 to about 250 whose slices store these windows."""
    scan = drawn_scan(count=len(windows), blank=0)
    return Series(
        tuple(
            replace(item, window=window)
            for item, window in zip(scan.slices, windows, strict=True)
        )
    )


def test_it_is_the_median_of_the_slices_own() -> None:
    packed = pack_series(windowed((10, 190), (20, 200), (40, 260)))
    assert packed.geometry["stored"] == [20.0, 200.0]
    assert packed.geometry["auto"] != packed.geometry["stored"]


def test_it_is_kept_in_the_numbers_that_the_browser_gets() -> None:
    scan = windowed((20, 200), (20, 200))
    scaled = Series(
        tuple(
            replace(
                item,
                pixels=(0.1 * item.pixels - 5).astype(np.float32),
                window=(-3.0, 15.0),
            )
            for item in scan.slices
        )
    )
    geometry = pack_series(scaled).geometry
    low, high = (
        value * geometry["slope"] + geometry["offset"] for value in geometry["stored"]
    )
    assert (low, high) == pytest.approx((-3.0, 15.0))


@pytest.mark.parametrize(
    "window",
    [(5_000.0, 6_000.0), (-900.0, -800.0), (249.0, 250.0), (0.0, 20_000.0)],
    ids=["above", "below", "a sliver", "far too wide"],
)
def test_one_that_shows_next_to_nothing_is_left(window: Window) -> None:
    assert pack_series(windowed(window, window)).geometry["stored"] is None


def test_one_that_most_slices_lack_is_left() -> None:
    assert pack_series(windowed((20, 200), None, None)).geometry["stored"] is None
    assert pack_series(windowed((20, 200), (20, 200), None)).geometry["stored"]


def test_a_scan_of_one_value_has_none() -> None:
    flat = drawn_scan(count=2, blank=2)
    slices = tuple(replace(item, window=(-1.0, 1.0)) for item in flat.slices)
    assert pack_series(Series(slices)).geometry["stored"] is None
