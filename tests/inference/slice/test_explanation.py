"""Maps lie where the network looked; outlines only where there is reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorlens.imaging.preprocess.slice import Crop
from tumorlens.imaging.study import Slice
from tumorlens.inference.bundle.facts import CellCalibration
from tumorlens.inference.slice.decision import Decision, RawOutputs
from tumorlens.inference.slice.explanation import (
    MIN_PEAK,
    Explanation,
    cell_probabilities,
    explain,
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
