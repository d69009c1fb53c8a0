"""A drawn head in several MR sequences, as several series of one study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from tests.samples.drawn_series import drawn_series, known_prediction
from tumorlens.imaging.study import MRSequence, Placement, Series
from tumorlens.inference.bundle.bundle import read_document, write_document
from tumorlens.inference.bundle.facts import Rate, SequenceSum, StudyModel
from tumorlens.inference.slice.prediction import SequenceEstimate
from tumorlens.inference.study.results import StudyPrediction, StudySeries

T1, T1C = MRSequence.T1, MRSequence.T1_CONTRAST
FLAIR, T2 = MRSequence.FLAIR, MRSequence.T2
SHOWN = range(4, 7)
"""Slices of a drawn study that show the lesion."""

STUDY_MODEL = StudyModel(
    (
        SequenceSum((T1,), (1.0,), 0.0, Rate(0.8, 0.7, 0.9)),
        SequenceSum((T1C,), (1.0,), 0.0, Rate(0.85, 0.8, 0.9)),
        SequenceSum((T1, T1C), (0.25, 0.75), -0.5, Rate(0.9, 0.88, 0.93)),
    ),
    patients=30,
    slices=400,
)
"""How sequences are weighed, by numbers that are easy to tell from equal ones."""


def drawn(
    sequence: MRSequence | None,
    lesion_at: range = SHOWN,
    count: int = 9,
    name: str = "",
) -> Series:
    """Draw a series of a sequence, from a file of that name."""
    series = drawn_series(lesion_at, count, sequence=sequence)
    source = name or f"{'none' if sequence is None else sequence.value}.nii.gz"
    slices = tuple(replace(item, source=source) for item in series.slices)
    return replace(series, slices=slices, description="")


def known_study() -> StudyPrediction:
    """A glioma that T1 with contrast shows and T1 does not; FLAIR was not judged."""
    grid = drawn(T1, range(0))
    own = (None, None, 0.1, 0.2, 0.4, 0.3, 0.2, None, 0.1)
    series = (
        StudySeries(
            source="a/t1.nii.gz",
            slices=9,
            sequence=SequenceEstimate(T1, None, None, T1),
            prediction=known_prediction(),
            counts=True,
            slice_p_tumor=own,
            p_tumor_there=0.3,
        ),
        StudySeries(
            source="a/t1c.nii.gz",
            slices=9,
            sequence=SequenceEstimate(T1C, 0.9, T1C),
            prediction=known_prediction(),
            counts=True,
            slice_p_tumor=known_prediction().slice_p_tumor,
            p_tumor_there=0.9,
        ),
        StudySeries(
            source="a/flair.nii.gz",
            slices=5,
            sequence=SequenceEstimate(FLAIR, None, None, None, FLAIR),
            prediction=None,
            counts=False,
            reason="It does not count.",
        ),
    )
    picture = grid.slices[4].pixels
    return StudyPrediction(
        combined=known_prediction(),
        grid=0,
        grid_series=grid,
        series=series,
        weights=STUDY_MODEL.sums[2],
        is_learned=True,
        missing=(FLAIR,),
        shown_by=(T1C,),
        seconds=2.5,
        pictures={T1: picture, T1C: picture},
    )


def moved(series: Series, millimetres: tuple[float, float, float]) -> Series:
    """Move a series in the patient, LPS."""
    return _placed(
        series,
        lambda place: replace(
            place,
            origin=tuple(a + b for a, b in zip(place.origin, millimetres, strict=True)),
        ),
    )


def tilted(series: Series, degrees: float) -> Series:
    """Turn a series about the axis from left to right, through its middle."""
    angle = np.radians(degrees)
    turn = np.array(
        [
            [1.0, 0.0, 0.0],
            [0.0, np.cos(angle), -np.sin(angle)],
            [0.0, np.sin(angle), np.cos(angle)],
        ]
    )
    places = [item.placement for item in series.slices if item.placement is not None]
    middle = np.mean([place.at(127.5, 127.5) for place in places], axis=0)
    return _placed(
        series,
        lambda place: Placement.of(
            turn @ (np.array(place.origin) - middle) + middle,
            turn @ np.array(place.across),
            turn @ np.array(place.down),
        ),
    )


def _placed(series: Series, change) -> Series:  # type: ignore[no-untyped-def]
    slices = tuple(
        replace(item, placement=change(item.placement)) for item in series.slices
    )
    return replace(series, slices=slices)


def with_study_model(folder: Path, model: StudyModel = STUDY_MODEL) -> Path:
    """Put into a bundle how sequences are weighed."""
    write_document(folder, {**read_document(folder), "study": model.to_json()})
    return folder


def save_study(folder: Path, lesion_at: range = SHOWN, name: str = "") -> list[Path]:
    """Write a drawn head in T1, T1 with contrast and FLAIR as NIfTI."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, word in enumerate(("T1", "T1C", "FLAIR")):
        series = drawn_series(lesion_at)
        voxels = np.stack([item.pixels + number for item in series.slices])
        image = nibabel.Nifti1Image(
            np.transpose(voxels, (2, 1, 0)), np.diag([-1.0, -1.0, 5.0, 1.0])
        )
        path = folder / f"{name}{word}.nii.gz"
        nibabel.save(image, path)
        paths.append(path)
    return paths
