"""Drift is noticed, and a window without any is called drift no more than stated."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.jobs.conftest import Clock
from tumorlens import Prediction, load_classifier
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.slice.prediction import SequenceEstimate
from tumorlens.jobs.monitored_rates import RateMonitor
from tumorlens.jobs.store import JobStore
from tumorlens.operations.drift import (
    FAR,
    FAR_AWAY,
    OTHER_SEQUENCE,
    PREDICTED,
    REFUSED,
    UNNAMED,
    UploadSample,
    observe_slice,
    reference_rates,
)
from tumorlens.operations.sequential_test import (
    FALSE_ALARMS,
    WINDOW,
    ReferenceRate,
    alarm_threshold,
)
from tumorlens.taxonomy import own_classes

RATES = 8
REFERENCES = [
    ReferenceRate("rare", 0.0003, 0.002, "rare"),
    ReferenceRate("wide", 0.05, 0.15, "wide"),
    ReferenceRate("sharp", 0.3, 0.3, "sharp"),
    ReferenceRate("bounded", 0.0, 0.1, "bounded"),
]


def chance_of_alarm(reference: ReferenceRate, rate: float) -> float:
    """Add up the chances of all ways through a window that end in an alarm."""
    counts = np.arange(WINDOW + 1)
    # Chance of so many hits so far without an alarm.
    quiet = np.zeros(WINDOW + 1)
    quiet[0], alarmed = 1.0, 0.0
    for observations in range(1, WINDOW + 1):
        quiet[1:] = quiet[1:] * (1 - rate) + quiet[:-1] * rate
        quiet[0] *= 1 - rate
        evidence = reference.log_evidence(counts[: observations + 1], observations)
        over = np.flatnonzero(evidence >= alarm_threshold(RATES))
        alarmed += float(quiet[over].sum())
        quiet[over] = 0.0
    return alarmed


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda item: item.name)
def test_false_alarms_are_as_rare_as_stated(reference: ReferenceRate) -> None:
    """The chance is exact, not drawn: of one rate of eight, in a whole window."""
    middle = (reference.low + reference.high) / 2
    for rate in {reference.low, middle, reference.high}:
        assert chance_of_alarm(reference, rate) <= FALSE_ALARMS / RATES


@pytest.mark.parametrize(
    ("reference", "rate"),
    [
        (REFERENCES[0], 0.02),
        (REFERENCES[1], 0.25),
        (REFERENCES[1], 0.01),
        (REFERENCES[2], 0.4),
        (REFERENCES[3], 0.2),
    ],
)
def test_what_has_changed_is_noticed_within_a_window(
    reference: ReferenceRate, rate: float
) -> None:
    assert chance_of_alarm(reference, rate) > 0.95


def test_evidence_never_grows_on_average_while_the_rate_is_in_its_interval() -> None:
    reference = REFERENCES[1]
    hits, observations = (grid.ravel() for grid in np.mgrid[0:60, 60:120:7])
    now = np.exp(reference.log_evidence(hits, observations))
    hit = np.exp(reference.log_evidence(hits + 1, observations + 1))
    miss = np.exp(reference.log_evidence(hits, observations + 1))
    for rate in (0.05, 0.1, 0.15):
        assert (rate * hit + (1 - rate) * miss <= now * (1 + 1e-9)).all()
    assert math.isclose(float(reference.log_evidence(0, 0)), 0.0, abs_tol=1e-12)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[JobStore]:
    with closing(JobStore(tmp_path / "s", {}, clock=clock)) as opened:
        yield opened


def test_counts_outlive_a_restart_and_begin_anew_in_each_window(
    store: JobStore, clock: Clock
) -> None:
    references = {item.name: item for item in REFERENCES}

    def monitor(model: str = "1") -> RateMonitor:
        return RateMonitor(store.database, model, references, clock)

    first = monitor()
    for _ in range(30):
        first.observe({"sharp": True, "wide": False, "unknown": True})
    clock.now += 5
    states = {item.reference.name: item for item in monitor().states()}
    sharp, wide = states["sharp"], states["wide"]
    assert (sharp.observations, sharp.hits, sharp.share) == (30, 30, 1.0)
    assert sharp.has_alarm
    assert sharp.alarmed == clock.now - 5
    assert not wide.has_alarm
    assert states["rare"].share is None
    assert not any(item.observations for item in monitor("2").states())
    # The alarm stays through the next window, and goes with the one after.
    with store.database.transaction():
        for number in range(2 * WINDOW - 29):
            first.observe({"sharp": number % 10 < 3})
            if number == WINDOW:
                (again,) = (x for x in first.states() if x.reference.name == "sharp")
                assert again.last_observations == WINDOW
                assert again.alarmed is None
                assert again.has_alarm
    (end,) = (x for x in first.states() if x.reference.name == "sharp")
    assert (end.observations, end.last_observations) == (1, WINDOW)
    assert not end.has_alarm


def test_what_waits_counts_as_if_it_had_come_alone(
    store: JobStore, clock: Clock
) -> None:
    references = {item.name: item for item in REFERENCES}
    at_once = RateMonitor(store.database, "1", references, clock)
    waiting = RateMonitor(store.database, "2", references, clock, delay_seconds=600.0)
    rng = np.random.default_rng(0)
    outcomes = [
        {"sharp": bool(first < 0.4), "wide": bool(second < 0.5)}
        for first, second in rng.random((WINDOW + 500, 2))
    ]
    with store.database.transaction():
        for outcome in outcomes:
            at_once.observe(outcome)
    for outcome in outcomes:
        waiting.observe(outcome)
    other = RateMonitor(store.database, "2", references, clock)
    assert not any(state.observations for state in other.states()), "it waits"
    assert waiting.states() == at_once.states()
    (sharp,) = (item for item in waiting.states() if item.reference.name == "sharp")
    assert (sharp.observations, sharp.last_observations) == (500, WINDOW)
    assert sharp.last_alarmed == clock.now
    # Closed, it writes what waits and what still comes.
    waiting.observe(outcomes[0])
    waiting.close()
    waiting.observe(outcomes[0])
    (sharp,) = (item for item in other.states() if item.reference.name == "sharp")
    assert sharp.observations == 502


def test_what_waits_is_written_by_itself(store: JobStore, clock: Clock) -> None:
    references = {item.name: item for item in REFERENCES}
    waiting = RateMonitor(store.database, "1", references, clock, delay_seconds=0.05)
    other = RateMonitor(store.database, "1", references, clock)
    for count in (1, 2):
        waiting.observe({"sharp": True})
        end = time.monotonic() + 60.0
        while max(state.observations for state in other.states()) < count:
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_classifier(threads=1).bundle


def test_the_shipped_bundle_states_what_is_watched(shipped: Bundle) -> None:
    rates = reference_rates(shipped)
    figures = shipped.metrics["cross_validation"]
    assert rates[REFUSED].high == figures["refused_as_foreign"]["high"]
    assert rates[UNNAMED].low == figures["inconclusive"]["low"]
    share = sum(row[0] for row in figures["confusion"]) / figures["slices"]
    glioma = rates[f"{PREDICTED}glioma"]
    assert glioma.low < share < glioma.high < glioma.low + 0.08
    assert rates[FAR_AWAY].high == 0.1
    assert rates[OTHER_SEQUENCE].low == 0.0
    assert reference_rates(replace(shipped, judges="volumes")) == {}
    assert set(reference_rates(replace(shipped, metrics={}))) == {FAR_AWAY}


def test_rates_of_a_users_own_classes_have_their_names(shipped: Bundle) -> None:
    names = {"lymphoma": True, "abscess": False, "healthy": False}
    figures = {"patients": 60, "confusion": [[8, 1, 1], [0, 9, 1], [0, 0, 40]]}
    own = replace(shipped, classes=own_classes(names), metrics={"test": figures})
    rates = reference_rates(own)
    predicted = {name for name in rates if name.startswith(PREDICTED)}
    assert predicted == {f"{PREDICTED}{name}" for name in names}
    healthy = rates[f"{PREDICTED}healthy"]
    assert healthy.low < 42 / 60 < healthy.high
    assert healthy.title == "Most probable: healthy"


def test_an_observation_says_what_the_decision_says(tiny_bundle: Path, phantom) -> None:  # type: ignore[no-untyped-def]
    classifier = load_classifier(tiny_bundle, threads=1)
    bundle = classifier.bundle
    found = classifier.predict(phantom(lesion=(90, 110, 22)))
    assert isinstance(found, Prediction)
    seen = observe_slice(found, bundle)
    assert seen[f"{PREDICTED}glioma"]
    assert not seen[f"{PREDICTED}pituitary"]
    assert not seen[UNNAMED]
    assert seen[FAR_AWAY] == (found.decision.embedding_distance > FAR)
    assert OTHER_SEQUENCE not in seen
    other = replace(found, sequence=SequenceEstimate(header=MRSequence.DIFFUSION))
    assert observe_slice(other, bundle)[OTHER_SEQUENCE]
    elsewhere = replace(found.decision, operating_point="another")
    assert UNNAMED not in observe_slice(replace(found, decision=elsewhere), bundle)


def test_any_picture_of_an_upload_may_stand_for_it() -> None:
    drawn = set()
    for _ in range(200):
        sample = UploadSample()
        assert sample.prediction is None
        for number in range(3):
            sample.offer(number)  # type: ignore[arg-type]
        drawn.add(sample.prediction)
    assert drawn == {0, 1, 2}
