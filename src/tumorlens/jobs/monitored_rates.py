"""Counts of drift, shared by all servers and workers of a store.

Tested in `tests/operations/test_drift.py`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
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
    delay_seconds
        Seconds that an observation may wait, to be written with others; `states` and
        `close` write it sooner. With 0 it is written at once.
    """

    def __init__(
        self,
        database: Database,
        model: str,
        references: Mapping[str, ReferenceRate],
        clock: Callable[[], float] = time.time,
        delay_seconds: float = 0.0,
    ) -> None:
        self._database = database
        self._model = model[:_MODEL_LENGTH]
        self._references = dict(references)
        self._clock = clock
        self._delay_seconds = delay_seconds
        self._guard = threading.Lock()
        self._waiting: list[Mapping[str, bool]] = []
        self._timer: threading.Timer | None = None
        self._is_closed = False

    def observe(self, outcomes: Mapping[str, bool]) -> None:
        """Count an observation; where the database does not take it, it is left out.

        Parameters
        ----------
        outcomes
            Whether it is so, by the name of the rate.
        """
        counted = {
            name: is_so for name, is_so in outcomes.items() if name in self._references
        }
        if not counted:
            return
        with self._guard:
            self._waiting.append(counted)
            if self._delay_seconds and not self._is_closed:
                if self._timer is None:
                    self._timer = threading.Timer(self._delay_seconds, self.flush)
                    self._timer.daemon = True
                    self._timer.start()
                return
        self.flush()

    def flush(self) -> None:
        """Write the observations that wait."""
        with self._guard:
            observations, self._waiting = self._waiting, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if not observations:
            return
        try:
            self._write(observations)
        except OutputError as error:
            logger.warning("Observations of drift are lost: %s", error)

    def close(self) -> None:
        """Write what waits; from now on each observation is written at once."""
        with self._guard:
            self._is_closed = True
        self.flush()

    def _write(self, observations: Sequence[Mapping[str, bool]]) -> None:
        outcomes: dict[str, list[bool]] = {}
        for observation in observations:
            for name, is_so in observation.items():
                outcomes.setdefault(name, []).append(is_so)
        with self._database.transaction(durable=False) as session:
            rows = session.scalars(
                select(MonitoredRate)
                .where(
                    MonitoredRate.model == self._model,
                    MonitoredRate.name.in_(outcomes),
                )
                # All take the rows in this order, so that nobody waits in a circle.
                .order_by(MonitoredRate.name)
                .with_for_update()
            )
            known = {row.name: row for row in rows}
            for name in sorted(outcomes):
                row = known.get(name)
                if row is None:
                    row = MonitoredRate(model=self._model, name=name)
                    self._begin(row)
                    session.add(row)
                self._count(row, outcomes[name])

    def _begin(self, row: MonitoredRate) -> None:
        row.began, row.observations, row.hits = self._clock(), 0, 0
        row.alarmed = None

    def _count(self, row: MonitoredRate, outcomes: Sequence[bool]) -> None:
        while outcomes:
            if row.observations >= WINDOW:
                row.last_observations, row.last_hits = row.observations, row.hits
                row.last_ended, row.last_alarmed = self._clock(), row.alarmed
                self._begin(row)
            room = WINDOW - row.observations
            self._count_in_window(row, outcomes[:room])
            outcomes = outcomes[room:]

    def _count_in_window(self, row: MonitoredRate, outcomes: Sequence[bool]) -> None:
        observations = row.observations + np.arange(1, len(outcomes) + 1)
        hits = row.hits + np.cumsum(outcomes)
        row.observations, row.hits = int(observations[-1]), int(hits[-1])
        if row.alarmed is not None:
            return
        reference = self._references[row.name]
        # After each of them, as if it had come alone.
        evidence = reference.log_evidence(hits, observations)
        alarms = np.flatnonzero(evidence >= alarm_threshold(len(self._references)))
        if alarms.size:
            row.alarmed = self._clock()
            logger.warning(
                "Drift of %s: %d of %d, where the model's bundle states %.4f to %.4f.",
                row.name,
                hits[alarms[0]],
                observations[alarms[0]],
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
        self.flush()
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
