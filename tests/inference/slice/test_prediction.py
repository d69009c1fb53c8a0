"""Maps lie where the network looked; an unknown sequence is named, scan or slice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.samples.dicom_files import saved, slice_file
from tumorlens.imaging.preprocess.slice import Crop
from tumorlens.imaging.study import MRSequence, Slice
from tumorlens.inference.bundle.facts import CellCalibration, SequenceHead
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.slice.decision import Decision, RawOutputs
from tumorlens.inference.slice.prediction import (
    MIN_PEAK,
    Explanation,
    Prediction,
    SequenceEstimate,
    cell_probabilities,
    estimate_sequence,
    explain,
    sequence_caveat,
    sequence_of_name,
)
from tumorlens.taxonomy import CLASSES, Answer, TumorClass

CROP = Crop(x=20, y=10, side=280)  # A cell of evidence is 20 pixels wide.
SLICE = Slice(np.zeros((300, 320), np.float32), "drawn")
RAW = CellCalibration()


def decision(
    likeliest: TumorClass = TumorClass.MENINGIOMA,
    finding: Answer = Answer.TUMOR,
) -> Decision:
    probabilities = {name: 0.7 if name is likeliest else 0.1 for name in CLASSES}
    kinds = (likeliest,) if finding is Answer.TUMOR else ()
    return Decision(probabilities, finding, kinds, "screening", (likeliest,), 1.0)


def outputs(cells: NDArray[np.float32], column: int = 1) -> RawOutputs:
    """Evidence for one class as log-odds against no tumour; a second row is empty."""
    evidence = np.full((2, 14, 14, 4), -20.0, np.float32)
    evidence[..., 3] = 0.0
    evidence[0, :, :, column] = cells
    gradcam = np.zeros((2, 7, 7, 4), np.float32)
    gradcam[0, 2, 3, column] = 5.0
    return RawOutputs(
        np.zeros((2, 4), np.float32), evidence, gradcam, np.zeros((2, 3), np.float32)
    )


def spots(*places: tuple[int, int, float]) -> NDArray[np.float32]:
    """Squares of three cells, each with a middle."""
    cells = np.full((14, 14), -9.0, np.float32)
    for row, column, value in places:
        cells[row : row + 3, column : column + 3] = value
    return cells


def explained(cells: NDArray[np.float32], **options: object) -> Explanation:
    return explain(outputs(cells), 0, CROP, SLICE, decision(**options), RAW)  # type: ignore[arg-type]


def test_maps_are_of_the_picture_s_size_and_range() -> None:
    found = explained(spots((4, 6, 3.0)))
    for heat in (found.evidence, found.gradcam):
        assert heat.shape == (300, 320)
        assert heat.dtype == np.float32
        assert heat.min() >= 0.0
        assert heat.max() <= 1.0
    assert found.gradcam.max() == pytest.approx(1.0)


def test_evidence_is_the_probability_of_the_explained_class() -> None:
    found = explained(spots((4, 6, 3.0)))
    assert found.explained is TumorClass.MENINGIOMA
    assert 0.6 < found.evidence.max() < 1 / (1 + np.exp(-3))
    peak = np.unravel_index(found.evidence.argmax(), found.evidence.shape)
    assert peak == pytest.approx((10 + 5.5 * 20, 20 + 7.5 * 20), abs=1)
    assert found.evidence[250, 250] < 0.01


def test_cells_are_calibrated_and_smoothed_over_neighbours() -> None:
    evidence = np.zeros((14, 14, 4), np.float32)
    evidence[..., 1] = 4.0
    evidence[..., 3] = 1.0
    even = cell_probabilities(evidence, 1, CellCalibration(0.5, -2.0))
    np.testing.assert_allclose(even, 1 / (1 + np.exp(0.5)), atol=1e-5)
    evidence[:7, :, 1] = -60.0
    edge = cell_probabilities(evidence, 1, CellCalibration())
    assert 0.0 <= edge[3].max() < 0.02
    assert 0.2 < edge[6].mean() < 0.5
    assert edge[12].min() > 0.9


def test_the_most_probable_tumour_is_explained_even_without_one() -> None:
    chosen = replace(
        decision(TumorClass.NO_TUMOR, Answer.NO_TUMOR),
        raw_probabilities=dict(zip(CLASSES, (0.01, 0.02, 0.03, 0.94), strict=True)),
    )
    found = explain(outputs(spots((4, 6, 3.0)), column=2), 0, CROP, SLICE, chosen, RAW)
    assert found.explained is TumorClass.PITUITARY
    assert found.evidence.max() > 0.6


def test_the_other_row_sees_nothing() -> None:
    found = explain(outputs(spots((4, 6, 3.0))), 1, CROP, SLICE, decision(), RAW)
    assert found.evidence.max() < 1e-6
    assert not found.gradcam.any()
    assert found.box is None


def test_a_map_is_drawn_once_and_when_it_is_read() -> None:
    drawn = []

    def draw() -> NDArray[np.float32]:
        drawn.append(1)
        return np.ones((4, 5), np.float32)

    found = Explanation(draw, draw, TumorClass.GLIOMA)
    assert not drawn
    assert found.evidence is found.evidence
    assert len(drawn) == 1
    copy = replace(found, explained=TumorClass.PITUITARY)
    assert copy.evidence is found.evidence
    assert copy.gradcam.shape == (4, 5)


def test_a_slice_free_of_tumour_has_maps_too() -> None:
    cells = spots((4, 6, 3.0))
    outlined = explained(cells)
    clear = explained(cells, finding=Answer.NO_TUMOR)
    np.testing.assert_array_equal(clear.evidence, outlined.evidence)
    np.testing.assert_array_equal(clear.gradcam, outlined.gradcam)


def test_the_outline_runs_at_half_height() -> None:
    found = explained(spots((4, 6, 3.0)))
    half = found.evidence >= 0.5 * found.evidence.max()
    rows, columns = np.nonzero(half)
    box = found.box
    assert box is not None
    assert (box.x0, box.x1) == (columns.min(), columns.max() + 1)
    assert (box.y0, box.y1) == (rows.min(), rows.max() + 1)
    (polygon,) = found.outline
    assert polygon.dtype == np.int32
    assert polygon.shape[1] == 2
    assert polygon[:, 0].max() == box.x1 - 1


def test_of_two_spots_both_are_outlined_and_the_peak_is_boxed() -> None:
    found = explained(spots((2, 2, 3.0), (9, 9, 5.0)))
    assert len(found.outline) == 2
    assert found.box is not None
    assert found.box.x0 > 150


def test_a_weak_peak_is_not_outlined() -> None:
    found = explained(spots((4, 6, -1.0)))
    assert 0.05 < found.evidence.max() < MIN_PEAK
    assert found.outline == ()
    assert found.box is None


@pytest.mark.parametrize("finding", [Answer.NOT_BRAIN_MRI, Answer.NO_TUMOR])
def test_what_is_refused_or_free_of_tumour_is_not_outlined(finding: Answer) -> None:
    found = explained(spots((4, 6, 3.0)), finding=finding)
    assert found.evidence.max() > MIN_PEAK
    assert found.outline == ()


def test_size_in_mm_needs_spacing() -> None:
    cells = spots((4, 6, 3.0))
    assert explained(cells).size_mm is None
    spaced = replace(SLICE, spacing_mm=(2.0, 0.5))
    found = explain(outputs(cells), 0, CROP, spaced, decision(), RAW)
    assert found.box is not None
    height = 2.0 * (found.box.y1 - found.box.y0)
    width = 0.5 * (found.box.x1 - found.box.x0)
    assert found.size_mm == (max(height, width), min(height, width))


def test_a_spot_outside_the_picture_is_not_outlined() -> None:
    outside = Crop(x=-200, y=0, side=280)
    found = explain(outputs(spots((4, 1, 3.0))), 0, outside, SLICE, decision(), RAW)
    assert found.box is None


@pytest.mark.parametrize("known", [None, MRSequence.T1, MRSequence.T1_CONTRAST])
def test_a_sequence_that_the_model_knows_needs_no_caveat(
    known: MRSequence | None,
) -> None:
    assert sequence_caveat(known) is None


@pytest.mark.parametrize("foreign", [MRSequence.T2, MRSequence.FLAIR, MRSequence.OTHER])
def test_a_foreign_sequence_is_named(foreign: MRSequence) -> None:
    text = sequence_caveat(foreign)
    assert text is not None
    assert foreign.value in text


def test_a_single_slice_of_a_foreign_sequence_has_the_caveat(
    tiny_bundle: Path,
) -> None:
    classifier = load_classifier(tiny_bundle, threads=1)
    flair, t1 = (
        saved(slice_file(SeriesDescription=words)) for words in ("AX FLAIR", "AX T1")
    )
    found = classifier.predict(flair)
    assert isinstance(found, Prediction)
    assert found.notes == (sequence_caveat(MRSequence.FLAIR),)
    streamed = classifier.predict_many([t1, flair])
    assert [item.notes for item in streamed if isinstance(item, Prediction)] == [
        (),
        found.notes,
    ]


FOUR = (MRSequence.T1, MRSequence.T1_CONTRAST, MRSequence.T2, MRSequence.FLAIR)
HEAD = SequenceHead(FOUR, 1.0, FOUR)


def seen(sequence: MRSequence, share: float) -> np.ndarray:
    """Draw what a head gives that is so sure of a sequence, and of no other."""
    rest = (1.0 - share) / 3
    return np.log([share if item is sequence else rest for item in FOUR])


def test_pixels_header_and_name_are_weighed() -> None:
    found = estimate_sequence(
        MRSequence.T2, "case_t2.png", HEAD, seen(MRSequence.T1, 0.6)
    )
    assert (found.sequence, found.pixels) == (MRSequence.T2, MRSequence.T1)
    assert found.disagreement is not None
    assert "T2" in found.disagreement
    assert "T1" in found.disagreement
    assert estimate_sequence(None, "x.png", HEAD, seen(MRSequence.T1, 0.6)) == (
        SequenceEstimate(MRSequence.T1, pytest.approx(0.6), MRSequence.T1)
    )


def test_pixels_that_are_sure_overrule_a_file_name_alone() -> None:
    found = estimate_sequence(
        None, "brisc_ax_t1.jpg", HEAD, seen(MRSequence.FLAIR, 0.99)
    )
    assert found.sequence is MRSequence.FLAIR
    assert found.file_name is MRSequence.T1
    assert found.disagreement is not None


def test_agreement_makes_surer_and_says_nothing() -> None:
    alone = estimate_sequence(None, "x", HEAD, seen(MRSequence.T2, 0.7)).probability
    both = estimate_sequence(MRSequence.T2, "x", HEAD, seen(MRSequence.T2, 0.7))
    assert alone is not None
    assert both.probability is not None
    assert both.probability > alone
    assert both.disagreement is None


def test_a_header_that_names_what_the_head_cannot_has_the_say() -> None:
    found = estimate_sequence(
        MRSequence.DIFFUSION, "x", HEAD, seen(MRSequence.FLAIR, 0.9)
    )
    assert found.sequence is MRSequence.DIFFUSION
    assert sequence_caveat(found.sequence, HEAD.measured) is not None


def test_without_a_head_header_and_name_speak() -> None:
    assert estimate_sequence(MRSequence.T1, "x_flair.png").sequence is MRSequence.T1
    found = estimate_sequence(None, "x_flair.png")
    assert (found.sequence, found.probability) == (MRSequence.FLAIR, None)


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("BraTS2021_01657_t1ce.nii.gz", MRSequence.T1_CONTRAST),
        ("sub-01_ce-gadolinium_T1w.nii.gz", MRSequence.T1_CONTRAST),
        ("TCGA_CS_4941_11_flair.jpg", MRSequence.FLAIR),
        ("astrocytoma_T1Cp_0183.jpg", MRSequence.T1_CONTRAST),
        ("IXI013-HH-1212-T1_ds.nii.gz", MRSequence.T1),
        ("head-t2w.png", MRSequence.T2),
        ("T2 FLAIR.dcm", MRSequence.FLAIR),
        ("patient20_study2.png", None),
        ("t1_and_t2.png", None),
    ],
)
def test_a_file_name_may_say_its_sequence(
    name: str, sequence: MRSequence | None
) -> None:
    assert sequence_of_name(name) is sequence
