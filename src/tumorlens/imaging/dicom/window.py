"""How a DICOM file asks viewers to show it: its linear window (VOI LUT)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tumorlens.imaging.dicom.header import text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LINEAR = ("", "LINEAR", "LINEAR_EXACT")
_MOST = 1e12


def stored_window(groups: list[Dataset]) -> tuple[float, float] | None:
    """Read the first window that a frame's header holds (PS3.3 C.11.2.1.2).

    Parameters
    ----------
    groups
        Where to look, the frame's own first.

    Returns
    -------
    tuple of float or None
        Lowest and highest value, in rescaled units: centre less and plus half
        the width, so that both read as the header has them; the half step that
        LINEAR is off by is not seen. None where there is none, where it is no
        number, or where the curve is no line.
    """
    for group in groups:
        centre, width = _number(group, "WindowCenter"), _number(group, "WindowWidth")
        if centre is None or width is None:
            continue
        if width <= 0.0 or text(group, "VOILUTFunction") not in _LINEAR:
            return None
        return centre - width / 2.0, centre + width / 2.0
    return None


def _number(group: Dataset, keyword: str) -> float | None:
    """Return the first of the values: a header may offer several windows."""
    try:
        found = float(text(group, keyword).split("\\")[0])
    except ValueError:
        return None
    return found if math.isfinite(found) and abs(found) < _MOST else None
