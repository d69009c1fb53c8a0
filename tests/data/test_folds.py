"""Folds are the manifest's own, or dealt where it has none."""

from dataclasses import replace

import pytest

from tests.samples.heads import draw_people
from tumorlens.data.folds import USUAL_FOLDS, records_in_folds
from tumorlens.data.manifest import write_manifest
from tumorlens.errors import DatasetError


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
