"""Too few patients kept apart fit nothing and claim none; rules hold what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorlens.calibration.decision_layer import (
    FEWEST_PATIENTS,
    FEWEST_SEEN,
    GUARD_COSTS,
    fit_rules,
    inherited_layer,
    too_few_patients,
    unfitted_layer,
)
from tumorlens.data.manifest import Record
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.bundle.facts import Rules, disagreement, disagrees, lacks_brain
from tumorlens.taxonomy import CLASSES, DECIDED, FINDINGS, Lesion, TumorClass
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import find_network


def rows(label: TumorClass, patients: int, slices: int = 3) -> list[Record]:
    return [
        Record(Path(f"{label}-{row}-{number}.png"), label, f"{label} {row}")
        for row in range(patients)
        for number in range(slices)
    ]


def test_patients_are_counted_and_not_slices() -> None:
    records = [
        *rows(TumorClass.GLIOMA, FEWEST_PATIENTS, slices=1),
        *rows(TumorClass.NO_TUMOR, FEWEST_PATIENTS - 1, slices=50),
        Record(Path("other.png"), None, "p", lesion=Lesion.OTHER),
    ]
    asked = (TumorClass.GLIOMA, TumorClass.MENINGIOMA, TumorClass.NO_TUMOR)
    assert too_few_patients(records, asked) == {
        TumorClass.MENINGIOMA: 0,
        TumorClass.NO_TUMOR: FEWEST_PATIENTS - 1,
    }
    assert too_few_patients(records, asked[:1]) == {}


@pytest.mark.parametrize(
    ("name", "cells", "findings", "decided"),
    [
        ("seed-cnn", 4, CLASSES, CLASSES),
        ("evidence-net-sequences", 784, FINDINGS, DECIDED),
    ],
)
def test_an_unfitted_layer_decides_and_claims_nothing(
    name: str, cells: int, findings: tuple[str, ...], decided: tuple[str, ...]
) -> None:
    network = find_network(name)
    layer = unfitted_layer(network, cells)
    for point in layer.operating_points.values():
        assert (point.threshold, point.sensitivity, point.measured) == (0.5, None, {})
    assert layer.prediction_sets.thresholds == dict.fromkeys(decided, 0.0)
    assert layer.calibration.evidence_cells == min(8, cells)
    assert layer.rules.to_json() == {}
    edge = round(cells**0.5)
    logits = np.random.default_rng(0).normal(size=(3, len(findings))).astype(np.float32)
    held = HeldOut(
        tuple(rows(TumorClass.GLIOMA, 3, slices=1)),
        logits,
        np.zeros((3, edge, edge, len(findings)), np.float32),
        np.full((3, edge, edge), np.nan, np.float32),
        np.zeros((3, 4), np.float32) if network.sequences else None,
    )
    probabilities = layer.probabilities(held)
    assert probabilities.shape == (3, len(decided))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (probabilities.argmax(axis=1) == logits[:, : len(decided)].argmax(1)).any()


def test_an_inherited_layer_is_the_parents(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    layer = inherited_layer(bundle)
    assert layer.operating_points == bundle.operating_points
    assert layer.calibration == bundle.calibration
    assert layer.prediction_sets == bundle.prediction_sets


def sure(
    named: NDArray[np.int64], firmness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Make a head that names classes with the given probabilities."""
    heads = np.tile(((1.0 - firmness) / 3.0)[:, None], (1, 4))
    heads[np.arange(len(named)), named] = firmness
    return heads


class Made:
    """600 slices of 150 patients; the heads disagree on some of them.

    Parameters
    ----------
    wrong_where_firm
        How often the answer is wrong where they disagree firmly.
    """

    def __init__(self, wrong_where_firm: float, firm: int = 12) -> None:
        rng = np.random.default_rng(5)
        count = 600
        self.patients = [f"p{row // 4}" for row in range(count)]
        self.labels = rng.integers(0, 3, count)
        firmness = np.full(count, 0.9)
        spots = self.labels.copy()
        # Two dozens disagree mildly and are right; `firm` disagree firmly.
        self.firm = np.arange(0, 4 * firm, 4)
        mild = np.arange(1, 97, 4)
        spots[self.firm] = (self.labels[self.firm] + 1) % 3
        spots[mild] = (self.labels[mild] + 1) % 3
        firmness[mild] = 0.5
        self.slice_head = sure(self.labels, np.full(count, 0.95))
        self.evidence_head = sure(spots, firmness)
        said = self.labels.copy()
        wrong = self.firm[: round(wrong_where_firm * firm)]
        said[wrong] = (said[wrong] + 1) % 4
        said[590:] = (said[590:] + 2) % 4
        self.probabilities = sure(said, np.full(count, 0.9))
        self.wrong = said != self.labels
        self.brain = rng.uniform(0.1, 0.5, count)

    def fit(self) -> Rules:
        return fit_rules(
            self.slice_head,
            self.evidence_head,
            self.probabilities,
            self.labels,
            self.patients,
            self.brain,
        )


def test_the_level_takes_the_firm_and_leaves_the_mild() -> None:
    made = Made(wrong_where_firm=0.8)
    found = made.fit()
    held = disagrees(found, disagreement(made.slice_head, made.evidence_head))
    assert np.flatnonzero(held).tolist() == made.firm.tolist()


def test_a_rule_that_catches_no_errors_is_off() -> None:
    assert Made(wrong_where_firm=0.0).fit().head_disagreement is None


def test_a_rule_seen_on_one_or_two_patients_only_is_off() -> None:
    assert Made(wrong_where_firm=1.0, firm=2).fit().head_disagreement is None


def test_no_more_right_answers_are_lost_than_allowed() -> None:
    # Of 60 firm ones a third are right: 20 of about 550, over 2 %.
    made = Made(wrong_where_firm=2 / 3, firm=60)
    assert made.fit().head_disagreement is None


def test_little_brain_that_is_often_wrong_is_held_back() -> None:
    made = Made(wrong_where_firm=0.8, firm=20)
    made.brain[made.wrong] = np.linspace(0.01, 0.05, made.wrong.sum())
    held = lacks_brain(made.fit(), made.brain)
    assert not held[~made.wrong].any()
    # More slices of a patient who is held back already prove nothing more.
    assert held.sum() >= made.wrong.sum() - 3


def test_little_brain_that_is_seldom_wrong_is_no_reason() -> None:
    made = Made(wrong_where_firm=0.8)
    # The lowest shares are those of answers that are right, of many patients.
    right = np.flatnonzero(~made.wrong)[::2]
    made.brain[right] = np.linspace(0.01, 0.05, len(right))
    held = lacks_brain(made.fit(), made.brain)
    assert held.sum() <= GUARD_COSTS * len(held)
    assert not held[made.wrong].any()


def test_less_brain_than_next_to_nobody_showed_is_held_back() -> None:
    made = Made(wrong_where_firm=0.8)
    made.patients = [str(row) for row in range(len(made.labels) - 300)]
    made.patients += ["top"] * 300
    made.brain[:] = 0.3
    # One patient has many slices of the ends of the scan, others one or two.
    made.brain[-30:] = 0.01
    found = made.fit()
    held = lacks_brain(found, made.brain)
    assert held[-30:].all()
    assert not held[:-30].any()


def test_what_enough_patients_showed_is_judged() -> None:
    made = Made(wrong_where_firm=0.8)
    made.brain[:] = 0.3
    made.brain[::4][:FEWEST_SEEN] = 0.01
    made.probabilities = sure(made.labels, np.full(len(made.labels), 0.9))
    found = made.fit()
    assert found.min_brain_share == pytest.approx(0.01)
    assert not lacks_brain(found, made.brain).any()


def test_few_slices_lose_none_to_the_brain_rule() -> None:
    uniform = np.full((10, 4), 0.25)
    found = fit_rules(
        uniform,
        uniform,
        uniform,
        np.zeros(10, np.int64),
        [str(row) for row in range(10)],
        np.linspace(0.2, 0.4, 10),
    )
    assert found.min_brain_share == pytest.approx(0.2)
    assert found.head_disagreement is None


def test_where_blank_pictures_were_judged_there_is_no_guard() -> None:
    made = Made(wrong_where_firm=0.0)
    made.brain[:] = 0.0
    assert made.fit().min_brain_share is None
