"""Drawn scans: a head of slices with a known place, with or without a lesion."""

from __future__ import annotations

import numpy as np

from tests.conftest import draw_phantom
from tumorlens.imaging.placement import Placement
from tumorlens.imaging.study import MRSequence, Plane, Series, Slice
from tumorlens.inference.bundle.facts import (
    OperatingPoint,
    OutlineFacts,
    Rate,
    SeriesModel,
)

RATE = Rate(0.9, 0.8, 0.95)
MODEL = SeriesModel(
    end_discount=4.0,
    weights={"strongest_run": 0.8, "second_run": 0.1},
    intercept=-1.0,
    operating_points={
        "screening": OperatingPoint(0.2, Rate(0.97, 0.91, 0.99), RATE),
        "balanced": OperatingPoint(0.5, RATE, RATE),
    },
    patients=70,
    healthy_patients=20,
    outline=OutlineFacts(0.9, Rate(0.7, 0.6, 0.8), Rate(0.15, 0.1, 1.2), 60),
)
"""Facts on whole scans as a bundle states them, easy to tell from the tiny one's."""


LESION = (90, 110, 20)


def drawn_scan(
    lesion_at: range = range(0),
    count: int = 9,
    blank: int = 2,
    placed: bool = True,
    sequence: MRSequence | None = None,
) -> Series:
    """Axial slices 5 mm apart with 1 mm pixels; the first ones are blank."""
    slices = []
    for index in range(count):
        picture = np.zeros((256, 256), np.float32)
        if index >= blank:
            lesion = LESION if index in lesion_at else None
            picture = draw_phantom(lesion=lesion, seed=index).astype(np.float32)
        place = Placement((-128.0, -128.0, 5.0 * index), (1.0, 0, 0), (0, 1.0, 0))
        slices.append(
            Slice(
                picture,
                "drawn",
                index,
                spacing_mm=(1.0, 1.0),
                plane=Plane.AXIAL,
                placement=place if placed else None,
            )
        )
    return Series(tuple(slices), "A NAME^SECRET", sequence)
