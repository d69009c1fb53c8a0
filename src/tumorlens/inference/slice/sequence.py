"""What the model was trained on, and what to say of a series that is another kind."""

from __future__ import annotations

from tumorlens.imaging.study import MRSequence

_TRAINED_ON = (MRSequence.T1, MRSequence.T1_CONTRAST)


def sequence_caveat(sequence: MRSequence | None) -> str | None:
    """Say that the model was not trained for a sequence.

    Parameters
    ----------
    sequence
        As the file says; None where it does not.

    Returns
    -------
    str or None
        None where the model knows the sequence, or nobody knows which it is.
    """
    if sequence is None or sequence in _TRAINED_ON:
        return None
    return (
        f"The series is {sequence.value}; the model was trained on T1 with and "
        "without contrast, and its figures do not hold here."
    )
