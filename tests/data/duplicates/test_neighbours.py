"""Nearly equal pictures are found, however many there are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorlens.data.duplicates.neighbours import groups, near_pairs, near_to_first


def drawn_views(count: int, seed: int = 0) -> NDArray[np.int8]:
    noise = np.random.default_rng(seed).normal(0, 24, (count, 1, 12, 12))
    return np.clip(np.rint(noise), -127, 127).astype(np.int8)


def with_noise(views: NDArray[np.int8], seed: int) -> NDArray[np.int8]:
    noise = np.random.default_rng(seed).normal(0, 4, views.shape)
    return np.clip(np.rint(views + noise), -127, 127).astype(np.int8)


def correlation(one: NDArray[np.int8], other: NDArray[np.int8]) -> float:
    a, b = one.astype(float).ravel(), other.astype(float).ravel()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_every_copy_is_found_and_nothing_else() -> None:
    views = drawn_views(300)
    copies = with_noise(views[:40], 1)
    flipped = with_noise(views[40:80, :, :, ::-1], 2)
    every = np.concatenate([views, copies, flipped])
    pairs = near_pairs(every)
    assert {pair[:2] for pair in pairs} == {(row, 300 + row) for row in range(80)}
    assert all(pair.mirrored == (pair.first >= 40) for pair in pairs)


def test_the_similarity_is_the_correlation() -> None:
    views = drawn_views(5)
    every = np.concatenate([views, with_noise(views[2:3], 1)])
    (pair,) = near_pairs(every)
    assert pair.similarity == pytest.approx(correlation(every[2], every[5]), abs=1e-6)


def test_one_view_is_enough() -> None:
    views = drawn_views(20).reshape(10, 2, 12, 12)
    copy = views[3:4].copy()
    copy[:, 0] = drawn_views(1, seed=9)[0]
    (pair,) = near_pairs(np.concatenate([views, copy]))
    assert pair[:2] == (3, 10)


def test_a_crowd_of_equals_stays_one_group() -> None:
    views = with_noise(np.repeat(drawn_views(1), 400, axis=0), 1)
    pairs = near_pairs(views)
    assert set(groups(400, (pair[:2] for pair in pairs))) == {0}
    # Not every pair is compared, or the cost would grow with the square.
    assert len(pairs) < 400 * 399 / 2


def test_the_order_of_pictures_does_not_matter() -> None:
    views = drawn_views(60)
    every = np.concatenate([views, with_noise(views[:9], 1)])
    order = np.random.default_rng(0).permutation(len(every))
    found = {pair[:2] for pair in near_pairs(every)}
    moved = {
        tuple(sorted((int(order[pair.first]), int(order[pair.second]))))
        for pair in near_pairs(every[order])
    }
    assert found == moved


@pytest.mark.parametrize("count", [0, 1])
def test_few_pictures_have_no_pairs(count: int) -> None:
    assert near_pairs(drawn_views(count)) == []


def test_groups_follow_links_however_far() -> None:
    assert groups(6, [(4, 5), (0, 2), (2, 5)]) == [0, 1, 0, 3, 0, 0]


def test_the_first_of_two_symmetric_pictures_is_near_the_other():
    """`near_pairs` takes away what both share, which here is nearly all."""
    rng = np.random.default_rng(3)
    half = rng.integers(-90, 90, (1, 8, 4))
    even = np.concatenate((half, half[:, :, ::-1]), axis=2)
    changed = even + rng.integers(-4, 5, even.shape)
    other = rng.integers(-90, 90, even.shape)
    pictures = np.stack((even, changed, other)).astype(np.int8)
    assert near_to_first(pictures[:2])
    assert near_to_first(pictures[[1, 0]][..., ::-1])
    assert not near_to_first(pictures[[0, 2]])
    assert not near_to_first(pictures[:1])
