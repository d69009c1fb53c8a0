"""The probability of tumour along the slices, as shapes for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 1000.0, 100.0
"""The drawing's units: the whole series across, 0 to 1 from bottom to top."""


@dataclass(frozen=True)
class Curve:
    """What the page draws.

    Parameters
    ----------
    lines
        Points of each unbroken piece, ``x,y x,y``.
    gaps
        Left edge and width of each run of slices that were not judged.
    run
        Left edge and width of the slices that decided; None where there is none.
    """

    lines: tuple[str, ...]
    gaps: tuple[tuple[float, float], ...]
    run: tuple[float, float] | None


def curve_of(p_tumor: Sequence[float | None], run: Sequence[int] | None) -> Curve:
    """Lay the probabilities out; slice i fills its own share of the width.

    Parameters
    ----------
    p_tumor
        Of each slice, 0 to 1; None where it was not judged.
    run
        First and last-plus-one index of the slices that decided.
    """
    share = WIDTH / len(p_tumor)
    lines, gaps = [], []
    start = 0
    while start < len(p_tumor):
        end = start + 1
        known = p_tumor[start] is not None
        while end < len(p_tumor) and (p_tumor[end] is not None) == known:
            end += 1
        if known:
            lines.append(_line(p_tumor, start, end, share))
        else:
            gaps.append((round(start * share, 2), round((end - start) * share, 2)))
        start = end
    band = None
    if run is not None:
        band = (round(run[0] * share, 2), round((run[1] - run[0]) * share, 2))
    return Curve(tuple(lines), tuple(gaps), band)


def _line(p_tumor: Sequence[float | None], start: int, end: int, share: float) -> str:
    """Points in the middle of each slice's share, out to the piece's edges."""
    heights = [HEIGHT * (1.0 - (item or 0.0)) for item in p_tumor[start:end]]
    places = [(start + index + 0.5) * share for index in range(end - start)]
    xs = [start * share, *places, end * share]
    ys = [heights[0], *heights, heights[-1]]
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(xs, ys, strict=True))
