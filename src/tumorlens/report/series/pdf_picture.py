"""A slice on a PDF's page: outline and letters drawn as lines, not as pixels."""

from __future__ import annotations

import io

import numpy as np
from reportlab.lib.colors import HexColor, black, white
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.platypus import Flowable, Image, Table

from tumorlens.report.series.pictures import KeyPicture
from tumorlens.report.slice.overlay import OUTLINE_COLOR, color_scale, encode_png
from tumorlens.report.slice.pdf_parts import SMALL, paragraph

_OUTLINE = HexColor("#{:02x}{:02x}{:02x}".format(*OUTLINE_COLOR))
_LETTER = 8.0
"""Size of the letters, in points."""
_FILL, _RIM = 0, 1
"""How text is drawn (PDF's text rendering modes)."""


class _Picture(Flowable):  # type: ignore[misc] # reportlab has no types
    """A slice, as large as fits into a square."""

    def __init__(self, picture: KeyPicture, side: float, overlay: bool) -> None:
        super().__init__()
        rows, columns = picture.grey.shape
        tall = rows * picture.aspect
        scale = side / max(tall, columns)
        self.width, self.height = columns * scale, tall * scale
        self._picture = picture
        self._overlay = overlay

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        shown = self._picture.overlay if self._overlay else None
        png = encode_png(self._picture.grey if shown is None else shown)
        self.canv.drawImage(ImageReader(io.BytesIO(png)), 0, 0, self.width, self.height)
        if shown is not None:
            self._draw_outline()
        self._draw_letters()

    def _draw_outline(self) -> None:
        rows, columns = self._picture.grey.shape
        wide, tall = self.width / columns, self.height / rows
        self.canv.setStrokeColor(_OUTLINE)
        self.canv.setLineWidth(0.9)
        for polygon in self._picture.outline:
            path = self.canv.beginPath()
            # A pixel's centre is half a pixel from its edge; PDF counts upwards.
            points = [
                ((x + 0.5) * wide, self.height - (y + 0.5) * tall)
                for x, y in polygon.tolist()
            ]
            path.moveTo(*points[0])
            for point in points[1:]:
                path.lineTo(*point)
            path.close()
            self.canv.drawPath(path)

    def _draw_letters(self) -> None:
        if self._picture.edges is None:
            return
        left, right, upper, lower = self._picture.edges
        middle = (self.height - 0.7 * _LETTER) / 2
        self.canv.setFont("Helvetica-Bold", _LETTER)
        self.canv.setFillColor(white)
        self.canv.setStrokeColor(black)
        self.canv.setLineWidth(2)
        spots = (
            (8, middle, left),
            (self.width - 8, middle, right),
            (self.width / 2, self.height - _LETTER - 1, upper),
            (self.width / 2, 3, lower),
        )
        # A dark rim first: the letters have to be seen on bright bone too.
        for mode in (_RIM, _FILL):
            for x, y, letter in spots:
                self.canv.drawCentredString(x, y, letter, mode=mode)


def picture_flowable(picture: KeyPicture, side: float, overlay: bool) -> Flowable:
    """Set a key slice.

    Parameters
    ----------
    picture
        The slice.
    side
        Of the square that it has to fit in, in points.
    overlay
        Whether its evidence and outline are drawn over it.
    """
    return _Picture(picture, side, overlay)


def color_scale_strip() -> Flowable:
    """Explain the colours of the evidence."""
    strip = np.repeat(color_scale()[np.newaxis], 8, axis=0)
    image = Image(io.BytesIO(encode_png(strip)), 40 * mm, 2.4 * mm)
    return Table(
        [[paragraph("Evidence: none", SMALL), image, paragraph("certain", SMALL)]],
        colWidths=[24 * mm, 43 * mm, 20 * mm],
        hAlign="LEFT",
        style=[
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ],
    )
