"""A viewer that is opened while other series of the study are still judged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.dicom_files import saved, slice_file
from tests.samples.series_uploads import dicom, packed
from tests.samples.serving import serving
from tests.samples.viewer_steps import canvas, open_viewer, settle, wait_until_judged

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed (extra 'dev')"
)

LONG = 400
"""Slices of the series that is judged last: far more than the page takes to open."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the app with the shipped model, served as people serve it."""
    with serving("--port", "0") as (_, address):
        yield address


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short T1 series, which is judged first, and a long T2 series."""
    t1 = {"EchoTime": 10, "RepetitionTime": 500, "ScanningSequence": "SE"}
    t2 = {"EchoTime": 100, "RepetitionTime": 4000, "ScanningSequence": "SE"}
    pixels = draw_phantom(96, 96).astype(np.uint16)
    long = [
        saved(slice_file(pixels, 1.0 * z, SeriesInstanceUID="1.2.3.6", **t2))
        for z in range(LONG)
    ]
    path = tmp_path_factory.mktemp("study") / "study.zip"
    path.write_bytes(
        packed(
            *((f"a/{name}", data) for name, data in dicom(series="1.2.3.5", **t1)),
            *((f"b/{z}.dcm", data) for z, data in enumerate(long)),
        )
    )
    return path


def test_it_stays_where_it_is_when_the_last_series_is_judged(
    page: playwright.Page, study: Path
) -> None:
    open_viewer(page, study)
    assert page.get_by_role("button", name="Stop").is_visible()
    assert page.get_by_role("link", name="PDF report").count() == 0
    before = canvas(page).bounding_box()
    wait_until_judged(page)
    settle(page)
    assert canvas(page).bounding_box() == pytest.approx(before, abs=1.0)
    assert page.get_by_role("button", name="Stop").count() == 0
    # What is made last is there, without the page being loaded again.
    assert page.get_by_role("link", name="PDF report").is_visible()
    joint_answer = page.locator("#scan-state").inner_text()
    page.get_by_role("link", name="Show how the series add up").click()
    assert page.locator(".together h2").inner_text() == joint_answer
