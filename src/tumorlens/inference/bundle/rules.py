"""Rules by which a slice stays inconclusive, whatever its probability.

Each rule holds where the bundle gives its threshold, and is off elsewhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BundleError
from tumorlens.inference.bundle.typed_values import Reader
from tumorlens.taxonomy import CLASSES, INFO, NO_TUMOR_INDEX

HEADS_DISAGREE = (
    "The model's two ways of looking disagree: the slice as a whole looks like "
    "{whole}, its most suspicious spots look like {spots}."
)
LITTLE_BRAIN = (
    "The slice shows too little brain to be judged, as slices at the top or the base "
    "of the head do."
)


@dataclass(frozen=True)
class Rules:
    """Thresholds of the rules; None where a rule is off.

    Parameters
    ----------
    head_disagreement
        The disagreement of the heads, 0 to 1, from which on a slice is
        inconclusive.
    min_brain_share
        The share of brain, 0 to 1, below which a slice is inconclusive.
    """

    head_disagreement: float | None = None
    min_brain_share: float | None = None

    @classmethod
    def read(cls, facts: Reader) -> Self:
        """Read the rules of a bundle.

        Parameters
        ----------
        facts
            The bundle's `rules` object.

        Raises
        ------
        BundleError
            A threshold is no share; or there is a rule that is unknown here,
            since a bundle must not be served without one of its rules.
        """
        known = asdict(cls())
        for name in facts.fields:
            if name not in known:
                raise BundleError(
                    f"{facts.where} holds {name!r}, a rule that this TumorLens "
                    "does not know.",
                    "Upgrade TumorLens.",
                )
        return cls(
            **{name: facts.share(name) for name in known if name in facts.fields}
        )

    def to_json(self) -> dict[str, Any]:
        """Return the rules that are on as a JSON object."""
        return {
            name: level for name, level in asdict(self).items() if level is not None
        }

    def reasons(
        self,
        slice_head: NDArray[np.float64],
        evidence_head: NDArray[np.float64],
        brain_share: float,
    ) -> tuple[str, ...]:
        """Say why a slice has to stay inconclusive.

        Parameters
        ----------
        slice_head, evidence_head
            Shape (4,): probabilities of each head alone.
        brain_share
            Of the slice, 0 to 1.

        Returns
        -------
        tuple of str
            Full sentences; empty where every rule lets the slice pass.
        """
        found = []
        heads = slice_head[None], evidence_head[None]
        if disagrees(self, disagreement(*heads))[0]:
            whole, spots = (CLASSES[int(np.argmax(head))] for head in heads)
            found.append(
                HEADS_DISAGREE.format(
                    whole=INFO[whole].title.lower(), spots=INFO[spots].title.lower()
                )
            )
        if lacks_brain(self, np.array([brain_share]))[0]:
            found.append(LITTLE_BRAIN)
        return tuple(found)


def disagreement(
    slice_head: NDArray[np.float64], evidence_head: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure how firmly the two heads name different tumours.

    Where one names a tumour and the other none, the calibrated probability
    already weighs them; the strongest spots alone look like a tumour in many a
    slice that is free of any, so that such a disagreement says little.

    Parameters
    ----------
    slice_head, evidence_head
        Shape (N, 4): probabilities of each head alone.

    Returns
    -------
    ndarray
        Shape (N,), 0 to 1: the probability with which the less sure of the
        two names its tumour; 0 where both name the same, or one names none.
    """
    whole, spots = slice_head.argmax(axis=1), evidence_head.argmax(axis=1)
    differ = (whole != spots) & (whole != NO_TUMOR_INDEX) & (spots != NO_TUMOR_INDEX)
    firmness = np.minimum(slice_head.max(axis=1), evidence_head.max(axis=1))
    return np.where(differ, firmness, 0.0)


def disagrees(rules: Rules, found: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell where the rule on the heads holds.

    Parameters
    ----------
    rules
        Of a bundle.
    found
        Shape (N,), from `disagreement`.
    """
    level = rules.head_disagreement
    if level is None:
        return np.zeros(len(found), bool)
    return np.asarray((found > 0.0) & (found >= level))


def lacks_brain(rules: Rules, shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell where the rule on the brain holds.

    Parameters
    ----------
    rules
        Of a bundle.
    shares
        Shape (N,), from `tumorlens.imaging.preprocess.brain.brain_share`.
    """
    level = rules.min_brain_share
    return np.zeros(len(shares), bool) if level is None else np.asarray(shares < level)
