"""A figure with its interval over patients, as JSON and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.learn.metrics import bootstrap, bootstrap_statistic

Figure = dict[str, float]
"""``value`` with ``low`` and ``high``, the ends of its 95 % interval."""


def mean_figure(values: NDArray[Any], patients: Sequence[str]) -> Figure | None:
    """Mean of a value a slice, its interval bootstrapped over patients.

    Parameters
    ----------
    values
        Shape (N,); rows that are NaN are left out.
    patients
        N group keys.

    Returns
    -------
    dict or None
        None where no value is left.
    """
    kept = np.isfinite(values.astype(np.float64))
    if not kept.any():
        return None
    groups = [name for name, keep in zip(patients, kept, strict=True) if keep]
    return _named(bootstrap(values[kept].astype(np.float64), groups))


def share_figure(values: NDArray[Any], patients: Sequence[str]) -> Figure | None:
    """Share of slices of which something is true, with its interval.

    Parameters
    ----------
    values
        Shape (N,), 0 or 1; rows that are NaN are left out.
    patients
        N group keys.

    Returns
    -------
    dict or None
        As of `mean_figure`. Where the share is 0 or 1 the bootstrap knows no
        interval; the exact one of Clopper and Pearson (1934) over patients
        stands in for it.
    """
    found = mean_figure(values, patients)
    if found is None or found["value"] not in (0.0, 1.0):
        return found
    kept = np.isfinite(values.astype(np.float64))
    count = len({name for name, keep in zip(patients, kept, strict=True) if keep})
    room = exact_room(count)
    low, high = (0.0, room) if found["value"] == 0.0 else (1.0 - room, 1.0)
    return {"value": found["value"], "low": low, "high": high}


def exact_room(patients: int) -> float:
    """How far a share of 0, over so many patients, may be from the truth (95 %)."""
    return float(1.0 - 0.025 ** (1.0 / patients))


def statistic_figure(
    statistic: Callable[[NDArray[np.int64]], float], patients: Sequence[str]
) -> Figure | None:
    """Any statistic of rows, as `bootstrap_statistic` takes it; None where NaN."""
    if not len(patients):
        return None
    found = bootstrap_statistic(statistic, patients)
    return _named(found) if np.isfinite(found[0]) else None


def in_words(
    figure: Mapping[str, float] | None, *, percent: bool = False, digits: int = 2
) -> str:
    """Write a figure as a table's cell, for example ``0.91 [0.88, 0.94]``.

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
    return f"{value} % [{low}, {high}]" if percent else f"{value} [{low}, {high}]"


def _named(found: tuple[float, float, float]) -> Figure:
    return dict(zip(("value", "low", "high"), found, strict=True))
