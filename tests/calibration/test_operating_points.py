"""Thresholds on the slices in which a lesion is large, and what they cost elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorlens.calibration.operating_points import (
    check_both_kinds,
    fit_operating_points,
    fit_slice_points,
    measured_shares,
    slice_groups,
)
from tumorlens.data.manifest import Record, sequence_word
from tumorlens.errors import TrainingError
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import Lesion, TumorClass


def rows(count, label, patient="", source="scanner", **facts):
    """Records of one patient each, or of the patient named."""
    return [
        Record(
            Path(f"{source}-{label}-{patient}-{row}.png"),
            label,
            patient or f"{source}-{label}-{row}",
            source=source,
            **facts,
        )
        for row in range(count)
    ]


NONE, GLIOMA = TumorClass.NO_TUMOR, TumorClass.GLIOMA


def test_screening_misses_no_more_than_it_may():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 2000)
    p_tumor = np.clip(0.6 * (labels != 3) + rng.normal(0.2, 0.15, 2000), 0, 1)
    patients = [str(row) for row in range(2000)]
    points = fit_operating_points(p_tumor, labels, patients)
    screening, balanced = points["screening"], points["balanced"]
    assert (p_tumor[labels != 3] >= screening.threshold).mean() >= 0.99
    assert screening.sensitivity.value >= 0.99
    assert balanced.threshold >= screening.threshold
    assert balanced.specificity.value >= screening.specificity.value
    assert screening.sensitivity.low <= screening.sensitivity.value


def test_a_slice_whose_lesion_hardly_shows_does_not_move_screening():
    """Six slices a patient: two large lesions the network sees, four it does not."""
    records, areas, p_tumor = [], [], []
    for patient in range(40):
        records += rows(6, GLIOMA, f"p{patient}")
        areas += [0.2, 0.19, 0.1, 0.05, 0.02, 0.01]
        p_tumor += [0.4, 0.45, 0.2, 0.1, 0.05, 0.02]
        records += rows(2, NONE, f"p{patient}")
        areas += [np.nan] * 2
        p_tumor += [0.15, 0.3]
    labels = np.array([0 if row.label is GLIOMA else 3 for row in records])
    points = fit_slice_points(
        np.array(p_tumor), labels, records, np.array(areas), by_sequence=False
    )
    screening = points["screening"]
    assert screening.threshold == 0.4
    shares = screening.measured["all"]
    assert shares["large_lesions"].value == 1.0
    assert (shares["large_lesions"].slices, shares["large_lesions"].patients) == (
        80,
        40,
    )
    assert shares["faint_lesions"].value == 0.0
    assert shares["same_scanner"].value == 1.0
    assert screening.sensitivity.value == pytest.approx(1 / 3)


def test_a_patient_with_many_slices_weighs_no_more_than_one_with_few():
    """One of 101 patients is not seen: a hundred slices of his are no excuse."""
    seen = [str(row) for row in range(100)]
    p_tumor = np.array([0.3] * 100 + [0.01] * 100 + [0.0])
    patients = np.array([*seen, *["unseen"] * 100, "healthy"])
    labels = np.array([0] * 200 + [3])
    points = fit_operating_points(p_tumor, labels, patients)
    assert points["screening"].threshold == 0.3


def test_no_threshold_is_above_one_half():
    """Easy data put every threshold near 1; a tumour of 0.9 still is none of none."""
    p_tumor = np.array([0.99999] * 20 + [0.8] * 20)
    labels = np.array([0] * 20 + [3] * 20)
    patients = [str(row) for row in range(40)]
    points = fit_operating_points(p_tumor, labels, patients)
    assert {point.threshold for point in points.values()} == {0.5}


def test_balanced_weighs_a_miss_and_a_false_alarm_alike():
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 3], 3000)
    p_tumor = np.clip(
        np.where(labels == 0, 0.45, 0.15) + rng.normal(0, 0.1, 6000), 0, 1
    )
    patients = [str(row) for row in range(6000)]
    points = fit_operating_points(p_tumor, labels, patients)
    # Two normal distributions of one width meet halfway.
    assert points["balanced"].threshold == pytest.approx(0.3, abs=0.03)
    assert points["screening"].threshold < 0.25


def test_a_label_of_the_case_says_nothing_of_the_slice():
    by_case = rows(30, GLIOMA, source="brain44")
    outlined = rows(30, GLIOMA, source="cheng")
    healthy = rows(30, NONE, source="web")
    records = [*by_case, *outlined, *healthy]
    areas = np.array([np.nan] * 30 + [0.1] * 30 + [np.nan] * 30)
    p_tumor = np.array([0.01] * 30 + [0.4] * 30 + [0.2] * 30)
    labels = np.array([0] * 60 + [3] * 30)
    with_both = fit_slice_points(p_tumor, labels, records, areas, by_sequence=False)
    assert with_both["screening"].threshold == 0.4
    # Without outlines, a slice's own label counts, and a case's does not.
    groups = slice_groups(records, np.full(90, np.nan))
    np.testing.assert_array_equal(
        np.flatnonzero(groups["labelled_lesions"]), np.arange(30, 60)
    )
    assert "large_lesions" not in groups
    assert "labelled_lesions" not in slice_groups(records, areas)
    # Where nothing else is there, every tumour slice has to do.
    alone = np.r_[0:30, 60:90]
    points = fit_slice_points(
        p_tumor[alone],
        labels[alone],
        [records[row] for row in alone],
        np.full(60, np.nan),
        by_sequence=False,
    )
    assert points["screening"].threshold == 0.01


def test_the_largest_third_is_of_one_patient_sequence_and_plane():
    t1 = rows(4, GLIOMA, "a", sequence=MRSequence.T1)
    flair = [replace(row, sequence=MRSequence.FLAIR) for row in t1]
    # Planes differ in how much of the picture a lesion fills.
    sagittal = rows(1, GLIOMA, "a", sequence=MRSequence.T1, plane="sagittal")
    single = rows(1, GLIOMA, "b")
    areas = np.array([0.4, 0.3, 0.2, 0.1, 0.04, 0.03, 0.02, 0.01, 0.001, 0.001])
    groups = slice_groups([*t1, *flair, *sagittal, *single], areas)
    assert np.flatnonzero(groups["large_lesions"]).tolist() == [0, 1, 4, 5, 8, 9]
    assert np.flatnonzero(groups["faint_lesions"]).tolist() == [2, 3, 6, 7]


def test_same_scanner_is_where_a_patient_shows_both():
    records = [
        *rows(2, GLIOMA, "a", "ward", site="x"),
        *rows(2, NONE, "a", "ward", site="x"),
        *rows(1, NONE, "healthy", "ward", site="x"),
        # Another hospital, from which no patient shows both.
        *rows(1, NONE, "c", "ward", site="y"),
        # Tumours of one origin and healthy heads of another, under one name.
        *rows(3, GLIOMA, source="mixed"),
        *rows(3, NONE, source="mixed"),
        *rows(3, NONE, source="healthy heads"),
        *[
            replace(row, lesion=Lesion.VASCULAR)
            for row in rows(2, None, "s", "strokes")
        ],
    ]
    groups = slice_groups(records, np.full(len(records), np.nan))
    assert np.flatnonzero(groups["same_scanner"]).tolist() == [2, 3, 4]
    assert np.flatnonzero(groups["healthy_strangers"]).tolist() == [12, 13, 14]
    assert np.flatnonzero(groups["strokes"]).tolist() == [15, 16]


def test_shares_are_given_by_sequence_where_several_are_read():
    records = [
        *rows(4, NONE, "a", sequence=MRSequence.T1),
        *rows(1, NONE, "b", sequence=MRSequence.T1),
        *rows(2, NONE, "c", sequence=MRSequence.FLAIR),
    ]
    groups = {"same_scanner": np.ones(7, bool), "large_lesions": np.zeros(7, bool)}
    cleared = np.array([False, False, False, False, True, True, False])
    patients = [row.group for row in records]
    words = [sequence_word(row.sequence) for row in records]
    shares = measured_shares(cleared, patients, words, groups)
    assert list(shares) == ["all", "FLAIR", "T1"]
    assert shares["T1"]["same_scanner"].value == 0.5
    assert shares["all"]["same_scanner"].value == pytest.approx(0.5)
    assert shares["all"]["same_scanner"].patients == 3
    assert "large_lesions" not in shares["T1"]
    alone = measured_shares(cleared, patients, [""] * len(words), groups)
    assert list(alone) == ["all"]


@pytest.mark.parametrize(("label", "lacks"), [(0, "free of tumour"), (3, "a tumour")])
def test_a_threshold_needs_tumours_and_others(label, lacks):
    labels = np.full(4, label, np.int64)
    with pytest.raises(TrainingError, match=lacks):
        fit_operating_points(np.linspace(0.1, 0.9, 4), labels, list("abcd"))
    with pytest.raises(TrainingError, match=lacks):
        check_both_kinds(labels)
