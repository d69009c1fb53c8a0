"""How high a slice lies in its scan, and what a score tells beside that."""

from pathlib import Path

import numpy as np
import pytest

from tumorlens.data.manifest import Record
from tumorlens.evaluation.performance.positions import (
    like_position_auroc,
    middle_auroc,
    slice_positions,
)
from tumorlens.statistics.resampling import Resampling


def row(patient, number, plane=""):
    extra = {} if number is None else {"slice": str(number)}
    name = f"{patient}-{plane}-{number}.png"
    return Record(Path(name), None, patient, plane=plane, extra=extra)


def test_positions_run_from_a_patients_lowest_slice_to_the_highest():
    rows = [row("a", 3), row("b", 10), row("a", 7), row("b", 30), row("a", 4)]
    np.testing.assert_allclose(slice_positions(rows), [0, 0, 1, 1, 0.25])


def test_planes_of_one_patient_are_numbered_apart():
    rows = [row("a", 0, "axial"), row("a", 4, "axial"), row("a", 4, "sagittal")]
    rows.append(row("a", 6, "sagittal"))
    np.testing.assert_allclose(slice_positions(rows), [0, 1, 0, 1])


def test_slices_without_a_number_or_a_neighbour_have_no_position():
    rows = [row("a", None), row("a", 1), row("b", 2), row("b", "x")]
    assert np.isnan(slice_positions(rows)).all()


@pytest.fixture
def scans():
    """Eight patients of 12 slices; tumours in the middle, and one near each end."""
    positions = np.tile(np.arange(12) / 11, 8)
    tumor = np.tile(np.isin(np.arange(12), (1, 4, 5, 7, 10)), 8)
    groups = np.repeat([f"p{number}" for number in range(8)], 12)
    return positions, tumor, Resampling(groups.tolist())


def test_a_score_that_knows_the_height_alone_tells_nothing_between_like_slices(scans):
    positions, tumor, draws = scans
    sixth = np.minimum(np.floor(positions * 6), 5)
    coarse = -np.abs(sixth - 2.5)
    assert draws.auroc(coarse, tumor)[0] > 0.6
    assert like_position_auroc(coarse, tumor, positions, draws)[0] == 0.5
    assert middle_auroc(positions, tumor, draws)[0] > 0.6


def test_a_score_that_sees_the_tumour_keeps_its_area(scans):
    positions, tumor, draws = scans
    found = like_position_auroc(tumor.astype(float), tumor, positions, draws)
    np.testing.assert_array_equal(found[np.isfinite(found)], 1.0)
    assert len(found) == 201


def test_each_part_weighs_as_many_tumours_as_it_holds():
    """Three tumours that are told in one sixth, one that is not in another."""
    positions = np.array([0.05, 0.05, 0.05, 0.1, 0.95, 0.9])
    tumor = np.array([True, True, True, False, True, False])
    scores = np.array([0.9, 0.8, 0.7, 0.1, 0.2, 0.3])
    draws = Resampling(["a"] * 6)
    assert like_position_auroc(scores, tumor, positions, draws)[0] == 0.75


def test_without_positions_there_is_no_figure():
    tumor = np.array([True, False])
    nowhere = np.full(2, np.nan)
    draws = Resampling(["a", "b"])
    assert np.isnan(like_position_auroc(nowhere, tumor, nowhere, draws)).all()
    assert np.isnan(middle_auroc(nowhere, tumor, draws)).all()
