"""The slice is found in what people send: pages, photographs, sheets, negatives."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.samples.heads import draw_person
from tumorlens.imaging.preprocess.framing import find_views, over_picture, view_pixels
from tumorlens.imaging.study import PictureView

Picture = NDArray[np.uint8]


def framed(picture: Picture) -> tuple[list[NDArray[np.float32]], str]:
    """Cut the views out; and what is said of them."""
    pixels = picture.astype(np.float32)
    found = find_views(pixels)
    return [view_pixels(pixels, view) for view in found.views], " ".join(found.notes)


def alike(one: NDArray[np.float32], head: Picture) -> float:
    """Correlate a view with the head that was drawn, at the head's size."""
    sized = cv2.resize(one, head.shape[::-1], interpolation=cv2.INTER_AREA)
    return float(np.corrcoef(sized.ravel(), head.ravel())[0, 1])


@pytest.mark.parametrize("number", range(12))
def test_an_ordinary_picture_is_left_as_it_is(number: int) -> None:
    head = draw_person(number, 240)
    assert find_views(head.astype(np.float32)) == ((), ())
    assert find_views(np.pad(head, 60).astype(np.float32)) == ((), ())


@pytest.mark.parametrize("number", range(6))
def test_a_negative_is_turned_round(number: int) -> None:
    head = draw_person(number, 240)
    (view,), said = framed(255 - head)
    assert "inverted" in said
    assert alike(view, head) > 0.999


def page(head: Picture, ground: int = 255) -> Picture:
    made = np.full((700, 1000), ground, np.uint8)
    made[200 : 200 + head.shape[0], 420 : 420 + head.shape[1]] = head
    for line in range(6):
        cv2.putText(made, "Findings: none", (30, 60 + 24 * line), 0, 0.6, 20, 1)
    return made


def viewer(grey: int) -> Callable[[Picture], Picture]:
    def draw(head: Picture) -> Picture:
        made = np.full((800, 1200), grey, np.uint8)
        made[:50] = grey + 15
        made[:, :180] = grey + 10
        for line in range(6):
            cv2.putText(made, f"Series {line}", (20, 110 + 80 * line), 0, 0.6, 210, 1)
        sized = cv2.resize(head, (600, 600))
        made[120:720, 400:1000] = sized
        return made

    return draw


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    "draw", [page, viewer(60), viewer(28)], ids=["page", "viewer", "dark viewer"]
)
def test_a_page_or_viewer_is_cropped(
    draw: Callable[[Picture], Picture], number: int
) -> None:
    head = draw_person(number, 300)
    (view,), said = framed(draw(head))
    assert "page or screen" in said
    assert alike(view, head) > 0.97


def test_a_page_is_cropped_to_the_pixel() -> None:
    head = draw_person(1, 300)
    (view,), _ = framed(page(head))
    assert np.array_equal(view, head)


def test_a_small_slice_is_found_on_a_wide_page() -> None:
    head = draw_person(3, 240)
    wide = np.full((1080, 1920), 255, np.uint8)
    wide[:700, :1000] = page(head)
    (view,), _ = framed(wide)
    assert alike(view, head) > 0.97


def test_a_negative_on_a_page_is_one_view() -> None:
    head = draw_person(2, 300)
    views, said = framed(page(255 - head))
    assert len(views) == 1 and "inverted" in said


@pytest.mark.parametrize("number", range(4))
def test_a_photograph_of_a_screen_is_straightened(number: int) -> None:
    head = cv2.resize(draw_person(number, 300), (600, 600))
    rng = np.random.default_rng(number)
    ground = np.linspace(90, 140, 1400)[None, :].repeat(1000, 0)
    corners = np.array([(330, 130), (1050, 150), (1080, 900), (290, 880)], np.float32)
    corners += rng.uniform(-25, 25, (4, 2)).astype(np.float32)
    source = np.array([(0, 0), (600, 0), (600, 600), (0, 600)], np.float32)
    turn = cv2.getPerspectiveTransform(source, corners)
    screen = cv2.warpPerspective(0.7 * head + 15.0, turn, (1400, 1000))
    inside = cv2.warpPerspective(np.ones((600, 600), np.uint8), turn, (1400, 1000))
    bezel = cv2.dilate(inside, np.ones((25, 25), np.uint8))
    photo = np.where(bezel > 0, 55.0, ground)
    photo = np.where(inside > 0, screen, photo) + rng.normal(0, 3, ground.shape)
    (view,), said = framed(np.clip(photo, 0, 255).astype(np.uint8))
    assert "photograph" in said
    assert alike(view, head) > 0.95


@pytest.mark.parametrize(
    ("rows", "columns", "gutter", "grey"),
    [
        (2, 2, 0, 0),
        (1, 2, 0, 0),
        (2, 3, 0, 0),
        (3, 4, 4, 0),
        (2, 2, 8, 255),
        (1, 3, 6, 0),
    ],
)
def test_a_sheet_is_taken_apart(
    rows: int, columns: int, gutter: int, grey: int
) -> None:
    heads = [draw_person(number, 160) for number in range(rows * columns)]
    tiles = [np.pad(head, gutter, constant_values=grey) for head in heads]
    sheet = np.vstack(
        [np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)]
    )
    views, said = framed(sheet)
    assert len(views) == rows * columns
    assert "by itself" in said
    for view, head in zip(views, heads, strict=True):
        middle = slice(gutter, gutter + 160) if view.shape[0] > 160 else slice(None)
        assert alike(np.ascontiguousarray(view[middle, middle]), head) > 0.99


def test_an_unfilled_last_row_gives_no_empty_slice() -> None:
    heads = [draw_person(number, 160) for number in range(5)]
    blank = np.zeros((160, 160), np.uint8)
    sheet = np.vstack([np.hstack(heads[:3]), np.hstack([*heads[3:], blank])])
    assert len(framed(sheet)[0]) == 5


@pytest.mark.parametrize(
    "corners",
    [
        ((20.0, 30.0), (84.0, 30.0), (84.0, 78.0), (20.0, 78.0)),
        ((20.0, 30.0), (84.0, 34.0), (80.0, 82.0), (18.0, 78.0)),
    ],
)
def test_a_map_over_a_view_lies_over_the_picture(corners: object) -> None:
    view = PictureView(corners, (48, 64))  # type: ignore[arg-type]
    laid = np.zeros((48, 64), np.float32)
    laid[20:28, 40:48] = 1.0
    full = over_picture(laid, view, 120, 110)
    assert full.shape == (120, 110)
    again = view_pixels(full, view)
    assert float(np.abs(again - laid).mean()) < 0.02
    assert full[:20].max() == 0.0 and full[100:].max() == 0.0


@pytest.mark.parametrize("picture", [np.zeros((64, 64)), np.full((40, 320), 7.0)])
def test_a_picture_of_one_grey_is_left_alone(picture: NDArray[np.float64]) -> None:
    assert find_views(picture.astype(np.float32)).views == ()


def test_bright_spots_among_the_smallest_greys_do_not_overflow() -> None:
    # Warnings are errors in these tests.
    picture = draw_person(1, 160).astype(np.float32) * np.float32(1e-39)
    picture[80, 80] = picture[3::7, 3::7][0, 0] = 1e6
    picture[::40, ::40] = 1e6
    assert find_views(picture).views == ()
