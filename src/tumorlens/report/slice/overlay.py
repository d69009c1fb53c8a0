"""A picture with what the network saw laid over it."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.inference.slice.prediction import Explanation, Prediction

_SAMPLES = 20_000
_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
)
"""Half the time of level 4, which tries every filter on every row, at files that are
5 % larger for overlays, and a few kilobytes for maps (docs/benchmarks.md)."""

_OPACITY = 0.8
OUTLINE_COLOR = (255, 214, 0)
"""Yellow: far from every grey, and from every colour of the heat map but its top."""


class OverlayKind(StrEnum):
    """Kind of map that can be laid over a picture."""

    EVIDENCE = "evidence"
    GRADCAM = "gradcam"
    OUTLINE = "outline"


def window_picture(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Show a slice in 8 bits, a few extreme pixels notwithstanding.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, finite, any range.

    Returns
    -------
    ndarray
        Shape (H, W), uint8: 0 at the darkest and 255 at the 99.8th percentile;
        all 0 for a constant picture.
    """
    # An even sample of pixels gives the percentile without sorting millions.
    step = max(1, int(np.sqrt(pixels.size / _SAMPLES)))
    low = float(pixels.min())
    high = float(np.percentile(pixels[::step, ::step], 99.8))
    if high <= low:
        high = float(pixels.max())
    if high <= low:
        return np.zeros(pixels.shape, np.uint8)
    scale = 255.0 / (high - low)
    scaled = (pixels - np.float32(low)) * np.float32(scale)
    # The darkest pixel is 0 already; only the top can pass the range.
    np.rint(np.minimum(scaled, np.float32(255.0), out=scaled), out=scaled)
    return scaled.astype(np.uint8)


def grey_map(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn a map into 8-bit grey.

    Parameters
    ----------
    heat
        Shape (H, W), float32, 0 to 1.

    Returns
    -------
    ndarray
        Shape (H, W), uint8, 0 to 255 for 0 to 1.
    """
    # convertScaleAbs rounds and saturates in one pass.
    grey: NDArray[Any] = cv2.convertScaleAbs(heat, alpha=255.0)
    return grey.astype(np.uint8, copy=False)


def color_scale() -> NDArray[np.uint8]:
    """Return the colours of the heat map, from 0 to 1.

    Returns
    -------
    ndarray
        Shape (256, 3), uint8, RGB. The brighter part of Inferno, whose
        lightness rises evenly (Smith and van der Walt, 2015), so that equal
        steps look equal, in grey print and to people with colour blindness
        too.
    """
    positions = np.linspace(70, 250, 256).round().astype(np.uint8)[:, np.newaxis]
    colors: NDArray[Any] = cv2.applyColorMap(positions, cv2.COLORMAP_INFERNO)
    return np.ascontiguousarray(colors[:, 0, ::-1])


def overlay_layer(explanation: Explanation, kind: OverlayKind) -> NDArray[np.uint8]:
    """Draw an overlay without the picture under it.

    Parameters
    ----------
    explanation
        Explanation with maps of shape (H, W).
    kind
        What to draw.

    Returns
    -------
    ndarray
        Shape (H, W, 4), uint8: RGB and straight (not premultiplied) alpha.
    """
    if kind is OverlayKind.OUTLINE:
        height, width = explanation.evidence.shape
        layer = np.zeros((height, width, 4), np.uint8)
        line = max(1, round(max(height, width) / 256))
        color = (*OUTLINE_COLOR, 255)
        cv2.polylines(layer, list(explanation.outline), True, color, line)
        return layer
    chosen = kind is OverlayKind.EVIDENCE
    return heat_layer(grey_map(explanation.evidence if chosen else explanation.gradcam))


def heat_layer(heat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour a map.

    Parameters
    ----------
    heat
        Shape (H, W), uint8, 0 to 255 for 0 to 1.

    Returns
    -------
    ndarray
        Shape (H, W, 4), uint8: RGB and straight (not premultiplied) alpha.
    """
    layer = np.empty((*heat.shape, 4), np.uint8)
    layer[:, :, :3] = color_scale()[heat]
    # Where there is little to see the picture shows through.
    layer[:, :, 3] = np.rint(heat * np.float32(_OPACITY)).astype(np.uint8)
    return layer


def render_overlay(
    pixels: NDArray[np.float32], explanation: Explanation, kind: OverlayKind | str
) -> NDArray[np.uint8]:
    """Draw a slice with an overlay.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, finite, any range.
    explanation
        Explanation with maps of shape (H, W).
    kind
        ``evidence``, ``gradcam`` or ``outline``.

    Returns
    -------
    ndarray
        Shape (H, W, 3), uint8, RGB.

    Raises
    ------
    ValueError
        Where the kind is none of these.
    """
    grey, kind = window_picture(pixels), OverlayKind(kind)
    if kind is OverlayKind.OUTLINE:
        return lay_over(grey, overlay_layer(explanation, kind))
    chosen = kind is OverlayKind.EVIDENCE
    heat = explanation.evidence if chosen else explanation.gradcam
    return lay_heat_over(grey, grey_map(heat))


def lay_heat_over(
    grey: NDArray[np.uint8], heat: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Lay a coloured map over a picture: what `lay_over` makes of `heat_layer`.

    Parameters
    ----------
    grey, heat
        Shape (H, W), uint8.

    Returns
    -------
    ndarray
        Shape (H, W, 3), uint8, RGB.
    """
    pairs = (heat.astype(np.uint16) << 8) | grey
    colors = _colors_over_grey()[pairs].view(np.uint8).reshape(*heat.shape, 4)
    return np.asarray(cv2.cvtColor(colors, cv2.COLOR_RGBA2RGB), np.uint8)


@cache
def _colors_over_grey() -> NDArray[np.uint32]:
    """Mix each value of a map with each grey, shape (65536,): four bytes a colour."""
    heat = np.arange(256, dtype=np.uint8).repeat(256).reshape(256, 256)
    mixed = lay_over(np.ascontiguousarray(heat.T), heat_layer(heat))
    return cv2.cvtColor(mixed, cv2.COLOR_RGB2RGBA).view(np.uint32).ravel()


def lay_over(grey: NDArray[np.uint8], layer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay a layer over a picture.

    Parameters
    ----------
    grey
        Shape (H, W), uint8.
    layer
        Shape (H, W, 4), uint8: RGB and straight alpha.

    Returns
    -------
    ndarray
        Shape (H, W, 3), uint8, RGB.
    """
    alpha = layer[:, :, 3:].astype(np.float32) / np.float32(255.0)
    under = grey[:, :, np.newaxis].astype(np.float32)
    mixed = under + alpha * (layer[:, :, :3].astype(np.float32) - under)
    return np.rint(mixed).astype(np.uint8)


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Write a picture as PNG.

    Parameters
    ----------
    picture
        Shape (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA; uint8.

    Returns
    -------
    bytes
        The file.
    """
    if picture.ndim == 3:
        swap = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        picture = np.asarray(cv2.cvtColor(picture, swap), np.uint8)
    _, data = cv2.imencode(".png", picture, _PNG)
    return data.tobytes()


def grey_png(heat: NDArray[np.float32]) -> bytes:
    """Write a map as an 8-bit grey PNG.

    Parameters
    ----------
    heat
        Shape (H, W), float32, 0 to 1.

    Returns
    -------
    bytes
        The file, of the map's width and height; 0 to 255 for 0 to 1.
    """
    return encode_png(grey_map(heat))


def map_pictures(prediction: Prediction) -> dict[str, bytes]:
    """Draw the three pictures that `--maps` writes of a slice.

    Parameters
    ----------
    prediction
        Prediction with its picture.

    Returns
    -------
    dict of str to bytes
        PNG files by their kind: ``evidence``, ``gradcam`` and ``overlay``, which
        shows the evidence over the picture.
    """
    heat = grey_map(prediction.explanation.evidence)
    return {
        "evidence": encode_png(heat),
        "gradcam": grey_png(prediction.explanation.gradcam),
        "overlay": encode_png(lay_heat_over(window_picture(prediction.pixels), heat)),
    }
