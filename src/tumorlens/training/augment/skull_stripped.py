"""Slices as they would look had someone stripped the skull before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tumorlens.data.skull_stripping import take_off_skull
from tumorlens.training.dataset import Sample


def without_skull(samples: Sequence[Sample]) -> list[Sample]:
    """Take the skull off, for what has to know both kinds of picture.

    Parameters
    ----------
    samples
        Of any kind.

    Returns
    -------
    list of Sample
        In their order, without those whose brain was not found, or whose tumour
        would be cut.
    """
    found = []
    for sample in samples:
        if sample.brain is None:
            continue
        square, outline = take_off_skull(sample.square, sample.outline, sample.brain)
        if square is not sample.square:
            found.append(replace(sample, square=square, outline=outline, brain=None))
    return found
