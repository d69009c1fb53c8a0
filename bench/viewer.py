"""The viewer of a series in Chromium, without a graphics card: how fast it scrolls."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Amount, Asked, Figure, times
from bench.processes import Server, processor_seconds, serve, tumorlens
from bench.timing import spread
from bench.volumes import SIZE, write_volume

if TYPE_CHECKING:
    from playwright.sync_api import Page

SLICES = 200
_SECONDS = 4.0
_PATIENCE_MS = 300_000
_BROWSER = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]

# One wheel notch a frame; a frame counts once its slice is on the canvas.
_SCROLL = """(seconds) => new Promise((done) => {
  const canvas = document.querySelector('.pane[data-view="0"] [role=slider]');
  const count = Number(canvas.getAttribute("aria-valuemax"));
  const gaps = [];
  let shown = 0, way = 1, last = null, before = canvas.getAttribute("aria-valuenow");
  const start = performance.now();
  const step = (now) => {
    const here = canvas.getAttribute("aria-valuenow");
    if (here !== before) shown += 1;
    before = here;
    if (last !== null) gaps.push(now - last);
    last = now;
    if (Number(here) === count) way = -1;
    if (Number(here) === 1) way = 1;
    canvas.dispatchEvent(
      new WheelEvent("wheel", { deltaY: 100 * way, cancelable: true }),
    );
    if (now - start < 1000 * seconds) requestAnimationFrame(step);
    else done({ gaps, rate: (1000 * shown) / (performance.now() - start) });
  };
  requestAnimationFrame(step);
})"""

# What the browser gives a page that draws nothing.
_IDLE = """(seconds) => new Promise((done) => {
  let frames = 0;
  const start = performance.now();
  const step = (now) => {
    frames += 1;
    if (now - start < 1000 * seconds) requestAnimationFrame(step);
    else done((1000 * frames) / (performance.now() - start));
  };
  requestAnimationFrame(step);
})"""


def measure(model: Path) -> Iterator[Figure | str]:
    """Send a drawn series, open it in Chromium, and scroll it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        yield "viewer left out: Chromium is not installed (apt install chromium)"
        return
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        yield "viewer left out: Playwright is not installed (extra 'dev')"
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(tumorlens(), model) as server,
        sync_playwright() as driver,
    ):
        path = write_volume(Path(folder, "head.nii.gz"), SLICES)
        browser = driver.chromium.launch(executable_path=chromium, args=_BROWSER)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(_PATIENCE_MS)
        yield from _measure_page(page, server, path)
        browser.close()


def _measure_page(page: Page, server: Server, path: Path) -> Iterator[Figure | str]:
    page.goto(f"http://127.0.0.1:{server.port}/")
    start = time.perf_counter()
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#panes[data-ready]")
    yield Figure(
        f"Viewer, {SLICES} slices: chosen file to finding and picture",
        Amount(time.perf_counter() - start, "s"),
    )
    start = time.perf_counter()
    page.reload()
    page.wait_for_selector("#panes[data-ready]")
    yield Figure(
        "Viewer: page to picture, once judged",
        Amount(time.perf_counter() - start, "s"),
    )
    sizes = page.evaluate(
        """() => performance.getEntriesByType("resource")
             .filter((one) => /voxels|evidence/.test(one.name))
             .map((one) => one.encodedBodySize)"""
    )
    yield Figure("Viewer: pictures and evidence sent", Amount(sum(sizes) / 1e6, "MB"))
    idle = Amount(page.evaluate(_IDLE, _SECONDS), "frames/s")
    for name, layout in (("one plane", "0"), ("three planes", "all")):
        page.locator(f'#layouts label:has(input[value="{layout}"])').click()
        before = processor_seconds("chromium")
        found = page.evaluate(_SCROLL, _SECONDS)
        spent = processor_seconds("chromium") - before
        yield times(
            f"Viewer, scrolling {SLICES} slices of {SIZE}x{SIZE}, {name}",
            Amount(found["rate"], "frames/s"),
            "a page that draws nothing",
            idle,
            "of its frames",
            Asked("ours", 30.0, at_least=True),
        )
        yield Figure(f"Viewer, {name}: between frames", spread(found["gaps"], "ms"))
        # Tells the cost also where other work keeps the machine busy.
        yield Figure(
            f"Viewer, {name}: processor time of the whole browser a frame",
            Amount(1000.0 * spent / (found["rate"] * _SECONDS), "ms"),
        )
