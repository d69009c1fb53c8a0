"""A figure of a set, and how its draws are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tumorlens.statistics.intervals import Figure
from tumorlens.statistics.resampling import Draws, Resampling, figure

Answers = TypeVar("Answers")
"""What a judge said of every slice, with what is true of it."""


@dataclass(frozen=True)
class Statistic(Generic[Answers]):
    """A figure, and how it is to be read.

    Parameters
    ----------
    measure
        Works it out in every draw of patients.
    share_of
        For a share: which rows it is a share of.
    more_is_better
        Whether the judge with the higher one is the better.
    """

    measure: Callable[[Answers, Resampling], Draws]
    share_of: Callable[[Answers], NDArray[np.bool_]] | None = None
    more_is_better: bool = True

    def figure(
        self, draws: Draws, answers: Answers, patients: Resampling
    ) -> Figure | None:
        """Sum draws up; a share of 0 or 1 gets an exact interval."""
        rows = None if self.share_of is None else self.share_of(answers)
        return figure(draws, 0 if rows is None else patients.count(rows))
