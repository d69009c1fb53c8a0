"""Sequences of one slice are weighed by what each is worth, on other hospitals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorlens.calibration.decision_layer import fit_decision_layer
from tumorlens.calibration.study import MatchedSlices, fit_study_model
from tumorlens.data.manifest import Record
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.facts import Reader, StudyModel
from tumorlens.taxonomy import TumorClass
from tumorlens.training.held_out import HeldOut

T1, T1C = MRSequence.T1, MRSequence.T1_CONTRAST
FLAIR = MRSequence.FLAIR
WORTH = {T1: 1.0, T1C: 0.0, FLAIR: 3.0}
"""How far apart a sequence sets slices with and without a tumour."""


def records(patients=24, slices=10, sites=("A", "B")):
    """Every slice in three sequences; half of each patient's show a tumour."""
    return [
        Record(
            Path(f"{patient}-{number}-{sequence}.png"),
            TumorClass.GLIOMA if number % 2 else TumorClass.NO_TUMOR,
            f"set:{patient}",
            site=sites[patient % len(sites)],
            sequence=sequence,
            extra={"slice": str(number)},
        )
        for patient in range(patients)
        for number in range(slices)
        for sequence in WORTH
    ]


def odds_of(rows, seed=0):
    rng = np.random.default_rng(seed)
    return np.array(
        [
            WORTH[row.sequence] * (1.0 if row.label is TumorClass.GLIOMA else -1.0)
            + rng.normal(0.0, 2.0)
            for row in rows
        ]
    )


def matched(rows=None, seed=0):
    rows = records() if rows is None else rows
    return MatchedSlices.of(rows, 1.0 / (1.0 + np.exp(-odds_of(rows, seed))))


def area(slices, odds):
    return float(slices.auroc_inside_sites(odds)[0])


def test_slices_are_matched_by_patient_and_number():
    rows = records(patients=2, slices=3)
    shuffled = [rows[row] for row in np.random.default_rng(1).permutation(len(rows))]
    odds = np.arange(len(rows)) / 10.0
    by_row = dict(zip(shuffled, odds, strict=True))
    slices = MatchedSlices.of(shuffled, 1.0 / (1.0 + np.exp(-odds)))
    assert slices.sequences == (T1, T1C, FLAIR)
    assert slices.odds.shape == (6, 3)
    place = [
        number
        for number, patient in enumerate(slices.patients)
        if patient == "set:1" and slices.tumor[number]
    ]
    assert len(place) == 1
    wanted = [
        by_row[row] for row in rows if row.patient == "set:1" and row.label == "glioma"
    ]
    assert slices.odds[place[0]] == pytest.approx(wanted)


def test_a_slice_may_lack_a_sequence_but_not_all_others():
    rows = [
        row
        for row in records()
        if not (row.patient == "set:1" and row.sequence is T1)
        and not (row.patient == "set:2" and row.sequence is not FLAIR)
    ]
    slices = matched(rows)
    assert "set:2" not in slices.patients
    assert "set:1" in slices.patients
    assert "set:1" not in slices.complete((T1, FLAIR)).patients
    assert "set:1" in slices.complete((T1C, FLAIR)).patients


def test_a_sequence_counts_by_its_worth_and_never_against():
    slices = matched()
    found = slices.fit((T1, T1C, FLAIR))
    by_name = dict(zip(found.sequences, found.weights, strict=True))
    assert by_name[FLAIR] > by_name[T1] > by_name[T1C] >= 0.0
    # They are held near to one another: what is seen in one alone is not outvoted.
    assert by_name[T1C] > 0.0
    alone = slices.fit((T1,))
    assert (alone.weights, alone.bias) == ((1.0,), 0.0)


def test_together_they_part_what_one_does_not():
    slices = matched()
    together = slices.odds_left_out((T1, FLAIR))
    assert area(slices, together) > area(slices, slices.odds[:, 0]) + 0.1
    assert area(slices, together) > area(slices, slices.odds[:, 2])


def test_a_hospital_is_judged_by_what_others_say():
    rows = records()
    odds = odds_of(rows)
    # In hospital B FLAIR says the opposite: only A can know, and must not be asked.
    wrong = np.array([row.site == "B" and row.sequence is FLAIR for row in rows], bool)
    slices = MatchedSlices.of(rows, 1.0 / (1.0 + np.exp(np.where(wrong, odds, -odds))))
    own = np.array([site == "B" for site in slices.sites], bool)
    left_out = slices.odds_left_out((T1, FLAIR))
    assert area(slices.take(own), left_out[own]) < 0.4
    fitted = slices.take(own).fit((T1, FLAIR))
    own_odds = slices.odds[own]
    best = fitted.log_odds({T1: own_odds[:, 0], FLAIR: own_odds[:, 2]})
    assert area(slices.take(own), best) > 0.6


def test_in_one_hospital_patients_are_left_out():
    slices = matched(records(sites=("A",)))
    odds = slices.odds_left_out((T1, FLAIR))
    assert np.isfinite(odds).all()
    assert area(slices, odds) > 0.9


def held_out(rows):
    odds = odds_of(rows)
    logits = np.zeros((len(rows), 4), np.float32)
    logits[:, 0] = odds
    outlined = np.full((len(rows), 1, 1), np.nan, np.float32)
    return HeldOut(tuple(rows), logits, None, outlined)


def test_a_model_has_a_sum_for_every_set_of_sequences():
    held = held_out(records())
    model = fit_study_model(held, fit_decision_layer(held, None))
    assert model is not None
    assert len(model.sums) == 7
    assert (model.patients, model.slices) == (24, 240)
    areas = {item.sequences: item.auroc.value for item in model.sums if item.auroc}
    assert areas[T1, FLAIR] > areas[T1,] > areas[T1C,]
    assert StudyModel.read(Reader(model.to_json(), "it")) == model


def test_few_patients_or_one_sequence_fit_nothing():
    few = held_out(records(patients=6))
    assert fit_study_model(few, fit_decision_layer(few, None)) is None
    one = held_out([row for row in records() if row.sequence is T1])
    assert fit_study_model(one, fit_decision_layer(one, None)) is None
    nobody = held_out([replace(row, site="") for row in records()])
    assert fit_study_model(nobody, fit_decision_layer(nobody, None)) is None
