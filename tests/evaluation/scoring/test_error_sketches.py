"""Typical errors are traced: outlines, and only where a set may be drawn."""

import cv2
import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.scored_sets import made_set
from tumorlens.evaluation.scoring.error_sketches import SIDE, sketch_errors
from tumorlens.evaluation.scoring.worst_errors import judge_by
from tumorlens.inference.classifier import load_classifier

SAID = [("a", "glioma", "meningioma")] * 2 + [
    ("b", "pituitary", "no_tumor"),
    ("c", "no_tumor", "glioma"),
    ("d", "glioma", "glioma"),
]


@pytest.fixture(scope="module")
def judge(tiny_bundle):
    return judge_by(load_classifier(tiny_bundle, threads=1))


def pictured(folder, sources):
    """A made set whose records have a picture and an outline."""
    picture = draw_phantom(lesion=(90, 110, 22), seed=1)
    outline = np.zeros_like(picture)
    cv2.circle(outline, (90, 110), 22, 255, -1)
    cv2.imwrite(str(folder / "slice.png"), picture)
    cv2.imwrite(str(folder / "mask.png"), outline)
    scored = made_set(SAID, source=sources)
    for record in scored.records:
        object.__setattr__(record, "path", folder / "slice.png")
        object.__setattr__(record, "mask", folder / "mask.png")
    return scored


def test_the_commonest_kind_comes_first_each_once(judge, tmp_path):
    found = sketch_errors(pictured(tmp_path, ["cheng"] * 5), judge)
    assert [(item["true"], item["said"]) for item in found] == [
        ("glioma", "meningioma"),
        ("pituitary", "no_tumor"),
        ("no_tumor", "glioma"),
    ]
    assert [item["slices"] for item in found] == [2, 1, 1]
    assert len(sketch_errors(pictured(tmp_path, ["cheng"] * 5), judge, most=1)) == 1


def test_outlines_lie_where_the_picture_shows_them(judge, tmp_path):
    first = sketch_errors(pictured(tmp_path, ["cheng"] * 5), judge)[0]
    assert max(first["width"], first["height"]) == SIDE
    (drawn,) = first["drawn"]
    middle = np.mean(drawn, axis=0)
    assert middle == pytest.approx([90 * SIDE / 256, 110 * SIDE / 256], abs=1.5)
    head = np.concatenate([np.array(part) for part in first["head"]])
    assert head.min() >= 0 and head.max() <= SIDE
    assert np.ptp(head[:, 0]) > 0.4 * SIDE
    assert first["marked"]
    # A tumour-free slice has no outline of its own.
    assert sketch_errors(pictured(tmp_path, ["lgg"] * 5), judge)[2]["drawn"] == []


def test_sets_that_may_not_be_drawn_are_not(judge, tmp_path):
    sources = ["notumor", "ixi", "ixi", "lgg", "cheng"]
    found = sketch_errors(pictured(tmp_path, sources), judge)
    assert [item["source"] for item in found] == ["lgg"]
