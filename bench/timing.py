"""Time calls by turns, so that what the machine does else hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from bench.figures import Amount


def by_turns(
    calls: Sequence[Callable[[], object]], rounds: int, warm_up: int = 10
) -> list[Amount]:
    """Time several calls in one process: A, B, A, B, ...

    Parameters
    ----------
    calls
        What to time.
    rounds, warm_up
        Turns that count, and turns before them that do not.

    Returns
    -------
    list of Amount
        Time of each call, in ms.
    """
    spent: list[list[float]] = [[] for _ in calls]
    for turn in range(warm_up + rounds):
        for row, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if turn >= warm_up:
                spent[row].append(1000.0 * (time.perf_counter() - start))
    return [spread(item, "ms") for item in spent]


def spread(values: Sequence[float], unit: str) -> Amount:
    """Return the median and the quartiles."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return Amount(float(middle), unit, float(low), float(high))
