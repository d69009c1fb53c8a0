"""Which pictures of a set must stay together because they are copies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from tests.samples.heads import draw_people
from tumorlens.data.duplicates.copies import linked_copies


def test_copies_are_linked_unless_both_train_only(tmp_path: Path) -> None:
    people = draw_people(tmp_path, 4)
    picture = cv2.imread(str(people[1].path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    cv2.imwrite(str(people[3].path), np.ascontiguousarray(picture[:, ::-1]))
    one_end = [
        replace(row, train_only=number == 3) for number, row in enumerate(people)
    ]
    ends = [replace(row, train_only=True) for row in people]
    assert linked_copies(people) == linked_copies(one_end) == [(1, 3)]
    assert linked_copies(ends) == []
