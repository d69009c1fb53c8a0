"""Pictures: PNG, JPEG, TIFF, BMP, WebP, GIF, AVIF and HEIC become slices."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.formats import picture_kind
from tumorlens.imaging.limits import (
    MAX_PAGES,
    MAX_STUDY_PIXELS,
    check_dimensions,
    check_unpacked,
)
from tumorlens.imaging.preprocess.framing import find_views
from tumorlens.imaging.preprocess.slice import (
    Preprocessing,
    head_box,
    with_square_pixels,
)
from tumorlens.imaging.study import (
    MAX_PIXEL_RATIO,
    PictureView,
    Series,
    Slice,
    Study,
    to_slice,
)

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile

_NEW_SUBFILE_TAG = 254

_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    cv2.error,
    Warning,
)
"""Errors that Pillow and OpenCV raise, undocumented, on files that are broken (a
warning, where the program turns warnings into errors)."""

_JPEG_SCAN = b"\xff\xda"
_MAX_ANIMATION_PIXELS = 40_000_000
"""Pixels of all frames of an animation: 150 of 512 x 512, decoded in a second."""

_MOST_SCANS = 64
"""Most passes of a progressive JPEG: each goes over all pixels, however few its
bytes are. Ten are usual; those of a preview and chance finds in a colour profile
are counted in."""

_ORIENTATION_TAG = 0x0112
_FIRST_TRANSPOSED = 5
_X_RESOLUTION, _Y_RESOLUTION = 282, 283
_GIF_ASPECT = 12
_BITS_TAG = 258
_PHOTOMETRIC_TAG = 262
_MIN_IS_WHITE = 0

_PNG_END = b"IEND\xaeB`\x82"
_PNG_START = 8
_CHUNK_FRAME = 12
"""Bytes of a chunk beside its content: length, kind and checksum."""

_MOST_CHUNKS = 50_000
"""Chunks of a PNG at most: of 64 MB in the usual pieces of 8 kB there are 8,000."""


# Pillow's classes are used directly: `Image.open` would import every plug-in,
# and would only warn at sizes that are refused here.
_OPENERS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    # Only decoders are in this library.
    "HEIC": ("pi_heif.as_plugin", "HeifImageFile"),
}
"""Module and class that opens each of `formats.PICTURES`."""


def read_raster(data: bytes, name: str) -> Study:
    """Decode a picture.

    Size is checked from the header, before any pixel is decoded. Colour
    becomes grey, transparency is laid on black, a camera's rotation (EXIF) is
    applied. Each frame of an animation and each page of a TIFF is a slice.

    Parameters
    ----------
    data
        The whole file.
    name
        The name of the file, for messages and for `Slice.source`.

    Raises
    ------
    DamagedFileError
        Where the picture is cut off or its content is broken.
    TooLargeError, TooSmallError, InputError
        Where its size, or what it would take in memory, passes a limit (see
        `limits`).
    """
    kind = picture_kind(data)
    if not kind:
        raise DamagedFileError(f"{name} does not start like a picture.")
    notes: list[str] = []
    try:
        module, opened_by = _OPENERS[kind]
        opener = getattr(import_module(module), opened_by)
        with opener(io.BytesIO(data)) as image:
            check_dimensions(image.width, image.height, name)
            if kind == "TIFF":
                slices = tuple(_tiff_pages(image, data, name, notes))
                if not slices:
                    raise DamagedFileError(f"{name} holds previews and no picture.")
            else:
                if kind == "JPEG":
                    _check_scans(data, name)
                wide = 8 if kind == "PNG" and _is_wide_png(data) else 4
                check_unpacked(image.width * image.height, wide, len(data), name)
                count = _frame_count(image, data, name)
                slices = (to_slice(_decode(image, kind == "PNG", data), name),)
                aspect = _stated_aspect(image, data)
                if count > 1:
                    slices += tuple(_later_frames(image, count, name))
                    notes.append(
                        f"The picture is an animation of {count} frames; each was read "
                        "as a slice."
                    )
                slices = tuple(replace(x, pixel_aspect=aspect) for x in slices)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLargeError(
            f"{name} claims a size that no slice has.", "Export the slice again."
        ) from error
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{name} is a {kind} picture, which is not read here.",
            "Save it as PNG or JPEG.",
        ) from error
    except _DECODER_ERRORS as error:
        raise DamagedFileError(
            f"{name} starts like a {kind} picture, "
            "but its content is cut off or broken."
        ) from error
    if max(x.colorfulness for x in slices) >= _LEAST_COLOUR:
        notes.append(COLOURED)
    return _framed(slices, notes)


def has_pages(data: bytes) -> bool:
    """Tell whether a picture has a second page or frame, without decoding them all.

    Parameters
    ----------
    data
        The whole file, whose format `picture_kind` knows; of a broken one False, since
        it is read up to the fault at most.
    """
    module, opened_by = _OPENERS[picture_kind(data)]
    try:
        opener = getattr(import_module(module), opened_by)
        with opener(io.BytesIO(data)) as image:
            if image.format == "TIFF":
                image.seek(1)
                return True
            return bool(getattr(image, "is_animated", False))
    except (Image.DecompressionBombError, ImportError, *_DECODER_ERRORS):
        return False


COLOURED = (
    "The picture is in colour. The model sees brightness alone, so marks, a colour map "
    "or another program's result laid over the slice change the answer. Give the grey "
    "slice without them."
)
_LEAST_COLOUR = 0.005
"""Mean difference of a picture's channels, as a share of white: less is a text's edge
or the tint of a packing."""


def _framed(slices: tuple[Slice, ...], notes: list[str]) -> Study:
    """Find the slices in each picture; one picture may show several."""
    framed: list[Slice] = []
    framing_notes: list[str] = []
    for picture in slices:
        if picture.pixel_aspect != 1.0:
            picture, note = _weighed_aspect(picture)
            framing_notes.append(note)
        squared = with_square_pixels(picture.pixels, picture.pixel_aspect)
        framing = find_views(squared)
        framing_notes += framing.notes
        for view in framing.views or (None,):
            if view is not None and squared.shape != picture.pixels.shape:
                view = _unsquared(view, squared.shape, picture.pixels.shape)
            framed.append(replace(picture, index=len(framed), view=view))
    return Study((Series(tuple(framed)),), (*notes, *dict.fromkeys(framing_notes)))


_MOST_STATED_ASPECT = 4.0
"""Height over width of a pixel, or the reverse: beyond, it is no property of pixels
but a number left over."""

SQUARED = (
    "The file states pixels {ratio} times as {longer}; the picture was judged with "
    "square pixels."
)
NOT_SQUARED = (
    "The file states pixels {ratio} times as {longer}, by which the head would be "
    "stretched; they were taken as square."
)


def _stated_aspect(image: ImageFile.ImageFile, data: bytes) -> float:
    """Read how high over wide the pixels are, upright; 1 where nothing tells.

    Most writers put some resolution into a file, so nearly square pixels, and
    ratios that no device has, say nothing.

    Parameters
    ----------
    image
        Opened by Pillow.
    data
        The whole file.
    """
    try:
        across, down = (float(x) for x in _resolution(image, data))
    except (TypeError, ValueError, ArithmeticError):
        return 1.0
    if not (0.0 < across < np.inf and 0.0 < down < np.inf):
        return 1.0
    aspect = across / down
    if image.getexif().get(_ORIENTATION_TAG, 1) >= _FIRST_TRANSPOSED:
        aspect = 1.0 / aspect
    longer = max(aspect, 1.0 / aspect)
    return aspect if MAX_PIXEL_RATIO < longer <= _MOST_STATED_ASPECT else 1.0


def _resolution(image: ImageFile.ImageFile, data: bytes) -> tuple[Any, ...]:
    """Read pixels per length across and down, in any unit; (1, 1) where not stated."""
    info = image.info
    # A JPEG of no unit states a ratio; most state 1 : 1, which leaves EXIF the word.
    if info.get("jfif_density", (1, 1)) not in ((1, 1), (0, 0)):
        return tuple(info["jfif_density"])
    # PNG has a ratio where it states no unit of length.
    stated = info.get("aspect")
    if stated is None and image.format in ("PNG", "BMP"):
        stated = info.get("dpi")
    if stated is not None:
        return tuple(stated)
    if data.startswith(b"GIF89a") and data[_GIF_ASPECT]:
        return 64, data[_GIF_ASPECT] + 15
    tags = getattr(image, "tag_v2", None) or image.getexif()
    return tags.get(_X_RESOLUTION, 1), tags.get(_Y_RESOLUTION, 1)


def _weighed_aspect(picture: Slice) -> tuple[Slice, str]:
    """Believe oblong pixels only where squares make the head rounder; say it."""
    aspect = picture.pixel_aspect
    left, upper, right, lower = head_box(picture.pixels, Preprocessing().foreground)
    shown = (lower - upper) / max(1.0, right - left)
    is_rounder = abs(np.log(shown * aspect)) < abs(np.log(shown))
    sentence = (SQUARED if is_rounder else NOT_SQUARED).format(
        ratio=f"{max(aspect, 1.0 / aspect):.3g}",
        longer="high as wide" if aspect > 1.0 else "wide as high",
    )
    return (picture if is_rounder else replace(picture, pixel_aspect=1.0)), sentence


def _unsquared(
    view: PictureView, squared: tuple[int, ...], shape: tuple[int, ...]
) -> PictureView:
    """Turn a view of a picture with square pixels into one of the picture itself."""
    down, across = shape[0] / squared[0], shape[1] / squared[1]
    points = [(x * across, y * down) for x, y in view.corners]
    height, width = round(view.shape[0] * down), round(view.shape[1] * across)
    if view.is_box:
        left, upper = float(round(points[0][0])), float(round(points[0][1]))
        width = min(width, shape[1] - int(left))
        height = min(height, shape[0] - int(upper))
        right, lower = left + width, upper + height
        points = [(left, upper), (right, upper), (right, lower), (left, lower)]
    first, second, third, fourth = points
    return replace(view, corners=(first, second, third, fourth), shape=(height, width))


def _frame_count(image: ImageFile.ImageFile, data: bytes, name: str) -> int:
    """Count the frames of an animation, and refuse too many of them."""
    if not getattr(image, "is_animated", False):
        return 1
    count = int(getattr(image, "n_frames", 1))
    pixels = count * image.width * image.height
    if count > MAX_PAGES or pixels > _MAX_ANIMATION_PIXELS:
        raise TooLargeError(
            f"{name} is an animation of {count} frames of {image.width} x "
            f"{image.height} pixels; at most {MAX_PAGES} frames and "
            f"{_MAX_ANIMATION_PIXELS // 10**6} million pixels are read.",
            "Save the frames that matter as pictures of their own.",
        )
    check_unpacked(pixels, 4, len(data), name)
    return count


def _later_frames(image: ImageFile.ImageFile, count: int, name: str) -> Iterator[Slice]:
    for index in range(1, count):
        image.seek(index)
        yield to_slice(_pillow_pixels(image), name, index)


def _check_scans(data: bytes, name: str) -> None:
    # Quicker than to count the two bytes together.
    content = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(content[1:] == _JPEG_SCAN[1])
    scans = np.count_nonzero(content[ends] == _JPEG_SCAN[0])
    if scans > _MOST_SCANS:
        raise DamagedFileError(
            f"{name} draws its picture in {scans:,} scans; at most {_MOST_SCANS} are "
            "read.",
            "Save it again as PNG.",
        )


def _tiff_pages(
    image: TiffImageFile, data: bytes, name: str, notes: list[str]
) -> Iterator[Slice]:
    """Decode each page; smaller copies of a page (a preview) are skipped.

    What is to be said of the pages is added to `notes`.
    """
    total = 0
    index = 0
    for page in range(MAX_PAGES + 1):
        try:
            image.seek(page)
        except EOFError:
            return
        if page == MAX_PAGES:
            raise TooLargeError(
                f"{name} has more than {MAX_PAGES} pages.", "Split the file."
            )
        if image.tag_v2.get(_NEW_SUBFILE_TAG, 0) & 1:
            continue
        check_dimensions(image.width, image.height, name)
        total += image.width * image.height
        if total > MAX_STUDY_PIXELS:
            raise TooLargeError(
                f"{name} holds more than {MAX_STUDY_PIXELS // 10**6} million pixels "
                "in its pages.",
                "Split the file.",
            )
        check_unpacked(total, 8 if _is_wide_tiff(image) else 4, len(data), name)
        pixels = _decode_tiff_page(image, data, page)
        if pixels.dtype.kind == "f":
            pixels = _without_gaps(pixels, notes)
        picture = to_slice(pixels, name, index)
        yield replace(picture, pixel_aspect=_stated_aspect(image, data))
        index += 1


def _without_gaps(pixels: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    """Take pixels that are no finite numbers as air, where some are."""
    finite = np.isfinite(pixels)
    if finite.all() or not finite.any():
        return pixels
    notes.append(
        f"{100.0 * (1.0 - finite.mean()):.2g} % of the pixels of a page are no finite "
        "numbers (NaN or infinity); they were read as air."
    )
    air = min(pixels.dtype.type(0), pixels[finite].min())
    return np.where(finite, pixels, air)


def _decode_tiff_page(image: TiffImageFile, data: bytes, page: int) -> NDArray[Any]:
    """Decode the page of a TIFF that Pillow stands at.

    Parameters
    ----------
    image
        Opened by Pillow, at this page.
    data
        The whole file.
    page
        The number of the page, from 0.

    Returns
    -------
    ndarray
        Shape (H, W), or (H, W, 3) or (H, W, 4) in RGB, brighter is higher.
    """
    if _is_wide_tiff(image):
        # Pillow would drop the lower eight bits of 16-bit colour. It goes first
        # all the same: on broken files OpenCV can take seconds and writes to
        # the terminal.
        image.load()
        done, pages = cv2.imdecodemulti(
            np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(page, page + 1)
        )
        if not done:
            raise OSError("OpenCV cannot decode this TIFF page")
        return _from_opencv(pages[0])
    inverted = (
        image.mode.startswith("I;16")
        and image.tag_v2.get(_PHOTOMETRIC_TAG) == _MIN_IS_WHITE
    )
    pixels = _pillow_pixels(image)
    return pixels.max() - pixels if inverted else pixels


def _decode(image: ImageFile.ImageFile, is_png: bool, data: bytes) -> NDArray[Any]:
    """Decode a picture that is no TIFF, or the first frame of an animation.

    Parameters
    ----------
    image
        Opened by Pillow.
    is_png
        Whether it is a PNG.
    data
        The whole file.

    Returns
    -------
    ndarray
        The same kinds of arrays as `_decode_tiff_page` returns.
    """
    if is_png and _PNG_END not in data:
        raise OSError("this PNG has no end")
    if is_png and _is_wide_png(data):
        # As for TIFF: Pillow checks, OpenCV keeps all bits.
        image.load()
        if not _has_whole_chunks(data):
            raise OSError("a chunk of this PNG reaches beyond its end")
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise OSError("OpenCV cannot decode this PNG")
        turn = image.getexif().get(_ORIENTATION_TAG, 1)
        return _turned(_from_opencv(pixels), turn)
    return _pillow_pixels(image)


def _has_whole_chunks(data: bytes) -> bool:
    """Tell whether each chunk of a PNG lies within the file, up to its end.

    OpenCV takes the memory that a chunk asks for before it looks for its bytes.
    """
    place = _PNG_START
    for _ in range(_MOST_CHUNKS):
        length, kind = (
            int.from_bytes(data[place : place + 4]),
            data[place + 4 : place + 8],
        )
        place += length + _CHUNK_FRAME
        if place > len(data):
            return False
        if kind == b"IEND":
            return True
    return False


def _is_wide_png(data: bytes) -> bool:
    """Tell whether a PNG has colours of 16 bits."""
    return data[24] == 16 and data[25] != 0


def _is_wide_tiff(page: TiffImageFile) -> bool:
    """Tell whether a page of a TIFF has colours of 16 bits."""
    bits = page.tag_v2.get(_BITS_TAG, (1,))
    return len(bits) > 1 and max(bits) == 16


def _from_opencv(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim == 2:
        return pixels
    code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(pixels, code)


def _turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn shape (H, W, ...) upright by EXIF's number, as Pillow does."""
    if 5 <= orientation <= 8:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _pillow_pixels(image: ImageFile.ImageFile) -> NDArray[Any]:
    """Return shape (H, W), (H, W, 3) or (H, W, 4), turned upright."""
    image.load()
    upright: Image.Image = image
    if image.getexif().get(_ORIENTATION_TAG, 1) != 1:
        upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    clear = upright.info.get("transparency")
    if mode.startswith("I;16") and clear is not None:
        # Pillow would cut the values at 255 to lay them on black.
        deep = np.asarray(upright)
        return np.where(deep == clear, deep.dtype.type(0), deep)
    if "transparency" in upright.info or mode in ("LA", "La", "PA", "RGBa"):
        upright = upright.convert("RGBA")
    elif mode == "1":
        upright = upright.convert("L")
    elif mode not in ("L", "RGB", "RGBA", "I", "F") and not mode.startswith("I;16"):
        upright = upright.convert("RGB")
    return np.asarray(upright)
