"""Place of the slice in an everyday picture: a page, a photograph, a sheet.

A screenshot shows a viewer or a page around the slice, a photograph of a screen a room,
a sheet several slices; a film's negative has white air. What is found is a view: four
corners in the picture, and whether its greys are turned round. The picture itself
stays as it came, so that maps lie over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import Corners, PictureView

_SMALL = 160
"""Pixels of the longer side of the picture that is looked at."""

_CORNER = 0.05
"""Side of the patch in each corner, as a share of the picture."""

_DARK = 0.2
_BRIGHT = 0.8
"""Shares of the picture's range of greys, below which corners are air, above which
they are a page or the air of a negative."""

_LEAST_ROOM = 0.08
"""Least greys by which a screen's surround is brighter than the picture's darkest."""

_LEAST_VIEWER = 0.04
"""Grey of a viewer's dark window, and what its corners differ by at most."""

_MOST_VIEWER_SPREAD = 0.2
"""Greys by which a viewer's bars differ from each other, at most."""

_MOST_EDGES = 0.9
"""Share of its edges from which on a picture is a page, if they are white."""

_LEAST_EDGE = 4 * _MOST_EDGES - 3.0
"""White share of one edge, below which the others cannot make it a page."""

_TISSUE = 0.14

_RECTANGLE = 0.9
"""Share of its box that a region fills from which on it is a picture on a page: an
ellipse fills 0.79."""

_LEAST_SHARE = 0.015
"""Share of a page that a slice on it takes at least."""

_MOST_TILES = 6
"""Tiles of a sheet in a row or a column."""

_LEAST_TILE = 80
"""Pixels of a tile's shorter side: in smaller ones nothing can be told."""

_ACROSS_LINE = 0.15
"""Share of a line between tiles across which tissue goes on, at most: a line through
one head is tissue on both sides over more than half of its length."""

_MOST_OBLONG = 1.6
"""Longer over shorter side of a tile: half of a square picture is no tile."""

_OFF_CENTRE = 0.15
"""Tiles by which heads are off the middle of their own, in the mean."""

_ONE_TILE_SIZE = 3.0
"""Largest ratio of the tissue in the fullest tile to that in the usual one."""

INVERTED = (
    "The picture's greys are inverted (air is white); they were turned round before it "
    "was judged."
)
CROPPED = (
    "The picture shows a page or screen around the slice; only the slice was judged."
)
STRAIGHTENED = (
    "The picture is a photograph of a screen or film, taken at an angle; it was "
    "straightened before it was judged."
)
SHEET = (
    "The picture is a sheet of {rows} x {columns} slices; each was cut out and judged "
    "by itself."
)
SEVERAL = (
    "The picture shows {count} slices side by side; each was cut out and judged by "
    "itself."
)


class Framed(NamedTuple):
    """Parts of a picture that are to be judged.

    Parameters
    ----------
    views
        One for each slice; empty where the whole picture is one slice, as it is.
    notes
        Notes of what was done, as full sentences.
    """

    views: tuple[PictureView, ...]
    notes: tuple[str, ...]


class _Box(NamedTuple):
    """A rectangle in pixels; x1 and y1 lie outside it."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    def shifted(self, x: int, y: int) -> _Box:
        return _Box(self.x0 + x, self.y0 + y, self.x1 + x, self.y1 + y)

    def of(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return pixels[self.y0 : self.y1, self.x0 : self.x1]

    @property
    def corners(self) -> Corners:
        return (
            (float(self.x0), float(self.y0)),
            (float(self.x1), float(self.y0)),
            (float(self.x1), float(self.y1)),
            (float(self.x0), float(self.y1)),
        )


def find_views(pixels: NDArray[np.float32]) -> Framed:
    """Find the slices in a picture.

    Parameters
    ----------
    pixels
        Shape (H, W), float32.

    Returns
    -------
    Framed
        Empty for an ordinary picture: one slice on dark air.
    """
    small = _small(pixels)
    if small is None:
        return Framed((), ())
    corners = _corner_greys(small)
    bright = sum(grey > _BRIGHT for grey in corners)
    if bright >= 3 or _is_page(small):
        return _on_a_page(pixels, small)
    if min(corners) > _LEAST_ROOM:
        framed = Framed((), ())
        if max(corners) - min(corners) < _MOST_VIEWER_SPREAD:
            framed = _photograph(pixels, _VIEWER_CONTRAST)
        return framed if framed.views else _photograph(pixels, _ROOM_CONTRAST)
    if sum(grey < _DARK for grey in corners) < 3:
        return Framed((), ())
    if _is_dark_viewer(small, corners):
        return _photograph(pixels, _VIEWER_CONTRAST)
    return _sheet_of(pixels, small, _whole(pixels))


def _is_page(small: NDArray[np.float32]) -> bool:
    """Tell whether nearly all of a picture's edge is white."""
    shares: list[float] = []
    for edge in (small[0], small[-1], small[:, 0], small[:, -1]):
        shares.append(np.count_nonzero(edge > _BRIGHT) / edge.size)
        # Four edges are white only where each mostly is: on most pictures one tells.
        if shares[-1] < _LEAST_EDGE:
            return False
    return float(np.mean(shares)) > _MOST_EDGES


def _is_dark_viewer(small: NDArray[np.float32], corners: list[float]) -> bool:
    """Tell whether corners are of one dark grey, and much of the picture is darker."""
    grey = min(corners)
    if grey < _LEAST_VIEWER or max(corners) - grey > _LEAST_VIEWER:
        return False
    return float((small < grey - 0.5 * _LEAST_VIEWER).mean()) > _LEAST_SCREEN


def is_inverted(pixels: NDArray[np.float32]) -> bool | None:
    """Tell whether air is white.

    Parameters
    ----------
    pixels
        Shape (H, W), float32: one slice.

    Returns
    -------
    bool or None
        None where the corners show neither air nor its negative.
    """
    small = _small(pixels)
    if small is None:
        return None
    corners = _corner_greys(small)
    if sum(grey < _DARK for grey in corners) >= 3:
        return False
    if sum(grey > _BRIGHT for grey in corners) < 3:
        return None
    regions = list(_regions(small))
    return not any(_fills_its_box(region) for region in regions) and bool(regions)


def are_inverted(pictures: Sequence[NDArray[np.float32]]) -> bool:
    """Tell whether most slices of a series show white air.

    Parameters
    ----------
    pictures
        Pixels of each slice, shape (H, W), float32.
    """
    # A look at a few tells of most series that air is dark.
    if not any(is_inverted(pixels) for pixels in pictures[:: len(pictures) // 4 or 1]):
        return False
    inverted = [is_inverted(pixels) for pixels in pictures]
    return inverted.count(True) > len(pictures) / 2


def view_pixels(
    pixels: NDArray[np.float32], view: PictureView | None
) -> NDArray[np.float32]:
    """Cut a view out of a picture, upright and with air dark.

    Parameters
    ----------
    pixels
        Shape (H, W), float32.
    view
        Part of it that is the slice; None for all of it.

    Returns
    -------
    ndarray
        Shape `view.shape`, float32.
    """
    if view is None:
        return pixels
    height, width = view.shape
    if view.is_box:
        (x, y), *_ = view.corners
        cut = pixels[int(y) : int(y) + height, int(x) : int(x) + width]
    else:
        cut = np.asarray(
            cv2.warpPerspective(pixels, _straightening(view), (width, height)),
            np.float32,
        )
    if view.inverted:
        cut = np.float32(float(cut.min()) + float(cut.max())) - cut
    return np.ascontiguousarray(cut, np.float32)


def in_view(view: PictureView | None, x: float, y: float) -> tuple[float, float]:
    """Turn a spot of the picture, x and y in pixels, into one of the view."""
    if view is None:
        return x, y
    spot = _straightening(view) @ (x, y, 1.0)
    return float(spot[0] / spot[2]), float(spot[1] / spot[2])


def over_picture(
    laid: NDArray[np.float32], view: PictureView | None, height: int, width: int
) -> NDArray[np.float32]:
    """Lay a map over a view back onto the whole picture.

    Parameters
    ----------
    laid
        Shape `view.shape`, float32.
    view
        Part of the picture that was judged; None for all of it.
    height, width
        The picture's, in pixels.

    Returns
    -------
    ndarray
        Shape (height, width), float32; 0 outside the view.
    """
    if view is None:
        return laid
    if not view.is_box:
        back = np.linalg.inv(_straightening(view))
        return np.asarray(cv2.warpPerspective(laid, back, (width, height)), np.float32)
    full = np.zeros((height, width), np.float32)
    (x, y), *_ = view.corners
    full[int(y) : int(y) + view.shape[0], int(x) : int(x) + view.shape[1]] = laid
    return full


def _straightening(view: PictureView) -> NDArray[np.float64]:
    height, width = view.shape
    target = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    return np.asarray(
        cv2.getPerspectiveTransform(np.array(view.corners, np.float32), target),
        np.float64,
    )


def _whole(pixels: NDArray[np.float32]) -> _Box:
    return _Box(0, 0, pixels.shape[1], pixels.shape[0])


def _small(pixels: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Shrink a picture, with greys from 0 to 1; None where it is of one grey."""
    # Pixels here and there are enough, and quicker to get than means.
    step = -(-max(pixels.shape) // _SMALL)
    small = np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])
    if min(small.shape) < 8:
        return None
    ordered = np.partition(small.ravel(), (small.size // 100, 199 * small.size // 200))
    low, high = ordered[small.size // 100], ordered[199 * small.size // 200]
    # Differences below what a float32 holds in full are no greys.
    if high - low < np.finfo(np.float32).tiny:
        return None
    # Cut off first: beside a tiny range, what lies beyond it would overflow.
    greys = (np.clip(small, low, high) - low) * np.float32(1.0 / (high - low))
    return np.asarray(greys, np.float32)


def _corner_greys(small: NDArray[np.float32]) -> list[float]:
    height, width = small.shape
    down, across = max(2, round(_CORNER * height)), max(2, round(_CORNER * width))
    return [
        cv2.mean(small[rows, columns])[0]
        for rows in (slice(0, down), slice(height - down, height))
        for columns in (slice(0, across), slice(width - across, width))
    ]


# --- Sheets ---


def _sheet_of(
    pixels: NDArray[np.float32],
    small: NDArray[np.float32],
    box: _Box,
    inverted: bool = False,
) -> Framed:
    """Take a sheet of several slices apart; nothing where the box holds one."""
    grid = _grid(small, box)
    if grid is None:
        return Framed((), ())
    rows, columns = grid
    views = []
    for row in range(rows):
        for column in range(columns):
            tile = _Box(
                box.x0 + round(column * box.width / columns),
                box.y0 + round(row * box.height / rows),
                box.x0 + round((column + 1) * box.width / columns),
                box.y0 + round((row + 1) * box.height / rows),
            )
            # The last row of a sheet may not be full.
            if float(np.ptp(tile.of(pixels)[::4, ::4])) > 0.0:
                views.append(_view(tile, inverted))
    return Framed(tuple(views), (SHEET.format(rows=rows, columns=columns),))


def _view(box: _Box, inverted: bool = False) -> PictureView:
    return PictureView(box.corners, (box.height, box.width), inverted)


def _grid(small: NDArray[np.float32], box: _Box) -> tuple[int, int] | None:
    """Count the rows and columns of a sheet; None for a single slice."""
    tissue = small > _TISSUE
    height, width = tissue.shape
    rows = [
        count
        for count in range(1, _MOST_TILES + 1)
        if box.height / count >= _LEAST_TILE and _parts(tissue, count)
    ]
    columns = [
        count
        for count in range(1, _MOST_TILES + 1)
        if box.width / count >= _LEAST_TILE and _parts(tissue.T, count)
    ]
    grids = [(row, column) for row in rows for column in columns if row * column > 1]
    grids.sort(key=lambda grid: grid[0] * grid[1], reverse=True)
    for row, column in grids:
        sides = (height / row, width / column)
        if max(sides) <= _MOST_OBLONG * min(sides) and _all_heads(tissue, row, column):
            return row, column
    return None


def _parts(tissue: NDArray[np.bool_], count: int) -> bool:
    """Tell whether lines that cut rows into `count` run between slices."""
    height = len(tissue)
    for line in range(1, count):
        place = round(line * height / count)
        both = tissue[place - 2] & tissue[min(height - 1, place + 1)]
        if np.count_nonzero(both) / both.size > _ACROSS_LINE:
            return False
    return True


def _all_heads(tissue: NDArray[np.bool_], rows: int, columns: int) -> bool:
    """Tell whether nearly every tile of a grid shows a head of about one size."""
    height, width = tissue.shape
    shares: list[float] = []
    off_centre: list[float] = []
    for row in range(rows):
        for column in range(columns):
            tile = tissue[
                round(row * height / rows) : round((row + 1) * height / rows),
                round(column * width / columns) : round((column + 1) * width / columns),
            ]
            shares.append(float(tile.mean()))
            if shares[-1] > 0.02:
                off_centre.append(_off_centre(tile))
            down, across = tile.any(axis=1).mean(), tile.any(axis=0).mean()
            if shares[-1] > 0.02 and min(down, across) < 0.3:
                return False
    filled = [share for share in shares if share > 0.02]
    if len(filled) < max(2, 0.67 * len(shares)) or min(filled) < 0.06:
        return False
    # Quarters of one head all lie towards the middle of the picture.
    if float(np.mean(off_centre)) > _OFF_CENTRE:
        return False
    return max(filled) <= _ONE_TILE_SIZE * float(np.median(filled))


def _off_centre(tile: NDArray[np.bool_]) -> float:
    """Measure how far the tissue of a tile is from its middle, in tiles."""
    rows, columns = np.nonzero(tile)
    height, width = int(tile.shape[0]), int(tile.shape[1])
    down = abs(float(rows.mean()) / height - 0.5)
    across = abs(float(columns.mean()) / width - 0.5)
    return max(down, across)


# --- Pages and negatives ---


def _on_a_page(pixels: NDArray[np.float32], small: NDArray[np.float32]) -> Framed:
    """Crop pictures that lie on a white page; turn a negative round."""
    regions = list(_regions(small))
    rectangles = [region for region in regions if _fills_its_box(region)]
    if not rectangles:
        if not regions:
            return Framed((), ())
        inner = _sheet_of(pixels, 1.0 - small, _whole(pixels), inverted=True)
        views = inner.views or (_view(_whole(pixels), inverted=True),)
        return Framed(views, (INVERTED, *inner.notes))
    scale = pixels.shape[1] / small.shape[1], pixels.shape[0] / small.shape[0]
    level = _level(pixels)
    boxes = [_fitted(pixels, region, scale, level) for region in rectangles]
    boxes = [box for box in boxes if min(box.width, box.height) >= _LEAST_TILE // 2]
    if not boxes:
        return Framed((), ())
    largest = max(box.width * box.height for box in boxes)
    boxes = [box for box in boxes if 4 * box.width * box.height >= largest]
    boxes.sort(key=lambda box: (box.y0 // max(1, box.height // 2), box.x0))
    if len(boxes) > 1:
        notes = (CROPPED, SEVERAL.format(count=len(boxes)))
        return Framed(tuple(_view(box) for box in boxes), notes)
    return _inside(pixels, boxes[0], CROPPED)


def _inside(pixels: NDArray[np.float32], box: _Box, note: str) -> Framed:
    """Look once more at what was cropped: it may be a sheet or a negative."""
    cut = np.ascontiguousarray(box.of(pixels))
    small = _small(cut)
    if small is None:
        return Framed((), ())
    sheet = _sheet_of(pixels, small, box)
    if sheet.views:
        return Framed(sheet.views, (note, *sheet.notes))
    inverted = bool(is_inverted(cut))
    return Framed((_view(box, inverted),), (note, INVERTED) if inverted else (note,))


def _regions(small: NDArray[np.float32]) -> Iterator[NDArray[np.uint8]]:
    """Find what lies on a white ground, shape of the picture, 1 inside."""
    ground = (small > _BRIGHT).astype(np.uint8)
    padded = cv2.copyMakeBorder(ground, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels = cv2.connectedComponents(padded, connectivity=4, ltype=cv2.CV_16U)
    content = (labels[1:-1, 1:-1] != labels[0, 0]).astype(np.uint8)
    # An opening drops lines of text.
    content = np.asarray(
        cv2.morphologyEx(content, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)), np.uint8
    )
    count, parts, stats, _ = cv2.connectedComponentsWithStats(
        content, connectivity=8, ltype=cv2.CV_16U
    )
    for part in range(1, count):
        if stats[part, cv2.CC_STAT_AREA] >= _LEAST_SHARE * small.size:
            yield (parts == part).astype(np.uint8)


def _fills_its_box(region: NDArray[np.uint8]) -> bool:
    _, _, width, height = cv2.boundingRect(region)
    return cv2.countNonZero(region) >= _RECTANGLE * width * height


def _level(pixels: NDArray[np.float32]) -> float:
    low, high, _, _ = cv2.minMaxLoc(pixels)
    return low + _BRIGHT * (high - low)


def _fitted(
    pixels: NDArray[np.float32],
    region: NDArray[np.uint8],
    scale: tuple[float, float],
    level: float,
) -> _Box:
    """Find the edges of a picture on a page, to the pixel."""
    x, y, width, height = cv2.boundingRect(region)
    across, down = scale
    x0, x1 = round((x - 2) * across), round((x + width + 2) * across)
    y0, y1 = round((y - 2) * down), round((y + height + 2) * down)
    x0, y0 = max(0, x0), max(0, y0)
    x1, y1 = min(pixels.shape[1], x1), min(pixels.shape[0], y1)
    page = pixels[y0:y1, x0:x1] > level
    rows = np.flatnonzero(page.mean(axis=1) < 0.7)
    columns = np.flatnonzero(page.mean(axis=0) < 0.7)
    if not rows.size or not columns.size:
        return _Box(x0, y0, x1, y1)
    return _Box(
        x0 + int(columns[0]),
        y0 + int(rows[0]),
        x0 + int(columns[-1]) + 1,
        y0 + int(rows[-1]) + 1,
    )


# --- Photographs ---

_PHOTO_SMALL = 400
_LEAST_SCREEN = 0.12
"""Share of a photograph that the screen on it takes at least."""

_MOST_SCREEN = 0.97
_ROOM_CONTRAST = 25.0
_VIEWER_CONTRAST = 6.0
"""Greys of 255 by which the surround of a screen, or of a slice in a viewer, is
brighter than air."""

_STRAIGHT = 3.0
"""Pixels of the small picture by which corners of an upright screen may be off."""

_FRAME = 0.04
"""Width of the frame inside the screen that shows air, as a share of the screen."""


def _photograph(pixels: NDArray[np.float32], contrast: float) -> Framed:
    """Straighten the screen that a photograph or a coloured viewer shows."""
    scale = min(1.0, _PHOTO_SMALL / max(pixels.shape))
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    if min(size) < 32:
        return Framed((), ())
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, (1.0, 99.0))
    if high <= low:
        return Framed((), ())
    greys = np.clip(255.0 * (small - low) / (high - low), 0, 255).astype(np.uint8)
    quad = _screen(greys, contrast)
    if quad is None:
        return Framed((), ())
    corners = quad / scale
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    width, height = (round(float(max(sides[i], sides[i + 2]))) for i in (0, 1))
    if min(width, height) < _LEAST_TILE:
        return Framed((), ())
    slant = np.abs(quad - np.roll(quad, 1, axis=0)).min(axis=1).max()
    upright = slant <= _STRAIGHT
    if upright:
        # Each edge lies between its two corners.
        left, right = corners[[0, 3], 0].mean(), corners[[1, 2], 0].mean()
        top, bottom = corners[[0, 1], 1].mean(), corners[[2, 3], 1].mean()
        box = _Box(
            max(0, round(float(left))),
            max(0, round(float(top))),
            min(pixels.shape[1], round(float(right))),
            min(pixels.shape[0], round(float(bottom))),
        )
        return _inside(pixels, box, CROPPED)
    if contrast < _ROOM_CONTRAST:
        return Framed((), ())
    one, two, three, four = ((float(x), float(y)) for x, y in corners)
    view = PictureView((one, two, three, four), (height, width), False)
    if is_inverted(view_pixels(pixels, view)):
        view = PictureView(view.corners, view.shape, True)
        return Framed((view,), (STRAIGHTENED, INVERTED))
    return Framed((view,), (STRAIGHTENED,))


def _screen(greys: NDArray[np.uint8], contrast: float) -> NDArray[np.float64] | None:
    """Find the dark four-cornered screen, shape (4, 2), from its upper left on."""
    best, best_area = None, 0.0
    blurred = np.asarray(cv2.GaussianBlur(greys, (5, 5), 0), np.uint8)
    for level in _levels(blurred, contrast):
        dark = (blurred <= level).astype(np.uint8)
        dark = np.asarray(
            cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)), np.uint8
        )
        contours, _ = cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            quad = _four_corners(np.asarray(contour, np.int32), greys.size)
            if quad is None or _cuts_across(quad, greys.shape):
                continue
            area = cv2.contourArea(quad.astype(np.float32))
            if area > best_area and _is_screen(blurred, quad, contrast):
                best, best_area = quad, area
    return best


def _levels(greys: NDArray[np.uint8], contrast: float) -> Sequence[float]:
    if contrast < _ROOM_CONTRAST:
        near = (greys[2, 2], greys[2, -3], greys[-3, 2], greys[-3, -3])
        return (float(min(near)) - 0.5 * contrast,)
    otsu, _ = cv2.threshold(greys, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return (0.4 * otsu, 0.6 * otsu, 0.8 * otsu, otsu)


def _four_corners(
    contour: NDArray[np.int32], pixels: int
) -> NDArray[np.float64] | None:
    hull = cv2.convexHull(contour)
    area = cv2.contourArea(hull)
    if not _LEAST_SCREEN * pixels <= area <= _MOST_SCREEN * pixels:
        return None
    around = cv2.arcLength(hull, True)
    for tolerance in (0.02, 0.035, 0.05):
        corners = cv2.approxPolyDP(hull, tolerance * around, True)
        if len(corners) == 4:
            break
    else:
        return None
    quad = corners[:, 0, :].astype(np.float64)
    if cv2.contourArea(corners) < 0.93 * area:
        return None
    # From the upper left on, clockwise.
    start = int(np.argmin(quad.sum(axis=1)))
    quad = np.roll(quad, -start, axis=0)
    if quad[1, 1] - quad[0, 1] > quad[3, 1] - quad[0, 1]:
        quad = quad[[0, 3, 2, 1]]
    edges = np.roll(quad, -1, axis=0) - quad
    lengths = np.linalg.norm(edges, axis=1)
    if lengths.min() < 0.3 * lengths.max():
        return None
    turns = np.sum(edges * np.roll(edges, -1, axis=0), axis=1)
    cosines = turns / (lengths * np.roll(lengths, -1))
    return quad if np.abs(cosines).max() < 0.5 else None


def _cuts_across(quad: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Tell whether a quadrangle reaches from one edge of the picture to another."""
    low, high = quad.min(axis=0), quad.max(axis=0)
    return bool(
        (low[0] <= 1 and high[0] >= shape[1] - 2)
        or (low[1] <= 1 and high[1] >= shape[0] - 2)
    )


def _is_screen(
    greys: NDArray[np.uint8], quad: NDArray[np.float64], contrast: float
) -> bool:
    """Tell whether a quadrangle is dark along its edges, bright around and inside."""
    side = 96
    target = np.array([(0, 0), (side, 0), (side, side), (0, side)], np.float32)
    turn = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    inside = cv2.warpPerspective(greys, turn, (side, side))
    frame = max(2, round(_FRAME * side))
    ring = np.concatenate(
        [
            inside[:frame].ravel(),
            inside[-frame:].ravel(),
            inside[:, :frame].ravel(),
            inside[:, -frame:].ravel(),
        ]
    )
    middle = inside[side // 5 : -side // 5, side // 5 : -side // 5]
    mask = np.zeros(greys.shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(quad).astype(np.int32), (1.0,))
    wide = cv2.dilate(mask, np.ones((13, 13), np.uint8)) - cv2.dilate(
        mask, np.ones((5, 5), np.uint8)
    )
    around = greys[wide > 0]
    if not around.size:
        return False
    air = float(np.median(ring))
    return (
        float(np.median(around)) > air + contrast
        and float(np.percentile(middle, 90)) > air + 40.0
    )
