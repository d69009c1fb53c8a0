"""The pages in a real browser, by pointer and by keyboard."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.samples.serving import serving

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed (extra 'dev')"
)


@pytest.fixture(scope="module")
def site(tiny_bundle: Path) -> Iterator[str]:
    """The address of the app, served as people serve it."""
    options = ("--model", str(tiny_bundle), "--port", "0", "--upload-mb", "2")
    with serving(*options) as (_, address):
        yield address


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, lesion_png: bytes, color_png: bytes
) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    content = {
        "head.png": lesion_png,
        "photo.png": color_png,
        "text.jpg": b"this is text",
        "empty.png": b"",
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return {name: str(folder / name) for name in content}


def open_result(page: playwright.Page, path: str) -> None:
    page.set_input_files("#file", path)
    page.wait_for_url("**/analyses/*")


def follow(page: playwright.Page, name: str) -> None:
    page.locator("main").get_by_role("link", name=name).first.click()
    page.wait_for_url("**/analyses/*")


def finished(page: playwright.Page) -> None:
    page.get_by_role(
        "heading", name=re.compile("^(Done|Could not be read)$")
    ).wait_for()


def shown_layers(page: playwright.Page) -> list[str]:
    return [
        layer
        for layer in ("evidence", "gradcam", "outline")
        if page.locator(f".layer-{layer}").is_visible()
    ]


def scrolls_sideways(page: playwright.Page) -> bool:
    return bool(
        page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    )


def test_one_picture_chosen_opens_its_result(
    page: playwright.Page, files: dict[str, str]
) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose files").click()
    chooser.value.set_files(files["head.png"])
    page.wait_for_url("**/analyses/*")
    assert page.get_by_role("heading", level=1).inner_text() == "Tumour: glioma"
    assert page.get_by_role("row", name="Glioma").get_by_text("%").is_visible()


def test_many_pictures_fill_a_list_with_each_one_s_answer(
    page: playwright.Page, files: dict[str, str]
) -> None:
    page.set_input_files("#file", list(files.values()))
    finished(page)
    assert (
        page.locator("#progress-text").inner_text()
        == "4 of 4 done, 2 could not be read"
    )
    rows = page.locator("#progress-list li")
    lines = [" ".join(text.split()) for text in rows.all_inner_texts()]
    assert lines[0].startswith("head.png Tumour: glioma any tumour: ")
    assert lines[1].startswith("photo.png Not judged")
    assert "text.jpg is text, no picture" in lines[2]
    assert "empty.png is empty" in lines[3]
    done = page.locator("#done li")
    done.nth(1).wait_for()
    assert done.count() == 2
    follow(page, "head.png")
    assert page.get_by_role("heading", level=1).inner_text() == "Tumour: glioma"


def test_a_picture_too_large_is_refused_before_it_is_sent(
    page: playwright.Page, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(b"x" * (3 * 2**20))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.set_input_files("#file", str(large))
    finished(page)
    assert "larger than 2 MB" in page.locator("#progress-list").inner_text()
    assert "POST" not in sent


def test_a_bomb_is_refused_and_the_next_picture_read(
    page: playwright.Page, tmp_path: Path, bomb_png: bytes, files: dict[str, str]
) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(bomb_png)
    page.set_input_files("#file", str(bomb))
    finished(page)
    assert "20000 x 20000" in page.locator("#progress-list").inner_text()
    open_result(page, files["head.png"])


TRANSFER = """([data, kind]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  document.querySelector("#drop").dispatchEvent(
    kind === "paste"
      ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
      : new DragEvent("drop", { ...options, dataTransfer: transfer }),
  );
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_pasted_or_dropped_is_read(
    page: playwright.Page, kind: str, lesion_png: bytes
) -> None:
    page.evaluate(TRANSFER, [base64.b64encode(lesion_png).decode(), kind])
    page.wait_for_url("**/analyses/*")
    assert page.get_by_text(f"{kind}.png").first.is_visible()


def test_a_real_example_takes_one_click(page: playwright.Page) -> None:
    page.get_by_role("button", name="Meningioma").click()
    page.wait_for_url("**/analyses/*")
    assert "example-meningioma" in page.title()
    known = page.get_by_role("region", name="An example: meningioma")
    assert "CC BY 4.0" in known.inner_text()


def test_the_overlay_s_kind_and_opacity_change_at_once(
    page: playwright.Page, files: dict[str, str]
) -> None:
    open_result(page, files["head.png"])
    assert shown_layers(page) == ["outline"]
    for label, shown in (
        ("Grad-CAM", ["gradcam"]),
        ("Outline", ["outline"]),
        ("None", []),
        ("Evidence", ["evidence"]),
    ):
        page.locator(".kinds label", has_text=label).click()
        assert shown_layers(page) == shown
    layer = page.locator(".layer-evidence")
    page.get_by_label("Opacity").fill("30")
    assert layer.evaluate("(layer) => getComputedStyle(layer).opacity") == "0.3"
    assert page.locator("output").inner_text() == "30 %"


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
LAPTOP = {"viewport": {"width": 1280, "height": 900}}


@pytest.mark.parametrize("page", [LAPTOP, PHONE], indirect=True, ids=["wide", "phone"])
def test_the_answer_its_bar_and_the_picture_need_no_scrolling(
    page: playwright.Page, files: dict[str, str]
) -> None:
    open_result(page, files["head.png"])
    height = page.viewport_size["height"]
    boxes = [
        page.locator(selector).first.bounding_box()
        for selector in ("#stage", "#decision", ".verdict .bars")
    ]
    assert all(box["y"] >= 0 and box["y"] + box["height"] <= height for box in boxes)
    stage, decision, _ = boxes
    if page.viewport_size["width"] < 500:
        assert stage["y"] < decision["y"], "the picture comes first on a phone"


def drag_frame(page: playwright.Page, start: float, end: float) -> None:
    """Draw a frame with the pointer; both corners are shares of the picture."""
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#frame").bounding_box()
    # The picture is square, and lies in the middle of its room.
    side = min(box["width"], box["height"])
    x = box["x"] + (box["width"] - side) / 2
    y = box["y"] + (box["height"] - side) / 2
    page.mouse.move(x + start * side, y + start * side)
    page.mouse.down()
    page.mouse.move(x + 0.5 * side, y + 0.5 * side)
    page.mouse.move(x + end * side, y + end * side)
    page.mouse.up()


def edges(page: playwright.Page) -> list[int]:
    return [
        int(page.locator(f"#frame-{name}").input_value())
        for name in ("x0", "y0", "x1", "y1")
    ]


def test_a_frame_is_drawn_with_the_pointer_and_judged(
    page: playwright.Page, files: dict[str, str]
) -> None:
    open_result(page, files["head.png"])
    first = page.url
    page.get_by_text("draw a frame").click()
    assert edges(page) == [0, 0, 256, 256]
    drag_frame(page, 0.125, 0.875)
    wanted = [32, 32, 224, 224]
    assert all(abs(a - b) <= 2 for a, b in zip(edges(page), wanted, strict=True))
    page.get_by_role("button", name="Judge this part").click()
    page.get_by_text("You drew this frame").wait_for()
    assert page.url != first
    page.get_by_role("img", name="The part that was judged").wait_for()


def test_a_corner_of_a_frame_is_drawn_on(
    page: playwright.Page, files: dict[str, str]
) -> None:
    open_result(page, files["head.png"])
    page.get_by_text("draw a frame").click()
    drag_frame(page, 0.125, 0.875)
    drag_frame(page, 0.89, 0.6)
    wanted = [32, 32, 154, 154]
    assert all(abs(a - b) <= 4 for a, b in zip(edges(page), wanted, strict=True))
    drag_frame(page, 0.7, 0.9)
    assert all(
        abs(a - b) <= 4 for a, b in zip(edges(page), [179, 179, 230, 230], strict=True)
    ), "elsewhere a new frame is drawn"


def test_a_frame_is_moved_and_sized_by_keys(
    page: playwright.Page, files: dict[str, str]
) -> None:
    open_result(page, files["head.png"])
    page.get_by_text("draw a frame").click()
    page.locator("#frame-x1").fill("200")
    page.locator("#frame-y1").fill("200")
    page.get_by_role("group", name="Frame: arrow keys").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    moved = edges(page)
    assert moved[0] > 0
    assert [moved[2] - moved[0], moved[3] - moved[1]] == [200, 200]
    page.keyboard.press("Shift+ArrowLeft")
    assert edges(page)[2] < moved[2]
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert edges(page)[2] == 256, "it stays within the picture"


def test_layers_lie_exactly_on_the_picture(
    page: playwright.Page, files: dict[str, str]
) -> None:
    open_result(page, files["head.png"])
    picture = page.locator(".stage .picture").bounding_box()
    for layer in ("evidence", "gradcam", "outline"):
        assert page.locator(f".layer-{layer}").bounding_box() == picture


def test_everything_can_be_done_by_keyboard(
    page: playwright.Page, files: dict[str, str]
) -> None:
    keys = page.keyboard
    keys.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    keys.press("Enter")
    page.locator("main:focus").wait_for()
    keys.press("Tab")
    assert page.locator(":focus").get_attribute("id") == "file"
    with page.expect_file_chooser() as chooser:
        keys.press("Space")
    chooser.value.set_files(files["head.png"])
    page.wait_for_url("**/analyses/*")
    page.get_by_label("Outline", exact=True).focus()
    keys.press("ArrowRight")
    assert shown_layers(page) == ["evidence"]
    keys.press("Tab")
    assert page.locator(":focus").get_attribute("id") == "opacity"
    keys.press("ArrowLeft")
    assert page.locator("output").inner_text() == "75 %"
    for _ in range(12):
        keys.press("Tab")
        if page.locator(":focus").inner_text() == "Delete now":
            break
    keys.press("Enter")
    page.get_by_text("Nothing yet").wait_for()


def test_what_has_the_focus_is_seen(page: playwright.Page) -> None:
    seen = """() => {
      const style = (element) => getComputedStyle(element);
      const focused = document.activeElement;
      const marked = focused.id === "file" ? focused.nextElementSibling
        : focused.closest(".point") ?? focused;
      return style(marked).outlineStyle !== "none";
    }"""
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(seen), page.locator(":focus").evaluate(
            "(e) => e.outerHTML"
        )


def test_downloads_are_what_they_say(
    page: playwright.Page, files: dict[str, str], tmp_path: Path
) -> None:
    open_result(page, files["head.png"])
    page.locator(".kinds label", has_text="Outline").click()
    starts = {"PDF report": b"%PDF-", "Overlay PNG": b"\x89PNG", "JSON": b"{"}
    names = []
    for label, start in starts.items():
        with page.expect_download() as download:
            page.get_by_role("link", name=label).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert path.read_bytes().startswith(start)
        names.append(path.name)
    assert names == [
        "head.tumorlens.pdf",
        "head.tumorlens.outline.png",
        "head.tumorlens.json",
    ]
    document = json.loads((tmp_path / names[2]).read_text())
    assert document["decision"] == "glioma"


def test_deleting_all_empties_the_list(
    page: playwright.Page, files: dict[str, str]
) -> None:
    page.set_input_files("#file", [files["head.png"], files["photo.png"]])
    finished(page)
    page.get_by_text("Analysed in this session (2)").wait_for()
    ask = page.locator("#done").get_by_role("button", name="Delete all")
    ask.click()
    dialog = page.get_by_role("dialog", name="Delete 2 results and their pictures?")
    dialog.get_by_role("button", name="Keep them").click()
    assert page.locator("#done li").count() == 2
    ask.click()
    dialog.get_by_role("button", name="Delete all").click()
    page.get_by_text("Nothing yet").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Analysed in this session (2)").wait_for()


def test_results_are_found_by_name_and_answer_and_sorted(
    page: playwright.Page, files: dict[str, str]
) -> None:
    page.set_input_files("#file", [files["photo.png"], files["head.png"]])
    finished(page)
    page.get_by_text("Analysed in this session (2)").wait_for()

    def names() -> list[str]:
        return page.locator("#done li:not([hidden]) a").all_inner_texts()

    page.get_by_label("Sort by").select_option("name")
    assert names() == ["head.png", "photo.png"]
    page.get_by_label("Sort by").select_option("probability of a tumour")
    assert names() == ["head.png", "photo.png"]
    page.get_by_label("Name", exact=True).fill("PHOTO")
    assert names() == ["photo.png"]
    assert page.locator("#found").inner_text() == "1 of 2 shown"
    page.get_by_label("Name", exact=True).fill("")
    page.get_by_label("Answer", exact=True).select_option("Glioma")
    assert names() == ["head.png"]


def test_pictures_of_a_folder_keep_their_folders_names(
    page: playwright.Page, files: dict[str, str], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / "all" / name).mkdir(parents=True)
        shutil.copy(files["head.png"], tmp_path / "all" / name / "1.png")
    page.set_input_files("#folder", str(tmp_path / "all"))
    finished(page)
    page.get_by_text("Analysed in this session (2)").wait_for()
    names = page.locator("#done li a").all_inner_texts()
    assert sorted(names) == ["all/one/1.png", "all/two/1.png"]


NARROW = {"viewport": {"width": 360, "height": 740}}
DARK = {"color_scheme": "dark"}


@pytest.mark.parametrize("page", [NARROW, {**NARROW, **DARK}], indirect=True)
def test_at_360_pixels_nothing_is_cut_off(
    page: playwright.Page, files: dict[str, str], tmp_path: Path
) -> None:
    assert not scrolls_sideways(page)
    long = tmp_path / f"{'long_name_' * 12}.png"
    shutil.copy(files["head.png"], long)
    page.set_input_files("#file", [str(long), *files.values()])
    finished(page)
    page.locator("#done li").nth(2).wait_for()
    assert not scrolls_sideways(page)
    for name in (long.name, "photo.png"):
        follow(page, name)
        assert not scrolls_sideways(page)
        page.go_back()
        page.set_input_files("#file", [str(long), *files.values()])
        finished(page)


CONTRASTS = """() => {
  const channel = (value) =>
    value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255)
    + 0.0722 * channel(b / 255);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0.99) return color;
    }
    return [255, 255, 255];
  };
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility()) continue;
    const a = light(parse(getComputedStyle(element).color));
    const b = light(ground(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push(`${ratio.toFixed(2)} ${text}`);
  }
  return weak;
}"""


@pytest.mark.parametrize("page", [{}, DARK], indirect=True, ids=["light", "dark"])
def test_all_text_stands_out_by_4_5_to_1(
    page: playwright.Page, files: dict[str, str]
) -> None:
    assert page.evaluate(CONTRASTS) == []
    for name in ("head.png", "photo.png"):
        page.set_input_files("#file", files[name])
        page.wait_for_url("**/analyses/*")
        assert page.evaluate(CONTRASTS) == []
        page.go_back()


@pytest.mark.parametrize("page", [DARK], indirect=True)
def test_dark_is_dark(page: playwright.Page) -> None:
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground)[:3])) < 40


@pytest.mark.parametrize("page", [{"java_script_enabled": False}], indirect=True)
def test_it_works_without_scripts(page: playwright.Page, files: dict[str, str]) -> None:
    page.set_input_files("#file", [files["head.png"], files["text.jpg"]])
    page.get_by_role("button", name="Analyse as single slices").click()
    page.get_by_text("1 read, 1 not").wait_for()
    follow(page, "head.png")
    assert shown_layers(page) == ["outline"]
    page.locator(".kinds label", has_text="Grad-CAM").click()
    assert shown_layers(page) == ["gradcam"]


def test_a_listener_hears_landmarks_names_and_the_finding(
    page: playwright.Page, files: dict[str, str]
) -> None:
    open_result(page, files["head.png"])
    for role in ("banner", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    page.get_by_text("Calibrated probabilities").click()
    picture = page.get_by_role("img", name=re.compile("Finding: Tumour: glioma"))
    assert picture.count() == 1
    for name, rows in (("How sure the model is", 2), ("Calibrated probability", 5)):
        table = page.get_by_role("table", name=name)
        assert table.get_by_role("rowheader").count() == rows
    assert page.get_by_role("radiogroup").or_(page.get_by_role("group")).count() >= 1
    slider = page.get_by_role("slider", name="Opacity")
    assert slider.get_attribute("aria-valuetext") == "80 %"
    unnamed = page.locator("button:not([aria-label]), a, input, img").evaluate_all(
        """(all) => all.filter((element) => element.checkVisibility()
             && !element.textContent.trim() && !element.labels?.length
             && element.getAttribute("alt") === null).map((one) => one.outerHTML)"""
    )
    assert unnamed == []


@pytest.mark.parametrize("page", [{"reduced_motion": "reduce"}], indirect=True)
def test_nothing_moves_for_those_who_ask_for_that(page: playwright.Page) -> None:
    moving = page.evaluate(
        """[...document.querySelectorAll("*")].filter((one) => {
             const style = getComputedStyle(one);
             return style.transitionDuration !== "0s" || style.animationName !== "none";
           }).length"""
    )
    assert moving == 0
