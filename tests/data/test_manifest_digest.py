"""A data set's number changes when the set does, and only then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.test_manifest import sample
from tumorlens.data.manifest_digest import manifest_digest
from tumorlens.taxonomy import TumorClass


def test_the_digest_ignores_order_and_place(tmp_path: Path) -> None:
    records = sample(tmp_path / "a")
    assert manifest_digest(records) == manifest_digest(records[::-1])
    assert manifest_digest(records) == manifest_digest(sample(tmp_path / "b"))


@pytest.mark.parametrize(
    "change",
    [
        {"label": TumorClass.MENINGIOMA},
        {"patient": "x:2"},
        {"split": "train"},
        {"fold": 0},
        {"source": "y"},
        {"flag": "ct"},
        {"train_only": True},
        {"mask": None},
    ],
)
def test_the_digest_sees_every_change(
    tmp_path: Path, change: dict[str, object]
) -> None:
    first, second = sample(tmp_path)
    changed = replace(first, **change)  # type: ignore[arg-type]
    assert manifest_digest([first, second]) != manifest_digest([changed, second])


def test_the_digest_can_see_the_bytes(tmp_path: Path) -> None:
    records = sample(tmp_path)
    before = [manifest_digest(records, contents=flag) for flag in (False, True)]
    records[1].path.write_bytes(b"other")
    after = [manifest_digest(records, contents=flag) for flag in (False, True)]
    assert before[0] == after[0]
    assert before[1] != after[1]
