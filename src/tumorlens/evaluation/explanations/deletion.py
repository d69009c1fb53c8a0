"""Measures whether the spots that a map marks carry the answer.

Deletion and insertion (Petsiuk et al. 2018, BMVC): the spots that a map marks
most are blurred away first, and the probability of the class should fall at
once; or a blurred picture gets them back first, and it should rise at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.explanations.cases import (
    MAPS,
    Case,
    draw_maps,
    run,
    with_network,
)
from tumorlens.imaging.preprocess.slice import Crop
from tumorlens.inference.slice.decision import (
    calibrated_probabilities,
    class_view,
    pool_evidence,
    sequence_shares,
)
from tumorlens.inference.slice.session import Session
from tumorlens.statistics import center_map, mean_figure

_STEPS = 10
_BLUR = 0.12
"""Width of the blur, as a share of the input's side: no lesion is left in it."""

SHARES = tuple((step / _STEPS) ** 2 for step in range(_STEPS + 1))
"""Shares of the input's pixels, denser at the start, where a tumour is used up."""

EARLY = 6
"""Shares up to a quarter: beyond, every order has taken the tumour, and what is
left to see is how much healthy head the network wants."""

ORDERS = (*MAPS, "center", "random")
"""Orders: both maps, always the middle of the head first, and cells at random."""


def measure_deletion(cases: Sequence[Case]) -> dict[str, Any]:
    """Delete and insert by each order, and follow the class's probability.

    Parameters
    ----------
    cases
        At least one case.

    Returns
    -------
    dict
        ``shares`` of pixels; under ``deletion`` and ``insertion``, by order:
        ``curve`` (mean calibrated probability of the class that the maps speak
        of, at each share), ``area`` below it, and ``early`` (mean height over
        the first quarter), both 0 to 1. ``gain_over_center`` and
        ``gain_over_random`` hold, by map, by how much ``area`` and ``early``
        are better: smaller for deletion, larger for insertion, slice by slice.
    """
    curves = np.stack(
        [
            _curves(session, case, row)
            for row, (session, case) in enumerate(with_network(cases))
        ]
    )
    patients = [case.record.group for case in cases]
    heights = {"area": _height(curves, len(SHARES)), "early": _height(curves, EARLY)}
    figures: dict[str, Any] = {"shares": list(SHARES)}
    for way, name in enumerate(("deletion", "insertion")):
        figures[name] = {
            order: {
                "curve": curves[:, way, column].mean(axis=0).tolist(),
                **{
                    key: mean_figure(height[:, way, column], patients)
                    for key, height in heights.items()
                },
            }
            for column, order in enumerate(ORDERS)
        }
        sign = (-1.0, 1.0)[way]
        for column, against in list(enumerate(ORDERS))[len(MAPS) :]:
            figures[name][f"gain_over_{against}"] = {
                order: {
                    key: mean_figure(
                        sign * (height[:, way, row] - height[:, way, column]), patients
                    )
                    for key, height in heights.items()
                }
                for row, order in enumerate(MAPS)
            }
    return figures


def _height(curves: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Mean height of the first `steps` points of each curve, over shares."""
    area = np.trapezoid(curves[..., :steps], SHARES[:steps], axis=-1)
    return np.asarray(area / SHARES[steps - 1])


def _curves(session: Session, case: Case, seed: int) -> NDArray[np.float64]:
    """Probabilities of one case: (2 ways, orders, steps + 1)."""
    grey = case.pixels[:, :, 0]
    blurred = cv2.GaussianBlur(grey, (0, 0), _BLUR * len(grey))
    pictures = []
    ranks = [_ranks(item, seed) for item in _order_maps(session, case, seed).values()]
    for kept, lost in ((blurred, grey), (grey, blurred)):
        for rank in ranks:
            for share in SHARES:
                pictures.append(np.where(rank < share, kept, lost))
    inputs = np.repeat(np.stack(pictures)[..., None], 3, axis=-1)
    outputs = run(session, inputs.astype(np.float32))
    calibration = case.bundle.calibration
    pooled = pool_evidence(outputs.evidence, calibration.evidence_cells)
    shares = sequence_shares(outputs, case.bundle)
    probabilities = class_view(
        calibrated_probabilities(outputs.logits, pooled, calibration, shares)
    )
    return probabilities[:, case.column].reshape(2, len(ORDERS), len(SHARES))


def _order_maps(
    session: Session, case: Case, seed: int
) -> Mapping[str, NDArray[np.float32]]:
    """Draw what each of `ORDERS` goes by, over the input: (S, S) each."""
    side = len(case.pixels)
    drawn = draw_maps(run(session, case.pixels[None]), [case])
    # Cells as large as the evidence's: single pixels at random would be noise,
    # which harms a network more than any hole.
    cells = np.random.default_rng(seed).random(drawn["evidence"].shape[1:])
    return {
        **{name: cv2.resize(grid[0], (side, side)) for name, grid in drawn.items()},
        "center": center_map(Crop(0, 0, side), side, side),
        "random": cv2.resize(cells.astype(np.float32), (side, side)),
    }


def _ranks(heat: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Give each pixel's place in the order, 0 to 1; ties fall at random."""
    chance = np.random.default_rng((seed, 1)).random(heat.size)
    order = np.lexsort((chance, -heat.ravel()))
    places = np.empty(heat.size)
    places[order] = np.arange(heat.size) / heat.size
    return places.reshape(heat.shape)
