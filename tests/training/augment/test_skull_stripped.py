"""Slices without skull: the brain stays, the rest goes, tumours are not cut."""

from pathlib import Path

import numpy as np

from tests.samples.discs import disc
from tumorlens.data.manifest import Record
from tumorlens.taxonomy import TumorClass
from tumorlens.training.augment.skull_stripped import without_skull
from tumorlens.training.dataset import Sample


def head(outline=None, brain=True):
    """Draw a bright skull around a darker brain."""
    square = np.where(disc(95) > 0, np.uint8(100), disc(120) // 255 * np.uint8(220))
    label = TumorClass.NO_TUMOR if outline is None else TumorClass.GLIOMA
    record = Record(Path("head.png"), label, "patient", source="clinic")
    return Sample(record, square, outline, disc(95) if brain else None)


def test_the_skull_goes_and_the_brain_fills_the_square():
    (bare,) = without_skull([head()])
    assert bare.square.max() <= 110  # no skull
    assert (bare.square > 50).sum() > (disc(95) > 0).sum()
    assert bare.label is TumorClass.NO_TUMOR


def test_the_outline_goes_along():
    (bare,) = without_skull([head(disc(20, (100, 128)))])
    assert bare.outline is not None
    rows, columns = np.nonzero(bare.outline)
    assert columns.mean() < 100  # further from the middle, as all is larger
    assert abs(rows.mean() - 128) < 4


def test_heads_that_cannot_be_stripped_are_left_out():
    cut = head(disc(20, (230, 128)))  # a tumour outside the brain
    unknown = head(brain=False)
    kept = head()
    found = without_skull([cut, unknown, kept])
    assert len(found) == 1
    assert kept.square.max() == 220  # untouched
