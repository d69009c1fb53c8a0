"""A figure with its interval over patients, as JSON and in words."""

from __future__ import annotations

from collections.abc import Mapping

Figure = dict[str, float]
"""``value`` with ``low`` and ``high``, the ends of its 95 % interval."""


def exact_room(patients: int) -> float:
    """How far a share of 0, over so many patients, may be from the truth (95 %)."""
    return float(1.0 - 0.025 ** (1.0 / patients))


def in_words(
    figure: Mapping[str, float] | None, *, percent: bool = False, digits: int = 2
) -> str:
    """Write a figure as a table's cell, for example ``0.91 [0.88, 0.94]``.

    An interval of no width is left out: where all draws say the same, as of a
    single patient, they do not tell how sure the figure is.

    Parameters
    ----------
    figure
        A dash stands for None.
    percent
        Whether the figure is a share, to be written in percent.
    digits
        After the point; one less for percent.
    """
    if figure is None:
        return "–"
    factor, places = (100.0, max(0, digits - 1)) if percent else (1.0, digits)
    value, low, high = (
        # Adding zero takes the minus from what rounds to nothing.
        f"{round(factor * figure[key], places) + 0.0:.{places}f}"
        for key in ("value", "low", "high")
    )
    unit = " %" if percent else ""
    known = figure["low"] < figure["high"]
    return f"{value}{unit} [{low}, {high}]" if known else f"{value}{unit}"
