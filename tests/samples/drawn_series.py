"""Drawn series, and predictions for them whose every number is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.conftest import draw_phantom
from tumorlens.imaging.study import MRSequence, Placement, Plane, Series, Slice
from tumorlens.inference.bundle.facts import (
    OperatingPoint,
    OutlineFacts,
    Rate,
    SeriesModel,
)
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.series.lesion import Lesion, Side
from tumorlens.taxonomy import Answer, TumorClass

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


def drawn_series(
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


SERIES: Series = drawn_series(range(4, 7), sequence=MRSequence.T1_CONTRAST)
"""Nine axial slices, 5 mm apart; the first two are blank."""


def known_prediction() -> SeriesPrediction:
    """A glioma in slices 4 to 6, a square of 20 pixels, with a fainter rim.

    Evidence goes on beyond the box of the lesion, and is no part of it.
    """
    evidence = np.zeros((9, 256, 256), np.uint8)
    evidence[3:8, 95:125, 75:105] = 90
    evidence[3:8, 100:120, 80:100] = 240
    evidence[4:7, 10:20, 10:20] = 200
    return SeriesPrediction(
        source="head.nii.gz",
        plane=Plane.AXIAL,
        sequence=MRSequence.T1_CONTRAST,
        slices=9,
        without_brain=2,
        refused=1,
        finding=Answer.TUMOR,
        kinds=(TumorClass.GLIOMA,),
        raw_probabilities={
            TumorClass.GLIOMA: 0.75,
            TumorClass.MENINGIOMA: 0.125,
            TumorClass.PITUITARY: 0.0625,
            TumorClass.NO_TUMOR: 0.0625,
        },
        run=(4, 6),
        slice_p_tumor=(None, None, 0.1, 0.2, 0.9, 0.8, 0.6, None, 0.3),
        key_slices=(4, 6),
        evidence=evidence,
        affine_ras=None,
        lesion=Lesion(
            box=(4, 100, 80, 7, 120, 100),
            voxels=1200,
            peak=(4, 100, 80),
            size_mm=(15.0, 20.0, 21.0),
            centroid=(-38.0, -18.0, 25.0),
            side=Side.RIGHT,
            location="right, middle third, upper third of the scanned head",
            mask=np.ones((3, 20, 20), bool),
        ),
        operating_point="screening",
        model_version="1.2.3",
        reasons=("One reason.", "Another reason."),
        seconds=1.25,
    )


WHY_NOT = "No slice shows enough brain to be judged."


def unjudged_prediction() -> SeriesPrediction:
    """The same scan, had no slice of it shown any brain."""
    return replace(
        known_prediction(),
        without_brain=9,
        refused=0,
        finding=Answer.NOT_BRAIN_MRI,
        kinds=(),
        raw_probabilities=None,
        run=None,
        slice_p_tumor=(None,) * 9,
        key_slices=(),
        evidence=None,
        lesion=None,
        reasons=(WHY_NOT,),
        not_judged=WHY_NOT,
    )


def volume_prediction() -> SeriesPrediction:
    """The same scan, had a network seen it as a whole: no slice has a probability."""
    return replace(known_prediction(), run=None, slice_p_tumor=(None,) * 9)
