"""Pooled figures are held out only where those of every fold are."""

from dataclasses import replace

import pytest

from tests.samples.heads import draw_people
from tumorlens.data.duplicates.copy_codes import training_fingerprints
from tumorlens.evaluation.scoring.fold_leakage import pool_leakage, section
from tumorlens.evaluation.scoring.leakage import check_held_out
from tumorlens.inference.bundle.bundle import load_bundle


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return draw_people(tmp_path_factory.mktemp("people"), 6)


@pytest.fixture
def checked(tiny_bundle, people):
    """Check a fold: a bundle that was trained on others, scored on its own."""
    bundle = load_bundle(tiny_bundle)

    def check(trained, own):
        facts = {
            "patients": {"train": [row.patient for row in trained]},
            "fingerprints": training_fingerprints(trained),
        }
        return check_held_out(replace(bundle, provenance=facts), own)

    return check


def test_all_folds_apart_are_held_out(checked, people):
    halves = people[:3], people[3:]
    found = pool_leakage(
        {0: checked(halves[1], halves[0]), 1: checked(halves[0], halves[1])}
    )
    assert found["held_out"]
    assert found["slices"] == 6
    assert found["unnamed_slices"] == 0
    assert "in each of 2 folds" in found["statement"]
    shown = section(found)
    assert shown.title == "Held out"
    assert [row[0] for row in shown.tables[0].rows] == ["0", "1"]
    assert len(shown.tables) == 1


def test_a_patient_in_two_folds_takes_held_out_from_all(checked, people):
    found = pool_leakage(
        {
            0: checked(people[3:], people[:3]),
            1: checked(people[:4], people[3:]),
        }
    )
    assert not found["held_out"]
    assert "NOT held out in 1 of 2 folds (1)" in found["statement"]
    assert section(found).title == "Not held out"


def test_a_copy_under_another_name_in_another_fold_is_shown(checked, people):
    copy = replace(people[0], patient="somebody else")
    found = pool_leakage(
        {
            0: checked([*people[3:], copy], people[:3]),
            1: checked(people[:3], [*people[3:], copy]),
        }
    )
    assert not found["held_out"]
    assert "2 of 2 folds (0, 1)" in found["statement"]
    assert section(found).tables[1].rows == [("0", "0.png"), ("1", "0.png")]
