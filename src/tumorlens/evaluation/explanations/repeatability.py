"""Measures whether maps stay put when the picture is taken a little otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.explanations.cases import (
    MAPS,
    Case,
    draw_maps,
    is_constant,
    run,
    with_network,
)
from tumorlens.imaging.preprocess.slice import (
    Crop,
    Preprocessing,
    cut,
    normalise_intensity,
    prepare,
    to_picture,
)
from tumorlens.inference.slice.session import Session
from tumorlens.statistics import mean_figure

SHIFTS = (0.02, 0.05)
"""Shifts as shares of the head's square, in each of four directions."""

TURNS = (-8.0, -3.0, 3.0, 8.0)
"""Turns in degrees."""

SAME_SPOT = 10.0
"""A peak that moves by less, in per cent of the head, has stayed."""

_COMPARED = 0.42
"""Radius of the disc in which maps are compared, as a share of the square."""

Map = NDArray[np.float32]


def measure_repeatability(cases: Sequence[Case]) -> dict[str, Any]:
    """Shift and turn slices a little, lay their maps back, and compare.

    Parameters
    ----------
    cases
        At least one case.

    Returns
    -------
    dict
        ``shift`` (the square around the head was found a little off; the
        network sees other pixels) and ``turn`` (the head was held a little
        otherwise): by map, ``correlation`` (Pearson, over the middle of the
        head) of the map and the one laid back, ``peak_moved`` in per cent of
        the head's size, and ``peak_stayed``, the share that moved by less than
        10 per cent. Slices whose map shows nothing are left out.
    """
    patients = [case.record.group for case in cases]
    rows = [_compare(session, case) for session, case in with_network(cases)]
    figures: dict[str, Any] = {}
    for way, name, key in rows[0]:
        values = np.array([row[way, name, key] for row in rows])
        of_map = figures.setdefault(way, {}).setdefault(name, {})
        of_map[key] = mean_figure(values, patients)
    return figures


def _compare(session: Session, case: Case) -> dict[tuple[str, str, str], float]:
    """Mean over all shifts, and over all turns, of one case."""
    facts = case.bundle.preprocessing
    first = _laid_back(session, case, case.pixels, case.crop)
    head = case.crop.side / (1.0 + 2.0 * facts.margin)
    middle = _disc(case)
    values = {}
    for way, others in (
        ("shift", list(_shifted(session, facts, case))),
        ("turn", list(_turned(session, facts, case))),
    ):
        for name in MAPS:
            empty = is_constant(first[name])
            moved = np.array(
                [100.0 * _gap(first[name], item[name]) / head for item in others]
            )
            alike = [_correlation(first[name], item[name], middle) for item in others]
            for key, value in (
                ("correlation", np.mean(alike)),
                ("peak_moved", moved.mean()),
                ("peak_stayed", (moved < SAME_SPOT).mean()),
            ):
                values[way, name, key] = float("nan") if empty else float(value)
    return values


def _laid_back(session: Session, case: Case, pixels: Map, crop: Crop) -> dict[str, Map]:
    """Lay both maps over the picture: (H, W) each."""
    drawn = draw_maps(run(session, pixels[None]), [case])
    height, width = case.slice_.height, case.slice_.width
    return {
        name: to_picture(grid[0], crop, height, width) for name, grid in drawn.items()
    }


def _shifted(
    session: Session, facts: Preprocessing, case: Case
) -> Iterator[dict[str, Map]]:
    lifted = case.slice_.pixels - case.slice_.pixels.min()
    for share in SHIFTS:
        step = max(1, round(share * case.crop.side))
        for x, y in ((step, 0), (-step, 0), (0, step), (0, -step)):
            crop = Crop(case.crop.x + x, case.crop.y + y, case.crop.side)
            square = normalise_intensity(cut(lifted, crop, facts.size), facts)
            pixels = np.repeat(square[..., None], 3, axis=-1)
            yield _laid_back(session, case, pixels, crop)


def _turned(
    session: Session, facts: Preprocessing, case: Case
) -> Iterator[dict[str, Map]]:
    lifted = case.slice_.pixels - case.slice_.pixels.min()
    size = (case.slice_.width, case.slice_.height)
    for degrees in TURNS:
        turn = cv2.getRotationMatrix2D(_middle(case.crop), degrees, 1.0)
        turned = np.asarray(cv2.warpAffine(lifted, turn, size), np.float32)
        pixels, crop = prepare(turned, facts)
        drawn = _laid_back(session, case, pixels, crop)
        back = cv2.getRotationMatrix2D(_middle(case.crop), -degrees, 1.0)
        yield {
            name: np.asarray(cv2.warpAffine(item, back, size), np.float32)
            for name, item in drawn.items()
        }


def _middle(crop: Crop) -> tuple[float, float]:
    return crop.x + 0.5 * crop.side, crop.y + 0.5 * crop.side


def _disc(case: Case) -> NDArray[np.bool_]:
    """Mark the part of the picture that every shift and turn still shows."""
    x, y = _middle(case.crop)
    rows, columns = np.ogrid[: case.slice_.height, : case.slice_.width]
    reach = _COMPARED * case.crop.side
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= reach**2)


def _correlation(first: Map, second: Map, where: NDArray[np.bool_]) -> float:
    """Pearson's; 0 where a map is constant there."""
    pair = first[where], second[where]
    if any(is_constant(item) for item in pair):
        return 0.0
    return float(np.corrcoef(*pair)[0, 1])


def _gap(first: Map, second: Map) -> float:
    """Distance between the peaks of two maps, in pixels."""
    (y, x), (other_y, other_x) = (
        np.unravel_index(int(item.argmax()), item.shape) for item in (first, second)
    )
    return float(np.hypot(int(y) - int(other_y), int(x) - int(other_x)))
