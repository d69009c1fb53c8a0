"""Whole scans in a real browser: sent, followed, and looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.samples.series_uploads import LESION, dicom, nifti, two_series
from tests.samples.serving import serving
from tests.samples.viewer_steps import (
    canvas,
    color,
    drag,
    middle,
    open_viewer,
    ready,
    settle,
    shows,
    slice_of,
    wait_until_judged,
)
from tests.web.views.pages.test_slices_browser import (
    CONTRASTS,
    DARK,
    LAPTOP,
    NARROW,
    PHONE,
    scrolls_sideways,
)

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed (extra 'dev')"
)


@pytest.fixture(scope="module")
def site(tiny_bundle: Path) -> Iterator[str]:
    """The address of the app, served as people serve it."""
    options = ("--model", str(tiny_bundle), "--port", "0", "--scan-mb", "4")
    with serving(*options) as (_, address):
        yield address


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scans")
    series = folder / "series"
    series.mkdir()
    for name, data in dicom():
        (series / name).write_bytes(data)
    (series / ".hidden").write_bytes(b"x")
    windowed = folder / "windowed"
    windowed.mkdir()
    for name, data in dicom(WindowCenter=60, WindowWidth=80):
        (windowed / name).write_bytes(data)
    bare = folder / "bare"
    bare.mkdir()
    unknown = {
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "PixelSpacing": None,
    }
    for number, (_, data) in enumerate(dicom(**unknown)):
        (bare / f"{number}.dcm").write_bytes(data)
    gap = folder / "gap"
    gap.mkdir()
    for number, (name, data) in enumerate(dicom(12)):
        if number not in (7, 8):
            (gap / name).write_bytes(data)
    (folder / "head.nii.gz").write_bytes(nifti(24, range(10, 13), 6.0))
    (folder / "study.zip").write_bytes(two_series())
    (folder / "cut.zip").write_bytes(b"PK\3\4 and no more")
    return {item.name: item for item in folder.iterdir()}


def test_a_scan_sent_from_the_page_is_followed_to_its_finding(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    assert page.get_by_role("heading", level=1).inner_text() == "Tumour: glioma"
    notes = page.get_by_role("region", name="Please note").get_by_role("listitem")
    assert notes.count() >= 2
    assert page.get_by_text("Research use only", exact=True).is_visible()
    assert slice_of(page) in range(11, 14)
    row, column = LESION[1], LESION[0]
    assert min(color(page, row, column)) > 0
    page.get_by_label("Show where the model sees tumour").uncheck()
    assert min(color(page, row, column)) > 200
    assert max(color(page, 128, 128)) < 160
    page.get_by_role("link", name="All results").click()
    page.get_by_role("link", name="head.nii.gz").wait_for()


def test_a_folder_is_sent_as_one_scan(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["series"], "#folder")
    assert page.get_by_text("6 files: Axial").is_visible()


def test_several_files_at_once_are_one_scan(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    page.set_input_files("#file", [str(x) for x in files["series"].glob("*.dcm")])
    page.wait_for_url("**/scans/*")
    ready(page)
    assert slice_of(page) in (3, 4)


def test_a_failure_says_why_on_the_scan_s_page(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    page.set_input_files("#file", str(files["cut.zip"]))
    page.wait_for_url("**/scans/*")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "cut.zip starts like a zip archive" in alert.inner_text()


def test_a_scan_too_large_is_refused_before_it_is_sent(
    page: playwright.Page, tmp_path: Path
) -> None:
    large = tmp_path / "large.zip"
    large.write_bytes(b"x" * (5 * 2**20))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.set_input_files("#file", str(large))
    page.get_by_role("heading", name="Could not be sent").wait_for()
    assert "larger than 4 MB" in page.locator("#progress-list").inner_text()
    assert "POST" not in sent


def test_slices_are_scrolled_by_wheel_keys_and_drag(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    start = slice_of(page)
    page.mouse.move(*middle(page))
    for turned, expected in ((100, 1), (120, 2), (-100, 1)):
        page.mouse.wheel(0, turned)
        shows(page, start + expected)
    canvas(page).focus()
    for key, expected in (
        ("Home", 1),
        ("ArrowDown", 2),
        ("ArrowRight", 3),
        ("ArrowUp", 2),
        ("PageDown", 12),
        ("PageUp", 2),
        ("End", 24),
        ("ArrowDown", 24),
    ):
        page.keyboard.press(key)
        shows(page, expected)
    page.keyboard.press("Home")
    drag(page, 0, 120)
    shows(page, 11)
    settle(page)
    said = canvas(page).get_attribute("aria-valuetext")
    assert re.fullmatch(r"Slice 11 of 24: probability of tumour [<> ]*[\d.]+ %", said)
    assert page.locator("#readout").inner_text() == said


@pytest.mark.parametrize("page", [{**NARROW, "has_touch": True}], indirect=True)
def test_a_finger_scrolls(page: playwright.Page, files: dict[str, Path]) -> None:
    open_viewer(page, files["head.nii.gz"])
    canvas(page).scroll_into_view_if_needed()
    start = slice_of(page)
    x, y = middle(page)
    session = page.context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x, "y": y + 30}]),
        ("touchMove", [{"x": x, "y": y + 60}]),
        ("touchEnd", []),
    ):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    shows(page, start + 5)


def test_a_gap_in_a_series_stays_empty_in_the_other_planes(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["gap"], "#folder")
    wait_until_judged(page)
    assert page.get_by_text("Slices are missing in a series of 10").count()
    page.locator("#layouts label", has_text="Coronal").click()
    # Twelve places from the top: slices 7 and 8 of them are missing.
    greys = [max(color(page, row, 128, view=1)) for row in range(12)]
    assert greys[3:5] == [0, 0]
    assert min(greys[:3] + greys[5:]) > 0
    page.locator("#layouts label", has_text="Axial").click()
    canvas(page).focus()
    page.keyboard.press("End")
    assert slice_of(page) == 10
    assert page.get_by_role("link", name="Evidence NIfTI").is_visible()


def test_three_planes_are_linked(page: playwright.Page, files: dict[str, Path]) -> None:
    open_viewer(page, files["head.nii.gz"])
    shown = [canvas(page, view).is_visible() for view in range(3)]
    assert shown == [True, False, False]
    page.locator("#layouts label", has_text="All three").click()
    assert all(canvas(page, view).is_visible() for view in range(3))
    page.get_by_label("Show where the model sees tumour").uncheck()
    box = canvas(page).bounding_box()
    column, row = LESION[:2]
    canvas(page).click(
        position={
            "x": (column + 0.5) / 256 * box["width"],
            "y": (row + 0.5) / 256 * box["height"],
        }
    )
    settle(page)
    # Coronal slices go from front to back as the rows do, sagittal ones from
    # right to left as the columns do.
    assert slice_of(page, 1) == pytest.approx(row + 1, abs=1)
    assert slice_of(page, 2) == pytest.approx(column + 1, abs=1)
    height = 24 - slice_of(page)
    assert min(color(page, height, column - 8, view=1)) > 180
    assert min(color(page, height, row - 8, view=2)) > 180
    assert max(color(page, 3, column - 8, view=1)) < 160
    canvas(page, 1).focus()
    page.keyboard.press("ArrowDown")
    assert slice_of(page, 1) == pytest.approx(row + 2, abs=1)
    for view, name in ((1, "Coronal"), (2, "Sagittal"), (0, "Axial")):
        page.locator("#layouts label", has_text=name).click()
        assert [canvas(page, at).is_visible() for at in range(3)] == [
            at == view for at in range(3)
        ]


def test_pictures_have_true_proportions(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    page.locator("#layouts label", has_text="Coronal").click()
    settle(page)
    box = canvas(page, 1).bounding_box()
    # 24 slices of 6 mm above each other, 256 mm wide.
    assert box["height"] / box["width"] == pytest.approx(24 * 6 / 256, abs=0.01)


def test_the_evidence_is_laid_over_by_its_opacity(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    row, column = LESION[1], LESION[0]

    def spread() -> int:
        found = color(page, row, column)
        return max(found) - min(found)

    strong = spread()
    opacity = page.get_by_role("slider", name="Opacity")
    opacity.fill("20")
    weak = spread()
    page.get_by_label("Show where the model sees tumour").uncheck()
    assert strong > weak > spread() == 0
    assert opacity.is_disabled()


def test_the_curve_and_the_key_slices_jump(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    box = page.locator("#curve").bounding_box()
    page.locator("#curve").click(position={"x": box["width"] * 0.8, "y": 20})
    shows(page, 20)
    page.get_by_role("slider", name="Slice", exact=True).fill("7")
    shows(page, 7)
    key = page.get_by_role("button", name=re.compile("^Slice 1[123]")).first
    key.click()
    assert f"Slice {slice_of(page)}" in key.inner_text()
    assert key.get_attribute("aria-pressed") == "true"


def test_the_window_starts_as_the_file_stores_it(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["windowed"], "#folder")
    page.get_by_label("Show where the model sees tumour").uncheck()
    stored = page.get_by_role("button", name="Stored")
    auto = page.get_by_role("button", name="Auto")
    mark = page.locator('.pane[data-view="0"] .mark-window')
    assert mark.inner_text() == "L 60 W 80"
    assert page.locator("#level-value").inner_text() == "60"
    assert page.locator("#width-value").inner_text() == "80"
    assert stored.get_attribute("aria-pressed") == "true"
    # Brain of about 90 lies high in a window from 20 to 100.
    bright = color(page, 160, 100)
    auto.click()
    assert auto.get_attribute("aria-pressed") == "true"
    assert mark.inner_text() != "L 60 W 80"
    assert max(color(page, 160, 100)) < min(bright)
    stored.click()
    assert (mark.inner_text(), color(page, 160, 100)) == ("L 60 W 80", bright)


def test_a_file_without_a_window_offers_none(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    assert page.get_by_role("button", name="Stored").count() == 0
    assert page.get_by_text("stores no window").is_visible()


def test_the_window_is_set_by_dragging_and_sliders_and_reset(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    page.get_by_label("Show where the model sees tumour").uncheck()
    before = color(page, 160, 100)
    level = page.locator("#level-value")
    first = level.inner_text()
    drag(page, 0, 80, button="right")
    assert float(level.inner_text()) > float(first)
    assert max(color(page, 160, 100)) < min(before)
    start = slice_of(page)
    auto = page.get_by_role("button", name="Auto")
    assert auto.get_attribute("aria-pressed") == "false"
    auto.click()
    assert (level.inner_text(), color(page, 160, 100)) == (first, before)
    assert auto.get_attribute("aria-pressed") == "true"
    page.get_by_role("slider", name="Level").fill("20")
    assert min(color(page, 160, 100)) > max(before)
    auto.click()
    page.locator("#tools label", has_text="Window").click()
    drag(page, 0, 80)
    assert max(color(page, 160, 100)) < min(before)
    assert slice_of(page) == start


def test_a_length_is_measured_in_mm(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    page.locator("#tools label", has_text="Measure").click()
    width = canvas(page).bounding_box()["width"]
    drag(page, -width / 4, 0)
    item = page.locator("#rulers li")
    length, where = item.locator("button").first.inner_text().split(", ")
    assert float(length.removesuffix(" mm")) == pytest.approx(64.0, abs=1.0)
    assert where == f"axial slice {slice_of(page)}"
    canvas(page).focus()
    page.keyboard.press("Home")
    item.locator("button").first.click()
    assert where == f"axial slice {slice_of(page)}"
    page.get_by_role("button", name="Remove the measurement").click()
    assert item.count() == 0


def test_a_length_is_in_pixels_where_the_file_states_no_spacing(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["bare"], "#folder")
    assert page.locator("#layouts").count() == 0
    assert page.get_by_text("in pixels, not in mm").is_visible()
    page.locator("#tools label", has_text="Measure").click()
    drag(page, -canvas(page).bounding_box()["width"] / 4, 0)
    text = page.locator("#rulers button").first.inner_text()
    assert re.match(r"6[345]\.\d pixels", text)


def test_series_are_chosen_and_each_opens_its_own(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["study.zip"])
    links = page.get_by_role("navigation", name="Series").get_by_role("link")
    assert links.count() == 2
    assert page.get_by_text("series 2: T1").is_visible()
    links.first.click()
    page.wait_for_url("**series=1")
    wait_until_judged(page)
    page.reload()
    ready(page)
    assert page.get_by_text("series 1: T2").is_visible()
    assert page.locator('.series-link[aria-current="true"]').count() == 1


def test_small_slices_lead_to_theirs(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    film = page.get_by_role("list", name="Slices of the series").get_by_role("button")
    assert film.count() == 12
    film.first.click()
    shows(page, 2)
    settle(page)
    assert film.first.get_attribute("aria-pressed") == "true"
    assert page.locator('#film [aria-pressed="true"]').count() == 1
    assert page.locator('#film [tabindex="0"]').count() == 1


def test_windows_are_chosen_by_name(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    shown = []
    for name in ("Auto", "Tissue", "Bright", "Full"):
        page.get_by_role("button", name=name, exact=True).click()
        settle(page)
        shown.append(page.locator(".mark-window").first.inner_text())
    assert len(set(shown)) == 4


@pytest.mark.parametrize("page", [{}, NARROW], indirect=True, ids=["wide", "narrow"])
def test_two_series_scroll_together_until_they_are_parted(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["study.zip"])
    wait_until_judged(page)
    page.reload()
    ready(page)
    page.get_by_role("button", name="Compare").click()
    page.locator(".compared[data-ready]").nth(1).wait_for()
    assert page.locator("#link-how").inner_text() == "by the place in the patient"
    assert not scrolls_sideways(page)
    canvases = page.locator(".compared [role=slider]:visible")
    assert canvases.count() == 2

    def slices() -> list[str | None]:
        settle(page)
        settle(page)
        return [canvases.nth(at).get_attribute("aria-valuenow") for at in range(2)]

    canvases.first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert slices() == ["2", "2"]
    canvases.nth(1).focus()
    page.keyboard.press("ArrowDown")
    assert slices() == ["3", "3"]
    page.get_by_label("Scroll together").uncheck()
    canvases.nth(1).focus()
    page.keyboard.press("ArrowDown")
    assert slices() == ["3", "4"]


def test_everything_can_be_done_by_keyboard(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["head.nii.gz"])
    page.locator("#content").focus()
    seen = set()
    outline = """() => {
      const style = (one, pseudo) => getComputedStyle(one, pseudo);
      const focused = document.activeElement;
      const marked = focused.closest(".kinds label") ?? focused;
      return style(marked).outlineStyle !== "none"
        || style(focused.parentElement, "::after").borderTopStyle === "solid";
    }"""
    for _ in range(30):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        name = focused.evaluate("(e) => e.id || e.name || e.localName")
        seen.add(name)
        assert page.evaluate(outline), name
        if name == "window-auto":
            break
    wanted = {"layout", "tool", "canvas", "slice", "evidence", "opacity", "level"}
    wanted |= {"width", "window-auto", "zoom-in", "zoom-out", "zoom-reset"}
    assert wanted <= seen
    page.locator("#tools label", has_text="Measure").click()
    canvas(page).focus()
    page.keyboard.press("Enter")
    page.locator("#layouts label", has_text="Sagittal").click()
    canvas(page, 2).focus()
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    page.locator("#layouts label", has_text="Axial").click()
    canvas(page).focus()
    page.keyboard.press("Enter")
    assert "20.0 mm" in page.locator("#rulers").inner_text()


@pytest.mark.parametrize("page", [LAPTOP, PHONE], indirect=True, ids=["wide", "phone"])
@pytest.mark.parametrize("name", ["head.nii.gz", "study.zip"])
def test_the_answer_its_bars_and_the_picture_need_no_scrolling(
    page: playwright.Page, files: dict[str, Path], name: str
) -> None:
    open_viewer(page, files[name])
    wait_until_judged(page)
    page.reload()
    ready(page)
    assert page.locator(".together").count() == (name == "study.zip")
    height = page.viewport_size["height"]
    for selector in ("#panes", "#decision", ".verdict .bars"):
        box = page.locator(selector).first.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height, selector


@pytest.mark.parametrize("page", [NARROW, {**NARROW, **DARK}], indirect=True)
def test_at_360_pixels_nothing_is_cut_off(
    page: playwright.Page, files: dict[str, Path], site: str
) -> None:
    open_viewer(page, files["study.zip"])
    assert not scrolls_sideways(page)
    box = canvas(page).bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert box["width"] > 250
    # Of two series the second is shown, and its name stands in the row.
    wait_until_judged(page)
    settle(page)
    chosen = page.locator('.series-link[aria-current="true"]').bounding_box()
    assert chosen["x"] >= 0
    assert chosen["x"] + chosen["width"] <= 360
    page.goto(site)
    assert not scrolls_sideways(page)


@pytest.mark.parametrize("page", [{}, DARK], indirect=True, ids=["light", "dark"])
def test_all_text_stands_out_by_4_5_to_1(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["study.zip"])
    wait_until_judged(page)
    assert page.evaluate(CONTRASTS) == []


@pytest.mark.parametrize("page", [{"java_script_enabled": False}], indirect=True)
def test_the_finding_needs_no_scripts(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    page.set_input_files("#file", str(files["head.nii.gz"]))
    page.get_by_role("button", name="Analyse as one scan").click()
    page.wait_for_url("**/scans/*")
    # The page loads itself again while the scan is judged.
    page.locator("#decision").wait_for()
    assert page.locator("#decision").inner_text() == "Tumour: glioma"
    assert page.get_by_text("The viewer needs scripts").is_visible()
    assert page.locator("#curve svg").is_visible()


def test_a_listener_hears_what_the_page_shows(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["study.zip"])
    wait_until_judged(page)
    for role in ("banner", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("slider", name="Axial slices").count() == 1
    assert page.get_by_role("img", name=re.compile("highest in slice")).count() == 1
    for name in ("Slice", "Opacity", "Level", "Width"):
        slider = page.get_by_role("slider", name=name, exact=True)
        assert slider.get_attribute("aria-valuetext")
    unnamed = page.locator("button, a, input, [role=slider], img").evaluate_all(
        """(all) => all.filter((one) => one.checkVisibility()
             && !one.textContent.trim() && !one.labels?.length
             && one.getAttribute("aria-label") === null
             && one.getAttribute("alt") === null).map((one) => one.outerHTML)"""
    )
    assert unnamed == []


# Without a graphics card its shaders take a while to be made.
VOLUME_MS = 300_000


def open_volume(page: playwright.Page) -> None:
    page.get_by_role("button", name="Show the evidence in 3-D").click()
    page.wait_for_selector(".volume[data-drawn]", timeout=VOLUME_MS)


def colored_pixels(page: playwright.Page) -> int:
    """Count the pixels of the 3-D picture that are no grey: those with evidence."""
    shot = page.locator(".volume canvas").screenshot(timeout=VOLUME_MS)
    picture = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
    return int((np.ptp(picture.astype(int), axis=2) > 24).sum())


def set_slider(page: playwright.Page, name: str, value: str) -> None:
    drawn = page.get_attribute(".volume", "data-drawn")
    page.get_by_label(name, exact=True).fill(value)
    changed = f".volume:not([data-drawn='{drawn}'])"
    page.wait_for_selector(changed, timeout=VOLUME_MS)


def test_the_evidence_is_shown_in_three_dimensions(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url))
    open_viewer(page, files["head.nii.gz"])
    assert not any("niivue" in url for url in asked)
    open_volume(page)
    assert any(url.endswith("/static/niivue/niivue.js") for url in asked)
    said = page.locator("#volume-said")
    sentence = r"Evidence of 50 % or more: [\d.]+ cm³, in slices \d+ to \d+\."
    assert re.fullmatch(sentence, said.inner_text())
    set_slider(page, "Evidence from", "5")
    much, most = colored_pixels(page), said.inner_text()
    set_slider(page, "Evidence from", "95")
    few, least = colored_pixels(page), said.inner_text()
    assert much > 100
    assert few < 0.8 * much
    assert least != most
    page.locator("#volume").get_by_role("button", name="Back").click()
    assert page.locator("#volume-turn").input_value() == "180"
    page.locator("#volume-turn").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#volume-turn").get_attribute("aria-valuetext") == "175°"


def test_without_webgl_the_page_says_that_there_is_no_third_dimension(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    page.add_init_script("""
      const real = HTMLCanvasElement.prototype.getContext;
      HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
        return kind === "webgl2" ? null : real.call(this, kind, ...rest);
      };
    """)
    open_viewer(page, files["head.nii.gz"])
    page.get_by_role("button", name="Show the evidence in 3-D").click()
    assert (
        "cannot draw in three dimensions" in page.locator("#volume-said").inner_text()
    )
    assert not page.locator(".volume").is_visible()


def test_a_series_of_no_known_place_has_no_third_dimension(
    page: playwright.Page, files: dict[str, Path]
) -> None:
    open_viewer(page, files["bare"], "#folder")
    wait_until_judged(page)
    assert page.get_by_text("does not say where its slices lie").is_visible()
    assert page.locator("#volume-show").count() == 0
