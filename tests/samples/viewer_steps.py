"""What a person does in the viewer, and sees there, as steps for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed (extra 'dev')"
)

# What a view's canvas shows at a row and column of its picture.
COLOR = """([view, row, column]) => {
  const canvas = document.querySelector(`.pane[data-view="${view}"] [role=slider]`);
  const { data } = canvas.getContext("2d").getImageData(column, row, 1, 1);
  return [...data].slice(0, 3);
}"""

# Two frames: what was asked for before the first is drawn by the second.
FRAMES = """() => new Promise((done) =>
  requestAnimationFrame(() => requestAnimationFrame(done)))"""


def open_viewer(page: playwright.Page, path: Path, field: str = "#file") -> None:
    page.set_input_files(field, str(path))
    page.wait_for_url("**/scans/*")
    ready(page)


def ready(page: playwright.Page) -> None:
    """Wait until the viewer is drawn; where it is not, say what the page shows."""
    try:
        page.wait_for_selector("#panes[data-ready]")
    except playwright.TimeoutError:
        pytest.fail(f"No viewer at {page.url}: {page.inner_text('body')}")
    settle(page)


def wait_until_judged(page: playwright.Page) -> None:
    """Wait until every series of the scan is judged, and the page says so."""
    unfinished = "#scan-progress:not([data-over])"
    page.wait_for_selector(unfinished, state="detached")


def settle(page: playwright.Page) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate(FRAMES)


def canvas(page: playwright.Page, view: int = 0) -> playwright.Locator:
    return page.locator(f'.pane[data-view="{view}"] [role=slider]')


def slice_of(page: playwright.Page, view: int = 0) -> int:
    settle(page)
    return int(canvas(page, view).get_attribute("aria-valuenow"))


def shows(page: playwright.Page, number: int, view: int = 0) -> None:
    """Wait until a view shows a slice: a wheel's turn takes a moment to arrive."""
    selector = f'.pane[data-view="{view}"] [aria-valuenow="{number}"]'
    page.wait_for_selector(selector, state="attached")


def color(page: playwright.Page, row: int, column: int, view: int = 0) -> list[int]:
    settle(page)
    found: list[int] = page.evaluate(COLOR, [view, row, column])
    return found


def middle(page: playwright.Page, view: int = 0) -> tuple[float, float]:
    box = canvas(page, view).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(
    page: playwright.Page, dx: float, dy: float, view: int = 0, **options: Any
) -> None:
    canvas(page, view).scroll_into_view_if_needed()
    x, y = middle(page, view)
    page.mouse.move(x, y)
    page.mouse.down(**options)
    page.mouse.move(x + dx / 2, y + dy / 2)
    page.mouse.move(x + dx, y + dy)
    page.mouse.up(**options)
    settle(page)
