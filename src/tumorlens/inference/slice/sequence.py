"""Which MR sequence a slice is of, who says so, and whether the model knows it.

Pixels, header and file name may each say it. They are weighed as independent
witnesses: what each says counts by how often such a word is right.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.facts import TRAINED_ON, SequenceHead

_HEADER_RIGHT = 0.97
"""How often a header's word is taken to be right; contrast is often left unsaid."""
_NAME_RIGHT = 0.75
"""The same of a file name, which often names a whole set."""

_NAMED: tuple[tuple[re.Pattern[str], MRSequence], ...] = tuple(
    (re.compile(rf"(?<![a-z0-9]){word}(?![a-z0-9])"), sequence)
    for word, sequence in (
        (r"(t2[-_ ]?)?(flair|t2f)", MRSequence.FLAIR),
        (
            r"t1[-_ ]?w?[-_ ]?(c|ce|cp|gd|gad|\+c|km|post|contrast|c\+)",
            MRSequence.T1_CONTRAST,
        ),
        # BIDS names the agent before the suffix: ce-gadolinium_T1w.
        (r"ce-[a-z0-9]+ .*t1w", MRSequence.T1_CONTRAST),
        (r"t1[-_ ]?(w|n|pre)?", MRSequence.T1),
        (r"t2[-_ ]?(w|tse|fse)?", MRSequence.T2),
        (r"dwi|adc", MRSequence.DIFFUSION),
    )
)


@dataclass(frozen=True)
class SequenceEstimate:
    """Which MR sequence a slice is of, and who says so.

    Parameters
    ----------
    sequence
        The likeliest, all witnesses weighed; None where none says anything.
    probability
        Its probability, 0 to 1; None where the pixels were not asked: a header or a
        name alone is no measurement.
    pixels, header, file_name
        What each says alone; None where it says nothing.
    """

    sequence: MRSequence | None = None
    probability: float | None = None
    pixels: MRSequence | None = None
    header: MRSequence | None = None
    file_name: MRSequence | None = None

    @property
    def disagreement(self) -> str | None:
        """Say that the pixels look like another sequence than the file says."""
        said = self.header or self.file_name
        if self.pixels is None or said is None or said is self.pixels:
            return None
        who = "header" if self.header is not None else "name"
        return (
            f"The file's {who} says {said.value}, but the picture looks like "
            f"{self.pixels.value}."
        )


def estimate_sequence(
    header: MRSequence | None,
    file_name: str,
    head: SequenceHead | None = None,
    outputs: NDArray[np.float32] | None = None,
) -> SequenceEstimate:
    """Weigh what pixels, header and file name say.

    Parameters
    ----------
    header
        What the file's header says; None where it says nothing.
    file_name
        Name of the file as the user knows it.
    head, outputs
        The bundle's sequence head, and what the network gave, shape (S,); None for
        a network without one.

    Returns
    -------
    SequenceEstimate
        A header that names a sequence which the head does not tell has the say.
    """
    named = sequence_of_name(file_name)
    if head is None or outputs is None:
        return SequenceEstimate(header or named, None, None, header, named)
    shares = head.probabilities(outputs[None])[0]
    seen = head.sequences[int(np.argmax(shares))]
    if header is not None and header not in head.sequences:
        return SequenceEstimate(header, None, seen, header, named)
    weights = shares.copy()
    for said, right in ((header, _HEADER_RIGHT), (named, _NAME_RIGHT)):
        if said in head.sequences:
            others = (1.0 - right) / (len(head.sequences) - 1)
            weights *= [right if item is said else others for item in head.sequences]
    weights /= weights.sum()
    best = int(np.argmax(weights))
    return SequenceEstimate(
        head.sequences[best], float(weights[best]), seen, header, named
    )


def sequence_of_name(name: str) -> MRSequence | None:
    """Read the sequence out of a file's name, such as ``case_12_t1ce.nii.gz``.

    Returns
    -------
    MRSequence or None
        None where it names none, or several.
    """
    text = re.sub(r"[_.]+", " ", name.lower())
    named = {sequence for pattern, sequence in _NAMED if pattern.search(text)}
    # A name with contrast also reads as one without, and FLAIR as T2.
    for finer, coarser in (
        (MRSequence.T1_CONTRAST, MRSequence.T1),
        (MRSequence.FLAIR, MRSequence.T2),
    ):
        if finer in named:
            named.discard(coarser)
    return named.pop() if len(named) == 1 else None


def sequence_caveat(
    sequence: MRSequence | None, known: Collection[MRSequence] = TRAINED_ON
) -> str | None:
    """Say that the model was not trained for a sequence.

    Parameters
    ----------
    sequence
        Sequence that the file states; None where it states none.
    known
        Sequences that the model was trained on.

    Returns
    -------
    str or None
        None where the model knows the sequence, or nobody knows which it is.
    """
    if sequence is None or sequence in known:
        return None
    if tuple(known) == TRAINED_ON:
        return (
            f"The series is {sequence.value}; the model was trained on T1 with and "
            "without contrast, and its figures do not hold here."
        )
    names = ", ".join(item.value for item in known)
    return (
        f"The series is {sequence.value}; the model was trained on {names}, and its "
        "figures do not hold here."
    )
