"""Maps against outlines drawn by hand."""

import cv2
import numpy as np
import pytest

from tumorlens.errors import DatasetError
from tumorlens.imaging.preprocess.slice import Crop
from tumorlens.statistics.localisation import center_map, pointing, read_outline


def test_a_map_equal_to_the_outline_is_perfect():
    inside = np.zeros((20, 30), bool)
    inside[5:10, 8:16] = True
    assert pointing(inside.astype(np.float32), inside) == (1.0, 1.0)


def test_a_map_beside_the_outline_scores_nothing():
    inside = np.zeros((20, 30), bool)
    inside[5:10, 8:16] = True
    assert pointing(np.roll(inside, 15, axis=1).astype(np.float32), inside) == (0, 0)


def test_a_map_of_zeros_points_nowhere():
    inside = np.ones((4, 4), bool)
    assert pointing(np.zeros((4, 4), np.float32), inside) == (0.0, 0.0)


def test_dice_counts_the_map_down_to_half_of_its_peak():
    inside = np.array([[True, True, False, False]])
    heat = np.array([[0.8, 0.1, 0.4, 0.39]], np.float32)
    assert pointing(heat, inside) == (1.0, pytest.approx(0.5))


def test_the_centre_map_peaks_in_the_middle_of_the_head():
    heat = center_map(Crop(10, 20, 40), 100, 90)
    assert heat.shape == (100, 90)
    assert np.unravel_index(heat.argmax(), heat.shape) == (40, 30)
    assert heat.max() == pytest.approx(1.0)


def test_an_outline_of_another_size_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(DatasetError, match=r"mask\.png"):
        read_outline(tmp_path / "mask.png", (8, 9))
