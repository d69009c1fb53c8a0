"""What a server does with weights that no hospital should have sent."""

from __future__ import annotations

import numpy as np
import pytest

from tumorlens.scale.federation.screening import Update, screen, trimmed_share

CURRENT = {
    "dense/kernel": np.zeros((4, 3), np.float32),
    "bn/moving_variance": np.ones(3, np.float32),
}


def update(step: float = 0.1, weight: float = 10.0, **changed: np.ndarray) -> Update:
    arrays = {
        "dense/kernel": np.full((4, 3), step, np.float32),
        "bn/moving_variance": np.full(3, 1.1, np.float32),
    }
    return Update(
        arrays | {k.replace("__", "/"): v for k, v in changed.items()}, weight
    )


def three(bad: Update) -> dict[str, Update]:
    return {"a": update(), "b": update(0.12), "c": bad}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (update(np.nan), "no numbers"),
        (update(np.inf), "no numbers"),
        (update(dense__kernel=np.zeros((4, 2), np.float32)), "shape"),
        (update(dense__kernel=np.zeros((4, 3), np.int64)), "int64"),
        (update(other=np.zeros(1, np.float32)), "another network"),
        (update(bn__moving_variance=np.full(3, -1, np.float32)), "negative"),
        (update(weight=np.nan), "weight"),
        (update(weight=0.0), "weight"),
    ],
)
def test_what_cannot_be_averaged_is_left_out_and_named(bad, why):
    kept, problems = screen(CURRENT, three(bad))
    assert sorted(kept) == ["a", "b"]
    assert list(problems) == ["c"]
    assert problems["c"].startswith("left out:")
    assert why in problems["c"]


def test_a_far_larger_update_is_scaled_down_and_named():
    kept, problems = screen(CURRENT, three(update(100.0)))
    norms = {
        name: np.linalg.norm(item.arrays["dense/kernel"]) for name, item in kept.items()
    }
    assert norms["c"] == pytest.approx(3 * norms["b"], rel=1e-5)
    # The direction stays, and the statistics, which were not large, stay too.
    assert np.ptp(kept["c"].arrays["dense/kernel"]) == 0.0
    np.testing.assert_array_equal(
        kept["c"].arrays["bn/moving_variance"], np.full(3, 1.1, np.float32)
    )
    assert "scaled down: its weights moved by" in problems["c"]


def test_statistics_are_bounded_by_themselves():
    bad = update(bn__moving_variance=np.full(3, 1e6, np.float32))
    kept, problems = screen(CURRENT, three(bad))
    assert kept["c"].arrays["bn/moving_variance"].max() < 2.0
    assert "its statistics moved" in problems["c"]


def test_a_given_bound_holds_for_two_sites_too():
    kept, problems = screen(CURRENT, {"a": update(), "b": update(100.0)}, 0.5)
    assert np.linalg.norm(kept["b"].arrays["dense/kernel"]) == pytest.approx(0.5)
    assert list(problems) == ["b"]


def test_nobody_outweighs_all_others():
    kept, problems = screen(CURRENT, three(update(weight=1e9)))
    assert kept["c"].weight == 100.0
    assert "a weight of 1000000000" in problems["c"]


def test_a_fifth_is_trimmed_and_of_three_sites_one():
    assert [int(trimmed_share(n) * n) for n in (2, 3, 4, 5, 10)] == [0, 1, 1, 1, 2]
