"""Pictures of every kind become slices, and broken ones clear errors."""

from __future__ import annotations

import io
import resource
import struct
import tracemalloc
import warnings
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import Phantom
from tests.samples.heads import draw_person
from tests.samples.pictures import (
    OWN_SCANS,
    big_tiff,
    chunks_of,
    deep_png,
    many_scans,
    one_strip_for_all_pages,
    swelling_profile,
)
from tumorlens.errors import (
    DamagedFileError,
    InputError,
    TooLargeError,
    TooSmallError,
)
from tumorlens.imaging.limits import MAX_ASPECT, MAX_PIXELS, MIN_SIDE
from tumorlens.imaging.preprocess.framing import view_pixels
from tumorlens.imaging.preprocess.slice import with_square_pixels
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Slice, to_slice

LOSSLESS = {
    "PNG": {},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
    "WEBP": {"lossless": True},
    "GIF": {},
}


def encode(pixels: NDArray[Any], kind: str, mode: str = "", **options: Any) -> bytes:
    """Write a picture with Pillow, in another mode where one is given."""
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def only(data: bytes) -> Slice:
    """Read a file that holds one slice."""
    (found,) = read_study(data, "head").slices
    return found


@pytest.fixture
def head(phantom: Phantom) -> NDArray[np.uint8]:
    return phantom(120, 100, lesion=(40, 50, 9))


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_keep_every_pixel(head: NDArray[np.uint8], kind: str) -> None:
    found = only(encode(head, kind, **LOSSLESS[kind]))
    assert found.pixels.dtype == np.float32
    np.testing.assert_array_equal(found.pixels, head)
    assert found.colorfulness == 0.0
    assert (found.source, found.index) == ("head", 0)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_close(head: NDArray[np.uint8], mode: str, progressive: bool) -> None:
    data = encode(head, "JPEG", mode, quality=95, progressive=progressive)
    found = only(data)
    assert np.abs(found.pixels - head).mean() < 3.0
    assert found.colorfulness < 0.01


@pytest.mark.parametrize("extension", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_kept(
    head: NDArray[np.uint8], extension: str, channels: int
) -> None:
    deep = head.astype(np.uint16) * 16 + 5
    layers = [deep] * min(channels, 3) + [np.full_like(deep, 65535)] * (channels == 4)
    done, data = cv2.imencode(extension, np.dstack(layers))
    assert done
    np.testing.assert_array_equal(only(data.tobytes()).pixels, deep)


def test_white_is_zero_is_turned_round(head: NDArray[np.uint8]) -> None:
    deep = head.astype(np.uint16) * 16
    data = encode(deep.max() - deep, "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(only(data).pixels, deep - deep.min())


def test_float_tiff(head: NDArray[np.uint8]) -> None:
    data = encode(head.astype(np.float32) / 7, "TIFF")
    np.testing.assert_allclose(only(data).pixels, head / np.float32(7))


def test_what_is_no_number_is_air(head: NDArray[np.uint8]) -> None:
    pixels = head.astype(np.float32)
    pixels[3, 4] = np.nan
    pixels[5, 4] = np.inf
    study = read_study(encode(pixels, "TIFF"), "head")
    assert study.slices[0].pixels[3, 4] == study.slices[0].pixels[5, 4] == 0.0
    assert any("no finite numbers" in note for note in study.notes)
    with pytest.raises(InputError, match="not finite"):
        read_study(encode(np.full_like(pixels, np.nan), "TIFF"), "head")


@pytest.mark.parametrize("ends", [(-3.4e38, 3.4e38), (0.0, 3.4e38), (-1e31, 1.0)])
def test_values_with_which_nothing_can_be_computed_are_refused(
    head: NDArray[np.uint8], ends: tuple[float, float]
) -> None:
    pixels = head.astype(np.float32)
    pixels[3, 4:6] = ends
    with pytest.raises(InputError, match="head holds values from"):
        read_study(encode(pixels, "TIFF"), "head")
    with pytest.raises(InputError, match="colours holds values"):
        to_slice(np.dstack([pixels, pixels, pixels]), "colours")
    assert to_slice(pixels.clip(-1e29, 1e29), "large").height == 120


def test_transparency_is_laid_on_black(head: NDArray[np.uint8]) -> None:
    alpha = np.zeros_like(head)
    alpha[:, 50:] = 255
    found = only(encode(np.dstack([head, head, head, alpha]), "PNG"))
    assert not found.pixels[:, :50].any()
    np.testing.assert_allclose(found.pixels[:, 50:], head[:, 50:], atol=1e-4)


def test_transparency_that_is_empty_hides_nothing(head: NDArray[np.uint8]) -> None:
    found = only(encode(np.dstack([head, head, head, 0 * head]), "PNG"))
    assert np.array_equal(found.pixels, head.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "CMYK", {"quality": 95}),
        ("TIFF", "CMYK", {}),
        ("TIFF", "LAB", {}),
        ("TIFF", "YCbCr", {}),
        ("TIFF", "", {"compression": "jpeg", "quality": 95}),
        ("TIFF", "", {"compression": "packbits"}),
        ("TIFF", "", {"compression": "tiff_adobe_deflate"}),
        ("PNG", "P", {"transparency": 0}),
        ("WEBP", "RGB", {"quality": 95}),
    ],
)
def test_colours_and_codings_of_other_trades_stay_one_head(
    head: NDArray[np.uint8], kind: str, mode: str, options: dict[str, Any]
) -> None:
    image = Image.fromarray(head).convert("RGB")
    buffer = io.BytesIO()
    (image.convert(mode) if mode else Image.fromarray(head)).save(
        buffer, kind, **options
    )
    found = only(buffer.getvalue())
    assert found.colorfulness < 0.02
    assert np.corrcoef(found.pixels.ravel(), head.ravel())[0, 1] > 0.97


def test_a_photograph_of_two_pictures_is_its_first(head: NDArray[np.uint8]) -> None:
    image = Image.fromarray(head)
    buffer = io.BytesIO()
    image.save(buffer, "MPO", save_all=True, append_images=[image.rotate(90)])
    assert np.abs(only(buffer.getvalue()).pixels - head).mean() < 4


def test_bytes_behind_the_end_of_a_picture_do_no_harm(head: NDArray[np.uint8]) -> None:
    assert only(encode(head, "JPEG") + bytes(1000)).pixels.shape == head.shape
    assert only(encode(head, "PNG") + bytes(1000)).pixels.shape == head.shape


def test_grey_palette_stays_grey(head: NDArray[np.uint8]) -> None:
    found = only(encode(head, "PNG", "P"))
    np.testing.assert_array_equal(found.pixels, head)
    assert found.colorfulness == 0.0


def test_colorfulness_is_the_mean_spread_of_channels() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = (255, 0, 51)
    assert only(encode(pixels, "PNG")).colorfulness == pytest.approx(0.5)
    deep = np.dstack([pixels[:, :, k].astype(np.uint16) * 257 for k in (2, 1, 0)])
    done, data = cv2.imencode(".png", deep)
    assert done
    assert only(data.tobytes()).colorfulness == pytest.approx(0.5)


def test_a_chunk_that_claims_gigabytes_takes_none() -> None:
    done, data = cv2.imencode(".png", np.full((64, 64, 3), 900, np.uint16))
    assert done
    whole = data.tobytes()
    start = whole.index(b"IDAT") - 4
    claims = whole[:start] + b"\x70\0\0\0" + whole[start + 4 :]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedFileError, match="cut off or broken"):
        read_study(claims, "x")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024, f"{grown / 1024:.0f} MB"
    assert read_study(whole, "x").slices


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colours_laid_over_a_slice_are_said(head: NDArray[np.uint8], kind: str) -> None:
    grey = np.stack([head] * 3, axis=-1)
    assert read_study(encode(grey, kind), "head").notes == ()
    cv2.circle(grey, (100, 100), 40, (255, 0, 0), 5)
    (note,) = read_study(encode(grey, kind), "head").notes
    assert "in colour" in note and "grey slice" in note


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_rotated_photograph_is_turned_upright(
    head: NDArray[np.uint8], kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "Turn a quarter clockwise to see it upright."
    found = only(encode(head, kind, exif=exif))
    upright = np.rot90(head, -1)
    assert found.pixels.shape == upright.shape
    assert np.abs(found.pixels - upright).mean() < 6.0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("late", [False, True])
def test_a_picture_of_deep_colours_is_turned_like_another(
    head: NDArray[np.uint8], orientation: int, late: bool
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = only(encode(np.dstack([head] * 3), "PNG", exif=exif)).pixels
    deep = head.astype(np.uint16) * 257
    done, data = cv2.imencode(".png", np.dstack([deep] * 3))
    assert done
    # The chunk may stand before the pixels or after them.
    place = data.tobytes().index(b"IEND" if late else b"IDAT") - 4
    chunk = chunks_of((b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))[8:]
    found = only(data.tobytes()[:place] + chunk + data.tobytes()[place:])
    np.testing.assert_array_equal(found.pixels, turned * 257)


def test_a_transparent_value_costs_no_bits(head: NDArray[np.uint8]) -> None:
    deep = head.astype(np.uint16) * 200 + 7
    clear = int(deep[60, 50])
    found = only(deep_png(deep, clear))
    np.testing.assert_array_equal(found.pixels, np.where(deep == clear, 0, deep))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_each_frame_of_an_animation_is_read(head: NDArray[np.uint8], kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(
        head,
        kind,
        save_all=True,
        append_images=[Image.fromarray(255 - head)],
        **options,
    )
    study = read_study(data)
    assert "2 frames" in study.notes[0]
    np.testing.assert_array_equal(study.slices[0].pixels, head)
    assert [item.index for item in study.slices] == [0, 1]


def test_each_page_of_a_tiff_is_a_slice(head: NDArray[np.uint8]) -> None:
    data = encode(
        head, "TIFF", save_all=True, append_images=[Image.fromarray(255 - head)]
    )
    first, second = read_study(data).slices
    np.testing.assert_array_equal(first.pixels, head)
    np.testing.assert_array_equal(second.pixels, 255 - head)
    assert (first.index, second.index) == (0, 1)


def test_one_bit_pictures() -> None:
    found = only(encode(np.eye(64, dtype=bool), "PNG"))
    np.testing.assert_array_equal(found.pixels, 255 * np.eye(64))


@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG"])
def test_a_truncated_file_is_refused(head: NDArray[np.uint8], kind: str) -> None:
    data = encode(head, kind)
    for share in (0.1, 0.5, 0.9, 0.99):
        with pytest.raises(InputError, match="head"):
            read_study(data[: int(share * len(data))], "head")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_without_its_end_is_refused(head: NDArray[np.uint8], kind: str) -> None:
    with pytest.raises(DamagedFileError, match="cut off"):
        read_study(encode(head, kind)[:-3], "head")


@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG"])
def test_random_damage_never_escapes_the_tree_of_errors(
    head: NDArray[np.uint8], kind: str
) -> None:
    data = encode(head, kind)
    rng = np.random.default_rng(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(120):
            broken = bytearray(data)
            for place in rng.integers(0, min(len(data), 400), 3):
                broken[place] = rng.integers(0, 256)
            try:
                found = only(bytes(broken))
            except InputError:
                continue
            assert np.isfinite(found.pixels).all()


def test_a_small_file_that_claims_a_huge_picture_is_refused() -> None:
    data = encode(np.zeros((20_000, 20_000), bool), "PNG")
    assert len(data) < 100_000
    with pytest.raises(TooLargeError, match="20000 x 20000"):
        read_study(data, "bomb.png")


def test_pillow_does_not_warn_where_we_decide(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(TooLargeError):
        read_study(encode(np.zeros((10_000, 10_000), bool), "PNG"))
    assert not recwarn.list


def test_a_big_tiff_is_read(head: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(only(big_tiff(head)).pixels, head)


def test_a_jpeg_that_goes_over_its_pixels_again_and_again_is_refused() -> None:
    with pytest.raises(DamagedFileError, match="65 scans; at most 64") as caught:
        read_study(many_scans(65 - OWN_SCANS, 64), "slow.jpg")
    assert "PNG" in caught.value.hint
    assert read_study(many_scans(64 - OWN_SCANS, 64), "as-many.jpg").slices


@pytest.mark.parametrize("endless", [True, False])
def test_a_tiff_of_previews_alone_is_refused(endless: bool) -> None:
    data = one_strip_for_all_pages(3, 64, previews=True, endless=endless)
    with pytest.raises(DamagedFileError, match=r"p\.tif holds previews and no picture"):
        read_study(data, "p.tif")


def test_a_profile_that_swells_is_not_unpacked() -> None:
    data = swelling_profile(64)
    tracemalloc.start()
    with pytest.raises(DamagedFileError):
        read_study(data, "profile.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_gif_whose_frame_is_larger_than_its_screen_is_refused() -> None:
    data = bytearray(encode(np.zeros((64, 64), np.uint8), "GIF"))
    place = data.index(b",", 13)
    data[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(InputError):
        read_study(bytes(data), "bomb.gif")


@pytest.mark.parametrize(
    ("width", "height", "kind"),
    [
        (1, 1, TooSmallError),
        (8000, 10, TooSmallError),
        (MIN_SIDE, MIN_SIDE - 1, TooSmallError),
        (int(MIN_SIDE * MAX_ASPECT) + 1, MIN_SIDE, InputError),
    ],
)
def test_shapes_that_are_no_slice(
    width: int, height: int, kind: type[InputError]
) -> None:
    data = encode(np.zeros((height, width), np.uint8), "PNG")
    with pytest.raises(kind, match=f"odd.png is {width} x {height} pixels") as caught:
        read_study(data, "odd.png")
    assert caught.value.hint


def test_the_smallest_and_longest_that_are_read() -> None:
    pixels = np.zeros((MIN_SIDE, int(MIN_SIDE * MAX_ASPECT)), np.uint8)
    assert only(encode(pixels, "PNG")).pixels.shape == pixels.shape


def test_arrays_of_many_types_become_slices(head: NDArray[np.uint8]) -> None:
    for pixels in (
        head,
        head.astype(np.int64),
        head / 255.0,
        head > 60,
        head[..., None],
    ):
        found = to_slice(pixels, "array")
        assert found.pixels.dtype == np.float32
        assert found.pixels.shape == head.shape
    colours = np.dstack([head, head // 2, head // 4])
    for scale in (1, 1.0, 1 / 255.0):
        assert to_slice(colours * scale, "array").colorfulness > 0.05


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((3, 64, 64)),
        np.zeros(64),
        np.zeros((64, 64, 2)),
        np.zeros((64, 64), complex),
        np.full((64, 64), "x"),
        np.full((64, 64), np.inf),
        np.zeros((0, 64)),
        np.broadcast_to(np.uint8(0), (5000, MAX_PIXELS // 5000 + 1)),
    ],
    ids=lambda pixels: f"{pixels.shape}-{pixels.dtype}",
)
def test_arrays_that_are_no_picture(pixels: NDArray[Any]) -> None:
    with pytest.raises(InputError, match="the array"):
        to_slice(pixels, "the array")


def test_an_array_is_copied(head: NDArray[np.uint8]) -> None:
    pixels = head.astype(np.float32)
    found = to_slice(pixels, "array")
    pixels[:] = 0
    assert found.pixels.any()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_size_is_judged_before_any_pixel_is_decoded(kind: str) -> None:
    data = encode(np.zeros((9000, 9000), np.uint8), kind)
    with pytest.raises(TooLargeError, match="9000 x 9000"):
        read_study(data[:1200])


def test_colours_are_weighed_as_the_eye_does() -> None:
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[..., channel] = 200
        for found in (only(encode(pixels, "PNG")), to_slice(pixels, "array")):
            assert found.pixels.mean() == pytest.approx(200 * weight, abs=1)
        done, deep = cv2.imencode(".png", pixels[..., ::-1].astype(np.uint16))
        assert done
        assert only(deep.tobytes()).pixels.mean() == pytest.approx(200 * weight, abs=1)


# --- Oblong pixels ---

# Twice as high as wide: half of the rows are left.
STRETCHED = {
    "PNG": {"dpi": (200, 100)},
    "JPEG": {"dpi": (200, 100), "quality": 95},
    "TIFF": {"dpi": (200, 100)},
    "BMP": {"dpi": (200, 100)},
}


def squeezed(head: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = head.shape
    small = cv2.resize(head, (width, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


@pytest.mark.parametrize("kind", STRETCHED)
def test_pixels_that_a_picture_states_to_be_oblong_are_judged_square(
    phantom: Phantom, kind: str
) -> None:
    head = phantom(240, 200)
    study = read_study(encode(squeezed(head), kind, **STRETCHED[kind]), "head")
    (found,) = study.slices
    assert found.pixel_aspect == pytest.approx(2.0, rel=0.01)
    assert (found.height, found.width) == (120, 200)
    assert found.view is None
    assert "pixels 2 times as high as wide" in study.notes[0]
    squared = with_square_pixels(found.pixels, found.pixel_aspect)
    assert np.corrcoef(squared.ravel(), head.ravel())[0, 1] > 0.98


def test_a_png_may_state_a_ratio_without_a_unit(phantom: Phantom) -> None:
    data = encode(squeezed(phantom(240, 200)), "PNG", dpi=(200, 100))
    place = data.index(b"pHYs")
    chunk = b"pHYs" + struct.pack(">IIB", 2, 1, 0)
    checked = chunk + struct.pack(">I", zlib.crc32(chunk))
    found = only(data[:place] + checked + data[place + len(checked) :])
    assert found.pixel_aspect == 2.0


def test_a_jpeg_may_state_a_ratio_without_a_unit(phantom: Phantom) -> None:
    data = bytearray(encode(squeezed(phantom(240, 200)), "JPEG", dpi=(200, 100)))
    place = data.index(b"JFIF") + 7
    data[place : place + 5] = b"\0" + struct.pack(">HH", 2, 1)
    assert only(bytes(data)).pixel_aspect == 2.0


def test_a_gif_may_state_a_ratio(phantom: Phantom) -> None:
    data = bytearray(encode(squeezed(phantom(240, 200)), "GIF"))
    data[:6] = b"GIF89a"
    data[12] = 64 // 2 - 15
    assert only(bytes(data)).pixel_aspect == pytest.approx(2.0)


def test_pixels_turned_with_their_picture_stay_as_oblong(phantom: Phantom) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.rot90(squeezed(phantom(240, 200)))
    data = encode(pixels, "PNG", dpi=(100, 200), exif=exif)
    found = only(data)
    assert found.pixel_aspect == pytest.approx(2.0, rel=0.01)
    assert (found.height, found.width) == (120, 200)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_resolution_that_would_stretch_the_head_is_not_believed(
    phantom: Phantom, kind: str
) -> None:
    data = encode(phantom(240, 200), kind, dpi=(200, 100))
    study = read_study(data, "head")
    assert study.slices[0].pixel_aspect == 1.0
    assert "taken as square" in study.notes[0]


@pytest.mark.parametrize("dpi", [(72, 72), (300, 299), (96, 92), (72, 1), (1, 600)])
def test_a_resolution_that_says_nothing_of_pixels_is_passed_over(
    phantom: Phantom, dpi: tuple[int, int]
) -> None:
    study = read_study(encode(phantom(240, 200), "TIFF", dpi=dpi), "head")
    assert study.slices[0].pixel_aspect == 1.0
    assert study.notes == ()


def test_a_sheet_of_oblong_pixels_is_taken_apart_on_its_own_grid() -> None:
    heads = [draw_person(number, 240) for number in range(4)]
    sheet = np.vstack([np.hstack(heads[:2]), np.hstack(heads[2:])])
    study = read_study(encode(squeezed(sheet), "PNG", dpi=(200, 100)), "sheet")
    assert [item.view.shape for item in study.slices if item.view] == [(120, 240)] * 4
    second = study.slices[1]
    cut = with_square_pixels(
        view_pixels(second.pixels, second.view), second.pixel_aspect
    )
    assert np.corrcoef(cut.ravel(), heads[1].ravel())[0, 1] > 0.95
