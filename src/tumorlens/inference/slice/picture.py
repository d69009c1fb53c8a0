"""What a caller may give as a picture, and how it becomes a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.read import read_study
from tumorlens.imaging.readers.raster import to_slice
from tumorlens.imaging.study import Series, Study

Picture: TypeAlias = str | Path | bytes | NDArray[Any] | Study
"""A path, the bytes of a file, an array (H, W) or (H, W, 3), or what was read."""


def read_picture(source: Picture, name: str | None = None) -> Study:
    """Read a picture, in whatever form it was given.

    Parameters
    ----------
    source
        An array is in RGB where it has colours, with finite numbers.
    name
        What the user calls it; by default the path, or the kind of source.

    Raises
    ------
    InputError
        It cannot be used as a picture.
    """
    if isinstance(source, Study):
        return source
    if isinstance(source, np.ndarray):
        slice_ = to_slice(source, name or "array")
        return Study((Series((slice_,)),))
    if isinstance(source, str | Path | bytes):
        return read_study(source, name)
    raise InputError(
        f"A picture cannot be a {type(source).__name__}.",
        "Give a path, the bytes of a file, a NumPy array or a Study.",
    )


def picture_name(source: object) -> str:
    """Name a source that could not be read, for a message."""
    if isinstance(source, str | Path):
        return display_name(source)
    return "array" if isinstance(source, np.ndarray) else "picture"
