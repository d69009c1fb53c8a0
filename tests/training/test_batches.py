"""Cell targets from outlines."""

import numpy as np
import pytest

from tumorlens.taxonomy import FINDINGS, Lesion, TumorClass
from tumorlens.training.batches import cell_targets


def square(edge=256, top=96, size=64):
    outline = np.zeros((edge, edge), np.uint8)
    outline[top : top + size, top : top + size] = 255
    return outline


def test_cells_inside_the_outline_show_the_tumor():
    found = cell_targets((TumorClass.MENINGIOMA,), square(), 16)
    shown = found.classes.argmax(axis=-1)
    assert (shown[6:10, 6:10] == 1).all()
    shown[6:10, 6:10] = 3
    assert (shown == 3).all()


def test_tumor_and_background_weigh_alike_whatever_the_size():
    for size in (16, 64, 160):
        found = cell_targets((TumorClass.GLIOMA,), square(size=size, top=32), 16)
        tumor = found.classes[..., 0] == 1
        assert found.weights[tumor].sum() == pytest.approx(128)
        assert found.weights[~tumor].sum() == pytest.approx(128)


def test_cells_on_the_rim_are_ignored():
    outline = np.zeros((256, 256), np.uint8)
    outline[64:100, 64:128] = 255  # the last row of cells is filled by a quarter
    found = cell_targets((TumorClass.GLIOMA,), outline, 16)
    assert (found.weights[6, 4:8] == 0).all()


def test_a_tumor_smaller_than_a_cell_still_has_one():
    found = cell_targets((TumorClass.PITUITARY,), square(size=3, top=100), 16)
    assert (found.classes[..., 2] == 1).sum() == 1


def test_without_an_outline_nothing_is_taught_of_a_tumor():
    assert cell_targets((TumorClass.GLIOMA,), None, 14).weights.sum() == 0


def test_without_a_tumor_every_cell_says_so():
    found = cell_targets((TumorClass.NO_TUMOR,), None, 14)
    assert (found.classes[..., 3] == 1).all()
    assert (found.weights == 1).all()


def test_a_stroke_has_a_place_of_its_own_among_the_findings():
    found = cell_targets((Lesion.VASCULAR,), square(), 16, FINDINGS)
    assert found.classes.shape == (16, 16, len(FINDINGS))
    assert (found.classes[6:10, 6:10].argmax(axis=-1) == 5).all()
    assert found.classes[0, 0].argmax() == 3


def test_where_a_slice_may_show_either_no_cell_teaches():
    either = (TumorClass.NO_TUMOR, Lesion.VASCULAR)
    assert cell_targets(either, None, 16, FINDINGS).weights.sum() == 0
    assert cell_targets(either, square(), 16, FINDINGS).weights.sum() == 0
