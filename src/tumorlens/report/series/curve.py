"""The probability of a tumour along a scan's slices, drawn for a PDF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from reportlab.graphics.shapes import Circle, Drawing, Line, PolyLine, Rect, String

from tumorlens.inference.series.results import ScanFinding
from tumorlens.report.slice.pdf_parts import CURVE, INK, LINE, QUIET, SHADE

_LEFT, _BOTTOM, _TOP, _RIGHT = 30.0, 26.0, 12.0, 6.0
"""Room for the labels around the plot, in points."""
_FONT, _SIZE = "Helvetica", 7.5
_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)
_MOST_TICKS = 11


def slice_curve(finding: ScanFinding, width: float, height: float) -> Drawing:
    """Draw the curve.

    Parameters
    ----------
    finding
        Of a scan; slices without a probability leave a gap.
    width, height
        Of the whole drawing, in points.

    Returns
    -------
    Drawing
        With the slices that decided shaded and the key slices marked; slices
        are counted from 1.
    """
    plot = _Plot(width, height, len(finding.slice_p_tumor))
    drawing = Drawing(width, height)
    if finding.run is not None:
        first, last = finding.run
        left, right = plot.x(first - 0.5), plot.x(last - 0.5)
        drawing.add(_filled(left, _BOTTOM, right - left, plot.height, SHADE))
    for element in (*plot.frame(), *_curve(plot, finding.slice_p_tumor)):
        drawing.add(element)
    for index in finding.key_slices:
        share = finding.slice_p_tumor[index]
        if share is None:
            continue
        spot = Circle(plot.x(index), plot.y(share), 2.4)
        spot.fillColor, spot.strokeColor = INK, None
        drawing.add(spot)
        drawing.add(_text(plot.x(index), plot.y(share) + 4, str(index + 1), INK))
    return drawing


class _Plot:
    """Turns slices and shares into points of the drawing."""

    def __init__(self, width: float, height: float, count: int) -> None:
        self.width = width - _LEFT - _RIGHT
        self.height = height - _BOTTOM - _TOP
        self.count = count

    def x(self, index: float) -> float:
        return _LEFT + self.width * (index + 0.5) / self.count

    def y(self, share: float) -> float:
        return _BOTTOM + self.height * share

    def frame(self) -> Iterator[Line | String]:
        for percent in (0, 25, 50, 75, 100):
            y = self.y(percent / 100)
            yield Line(
                _LEFT, y, _LEFT + self.width, y, strokeColor=LINE, strokeWidth=0.5
            )
            yield _text(_LEFT - 4, y - 2.5, f"{percent} %", QUIET, "end")
        step = next(
            (item for item in _STEPS if self.count / item <= _MOST_TICKS), self.count
        )
        # The first slice, then round numbers.
        for number in (1, *range(step, self.count + 1, step)):
            if number == 1 or number > 0.4 * step:
                yield _text(self.x(number - 1), _BOTTOM - 10, str(number), QUIET)
        middle = _LEFT + self.width / 2
        yield _text(middle, 3, "Slice, counted from 1", QUIET)


def _curve(plot: _Plot, shares: Sequence[float | None]) -> Iterator[PolyLine | Circle]:
    for known, group in groupby(enumerate(shares), lambda item: item[1] is not None):
        points = [(plot.x(index), plot.y(share or 0.0)) for index, share in group]
        if not known:
            continue
        if len(points) == 1:
            dot = Circle(*points[0], 1.2)
            dot.fillColor, dot.strokeColor = CURVE, None
            yield dot
        else:
            flat = [value for point in points for value in point]
            yield PolyLine(flat, strokeColor=CURVE, strokeWidth=1.2)


def _filled(x: float, y: float, width: float, height: float, color: object) -> Rect:
    area = Rect(x, y, width, height)
    area.fillColor, area.strokeColor = color, None
    return area


def _text(
    x: float, y: float, text: str, color: object, anchor: str = "middle"
) -> String:
    return String(
        x,
        y,
        text,
        fontName=_FONT,
        fontSize=_SIZE,
        fillColor=color,
        textAnchor=anchor,
    )
