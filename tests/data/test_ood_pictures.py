"""CT teaches what to refuse, unless it is kept for a test."""

from dataclasses import replace
from pathlib import Path

import cv2

from tests.conftest import draw_phantom
from tumorlens.data.manifest import Record
from tumorlens.data.ood_pictures import tomograms
from tumorlens.taxonomy import TumorClass


def test_flagged_pictures_are_read_but_not_those_of_the_test(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), draw_phantom())
    row = Record(path, TumorClass.NO_TUMOR, flag="ct", split="train")
    others = [
        replace(row, flag=""),
        replace(row, flag="abnormal"),
        replace(row, split="test"),
    ]
    found = tomograms([row, *others])
    assert [item.kind for item in found] == ["ct"]
    assert found[0].pixels.shape == (256, 256)
