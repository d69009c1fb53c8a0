"""Zoom and pan of the viewer, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.samples.series_uploads import LESION, nifti
from tests.samples.serving import serving
from tests.samples.viewer_steps import (
    canvas,
    drag,
    middle,
    open_viewer,
    settle,
    slice_of,
)
from tests.web.views.pages.test_slices_browser import NARROW

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed (extra 'dev')"
)

SIZE = 256
"""Rows and columns of the drawn head, of 1 mm."""


@pytest.fixture(scope="module")
def site(tiny_bundle: Path) -> Iterator[str]:
    """The address of the app, served as people serve it."""
    with serving("--model", str(tiny_bundle), "--port", "0") as (_, address):
        yield address


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scans") / "head.nii.gz"
    path.write_bytes(nifti(24, range(10, 13), 6.0))
    return path


@pytest.fixture
def viewer(page: playwright.Page, head: Path) -> playwright.Page:
    """The viewer, with the head in it."""
    open_viewer(page, head)
    canvas(page).scroll_into_view_if_needed()
    return page


def box(page: playwright.Page) -> dict[str, float]:
    """Where the whole picture lies, also what of it the pane does not show."""
    settle(page)
    found: dict[str, float] = canvas(page).bounding_box()
    return found


def pane_box(page: playwright.Page) -> dict[str, float]:
    found: dict[str, float] = page.locator('.pane[data-view="0"]').bounding_box()
    return found


def in_pane(page: playwright.Page) -> dict[str, float]:
    """The same, from the pane's corner: the page may still shift as it loads."""
    found, pane = box(page), pane_box(page)
    return found | {"x": found["x"] - pane["x"], "y": found["y"] - pane["y"]}


def spot(page: playwright.Page, column: float, row: float) -> tuple[float, float]:
    """Where on the page a voxel's middle lies."""
    at = box(page)
    return (
        at["x"] + (column + 0.5) / SIZE * at["width"],
        at["y"] + (row + 0.5) / SIZE * at["height"],
    )


def seen(page: playwright.Page, x: float, y: float) -> list[int]:
    """What the screen shows there, as red, green and blue."""
    settle(page)
    data = page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return [int(value) for value in picture[0, 0, ::-1]]


def ctrl_wheel(page: playwright.Page, turned: float) -> None:
    before = box(page)["width"]
    page.keyboard.down("Control")
    page.mouse.wheel(0, turned)
    page.keyboard.up("Control")
    page.wait_for_function(
        """(before) => document.querySelector('.pane[data-view="0"] [role=slider]')
             .getBoundingClientRect().width !== before""",
        arg=before,
    )


def test_ctrl_and_wheel_zoom_about_the_pointer(viewer: playwright.Page) -> None:
    fitted, start = in_pane(viewer), slice_of(viewer)
    # A picture that leaves room in its pane stays in the middle.
    for _ in range(3):
        viewer.get_by_role("button", name="Zoom in").click()
    x, y = spot(viewer, *LESION[:2])
    viewer.mouse.move(x, y)
    ctrl_wheel(viewer, -100)
    ctrl_wheel(viewer, -100)
    assert box(viewer)["width"] == pytest.approx(fitted["width"] * 1.25**5, rel=0.001)
    assert spot(viewer, *LESION[:2]) == pytest.approx((x, y), abs=1.0)
    assert slice_of(viewer) == start
    assert viewer.evaluate("visualViewport.scale") == 1
    assert viewer.locator("#zoom-value").inner_text() == "305 %"
    for _ in range(5):
        ctrl_wheel(viewer, 100)
    assert in_pane(viewer) == pytest.approx(fitted, abs=0.5)


def test_evidence_and_picture_are_zoomed_as_one(viewer: playwright.Page) -> None:
    viewer.get_by_role("button", name="Zoom in").click(click_count=3)
    x, y = spot(viewer, *LESION[:2])
    found = seen(viewer, x, y)
    assert max(found) - min(found) > 30
    # Far from the lesion there is no evidence, and so no colour.
    found = seen(viewer, *spot(viewer, 170, 130))
    assert max(found) - min(found) < 12
    viewer.get_by_label("Show where the model sees tumour").uncheck()
    assert min(seen(viewer, x, y)) > 200


def test_a_ruler_keeps_its_length_and_its_place(viewer: playwright.Page) -> None:
    viewer.locator("#tools label", has_text="Measure").click()
    drag(viewer, 50 / SIZE * box(viewer)["width"], 0)
    for _ in range(3):
        viewer.get_by_role("button", name="Zoom in").click()
    drag(viewer, 0, 40 / SIZE * box(viewer)["width"])
    texts = viewer.locator("#rulers .ruler-go").all_inner_texts()
    lengths = [float(text.split(" mm")[0]) for text in texts]
    assert lengths == pytest.approx([50.0, 40.0], abs=0.6)
    # The first one's yellow end, 50 mm right of the middle, moved with the voxel.
    red, green, blue = seen(viewer, *spot(viewer, SIZE / 2 - 0.5 + 50, SIZE / 2 - 0.5))
    assert min(red, green) > 180
    assert blue < 90


@pytest.mark.parametrize("how", ["tool", "middle button"])
def test_a_zoomed_picture_is_panned_but_never_off_the_pane(
    viewer: playwright.Page, how: str
) -> None:
    for _ in range(4):
        viewer.get_by_role("button", name="Zoom in").click()
    before, start = box(viewer), slice_of(viewer)
    options: dict[str, Any] = {"button": "middle"}
    if how == "tool":
        viewer.locator("#tools label", has_text="Pan").click()
        options = {}
    drag_in_pane(viewer, 60, 40, **options)
    after = box(viewer)
    assert after["x"] - before["x"] == pytest.approx(60, abs=1)
    assert after["y"] - before["y"] == pytest.approx(40, abs=1)
    assert slice_of(viewer) == start
    for _ in range(4):
        drag_in_pane(viewer, 250, 250, **options)
    at, pane = box(viewer), pane_box(viewer)
    assert (at["x"], at["y"]) == pytest.approx((pane["x"], pane["y"]), abs=1)


def drag_in_pane(page: playwright.Page, dx: float, dy: float, **options: Any) -> None:
    """Drag from the pane's middle: the picture's own may be out of sight."""
    pane = pane_box(page)
    x, y = pane["x"] + pane["width"] / 2, pane["y"] + pane["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(**options)
    page.mouse.move(x + dx, y + dy, steps=3)
    page.mouse.up(**options)
    settle(page)


@pytest.mark.parametrize("how", ["twice", "button", "key"])
def test_the_whole_picture_comes_back(viewer: playwright.Page, how: str) -> None:
    fitted = in_pane(viewer)
    viewer.get_by_role("button", name="Zoom in").click()
    assert box(viewer)["width"] > fitted["width"]
    if how == "twice":
        viewer.mouse.dblclick(*middle(viewer))
    elif how == "button":
        viewer.get_by_role("button", name="Fit").click()
    else:
        canvas(viewer).focus()
        viewer.keyboard.press("0")
    assert in_pane(viewer) == pytest.approx(fitted, abs=0.5)
    assert viewer.locator("#zoom-value").inner_text() == "100 %"


def test_keys_zoom_and_pan_as_the_help_says(viewer: playwright.Page) -> None:
    helped = viewer.locator("#viewer-help").inner_text()
    for word in ("Ctrl", "zoom", "Shift", "pan", "Double click"):
        assert word in helped
    fitted, start = in_pane(viewer), slice_of(viewer)
    canvas(viewer).focus()
    viewer.keyboard.press("+")
    viewer.keyboard.press("=")
    zoomed = box(viewer)
    assert zoomed["width"] == pytest.approx(1.25**2 * fitted["width"], rel=0.001)
    viewer.keyboard.press("Shift+ArrowDown")
    assert box(viewer)["y"] < zoomed["y"]
    viewer.keyboard.press("Shift+ArrowUp")
    assert box(viewer)["y"] == pytest.approx(zoomed["y"], abs=0.5)
    viewer.keyboard.press("-")
    assert box(viewer)["width"] == pytest.approx(1.25 * fitted["width"], rel=0.001)
    assert slice_of(viewer) == start
    for _ in range(20):
        viewer.keyboard.press("-")
    assert in_pane(viewer) == pytest.approx(fitted, abs=0.5)
    for _ in range(40):
        viewer.keyboard.press("+")
    assert box(viewer)["width"] == pytest.approx(16 * fitted["width"], rel=0.001)


def test_a_click_in_a_zoomed_picture_moves_the_crosshair_there(
    viewer: playwright.Page,
) -> None:
    for _ in range(3):
        viewer.get_by_role("button", name="Zoom in").click()
    viewer.mouse.click(*spot(viewer, 100, 150))
    viewer.locator("#layouts label", has_text="Coronal").click()
    assert slice_of(viewer, 1) == 151
    viewer.locator("#layouts label", has_text="Sagittal").click()
    assert slice_of(viewer, 2) == 101


@pytest.mark.parametrize("page", [{**NARROW, "has_touch": True}], indirect=True)
def test_two_fingers_zoom_and_pan(viewer: playwright.Page) -> None:
    fitted, start = in_pane(viewer), slice_of(viewer)
    x, y = middle(viewer)
    session = viewer.context.new_cdp_session(viewer)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        listed = [{"x": px, "y": py, "id": n} for n, (px, py) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": listed})

    touch("touchStart", (x - 30, y))
    touch("touchStart", (x - 30, y), (x + 30, y))
    for apart in (40, 50, 60):
        touch("touchMove", (x - apart, y), (x + apart, y))
    touch("touchMove", (x - 50, y + 20), (x + 70, y + 20))
    touch("touchEnd")
    found = box(viewer)
    assert found["width"] == pytest.approx(2 * fitted["width"], rel=0.02)
    centre = (found["x"] + found["width"] / 2, found["y"] + found["height"] / 2)
    assert centre == pytest.approx((x + 10, y + 20), abs=2)
    assert slice_of(viewer) == start
    assert viewer.evaluate("visualViewport.scale") == 1
    viewer.touchscreen.tap(x, y)
    viewer.touchscreen.tap(x, y)
    assert in_pane(viewer) == pytest.approx(fitted, abs=0.5)
