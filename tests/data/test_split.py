"""No patient and no copy is ever on both sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples.heads import draw_people
from tumorlens.data.manifest import Record, write_manifest
from tumorlens.data.split import (
    USUAL_FOLDS,
    records_in_folds,
    split_as_trained,
    split_by_fractions,
    split_into_folds,
    split_slices_into_folds,
)
from tumorlens.errors import DatasetError
from tumorlens.taxonomy import CLASSES

SHARES = (0.7, 0.15, 0.15)


def drawn_set(patients: int = 120, seed: int = 0) -> list[Record]:
    """Patients with 1 to 12 slices, two sources, three sites."""
    made = []
    for number in range(patients):
        label = CLASSES[number % 4]
        source = "a" if number % 3 else "b"
        for slice_ in range(1 + (number * 7 + seed) % 12):
            made.append(
                Record(
                    Path(f"{number}_{slice_}.png"),
                    label,
                    patient=f"{source}:{number}",
                    source=source,
                    site=("X", "Y", "Z")[number % 5 % 3],
                )
            )
    return made


def parts_of(records: list[Record]) -> dict[str, set[str]]:
    parts = defaultdict(set)
    for record in records:
        parts[record.patient].add(f"{record.split}{record.fold}")
    return parts


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 60), st.integers(2, 3))
def test_no_patient_is_on_both_sides(seed: int, patients: int, folds: int) -> None:
    records = drawn_set(patients, seed)
    for dealt in (
        split_by_fractions(records, SHARES, seed=seed),
        split_into_folds(records, folds, seed=seed),
    ):
        assert all(len(parts) == 1 for parts in parts_of(dealt).values())
        assert [record.path for record in dealt] == [item.path for item in records]


def test_classes_and_sources_are_spread_as_asked() -> None:
    records = drawn_set(400)
    dealt = split_by_fractions(records, SHARES)
    whole = Counter((item.label, item.source) for item in records)
    for split, share in zip(("train", "validation", "test"), SHARES, strict=True):
        part = Counter((r.label, r.source) for r in dealt if r.split == split)
        for stratum, number in whole.items():
            assert part[stratum] / number == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("patients", [8, 12, 20])
def test_a_small_set_fills_every_part(patients: int) -> None:
    dealt = split_by_fractions(drawn_set(patients), (0.5, 0.25, 0.25))
    parts = Counter(item.split for item in dealt)
    for split, share in (("train", 0.5), ("validation", 0.25), ("test", 0.25)):
        assert parts[split] > 0
        assert parts[split] / len(dealt) == pytest.approx(share, abs=0.25)


def test_folds_are_even() -> None:
    dealt = split_into_folds(drawn_set(400), 5)
    whole = Counter(item.label for item in dealt)
    for fold in range(5):
        part = Counter(item.label for item in dealt if item.fold == fold)
        for label, number in whole.items():
            assert part[label] / number == pytest.approx(0.2, abs=0.03)


def test_a_seed_deals_the_same_way_whatever_the_order_or_place() -> None:
    records = drawn_set(50)
    dealt = {r.path.name: r.split for r in split_by_fractions(records, SHARES, seed=4)}
    moved = [
        replace(item, path=Path("/elsewhere") / item.path) for item in records[::-1]
    ]
    again = {r.path.name: r.split for r in split_by_fractions(moved, SHARES, seed=4)}
    other = {r.path.name: r.split for r in split_by_fractions(records, SHARES, seed=5)}
    assert dealt == again
    assert dealt != other


def test_a_known_deal_never_changes() -> None:
    # Written down once: another machine or version must deal the same way.
    dealt = split_by_fractions(drawn_set(8), (0.5, 0.25, 0.25), seed=1)
    parts = {record.patient: record.split for record in dealt}
    assert parts == {
        "a:1": "test",
        "a:2": "validation",
        "a:4": "train",
        "a:5": "train",
        "a:7": "validation",
        "b:0": "validation",
        "b:3": "train",
        "b:6": "train",
    }


def test_linked_copies_stay_together() -> None:
    records = [replace(item, patient="") for item in drawn_set(60)]
    links = [(row, row + 1) for row in range(0, len(records) - 1, 2)]
    dealt = split_by_fractions(records, SHARES, links=links)
    assert all(dealt[one].split == dealt[other].split for one, other in links)
    assert {item.split for item in dealt} == {"train", "validation", "test"}


def test_a_link_joins_whole_patients() -> None:
    records = drawn_set(40)
    last = len(records) - 1
    dealt = split_by_fractions(records, SHARES, links=[(0, last)])
    both = {records[0].patient, records[last].patient}
    assert len({item.split for item in dealt if item.patient in both}) == 1


def test_a_whole_site_or_source_can_be_kept() -> None:
    records = drawn_set(90)
    dealt = split_by_fractions(records, SHARES, keep={"Z": "test", "b": "train"})
    assert {item.split for item in dealt if item.site == "Z"} == {"test"}
    rest = [item for item in dealt if item.site != "Z"]
    assert {item.split for item in rest if item.source == "b"} == {"train"}
    assert {item.split for item in rest} == {"train", "validation", "test"}


def test_a_whole_kind_can_be_kept() -> None:
    records = [
        replace(row, kind="schwannoma" if row.patient.endswith("0") else "")
        for row in drawn_set(90)
    ]
    dealt = split_into_folds(records, 3, keep={"schwannoma": "1"})
    assert {row.fold for row in dealt if row.kind} == {1}
    assert {row.fold for row in dealt if not row.kind} == {0, 1, 2}


def test_a_share_of_nothing_gets_nothing() -> None:
    dealt = split_by_fractions(drawn_set(30), (0.8, 0.2, 0.0))
    assert {item.split for item in dealt} == {"train", "validation"}


def test_what_trains_only_goes_with_its_patient_and_shifts_nobody() -> None:
    records = drawn_set()
    ends = [
        replace(row, path=Path(f"end_{row.path}"), train_only=True)
        for number, row in enumerate(records)
        if number % 3 == 0
    ]
    for deal in (
        lambda rows: split_into_folds(rows, 3),
        lambda rows: split_by_fractions(rows, SHARES),
    ):
        alone, together = deal(records), deal([*ends, *records])
        assert together[len(ends) :] == alone
        assert all(len(parts) == 1 for parts in parts_of(together).values())


def test_an_old_deal_is_forgotten() -> None:
    folded = split_into_folds(split_by_fractions(drawn_set(), SHARES), 3)
    assert {item.split for item in folded} == {""}
    split = split_by_fractions(folded, SHARES)
    assert {item.fold for item in split} == {None}


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_that_cannot_be_are_refused(
    shares: tuple[float, float, float],
) -> None:
    with pytest.raises(DatasetError, match="sum to 1"):
        split_by_fractions(drawn_set(), shares)


@pytest.mark.parametrize("folds", [0, 1, 31])
def test_folds_that_cannot_be_are_refused(folds: int) -> None:
    with pytest.raises(DatasetError, match="30 patients"):
        split_into_folds(drawn_set(30), folds)


@pytest.mark.parametrize(
    ("keep", "word"), [({"Q": "test"}, "'Q'"), ({"Z": "exam"}, "'exam'")]
)
def test_a_wrong_keep_is_refused(keep: dict[str, str], word: str) -> None:
    with pytest.raises(DatasetError, match=word):
        split_by_fractions(drawn_set(), SHARES, keep=keep)


def test_a_patient_between_two_kept_sites_is_refused() -> None:
    records = [
        Record(Path(f"{site}.png"), CLASSES[0], patient="p", site=site)
        for site in ("X", "Y")
    ]
    with pytest.raises(DatasetError, match="both in one split"):
        split_by_fractions(records, SHARES, keep={"X": "test", "Y": "train"})


def test_a_set_is_dealt_as_a_model_was_trained() -> None:
    records = [
        Record(Path(f"{name}.png"), CLASSES[0], patient=name)
        for name in ("seen", "tuned", "kept", "stranger")
    ]
    known = {"train": ["seen"], "validation": ["tuned"], "test": ["kept"]}
    dealt = split_as_trained(records, known)
    assert [row.split for row in dealt] == ["train", "validation", "test", "test"]


def test_a_model_that_knows_nobody_here_is_refused() -> None:
    records = [Record(Path("a.png"), CLASSES[0], patient="stranger")]
    with pytest.raises(DatasetError, match="held out"):
        split_as_trained(records, {"train": ["somebody"]})


def test_a_hospital_stays_in_its_fold_and_counts_as_its_share() -> None:
    records = drawn_set()
    dealt = split_into_folds(records, 4, keep={"Z": "2"})
    assert {row.fold for row in dealt if row.site == "Z"} == {2}
    sizes = Counter(row.fold for row in dealt)
    assert max(sizes.values()) < 1.6 * min(sizes.values())


def test_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(DatasetError, match="'9'"):
        split_into_folds(drawn_set(), 4, keep={"Z": "9"})


def test_slices_dealt_one_by_one_part_patients_and_keep_classes_even() -> None:
    records = drawn_set()
    dealt = split_slices_into_folds(records, 5, seed=1)
    parts: dict[str, set[int | None]] = defaultdict(set)
    for row in dealt:
        parts[row.patient].add(row.fold)
    assert max(len(folds) for folds in parts.values()) == 5
    counts = Counter((row.label, row.fold) for row in dealt)
    for label in CLASSES:
        of_class = [counts[label, fold] for fold in range(5)]
        assert max(of_class) - min(of_class) <= 2
    assert dealt == split_slices_into_folds(records, 5, seed=1)
    assert dealt != split_slices_into_folds(records, 5, seed=2)
    with pytest.raises(DatasetError, match="slices"):
        split_slices_into_folds(records[:3], 5)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return draw_people(tmp_path_factory.mktemp("people"), 12)


def written(people, path, folds, flag=""):
    rows = [
        replace(row, fold=fold, flag=flag if place == 0 else "")
        for place, (row, fold) in enumerate(zip(people, folds, strict=True))
    ]
    write_manifest(rows, path)
    return path


def test_a_manifest_s_own_folds_are_kept(people, tmp_path):
    own = [number % 3 for number in range(12)]
    path = written(people, tmp_path / "folds.csv", own)
    for folds in (None, 3):
        assert [row.fold for row in records_in_folds(path, folds)] == own


def test_a_manifest_dealt_to_other_folds_is_refused(people, tmp_path):
    path = written(people, tmp_path / "folds.csv", [0, 1] * 6)
    with pytest.raises(DatasetError, match="folds 0 to 2"):
        records_in_folds(path, 3)


def test_a_manifest_dealt_in_part_is_refused(people, tmp_path):
    path = written(people, tmp_path / "folds.csv", [0, 1] * 5 + [0, None])
    with pytest.raises(DatasetError, match="folds 0 to 1"):
        records_in_folds(path, None)


def test_a_manifest_without_folds_is_dealt(people, tmp_path):
    path = written(people, tmp_path / "bare.csv", [None] * 12)
    assert {row.fold for row in records_in_folds(path, 2)} == {0, 1}
    assert {row.fold for row in records_in_folds(path, None)} == set(range(USUAL_FOLDS))


def test_flagged_rows_are_left_out_unless_asked_for(people, tmp_path):
    path = written(people, tmp_path / "folds.csv", [0, 1] * 6, flag="ct")
    assert len(records_in_folds(path, 2)) == 11
    assert len(records_in_folds(path, 2, include_flagged=True)) == 12
