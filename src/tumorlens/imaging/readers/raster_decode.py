"""A picture's bytes become an array: all of their bits kept, and turned upright."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile

_ORIENTATION_TAG = 0x0112
_BITS_TAG = 258
_PHOTOMETRIC_TAG = 262
_MIN_IS_WHITE = 0

_PNG_END = b"IEND\xaeB`\x82"


def decode_tiff_page(image: TiffImageFile, data: bytes, page: int) -> NDArray[Any]:
    """Decode the page of a TIFF that Pillow stands at.

    Parameters
    ----------
    image
        Opened by Pillow, at this page.
    data
        The whole file.
    page
        Its number, from 0.

    Returns
    -------
    ndarray
        Shape (H, W), or (H, W, 3) or (H, W, 4) in RGB, brighter is higher.
    """
    if is_wide_tiff(image):
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


def decode(image: ImageFile.ImageFile, is_png: bool, data: bytes) -> NDArray[Any]:
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
        As of `decode_tiff_page`.
    """
    if is_png and _PNG_END not in data:
        raise OSError("this PNG has no end")
    if is_png and is_wide_png(data):
        # As for TIFF: Pillow checks, OpenCV keeps all bits.
        image.load()
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise OSError("OpenCV cannot decode this PNG")
        turn = image.getexif().get(_ORIENTATION_TAG, 1)
        return _turned(_from_opencv(pixels), turn)
    return _pillow_pixels(image)


def is_wide_png(data: bytes) -> bool:
    """Tell whether a PNG has colours of 16 bits."""
    return data[24] == 16 and data[25] != 0


def is_wide_tiff(page: TiffImageFile) -> bool:
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
