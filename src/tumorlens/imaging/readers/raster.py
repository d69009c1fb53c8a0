"""Pictures: PNG, JPEG, TIFF, BMP, WebP and GIF become slices."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.limits import (
    MAX_PAGES,
    MAX_STUDY_PIXELS,
    check_dimensions,
    check_unpacked,
    check_values,
)
from tumorlens.imaging.readers.raster_decode import (
    decode,
    decode_tiff_page,
    is_wide_png,
    is_wide_tiff,
)
from tumorlens.imaging.study import Series, Slice, Study

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
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    cv2.error,
    Warning,
)
"""What Pillow and OpenCV raise, undocumented, on files that are broken (a
warning, where the program turns warnings into errors)."""

_BAND = 256
"""Rows of a colour picture that become grey at a time."""

_JPEG_SCAN = b"\xff\xda"
_MOST_SCANS = 64
"""Of a progressive JPEG: each goes over all pixels, however few its bytes are. Ten
are usual; those of a preview and chance finds in a colour profile are counted in."""


class _Kind(NamedTuple):
    title: str
    start: bytes
    offset: int
    module: str
    opener: str


# Pillow's classes are used directly: `Image.open` would import every plug-in,
# and would only warn at sizes that are refused here.
_KINDS = (
    _Kind("PNG", b"\x89PNG\r\n\x1a\n", 0, "PngImagePlugin", "PngImageFile"),
    _Kind("JPEG", b"\xff\xd8\xff", 0, "JpegImagePlugin", "JpegImageFile"),
    _Kind("TIFF", b"II*\0", 0, "TiffImagePlugin", "TiffImageFile"),
    _Kind("TIFF", b"MM\0*", 0, "TiffImagePlugin", "TiffImageFile"),
    # BigTIFF; Pillow reads it in this order of bytes alone.
    _Kind("TIFF", b"II+\0", 0, "TiffImagePlugin", "TiffImageFile"),
    _Kind("GIF", b"GIF87a", 0, "GifImagePlugin", "GifImageFile"),
    _Kind("GIF", b"GIF89a", 0, "GifImagePlugin", "GifImageFile"),
    _Kind("WebP", b"WEBP", 8, "WebPImagePlugin", "WebPImageFile"),
    _Kind("BMP", b"BM", 0, "BmpImagePlugin", "BmpImageFile"),
)


def _kind(data: bytes) -> _Kind | None:
    for kind in _KINDS:
        if data.startswith(kind.start, kind.offset):
            return kind
    return None


def is_raster(data: bytes) -> bool:
    """Tell whether a file starts like a picture that `read_raster` reads."""
    return _kind(data) is not None


def read_raster(data: bytes, name: str) -> Study:
    """Decode a picture.

    Size is checked from the header, before any pixel is decoded. Colour
    becomes grey, transparency is laid on black, a camera's rotation (EXIF) is
    applied. Of an animation the first frame is read; each page of a TIFF is a
    slice.

    Parameters
    ----------
    data
        The whole file.
    name
        Of the file, for messages and for `Slice.source`.

    Raises
    ------
    DamagedFileError
        Where the picture is cut off or its content is broken.
    TooLargeError, TooSmallError, InputError
        Where its size, or what it would take in memory, passes a limit (see
        `limits`).
    """
    kind = _kind(data)
    if kind is None:
        raise DamagedFileError(f"{name} does not start like a picture.")
    notes: tuple[str, ...] = ()
    try:
        opener = getattr(import_module(f"PIL.{kind.module}"), kind.opener)
        with opener(io.BytesIO(data)) as image:
            check_dimensions(image.width, image.height, name)
            if kind.title == "TIFF":
                slices = tuple(_tiff_pages(image, data, name))
                if not slices:
                    raise DamagedFileError(f"{name} holds previews and no picture.")
            else:
                if kind.title == "JPEG":
                    _check_scans(data, name)
                wide = 8 if kind.title == "PNG" and is_wide_png(data) else 4
                check_unpacked(image.width * image.height, wide, len(data), name)
                if getattr(image, "is_animated", False):
                    notes = ("The picture is animated; its first frame was read.",)
                slices = (to_slice(decode(image, kind.title == "PNG", data), name),)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLargeError(
            f"{name} claims a size that no slice has.", "Export the slice again."
        ) from error
    except _DECODER_ERRORS as error:
        raise DamagedFileError(
            f"{name} starts like a {kind.title} picture, "
            "but its content is cut off or broken."
        ) from error
    return Study((Series(slices),), notes)


def _check_scans(data: bytes, name: str) -> None:
    scans = data.count(_JPEG_SCAN)
    if scans > _MOST_SCANS:
        raise DamagedFileError(
            f"{name} draws its picture in {scans:,} scans; at most {_MOST_SCANS} are "
            "read.",
            "Save it again as PNG.",
        )


def to_slice(pixels: NDArray[Any], source: str, index: int = 0) -> Slice:
    """Make a slice of an array of grey values or colours.

    Parameters
    ----------
    pixels
        Shape (H, W), (H, W, 3) in RGB, or (H, W, 4) with alpha, which is laid
        on black; integers or floats, finite, brighter is higher.
    source
        Its name.
    index
        Its position among the slices of the same source.

    Raises
    ------
    InputError
        Where shape, dtype or values are none of these, or a limit is passed.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        raise InputError(
            f"{source} has the shape {pixels.shape}.",
            "Give (height, width), or (height, width, 3) for colours in RGB.",
        )
    if pixels.dtype.kind not in "buif":
        raise InputError(
            f"{source} has the type {pixels.dtype}.", "Give integers or floats."
        )
    check_dimensions(pixels.shape[1], pixels.shape[0], source)
    if pixels.ndim == 2:
        grey, colorfulness = pixels.astype(np.float32), 0.0
    else:
        grey, colorfulness = _to_grey(pixels)
    if pixels.dtype.kind == "f" and not np.isfinite(cv2.sumElems(grey)[0]):
        raise InputError(
            f"{source} holds values that are not finite numbers.",
            "Replace NaN and infinity before giving the picture.",
        )
    if pixels.dtype.kind == "f":
        check_values(*cv2.minMaxLoc(grey)[:2], source)
    return Slice(grey, source, index, colorfulness=colorfulness)


def _to_grey(pixels: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Weigh the channels as BT.601 does, and measure how far they differ."""
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
        full = float(np.iinfo(pixels.dtype).max)
    else:
        # Floats and wide integers have no set white: take the brightest value.
        full = float(np.abs(pixels[..., :3]).max()) or 1.0
    top = None
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3]
        top = full if pixels.dtype.kind == "u" else max(1.0, float(alpha.max()))
        top = top if float(alpha.min()) < top else None
    grey = np.empty(pixels.shape[:2], np.float32)
    spread = 0.0
    # In bands: the steps between hold several copies.
    for start in range(0, len(pixels), _BAND):
        band = pixels[start : start + _BAND]
        grey[start : start + _BAND], differing = _band_to_grey(band, top)
        spread += differing * len(band) / len(pixels)
    return grey, min(1.0, spread / full)


def _band_to_grey(
    pixels: NDArray[Any], top: float | None
) -> tuple[NDArray[np.float32], float]:
    """Grey values, and the mean spread; `top` is full cover, None is no alpha."""
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        pixels = pixels.astype(np.float32)
    channels = list(cv2.split(np.ascontiguousarray(pixels)))
    if len(channels) == 4:
        alpha = channels.pop()
        if top is not None:
            cover = alpha.astype(np.float32) / np.float32(top)
            channels = [item.astype(np.float32) * cover for item in channels]
    red, green, blue = channels
    brightest = cv2.max(cv2.max(red, green), blue)
    darkest = cv2.min(cv2.min(red, green), blue)
    spread = cv2.mean(cv2.subtract(brightest, darkest))[0]
    if spread == 0.0:
        return red.astype(np.float32), 0.0
    grey = cv2.cvtColor(cv2.merge(channels), cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float32), float(spread)


def _tiff_pages(image: TiffImageFile, data: bytes, name: str) -> Iterator[Slice]:
    """Decode each page; smaller copies of a page (a preview) are passed over."""
    total = 0
    kept = 0
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
        check_unpacked(total, 8 if is_wide_tiff(image) else 4, len(data), name)
        yield to_slice(decode_tiff_page(image, data, page), name, kept)
        kept += 1
