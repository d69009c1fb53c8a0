"""Lists, sentences and the curve say what the findings say."""

from __future__ import annotations

from tumorlens.web.views.presentation import CURVE_HEIGHT, CURVE_WIDTH, curve_of


def test_the_curve_breaks_where_slices_were_not_judged() -> None:
    curve = curve_of([None, 0.0, 1.0, None, 0.5], (1, 3))
    share = CURVE_WIDTH / 5
    assert curve.gaps == ((0.0, share), (3 * share, share))
    assert curve.run == (share, 2 * share)
    first, last = (
        [tuple(map(float, point.split(","))) for point in line.split(" ")]
        for line in curve.lines
    )
    assert first[1:-1] == [(1.5 * share, CURVE_HEIGHT), (2.5 * share, 0.0)]
    assert last == [
        (4 * share, CURVE_HEIGHT / 2),
        (4.5 * share, CURVE_HEIGHT / 2),
        (CURVE_WIDTH, CURVE_HEIGHT / 2),
    ]


def test_a_curve_of_nothing_judged_is_one_gap() -> None:
    curve = curve_of([None, None], None)
    assert (curve.lines, curve.gaps, curve.run) == ((), ((0.0, CURVE_WIDTH),), None)
