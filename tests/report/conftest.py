"""A prediction written by hand, with maps that are easy to check."""

from __future__ import annotations

import numpy as np
import pytest

from tumorlens.imaging.study import Plane
from tumorlens.inference.slice.decision import Decision
from tumorlens.inference.slice.prediction import Box, Explanation, Prediction
from tumorlens.taxonomy import Answer, TumorClass


@pytest.fixture
def prediction() -> Prediction:
    """A glioma in the upper right of a picture 60 high and 80 wide."""
    evidence = np.zeros((60, 80), np.float32)
    evidence[10:20, 50:70] = 0.9
    gradcam = np.linspace(0, 1, 4800, dtype=np.float32).reshape(60, 80)
    corners = [[50, 10], [69, 10], [69, 19], [50, 19]]
    return Prediction(
        source="scan 1.png",
        index=0,
        height=60,
        width=80,
        spacing_mm=(0.5, 0.5),
        plane=Plane.AXIAL,
        decision=Decision(
            raw_probabilities={
                TumorClass.GLIOMA: 0.75,
                TumorClass.MENINGIOMA: 0.125,
                TumorClass.PITUITARY: 0.0625,
                TumorClass.NO_TUMOR: 0.0625,
            },
            finding=Answer.TUMOR,
            kinds=(TumorClass.GLIOMA,),
            operating_point="screening",
            prediction_set=(TumorClass.GLIOMA, TumorClass.MENINGIOMA),
            domain_score=0.97,
            reasons=("One reason.",),
            slice_head=(0.5, 0.25, 0.125, 0.125),
            evidence_head=(0.75, 0.125, 0.125, 0.0),
            brain_share=0.25,
        ),
        explanation=Explanation(
            evidence=evidence,
            gradcam=gradcam,
            explained=TumorClass.GLIOMA,
            outline=(np.array(corners, np.int32),),
            box=Box(50, 10, 70, 20),
            size_mm=(10.0, 5.0),
        ),
        model_version="1.2.3",
        milliseconds=12.3456789,
        pixels=np.random.default_rng(0).random((60, 80), np.float32),
        notes=("Only the first frame was used.",),
    )
