"""What a file becomes."""

from __future__ import annotations

import numpy as np

from tumorlens.imaging.study import Series, Slice, Study, patient_numbers


def test_a_study_lists_the_slices_of_all_series_in_order() -> None:
    pixels = np.zeros((40, 50), np.float32)
    a, b, c = (Slice(pixels, "x", index) for index in range(3))
    assert Study((Series((a, b)), Series((c,)))).slices == (a, b, c)


def test_height_and_width() -> None:
    found = Slice(np.zeros((40, 50), np.float32), "x")
    assert (found.height, found.width) == (40, 50)


def test_patients_are_numbered_only_where_there_are_several() -> None:
    assert patient_numbers(["B", "", "A", "B"]) == (1, None, 2, 1)
    assert patient_numbers(["A", "", "A"]) == (None, None, None)
    assert patient_numbers([]) == ()
