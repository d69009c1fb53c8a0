"""Axes of a chart: where the numbers lie, which of them get a tick, how they read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TICKS = 6
"""About how many ticks an axis gets."""


@dataclass(frozen=True)
class Scale:
    """A line of numbers laid over a line of pixels.

    Parameters
    ----------
    low, high
        Numbers at the ends; `low` is less than `high`.
    start, end
        Pixels at the ends; `start` may be the larger, as on an upright axis.
    ticks
        Numbers that are marked, rising.
    step
        Between ticks.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    step: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a number."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def label(self, tick: float) -> str:
        """Write a tick with as many decimals as the step needs."""
        if self.step >= 1e5 or self.step < 1e-4:
            return f"{tick:.3g}"
        decimals = max(0, -math.floor(math.log10(self.step) + 1e-9))
        if round(self.step * 10**decimals, 9) % 1:
            decimals += 1  # a step of 0.25 has one decimal more than its size says
        text = f"{tick:,.{decimals}f}"
        return text.replace("-", "−") if float(tick) else text.lstrip("-")


def make_scale(
    values: Iterable[float],
    ends: tuple[float, float] | None,
    pixels: tuple[float, float],
) -> Scale:
    """Choose the ends and the ticks of an axis.

    Parameters
    ----------
    values
        All numbers shown on it; those that are not finite are passed over.
    ends
        Fixed ends, or None for the data's, widened to whole ticks.
    pixels
        Where the ends lie.

    Returns
    -------
    Scale
        Of a unit's length where there is nothing to show.
    """
    if ends is not None and ends[0] < ends[1]:
        low, high = ends
    else:
        low, high = _reach([value for value in values if math.isfinite(value)])
    step = nice_step(high - low)
    if ends is None:
        low = math.floor(low / step + 1e-9) * step
        high = math.ceil(high / step - 1e-9) * step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    ticks = tuple(count * step for count in range(first, last + 1))
    return Scale(low, high, pixels[0], pixels[1], ticks, step)


def nice_step(length: float) -> float:
    """Return a step of 1, 2, 2.5 or 5 times a power of ten.

    Parameters
    ----------
    length
        Of the axis, above 0; it gets about `TICKS` ticks.
    """
    rough = length / (TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 2.5, 5.0):
        if factor * power >= rough * 0.999:
            return factor * power
    return 10.0 * power


def _reach(found: Sequence[float]) -> tuple[float, float]:
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    # Ends so close that no step between them can be told apart are one value.
    if high - low <= 1e-9 * max(abs(low), abs(high)) or high == low:
        room = abs(low) * 0.1 or 0.5
        return low - room, high + room
    return low, high
