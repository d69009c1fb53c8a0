"""The test of a rate that is watched: sequential, with a stated chance of false alarms.

Against the highest rate that is expected it bets on higher ones, and against the lowest
on lower ones; the product of the likelihood ratios, averaged over a grid of such rates,
is a supermartingale as long as every observation's chance, whatever came before, lies
in the interval. By Ville's inequality it ever reaches 1 / a with a chance of a at most,
so that one may look after each observation (Ramdas, Grünwald, Vovk and Shafer 2023,
"Game-theoretic statistics and safe anytime-valid inference", arXiv:2210.01948). Each
window of `WINDOW` observations begins anew. Over all K rates, the threshold is K /
`FALSE_ALARMS` (Bonferroni).

Tested in `tests/operations/test_drift.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

WINDOW = 1000
"""Observations of a rate after which its test begins anew."""

FALSE_ALARMS = 0.01
"""Chance of any alarm in a window, over all rates, where nothing has changed."""

_ALTERNATIVES = 48
Counts: TypeAlias = NDArray[np.int64]
_LEAST_RATE = 1e-4


@dataclass(frozen=True)
class ReferenceRate:
    """How often something is so where nothing has changed.

    Parameters
    ----------
    name
        Name of the rate.
    low, high
        Ends of the interval that the bundle states or bounds, 0 to 1.
    title
        What is so, for people.
    """

    name: str
    low: float
    high: float
    title: str

    def log_evidence(
        self, hits: int | Counts, observations: int | Counts
    ) -> NDArray[np.float64]:
        """Weigh what was observed against the interval.

        Parameters
        ----------
        hits, observations
            How often it was so, of how many; shape (N,) for several at once.

        Returns
        -------
        ndarray
            Natural logarithm of the evidence against the interval, 0 for none; of the
            same shape.
        """
        so = np.asarray(hits, np.int64)
        not_so = np.asarray(observations, np.int64) - so
        higher = _log_mean_ratio(so, not_so, max(self.high, _LEAST_RATE))
        lower = _log_mean_ratio(not_so, so, 1.0 - self.low)
        return np.asarray(np.logaddexp(higher, lower) - math.log(2.0))


def _log_mean_ratio(hits: Counts, misses: Counts, rate: float) -> NDArray[np.float64]:
    """Average the likelihood ratios of higher rates to one, in logarithms."""
    if rate >= 1.0:
        # Nothing is higher: there is nothing to bet on.
        return np.zeros(hits.shape)
    # From just above the rate to almost always, evenly in the odds' logarithms.
    low, top = math.log(rate / (1.0 - rate)), math.log(0.999 / 0.001)
    steps = np.linspace(0.0, max(top - low, 1.0), _ALTERNATIVES + 1)[1:]
    rates = 1.0 / (1.0 + np.exp(-(low + steps)))
    of_hit, of_miss = np.log(rates / rate), np.log((1 - rates) / (1 - rate))
    ratios = hits[..., None] * of_hit + misses[..., None] * of_miss
    total = np.logaddexp.reduce(ratios, axis=-1)
    return np.asarray(total - math.log(_ALTERNATIVES))


def alarm_threshold(rates: int) -> float:
    """Return the evidence, in logarithms, at which one of so many rates alarms."""
    return math.log(rates / FALSE_ALARMS)
