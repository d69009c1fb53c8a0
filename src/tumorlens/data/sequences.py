"""The MR sequences that a network learns to tell apart, and how sets spell them.

Tested in `tests/data/test_manifest.py`.
"""

from __future__ import annotations

import re

from tumorlens.imaging.study import MRSequence

LEARNED_SEQUENCES: tuple[MRSequence, ...] = (
    MRSequence.T1,
    MRSequence.T1_CONTRAST,
    MRSequence.T2,
    MRSequence.FLAIR,
)
"""MR sequences in the order of the outputs of a network's sequence head."""

_SPELLINGS = {
    "t1": MRSequence.T1,
    "t1w": MRSequence.T1,
    "t1c": MRSequence.T1_CONTRAST,
    "t1ce": MRSequence.T1_CONTRAST,
    "t1gd": MRSequence.T1_CONTRAST,
    "t1withcontrast": MRSequence.T1_CONTRAST,
    "t2": MRSequence.T2,
    "t2w": MRSequence.T2,
    "flair": MRSequence.FLAIR,
    "t2flair": MRSequence.FLAIR,
    "dwi": MRSequence.DIFFUSION,
    "pd": MRSequence.OTHER,
    "other": MRSequence.OTHER,
}


def parse_sequence(text: str) -> MRSequence | None:
    """Read a sequence's name in any of the spellings that public sets use.

    Parameters
    ----------
    text
        Name such as ``T1C``, ``t1ce`` or ``T1 with contrast``.

    Returns
    -------
    MRSequence or None
        None where the text names none.
    """
    return _SPELLINGS.get(re.sub(r"[^a-z0-9]", "", text.lower()))


def sequence_word(sequence: MRSequence | None) -> str:
    """Name a sequence in a manifest, such as ``T1C``; empty for None."""
    if sequence is None:
        return ""
    return sequence.word
