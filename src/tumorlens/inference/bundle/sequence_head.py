"""Which MR sequences a model knows, and how its sequence head is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.facts import Reader

TRAINED_ON: tuple[MRSequence, ...] = (MRSequence.T1, MRSequence.T1_CONTRAST)
"""By models that do not say which sequences they know."""


@dataclass(frozen=True)
class SequenceHead:
    """How a network's sequence head is read.

    Parameters
    ----------
    sequences
        That it tells apart, in the order of its outputs.
    scale
        Factor on its outputs, fitted on patients kept apart, so that its
        probabilities are as often right as they say (Guo et al. 2017).
    measured
        Sequences that the whole model was measured on; of others its figures do not
        speak.
    """

    sequences: tuple[MRSequence, ...]
    scale: float
    measured: tuple[MRSequence, ...] = ()

    @classmethod
    def read(cls, facts: Reader) -> Self:
        """Read one out of a bundle; raises `BundleError` where a value is wrong."""
        names = _sequences(facts, "names")
        if not names:
            facts.refuse("names", "a list of sequences")
        return cls(names, facts.number("scale"), _sequences(facts, "measured"))

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "names": [item.value for item in self.sequences],
            "scale": self.scale,
            "measured": [item.value for item in self.measured],
        }

    def probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Turn outputs of shape (N, S) into probabilities; rows sum to 1."""
        values = self.scale * outputs.astype(np.float64)
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sequences(facts: Reader, key: str) -> tuple[MRSequence, ...]:
    known = {item.value: item for item in MRSequence}
    names = facts.strings(key)
    if not set(names) <= set(known):
        facts.refuse(key, f"a list of some of {sorted(known)}")
    return tuple(known[name] for name in names)
