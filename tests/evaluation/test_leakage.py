"""Who shaped a model is found among those it is measured on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from tests.samples.heads import draw_people, draw_person
from tumorlens.data.duplicates import training_fingerprints
from tumorlens.data.manifest import LIKENESS, Record
from tumorlens.evaluation.leakage import check_held_out, pool_leakage
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.report.evaluation.performance import held_out_section
from tumorlens.taxonomy import TumorClass

PATIENTS = {"train": ["p0", "p1"], "validation": ["p2"], "test": ["p3"], "": ["p4"]}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    found = []
    for number in range(5):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), draw_person(number))
        found.append(Record(path, TumorClass.GLIOMA, f"p{number}", source="drawn"))
    return found


@pytest.fixture
def bundle_with(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    return lambda **facts: replace(bundle, provenance=facts)


def test_patients_kept_apart_are_held_out(bundle_with, records):
    text = training_fingerprints(records[:3])
    bundle = bundle_with(patients=PATIENTS, fingerprints=text)
    found = check_held_out(bundle, records[3:])
    assert found["held_out"]
    assert found["copies"] == 0
    assert found["compared_with"] == 3
    assert "are held out" in found["statement"]


@pytest.mark.parametrize("row", [0, 2])
def test_a_patient_who_trained_or_tuned_is_found(bundle_with, records, row):
    bundle = bundle_with(patients=PATIENTS)
    found = check_held_out(bundle, [*records[3:], records[row]])
    assert not found["held_out"]
    assert sum(found["shared_patients"].values()) == 1
    assert found["shared_slices"] == 1
    assert "NOT held out: 1 of 3 slices" in found["statement"]
    assert held_out_section(found).title == "Not held out"


def test_a_copy_under_another_name_is_found(bundle_with, records):
    text = training_fingerprints(records[:3])
    bundle = bundle_with(patients=PATIENTS, fingerprints=text)
    disguised = replace(records[1], patient="stranger")
    found = check_held_out(bundle, [records[3], disguised])
    assert not found["held_out"]
    assert found["copies"] == 1
    assert found["copies_by_source"] == {"drawn": 1}
    assert found["examples"] == ["1.png"]
    assert ("for example", "1.png") in held_out_section(found).tables[0].rows


def test_pictures_at_hand_decide_what_only_looks_alike_by_its_code(
    bundle_with, records, monkeypatch
):
    text = training_fingerprints(records[:3])
    bundle = bundle_with(patients=PATIENTS, fingerprints=text)
    disguised = replace(records[1], patient="stranger")
    judged = [records[3], disguised]
    monkeypatch.setattr("tumorlens.data.duplicates.MOST_BITS_APART", 192)
    assert check_held_out(bundle, judged)["copies"] == 2
    # One that trained is missing: it may be what the first is a copy of.
    assert check_held_out(bundle, judged, known=records[1:])["copies"] == 2
    found = check_held_out(bundle, judged, known=records)
    assert found["copies"] == 1
    assert found["examples"] == ["1.png"]
    assert check_held_out(bundle, judged[:1], known=records)["held_out"]


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("known", [slice(0, 0), slice(1, 2), slice(0, 5)])
def test_a_copy_saved_anew_is_found_whoever_is_at_hand(
    bundle_with, records, known, step, tmp_path
):
    """Also where its original alone is at hand: two pictures share all."""
    text = training_fingerprints(records[:3])
    bundle = bundle_with(patients=PATIENTS, fingerprints=text)
    copy = tmp_path / "copy.jpg"
    pixels = cv2.imread(str(records[1].path), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(copy), pixels[:, ::step])
    judged = [replace(records[1], path=copy, patient="stranger")]
    assert check_held_out(bundle, judged, known=records[known])["copies"] == 1


def test_without_fingerprints_the_training_pictures_at_hand_are_looked_at(
    bundle_with, records
):
    disguised = replace(records[1], patient="stranger")
    bundle = bundle_with(patients=PATIENTS)
    found = check_held_out(bundle, [disguised], known=records)
    assert found["compared_with"] == 3
    assert found["copies"] == 1
    assert not found["held_out"]
    assert check_held_out(bundle, records[3:], known=records)["held_out"]


def test_nothing_is_held_out_while_copies_cannot_be_looked_for(bundle_with, records):
    bundle = bundle_with(patients=PATIENTS)
    found = check_held_out(bundle, records[3:])
    assert not found["held_out"]
    assert found["copies"] is None
    assert "could not be looked for" in found["statement"]
    # One of three training patients' pictures is not enough to look at.
    found = check_held_out(bundle, records[3:], known=records[2:])
    assert not found["held_out"]
    assert found["patients_unseen"] == 2
    assert "pictures of 2 patients" in found["statement"]


def test_fingerprints_of_no_picture_are_none(bundle_with, records):
    bundle = bundle_with(patients=PATIENTS, fingerprints=training_fingerprints([]))
    found = check_held_out(bundle, records[3:])
    assert found["copies"] is None
    assert not found["held_out"]


def test_a_bundle_that_names_nobody_holds_nobody_out(bundle_with, records):
    found = check_held_out(bundle_with(), records)
    assert not found["held_out"]
    assert "does not say" in found["statement"]


def test_a_picture_of_nobody_known_is_not_held_out(bundle_with, records):
    text = training_fingerprints(records[:3])
    bundle = bundle_with(patients=PATIENTS, fingerprints=text)
    unnamed = [replace(row, patient="") for row in records]
    found = check_held_out(bundle, [records[3], *unnamed[4:]])
    assert found["copies"] == 0
    assert not found["held_out"]
    assert f"{len(records) - 4} of {len(records) - 3} slices name" in found["statement"]
    assert check_held_out(bundle, unnamed)["copies"] == 3


def test_where_likeness_stands_for_patients_it_is_said(bundle_with, records):
    text = training_fingerprints(records[:3])
    bundle = bundle_with(patients=PATIENTS, fingerprints=text)
    alike = replace(records[4], patient=f"{LIKENESS}web/4")
    found = check_held_out(bundle, [records[3], alike])
    assert found["held_out"]
    assert "Of 1 slices no patient is known" in found["statement"]
    assert (
        "no patient is known" not in check_held_out(bundle, records[3:4])["statement"]
    )


def line_of(records):
    """Provenance of a grandchild: each model of the line saw one patient."""
    own, parent, grandparent = (
        {
            "patients": {"train": [record.patient], "validation": [], "test": ["p4"]},
            "fingerprints": training_fingerprints([record]),
        }
        for record in records[:3]
    )
    return own, parent, grandparent


@pytest.mark.parametrize("row", [0, 1, 2])
def test_whoever_shaped_a_model_of_the_line_is_not_held_out(bundle_with, records, row):
    own, *parents = line_of(records)
    bundle = bundle_with(**own, parents=parents)
    found = check_held_out(bundle, records[3:])
    assert found["held_out"]
    assert (found["parents"], found["compared_with"]) == (2, 3)
    assert "any of the 2 that it started from" in found["statement"]
    found = check_held_out(bundle, [*records[3:], records[row]])
    assert (found["held_out"], found["shared_slices"]) == (False, 1)
    disguised = replace(records[row], patient="stranger")
    found = check_held_out(bundle, [*records[3:], disguised])
    assert (found["held_out"], found["copies"]) == (False, 1)
    rows = dict(held_out_section(found).tables[0].rows)
    assert rows["Models that it started from, counted in"] == "2"


def test_a_parent_that_nobody_knows_holds_nobody_out(bundle_with, records):
    own, parent, _ = line_of(records)
    bundle = bundle_with(**own, parents=[parent, {"weights_sha256": "0" * 64}])
    found = check_held_out(bundle, records[3:])
    assert not found["held_out"]
    assert found["unknown_parents"] == 1
    assert "nobody knows whose slices" in found["statement"]


def test_a_parent_without_fingerprints_needs_its_pictures_at_hand(bundle_with, records):
    own, parent, _ = line_of(records)
    del parent["fingerprints"]
    bundle = bundle_with(**own, parents=[parent])
    found = check_held_out(bundle, records[3:])
    assert (found["held_out"], found["patients_unseen"]) == (False, 1)
    disguised = replace(records[1], patient="stranger")
    assert check_held_out(bundle, [disguised], known=records)["copies"] == 1
    assert check_held_out(bundle, records[3:], known=records)["held_out"]


def test_an_unreadable_picture_is_no_copy(bundle_with, records):
    bundle = bundle_with(
        patients=PATIENTS, fingerprints=training_fingerprints(records[:3])
    )
    gone = Record(Path("gone.png"), TumorClass.GLIOMA, "p9")
    assert check_held_out(bundle, [gone])["copies"] == 0


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
    shown = held_out_section(found)
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
    assert held_out_section(found).title == "Not held out"


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
    assert held_out_section(found).tables[1].rows == [("0", "0.png"), ("1", "0.png")]
