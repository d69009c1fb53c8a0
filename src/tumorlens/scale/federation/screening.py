"""Screening of the weights that sites send, before the server averages them.

A site that sends no numbers, or another network, is left out of the round; one whose
update is far larger than the others' is scaled down. Both are named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

NORM_FACTOR = 3.0
"""An update of more than this times the median norm is scaled down to it."""
WEIGHT_FACTOR = 10.0
"""A site weighs at most this times the median of the sites."""
_FEWEST_FOR_MEDIAN = 3
STATISTICS = ("moving_mean", "moving_variance")
"""Last part of the names of what batch normalisation measures, and nobody learns."""


@dataclass(frozen=True)
class Update:
    """A site's weights after a round.

    Parameters
    ----------
    arrays
        Weights by layer and name.
    weight
        How much it counts in the mean; see `site.weight_of`.
    """

    arrays: Mapping[str, NDArray[np.float32]]
    weight: float


def screen(
    current: Mapping[str, NDArray[np.float32]],
    updates: Mapping[str, Update],
    norm_bound: float | None = None,
) -> tuple[dict[str, Update], dict[str, str]]:
    """Keep what can be averaged.

    Parameters
    ----------
    current
        The weights that the sites started from.
    updates
        What came back, by the site's name.
    norm_bound
        Largest norm of an update; None for `NORM_FACTOR` times the median, where there
        are three sites or more.

    Returns
    -------
    kept
        Updates to average, scaled down where they were too large.
    problems
        One sentence for each site that had one, without its name.
    """
    kept: dict[str, Update] = {}
    problems: dict[str, str] = {}
    for site, update in updates.items():
        reason = _refusal(current, update)
        if reason:
            problems[site] = f"left out: {reason}"
        else:
            kept[site] = update
    # The statistics of normalisation are of another scale than weights.
    for kind, is_kind in (("weights", False), ("statistics", True)):
        names = [name for name in current if name.endswith(STATISTICS) is is_kind]
        norms = {
            site: update_norm(current, update.arrays, names)
            for site, update in kept.items()
        }
        bound = norm_bound if kind == "weights" else None
        if bound is None and len(norms) >= _FEWEST_FOR_MEDIAN:
            bound = NORM_FACTOR * float(np.median(list(norms.values())))
        if not bound:
            continue
        for site, norm in norms.items():
            if norm > bound:
                scaled = scale_update(current, kept[site].arrays, bound / norm, names)
                kept[site] = replace(kept[site], arrays=scaled)
                problems[site] = (
                    f"scaled down: its {kind} moved by {norm:.3g}, the bound is "
                    f"{bound:.3g}"
                )
    if len(kept) >= _FEWEST_FOR_MEDIAN:
        most = WEIGHT_FACTOR * float(np.median([item.weight for item in kept.values()]))
        for site, update in kept.items():
            if update.weight > most:
                kept[site] = replace(update, weight=most)
                problems[site] = (
                    f"weighs less: it claims a weight of {update.weight:.1f}, the most "
                    f"that counts is {most:.1f}"
                )
    return kept, problems


def _refusal(current: Mapping[str, NDArray[np.float32]], update: Update) -> str:
    if not (np.isfinite(update.weight) and update.weight > 0):
        return f"it claims a weight of {update.weight}"
    if set(update.arrays) != set(current):
        return "it sent weights of another network"
    for name, values in update.arrays.items():
        if values.shape != current[name].shape or values.dtype.kind != "f":
            return f"{name} is {values.dtype} of shape {values.shape}"
        if not np.isfinite(values).all():
            return f"{name} holds values that are no numbers"
        if name.endswith("moving_variance") and (values < 0).any():
            return f"{name} holds negative variances"
    return ""


def update_norm(
    current: Mapping[str, NDArray[np.float32]],
    arrays: Mapping[str, NDArray[np.float32]],
    names: list[str] | None = None,
) -> float:
    """Measure how far weights moved, over all arrays or some."""
    squares = sum(
        float(((arrays[name].astype(np.float64) - current[name]) ** 2).sum())
        for name in (current if names is None else names)
    )
    return float(np.sqrt(squares))


def scale_update(
    current: Mapping[str, NDArray[np.float32]],
    arrays: Mapping[str, NDArray[np.float32]],
    factor: float,
    names: list[str] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Move weights by a share of the way that they moved, all arrays or some."""
    chosen = set(current if names is None else names)
    return {
        name: (current[name] + factor * (values - current[name])).astype(np.float32)
        if name in chosen
        else values
        for name, values in arrays.items()
    }


def trimmed_share(sites: int) -> float:
    """Say what share to trim at each end: a fifth, but of three sites one each."""
    if sites < _FEWEST_FOR_MEDIAN:
        return 0.0
    return max(0.2, 1.0 / sites + 1e-9)
