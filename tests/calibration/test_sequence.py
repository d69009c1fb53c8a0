"""A sequence head is as often right as it says."""

from pathlib import Path

import numpy as np
import pytest

from tumorlens.calibration.probabilities import fit_sequence_head
from tumorlens.data.manifest import LEARNED_SEQUENCES, Record
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import TumorClass
from tumorlens.training.held_out import HeldOut


def held(scale, count=4000, sequence=None):
    """Draw outputs that are `scale` times too sure of sequences drawn by them."""
    rng = np.random.default_rng(3)
    fair = rng.normal(0.0, 2.0, (count, len(LEARNED_SEQUENCES)))
    shares = np.exp(fair) / np.exp(fair).sum(axis=1, keepdims=True)
    shown = [LEARNED_SEQUENCES[rng.choice(4, p=row)] for row in shares]
    records = [
        Record(Path(f"{row}.png"), TumorClass.GLIOMA, sequence=sequence or item)
        for row, item in enumerate(shown)
    ]
    blank = np.zeros((count, 4), np.float32)
    outlined = np.full((count, 1, 1), np.nan, np.float32)
    return HeldOut(tuple(records), blank, None, outlined, np.float32(fair * scale))


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_scale_undoes_what_is_too_sure(scale):
    found = fit_sequence_head(held(scale))
    assert found is not None
    assert found.scale == pytest.approx(1.0 / scale, rel=0.15)
    assert found.measured == LEARNED_SEQUENCES


def test_a_sequence_that_nobody_shows_is_not_measured():
    found = fit_sequence_head(held(1.0, 50, MRSequence.T2))
    assert found is not None
    assert found.measured == (MRSequence.T2,)


def test_without_a_head_or_a_known_sequence_there_is_nothing_to_fit():
    drawn = held(1.0, 10)
    bare = HeldOut(drawn.records, drawn.logits, None, drawn.outlined)
    assert fit_sequence_head(bare) is None
    assert fit_sequence_head(held(1.0, 10, MRSequence.OTHER)) is None
