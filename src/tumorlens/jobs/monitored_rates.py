"""Counts of drift, shared by all servers and workers of a store.

Tested in `tests/operations/test_drift.py`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import select

from tumorlens.errors import OutputError
from tumorlens.jobs.database import Database, MonitoredRate
from tumorlens.operations.sequential_test import (
    WINDOW,
    ReferenceRate,
    alarm_threshold,
)

logger = logging.getLogger(__name__)

_MODEL_LENGTH = 64


@dataclass(frozen=True)
class RateState:
    """What is known of a rate at present.

    Parameters
    ----------
    reference
        What the bundle states of it.
    observations, hits
        Number of observations in the window, and of those in which it was so.
    alarmed
        Time of the window's alarm, in seconds since 1970; None for none.
    last_observations, last_hits, last_ended, last_alarmed
        The same of the window before; None where there was none.
    """

    reference: ReferenceRate
    observations: int = 0
    hits: int = 0
    alarmed: float | None = None
    last_observations: int | None = None
    last_hits: int | None = None
    last_ended: float | None = None
    last_alarmed: float | None = None

    @property
    def has_alarm(self) -> bool:
        """Whether this window's test gave an alarm, or the one's before."""
        return self.alarmed is not None or self.last_alarmed is not None

    @property
    def share(self) -> float | None:
        """How often it is so in the window; None before the first observation."""
        return self.hits / self.observations if self.observations else None


_GAUGES: dict[str, tuple[str, Callable[[RateState], float]]] = {
    "tumorlens_drift_alarm": (
        "1 where a rate has left the interval that the bundle states, in the window at "
        "hand or the one before.",
        lambda state: float(state.has_alarm),
    ),
    "tumorlens_drift_observations": (
        "Observations of the rate in the window at hand.",
        lambda state: state.observations,
    ),
    "tumorlens_drift_share": (
        "How often it is so in the window at hand, 0 to 1.",
        lambda state: math.nan if state.share is None else state.share,
    ),
    "tumorlens_drift_stated_low": (
        "Lower end of the interval that the bundle states.",
        lambda state: state.reference.low,
    ),
    "tumorlens_drift_stated_high": (
        "Upper end of the interval that the bundle states.",
        lambda state: state.reference.high,
    ),
}

DRIFT_GAUGES = {name: meaning for name, (meaning, _) in _GAUGES.items()}
"""Meaning of each metric of drift, by its name."""


class RateMonitor:
    """Counts rates of one model in windows, and tests them; safe from threads.

    Parameters
    ----------
    database
        Database of the rows.
    model
        Version of the model: another one begins with counts of its own.
    references
        What the bundle states, by name; other rates are not counted.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        model: str,
        references: Mapping[str, ReferenceRate],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._model = model[:_MODEL_LENGTH]
        self._references = dict(references)
        self._clock = clock

    def observe(self, outcomes: Mapping[str, bool]) -> None:
        """Count an observation; where the database does not take it, it is left out.

        Parameters
        ----------
        outcomes
            Whether it is so, by the name of the rate.
        """
        counted = sorted(outcomes.keys() & self._references.keys())
        if not counted:
            return
        try:
            with self._database.transaction(durable=False) as session:
                for name in counted:
                    # All take the rows in this order, so that nobody waits in a circle.
                    row = session.get(
                        MonitoredRate, (self._model, name), with_for_update=True
                    )
                    if row is None:
                        row = MonitoredRate(model=self._model, name=name)
                        self._begin(row)
                        session.add(row)
                    self._count(row, outcomes[name])
        except OutputError as error:
            logger.warning("An observation of drift is lost: %s", error)

    def _begin(self, row: MonitoredRate) -> None:
        row.began, row.observations, row.hits = self._clock(), 0, 0
        row.alarmed = None

    def _count(self, row: MonitoredRate, is_so: bool) -> None:
        if row.observations >= WINDOW:
            row.last_observations, row.last_hits = row.observations, row.hits
            row.last_ended, row.last_alarmed = self._clock(), row.alarmed
            self._begin(row)
        row.observations += 1
        row.hits += is_so
        reference = self._references[row.name]
        evidence = float(reference.log_evidence(row.hits, row.observations))
        if row.alarmed is None and evidence >= alarm_threshold(len(self._references)):
            row.alarmed = self._clock()
            logger.warning(
                "Drift of %s: %d of %d, where the model's bundle states %.4f to %.4f.",
                row.name,
                row.hits,
                row.observations,
                reference.low,
                reference.high,
            )

    def states(self) -> list[RateState]:
        """Return what is known of each rate.

        Raises
        ------
        OutputError
            The database cannot be read.
        """
        with self._database.reading() as session:
            rows = session.scalars(
                select(MonitoredRate).where(MonitoredRate.model == self._model)
            ).all()
        known = {row.name: row for row in rows}
        return [
            RateState(reference)
            if (row := known.get(name)) is None
            else RateState(
                reference,
                row.observations,
                row.hits,
                row.alarmed,
                row.last_observations,
                row.last_hits,
                row.last_ended,
                row.last_alarmed,
            )
            for name, reference in self._references.items()
        ]

    def gauges(self) -> dict[str, dict[str, float]]:
        """Read all metrics of drift at once: by `DRIFT_GAUGES`, and by rate.

        They are empty where the database cannot be read.
        """
        try:
            states = self.states()
        except OutputError:
            states = []
        return {
            name: {state.reference.name: value(state) for state in states}
            for name, (_, value) in _GAUGES.items()
        }
